package address

import (
	"net/netip"
	"slices"
	"time"

	"bootd.internal/bootd/lease"
	"bootd.internal/bootd/site"
	"bootd.internal/bootd/store"
)

// ledger is the bindings that one exchange reads and changes: what one IA did, the next one sees.
type ledger struct {
	view    store.View
	entries []entry
}

type entry struct {
	addr  netip.Addr
	b     lease.Binding
	found bool
	dirty bool
}

// at gives the entry of an address, valid until the next call.
func (l *ledger) at(a netip.Addr) *entry {
	if i := slices.IndexFunc(l.entries, func(e entry) bool { return e.addr == a }); i >= 0 {
		return &l.entries[i]
	}
	e := entry{addr: a}
	if raw, ok := l.view.Get(lease.Key(a)); ok {
		b, err := lease.Decode(raw)
		e.b, e.found = b, err == nil // a damaged record of a reserved address binds nobody
	}
	l.entries = append(l.entries, e)
	return &l.entries[len(l.entries)-1]
}

func (e *entry) put(b lease.Binding) { e.b, e.found, e.dirty = b, true, true }

// ops are the changes, in the order in which addresses were first looked at.
func (l *ledger) ops() []store.Op {
	var ops []store.Op
	for _, e := range l.entries {
		if e.dirty {
			ops = append(ops, store.Op{Key: lease.Key(e.addr), Value: e.b.Encode()})
		}
	}
	return ops
}

// mine reports whether the binding is that of the asking card.
func (x *exchange) mine(e *entry) bool {
	return e.found && e.b.BelongsTo(x.holder, x.mac)
}

// others reports whether somebody else holds the address, by a binding or by the inventory.
func (x *exchange) others(e *entry) bool {
	if x.mine(e) {
		return false
	}
	if e.found && e.b.InForce(x.now) {
		return true
	}
	nic, reserved := x.snap.Holder(e.addr)
	return reserved && (x.guest != nil || nic != x.match.NIC)
}

// fixed are the card's addresses on this network that lie inside a prefix that is still valid. It is the one address of an
// unlisted machine.
func (x *exchange) fixed(l *ledger) []netip.Addr {
	if x.guest != nil {
		return x.guestAddrs(l)
	}
	var out []netip.Addr
	for _, a := range x.match.NIC.Addresses(x.net.Name) {
		if _, ok := x.prefix(a); ok {
			out = append(out, a)
		}
	}
	return out
}

// prefix finds the network's valid prefix around an address.
func (x *exchange) prefix(a netip.Addr) (site.Prefix, bool) {
	for _, p := range x.net.Prefixes {
		if p.Contains(a) && x.alive(p) {
			return p, true
		}
	}
	return site.Prefix{}, false
}

func (x *exchange) alive(p site.Prefix) bool {
	return p.ValidUntil.IsZero() || p.ValidUntil.After(x.now)
}

// lifetimes are the network's, cut where the prefix ends sooner, in whole seconds.
func (x *exchange) lifetimes(a netip.Addr) (preferred, valid time.Duration) {
	preferred, valid = x.net.Preferred, x.net.Valid
	if x.guest != nil {
		preferred, valid = min(preferred, guestPreferred), min(valid, guestValid)
	}
	p, _ := x.prefix(a)
	if !p.PreferredUntil.IsZero() {
		preferred = min(preferred, p.PreferredUntil.Sub(x.now))
	}
	if !p.ValidUntil.IsZero() {
		valid = min(valid, p.ValidUntil.Sub(x.now))
	}
	preferred = min(max(preferred, 0), valid)
	return preferred.Truncate(time.Second), valid.Truncate(time.Second)
}
