package inventory

import (
	"net/netip"

	"gopkg.in/yaml.v3"
)

// unicast reads an address that one machine has and that routers know.
func (p *parser) unicast(v value) (netip.Addr, bool) {
	a, ok := p.addr(v)
	if ok && (!a.IsGlobalUnicast() || a.IsLinkLocalUnicast()) {
		p.bad(v, "%s is no global address: a link-local one names no machine behind a router", a)
		return netip.Addr{}, false
	}
	return a, ok
}

// maxRelayHops is HOP_COUNT_LIMIT (RFC 8415 section 7.6).
const maxRelayHops = 8

// maxRelayFrom bounds what each relayed message is compared with.
const maxRelayFrom = 64

// relayFrom reads where relays send from.
func (p *parser) relayFrom(v value) ([]netip.Prefix, bool) {
	if v.node.Kind == yaml.SequenceNode && len(v.node.Content) > maxRelayFrom {
		p.bad(v, "has %d entries, %d at most: write a prefix that holds several relays", len(v.node.Content), maxRelayFrom)
		return nil, false
	}
	return someOf((*parser).sender)(p, v)
}

// sender reads the address that a relay sends from, or a prefix of such: link-local where the relay is our neighbour, and ::/0
// where a network takes back what defaults say.
func (p *parser) sender(v value) (netip.Prefix, bool) {
	s, ok := p.text(v)
	if !ok {
		return netip.Prefix{}, false
	}
	if a, err := netip.ParseAddr(s); err == nil {
		return netip.PrefixFrom(a, a.BitLen()), p.usable(v, a)
	}
	x, err := netip.ParsePrefix(s)
	switch {
	case err != nil:
		p.bad(v, "%q is neither an IPv6 address nor a prefix, such as 2001:db8:f::11 or 2001:db8:f::/64", shorten(s))
	case x != x.Masked():
		p.bad(v, "%s has host bits set, did you mean %s?", s, x.Masked())
	case x.Bits() == 0 && x.Addr().Is6():
		return x, true
	default:
		return x, p.usable(v, x.Addr())
	}
	return netip.Prefix{}, false
}

const noRelay = "%s has no relay: write relay: with the link-address that it names, or leave this out"

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
		if n.RelayFrom.Set() && len(n.Relays) == 0 && !c.incomplete[n.Name] {
			c.badAt(n.RelayFrom.Pos, noRelay, n.Name)
		}
		if n.RelayHops.Set() && len(n.Relays) == 0 && !c.incomplete[n.Name] {
			c.badAt(n.RelayHops.Pos, noRelay, n.Name)
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
