package inventory

import (
	"net/netip"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

var networkFields = withSettings([]field[Network]{
	{name: "interface", set: put(func(n *Network) *Value[string] { return &n.Interface }, (*parser).ifname)},
	{name: "prefix", set: func(p *parser, n *Network, v value) {
		if !p.prefixes(n, v) {
			p.incomplete[n.Name] = true
		}
	}},
	{name: "relay", set: func(p *parser, n *Network, v value) {
		n.Relays, _ = someOf(placed((*parser).unicast))(p, v)
	}},
	{name: "router", set: put(func(n *Network) *Value[string] { return &n.Router }, oneOf([]string{"self", "other"}))},
	{name: "ra", set: func(p *parser, n *Network, v value) { walk(p, v, raFields, &n.RA) }},
	{name: "delegate", set: func(p *parser, n *Network, v value) { n.Delegate, _ = delegations(p, v) }},
	{name: "pool", set: func(p *parser, n *Network, v value) { p.pool(n, v) }},
	{name: "address", set: put(func(n *Network) *Value[netip.Addr] { return &n.Address }, (*parser).suffix)},
}, inNetworks, func(n *Network) *Settings { return &n.Settings })

// maxPrefixes bounds what every card gets an address in.
const maxPrefixes = 64

// minOnLink and maxOnLink bound the length of a prefix on a link.
const minOnLink, maxOnLink = 48, 120

// prefixes reads a network's prefixes; the word auto among them takes those of the interface.
func (p *parser) prefixes(n *Network, v value) bool {
	if v.node.Kind == yaml.SequenceNode && len(v.node.Content) > maxPrefixes {
		p.bad(v, "has %d prefixes: a network has %d at most", len(v.node.Content), maxPrefixes)
		return false
	}
	all, ok := someOf(func(p *parser, v value) (Source, bool) {
		if v.node.Kind == yaml.ScalarNode && v.node.Value == "auto" {
			n.Auto = keep(p, v, true)
			return Source{}, true
		}
		return source((*parser).prefix, minOnLink, maxOnLink)(p, v)
	})(p, v)
	for _, s := range all {
		switch {
		case s.Prefix.Set():
			n.Prefixes = append(n.Prefixes, s.Prefix)
		case s.From.Set():
			n.From = append(n.From, s.From)
		}
	}
	return ok
}

// Dynamic reports whether some of the network's prefixes are known only while bootd runs: they come with its interface's
// addresses, or out of an upstream's.
func (n *Network) Dynamic() bool { return n.Auto.Set() || len(n.From) > 0 }

// Own is the suffix of our own address in prefixes out of upstreams'.
func (n *Network) Own() netip.Addr {
	if n.Address.Set() {
		return n.Address.V
	}
	return netip.AddrFrom16([16]byte{15: 1})
}

// own finds a suffix of ours that no prefix of the network has, or that no machine may have.
func (c *checker) own() {
	for i := range c.inv.Networks {
		n := &c.inv.Networks[i]
		if !n.Address.Set() || c.incomplete[n.Name] {
			continue
		}
		if len(n.From) == 0 {
			c.badAt(n.Address.Pos, "address goes with prefix: {from: isp, subnet: 0}: on %s bootd uses the addresses that the interface has", n.Name)
		}
		for _, f := range n.From {
			p := netip.PrefixFrom(netip.IPv6Unspecified(), f.Bits())
			a, ok := Join(p, n.Address.V)
			if !ok {
				c.badAt(n.Address.Pos, "the suffix %s does not fit into a /%d", n.Address.V, f.Bits())
			} else if msg := Unusable(p, a); msg != "" {
				c.badAt(n.Address.Pos, "%s is %s: no machine may have it", n.Address.V, msg)
			}
		}
	}
}

// origin says for people where dynamic prefixes come from.
func (n *Network) origin() string {
	if n.Auto.Set() {
		return "auto"
	}
	return n.From[0].String()
}

// places are the network's prefixes as people write them.
func (n *Network) places() string {
	all := make([]string, 0, len(n.Prefixes)+len(n.From))
	for _, p := range n.Prefixes {
		all = append(all, p.V.String())
	}
	for _, f := range n.From {
		all = append(all, f.String())
	}
	return strings.Join(all, ", ")
}

// assumed are the network's prefixes with one of their length for each that is not known yet: suffixes are tried in them.
func (n *Network) assumed() []Value[netip.Prefix] {
	all := slices.Clip(n.Prefixes)
	if n.Auto.Set() { // a prefix that comes with an interface's address is a /64
		all = append(all, Value[netip.Prefix]{V: netip.PrefixFrom(netip.IPv6Unspecified(), 64)})
	}
	for _, f := range n.From {
		all = append(all, Value[netip.Prefix]{V: netip.PrefixFrom(netip.IPv6Unspecified(), f.Bits())})
	}
	return all
}

func (p *parser) network(key *yaml.Node, v value) {
	at := Pos{key.Line, key.Column}
	p.entryName(at, v.path, key.Value)
	n := Network{Name: key.Value, Pos: at}
	before := len(p.faults)
	if !walk(p, v, networkFields, &n) {
		p.incomplete[n.Name] = true
	}
	if len(p.faults) == before { // one mistake, one fault: a misspelt key is not missing as well
		if !n.Interface.Set() && len(n.Relays) == 0 {
			p.fault(at, v.path, "names no interface: write interface: eth1, or relay: with the address of the router before it")
		}
		if len(n.Prefixes) == 0 && !n.Dynamic() {
			p.fault(at, v.path, "has no prefix: write prefix: \"2001:db8:1::/64\"")
		}
	}
	if len(n.Prefixes) == 0 && !n.Dynamic() {
		p.incomplete[n.Name] = true
	}
	p.intervals(n)
	p.inv.Networks = append(p.inv.Networks, n)
}

// ifname reads a Linux interface name: at most 15 octets, no / and no space.
func (p *parser) ifname(v value) (string, bool) {
	s, ok := p.text(v)
	if ok && (len(s) > 15 || strings.ContainsAny(s, "/ :") || s == "." || s == "..") {
		p.bad(v, "%q is not an interface name (at most 15 characters, no / : or space)", shorten(s))
		return "", false
	}
	return s, ok
}
