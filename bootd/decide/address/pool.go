package address

import (
	"net/netip"
	"slices"

	"bootd.internal/bootd/ident"
	"bootd.internal/bootd/lease"
	"bootd.internal/bootd/reason"
	"bootd.internal/bootd/store"
	"bootd.internal/bootd/timeline"
)

// fromPool gives each IA_NA of a client whom nobody listed one address of the network's pools. Two IAs of one name are one
// (RFC 8415 section 12): the second gets nothing.
func (g *granting) fromPool() {
	var seen []ident.IAID
	for i, ia := range g.req.IAs {
		if ia.Kind != IANA || slices.Contains(seen, ia.IAID) {
			continue
		}
		seen = append(seen, ia.IAID)
		if a := g.poolAddr(ia); a.IsValid() {
			g.picks[i], g.offers = a, append(g.offers, offer{addr: a, used: true})
		}
	}
	if len(g.offers) == 0 && len(seen) > 0 && len(g.net.Pools) > 0 && g.req.Msg == Solicit {
		g.event(timeline.Warning, reason.NoAddrsAvail, "", "no address is left for it in the pool of "+g.net.Name)
	}
}

// poolAddr is the address of one IA: the one that it has, else one that it names, else the first of its path that is free.
func (g *granting) poolAddr(ia IA) netip.Addr {
	has := func(a netip.Addr) bool { return g.vacant(a, ia) && g.mine(g.ledger.at(a), ia) }
	for _, a := range ia.Addrs {
		if has(a) {
			return a
		}
	}
	if a, ok := g.ledger.noted(g.net.Name, g.holderOf(ia)); ok && has(a) {
		return a
	}
	for _, a := range ia.Addrs {
		if g.vacant(a, ia) {
			return a
		}
	}
	client := []byte(g.holderOf(ia))
	for _, o := range g.net.Pools {
		if !g.alive(o.Prefix) {
			continue
		}
		for a := range g.snap.PoolPath(g.net, o, g.mac, client) {
			if !g.taken(a) && g.vacant(a, ia) {
				return a
			}
		}
	}
	return netip.Addr{}
}

// taken reports whether an address is likely another's: a look that binds nothing.
func (g *granting) taken(a netip.Addr) bool {
	raw, ok := g.view.Peek(lease.Key(a))
	if !ok {
		return false
	}
	b, err := lease.Decode(raw)
	return err == nil && b.InForce(g.now)
}

// vacant reports whether an IA may have an address now: one of a pool, that nobody else holds.
func (g *granting) vacant(a netip.Addr, ia IA) bool {
	o := g.snap.PoolOf(g.net, a)
	if o == nil || !g.alive(o.Prefix) || slices.ContainsFunc(g.offers, func(o offer) bool { return o.addr == a }) {
		return false
	}
	e := g.ledger.at(a)
	switch {
	case !e.found:
		return true
	case e.b.State != lease.Declined:
		return !e.b.InForce(g.now) || g.mine(e, ia)
	}
	return !e.b.InForce(g.now) && !(e.b.BelongsTo(g.holderOf(ia), g.mac) && e.b.Avoided(g.now))
}

// note remembers which address a client of a pool has now.
func (l *ledger) note(network, holder string, a netip.Addr) {
	l.held = append(l.held, heldNote{lease.HeldKey(network, holder), a})
}

// heldNote is what a client is noted to have.
type heldNote struct {
	key  store.Key
	addr netip.Addr
}

// noted is the address that a client had last; the lease itself says whether it still has it.
func (l *ledger) noted(network, holder string) (netip.Addr, bool) {
	raw, ok := l.view.Get(lease.HeldKey(network, holder))
	if !ok {
		return netip.Addr{}, false
	}
	return netip.AddrFromSlice(raw)
}

// notes are the changes of what clients are noted to have. Who loses an address to another loses the note too, so that
// there are never more notes than leases.
func (l *ledger) notes() []store.Op {
	var ops []store.Op
	for _, h := range l.held {
		if raw, ok := l.view.Get(h.key); !ok || string(raw) != string(h.addr.AsSlice()) {
			ops = append(ops, store.Op{Key: h.key, Value: h.addr.AsSlice()})
		}
	}
	for _, e := range l.entries {
		if e.was == "" || !e.dirty && !e.gone || e.dirty && e.b.Holder == e.was {
			continue
		}
		key := lease.HeldKey(e.network, e.was)
		kept := slices.ContainsFunc(l.held, func(h heldNote) bool { return h.key == key })
		if a, ok := l.noted(e.network, e.was); ok && a == e.addr && !kept {
			ops = append(ops, store.Op{Key: key})
		}
	}
	return ops
}
