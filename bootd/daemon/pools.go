package daemon

import (
	"context"
	"fmt"
	"slices"

	"bootd.internal/bootd/decide/address"
	"bootd.internal/bootd/reason"
	"bootd.internal/bootd/store"
	"bootd.internal/bootd/timeline"
)

const (
	// poolWarning is how much of a pool may be used, in percent, before people are told; they are told again when it was
	// poolRelief or less in between.
	poolWarning = 90
	poolRelief  = 80
)

// pools counts the leases of pools, for metrics, and tells of a pool that is nearly used up.
func (t *tidy) pools() {
	use := address.CountPools(t.daemon.world.Snapshot(), t.daemon.store.Scan(store.TableLease, ""), t.daemon.now())
	t.daemon.metrics.pools(use)
	told := map[string]bool{}
	for _, u := range use {
		said := t.full[u.Network]
		told[u.Network] = said && u.Percent() > poolRelief
		if u.Percent() < poolWarning || said {
			continue
		}
		told[u.Network] = true
		t.daemon.watch.Observe(timeline.Observation{
			Adapter: "daemon", Message: "pool", Outcome: reason.Outcome{Reason: reason.NoAddrsAvail, Network: u.Network},
			Events: []timeline.Event{{
				Kind: timeline.Warning, Reason: reason.NoAddrsAvail, Network: u.Network,
				Detail: fmt.Sprintf("%d of %d addresses of the pool are used (%d %%): make it larger, or valid shorter", u.Used(), u.Size, u.Percent()),
			}},
		})
	}
	t.full = told
}

// forget drops the leases of unlisted clients that ended long ago.
func (t *tidy) forget(ctx context.Context) {
	t.uploads(ctx)
	var old []store.Key
	snap, now := t.daemon.world.Snapshot(), t.daemon.now()
	t.daemon.store.Read(func(v store.View) {
		for k := range t.daemon.store.Scan(store.TableLease, "") {
			if len(address.Forget(snap, v, k, now)) > 0 {
				old = append(old, k)
			}
		}
	})
	for some := range slices.Chunk(old, tidyAtOnce) {
		err := t.daemon.store.Update(ctx, func(v store.View) []store.Op {
			var ops []store.Op
			for _, k := range some {
				ops = append(ops, address.Forget(snap, v, k, now)...)
			}
			return ops
		})
		if err != nil {
			return // said elsewhere; the next round finds them again
		}
	}
}
