package address

import (
	"iter"
	"time"

	"bootd.internal/bootd/lease"
	"bootd.internal/bootd/site"
	"bootd.internal/bootd/store"
)

// PoolUse is how far the pools of a network are used.
type PoolUse struct {
	Network string
	// Size is how many addresses there are, Bound how many are in use, Resting were given back within the hour, Declined are
	// put aside because another machine uses them.
	Size, Bound, Resting, Declined int
}

// Used is how many of the addresses no new client can get now.
func (u PoolUse) Used() int { return u.Bound + u.Resting + u.Declined }

// Percent is how much of the pool is used, 100 for one of no addresses.
func (u PoolUse) Percent() int {
	if u.Size <= 0 {
		return 100
	}
	return u.Used() * 100 / u.Size
}

// CountPools counts the leases of each network that has pools, in the order of the inventory. Leases are all records of
// store.TableLease.
func CountPools(snap *site.Snapshot, leases iter.Seq2[store.Key, []byte], now time.Time) []PoolUse {
	var out []PoolUse
	at := map[string]int{}
	for _, n := range snap.Networks {
		if len(n.Pools) == 0 {
			continue
		}
		at[n.Name] = len(out)
		u := PoolUse{Network: n.Name}
		for _, o := range n.Pools {
			u.Size += o.Size
		}
		out = append(out, u)
	}
	if len(out) == 0 {
		return nil
	}
	for k, raw := range leases {
		p, err := lease.Prefix(k)
		if err != nil || !p.IsSingleIP() {
			continue
		}
		b, err := lease.Decode(raw)
		if err != nil || !b.InForce(now) {
			continue
		}
		i, pooled := at[b.Network]
		if !pooled {
			continue
		}
		if n, ok := snap.Network(b.Network); !ok || snap.PoolOf(n, p.Addr()) == nil {
			continue
		}
		switch b.State {
		case lease.Bound:
			out[i].Bound++
		case lease.Resting:
			out[i].Resting++
		case lease.Declined:
			out[i].Declined++
		}
	}
	return out
}
