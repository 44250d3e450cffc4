package address

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"
	"time"

	"bootd.internal/bootd/lease"
	"bootd.internal/bootd/site"
	"bootd.internal/bootd/store"
)

// ledger is the bindings that one exchange reads and changes: what one IA did, the next one sees.
type ledger struct {
	view    store.View
	entries []entry
	// held is what clients of a pool are noted to have when this is over.
	held []heldNote
}

type entry struct {
	addr  netip.Addr
	b     lease.Binding
	found bool
	dirty bool
	gone  bool // to be deleted
	// was is the holder before the exchange, "": none; network is where.
	was, network string
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
		e.was, e.network = e.b.Holder, e.b.Network
	}
	l.entries = append(l.entries, e)
	return &l.entries[len(l.entries)-1]
}

func (e *entry) put(b lease.Binding) { e.b, e.found, e.dirty, e.gone = b, true, true, false }

// end forgets the binding: somebody waits for the address.
func (e *entry) end() { e.b, e.found, e.dirty, e.gone = lease.Binding{}, false, false, true }

// ops are the changes, in the order in which addresses were first looked at.
func (l *ledger) ops() []store.Op {
	var ops []store.Op
	for _, e := range l.entries {
		switch {
		case e.dirty:
			ops = append(ops, store.Op{Key: lease.Key(e.addr), Value: e.b.Encode()})
		case e.gone:
			ops = append(ops, store.Op{Key: lease.Key(e.addr)})
		}
	}
	return append(ops, l.notes()...)
}

// holderOf names the holder of an IA's leases: the card, or the client that is known by DUID and IAID only.
func (x *exchange) holderOf(ia IA) string {
	if x.pooled {
		return lease.ClientHolder(x.req.Client, ia.IAID)
	}
	return x.holder
}

// mine reports whether the binding is that of the asking card. To a client of a pool it is by DUID and IAID alone, as many
// clients may speak through one card; only what its card had while it was listed goes by the MAC.
func (x *exchange) mine(e *entry, ia IA) bool {
	if !e.found {
		return false
	}
	if x.pooled && strings.HasPrefix(e.b.Holder, lease.ClientPrefix) {
		return e.b.Holder == x.holderOf(ia)
	}
	return e.b.BelongsTo(x.holderOf(ia), x.mac) || x.inherits(e.b)
}

// inherits reports whether a binding is what the asking client had under a name that it no longer has: that of a pool's client
// before it was listed, or of a host that the inventory calls otherwise or not at all now. A card takes its leases along by its
// MAC; who is known by DUID or UUID does by the DUID, unless the binding shows another card.
func (x *exchange) inherits(b lease.Binding) bool {
	if !slices.ContainsFunc(b.Claims, func(c lease.Claim) bool { return c.DUID == x.req.Client }) {
		return false
	}
	if b.MAC.Valid() && x.mac.Valid() && b.MAC != x.mac {
		return false
	}
	return !x.pooled && strings.HasPrefix(b.Holder, lease.ClientPrefix) ||
		!strings.HasPrefix(b.Holder, lease.ClientPrefix) && !x.snap.Lists(b.Holder)
}

// others reports whether somebody else holds the address, by a binding or by the inventory.
func (x *exchange) others(e *entry, ia IA) bool {
	if x.mine(e, ia) {
		return false
	}
	return e.found && e.b.InForce(x.now) || x.kept(e.addr)
}

// kept reports whether the inventory keeps the address for another card.
func (x *exchange) kept(a netip.Addr) bool {
	nic, reserved := x.snap.Holder(a)
	return reserved && (x.match.NIC == nil || nic != x.match.NIC)
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
	if h := x.match.Host; h != nil {
		preferred, valid = cmp.Or(h.Preferred, preferred), cmp.Or(h.Valid, valid)
	}
	if x.guest != nil {
		preferred, valid = min(preferred, guestPreferred), min(valid, guestValid)
	}
	p, _ := x.prefix(a)
	valid = left(valid, p.ValidUntil, x.now)
	return min(left(preferred, p.PreferredUntil, x.now), valid), valid
}
