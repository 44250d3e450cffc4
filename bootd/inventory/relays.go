package inventory

import "net/netip"

// unicast reads an address that one machine has and that routers know.
func (p *parser) unicast(v value) (netip.Addr, bool) {
	a, ok := p.addr(v)
	if ok && (!a.IsGlobalUnicast() || a.IsLinkLocalUnicast()) {
		p.bad(v, "%s is no global address: a link-local one names no machine behind a router", a)
		return netip.Addr{}, false
	}
	return a, ok
}

// relays finds a relay that two networks claim, and what only a network with an interface can have.
func (c *checker) relays() {
	type claim struct {
		at      Pos
		network string
	}
	seen := map[netip.Addr]claim{}
	linked := c.inv.Serve.Transit.Set()
	var first *Network
	for i := range c.inv.Networks {
		n := &c.inv.Networks[i]
		linked = linked || n.Interface.Set()
		for _, a := range n.Relays {
			if other, ok := seen[a.V]; ok {
				c.badAt(a.Pos, "%s is already the relay of %s (line %d): which network its clients are on could not be told",
					a.V, other.network, other.at.Line)
				continue
			}
			seen[a.V] = claim{a.Pos, n.Name}
			if first == nil {
				first = n
			}
		}
		if n.Interface.Set() || len(n.Relays) == 0 {
			continue
		}
		if n.Router.V == "self" {
			c.badAt(n.Router.Pos, "%s has no interface: the router of that link advertises, with M=1 and O=1", n.Name)
		}
		if n.Auto.Set() {
			c.badAt(n.Auto.Pos, "%s has no interface whose prefixes could be taken: name its prefix", n.Name)
		}
		if n.Address.Set() {
			c.badAt(n.Address.Pos, "%s has no interface that an address could be put on: its router has it", n.Name)
		}
	}
	if first != nil && !linked {
		c.badAt(first.Relays[0].Pos, "no interface is named that relays could come in on: write serve: {transit: eth0}")
	}
}
