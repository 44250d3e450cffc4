package address

import (
	"time"

	"bootd.internal/bootd/lease"
	"bootd.internal/bootd/site"
	"bootd.internal/bootd/store"
)

// KeepExpired is how long a lease that ended is still shown to people who ask who had an address.
const KeepExpired = 7 * 24 * time.Hour

// Forget gives the writes that drop the lease of an unlisted client that ended KeepExpired ago, with the note of its
// holder. Those of hosts stay: they are few, and tell who a machine is.
func Forget(snap *site.Snapshot, v store.View, k store.Key, now time.Time) []store.Op {
	raw, ok := v.Get(k)
	if !ok {
		return nil
	}
	b, err := lease.Decode(raw)
	if err != nil || b.ValidUntil.Add(KeepExpired).After(now) || listed(snap, b.Holder) {
		return nil
	}
	return append(unnote(v, k, b), store.Op{Key: k})
}

// End gives the writes that end a lease at once, as if it had never been; false: there is none.
func End(v store.View, k store.Key) (lease.Binding, []store.Op, bool) {
	raw, ok := v.Get(k)
	if !ok {
		return lease.Binding{}, nil, false
	}
	b, err := lease.Decode(raw)
	if err != nil {
		return lease.Binding{}, []store.Op{{Key: k}}, true
	}
	return b, append(unnote(v, k, b), store.Op{Key: k}), true
}

// unnote drops the note that leads to a lease.
func unnote(v store.View, k store.Key, b lease.Binding) []store.Op {
	p, err := lease.Prefix(k)
	if err != nil {
		return nil
	}
	l := ledger{view: v}
	if a, ok := l.noted(b.Network, b.Holder); !ok || a != p.Addr() {
		return nil
	}
	return []store.Op{{Key: lease.HeldKey(b.Network, b.Holder)}}
}

// listed reports whether a holder is a card of a host that is listed now.
func listed(snap *site.Snapshot, holder string) bool {
	for i := range len(holder) {
		if holder[i] == '/' {
			h, ok := snap.Host(holder[:i])
			return ok && h != nil
		}
	}
	return false
}
