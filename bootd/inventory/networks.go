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
}, inNetworks, func(n *Network) *Settings { return &n.Settings })

// maxPrefixes bounds what every card gets an address in.
const maxPrefixes = 64

// prefixes reads a network's prefixes; the word auto among them takes those of the interface.
func (p *parser) prefixes(n *Network, v value) bool {
	if v.node.Kind == yaml.SequenceNode && len(v.node.Content) > maxPrefixes {
		p.bad(v, "has %d prefixes: a network has %d at most", len(v.node.Content), maxPrefixes)
		return false
	}
	all, ok := someOf(placed(func(p *parser, v value) (netip.Prefix, bool) {
		if v.node.Kind == yaml.ScalarNode && v.node.Value == "auto" {
			n.Auto = keep(p, v, true)
			return netip.Prefix{}, true
		}
		return p.prefix(v)
	}))(p, v)
	n.Prefixes = slices.DeleteFunc(all, func(x Value[netip.Prefix]) bool { return !x.V.IsValid() })
	return ok
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
		if len(n.Prefixes) == 0 && !n.Auto.Set() {
			p.fault(at, v.path, "has no prefix: write prefix: \"2001:db8:1::/64\"")
		}
	}
	if len(n.Prefixes) == 0 && !n.Auto.Set() {
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
