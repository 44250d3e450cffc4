package inventory

import (
	"net/netip"
	"strings"
	"time"

	"gopkg.in/yaml.v3"
)

var networkFields = withSettings([]field[Network]{
	{name: "interface", set: put(func(n *Network) *Value[string] { return &n.Interface }, (*parser).ifname)},
	{name: "prefix", set: func(p *parser, n *Network, v value) {
		var ok bool
		if n.Prefixes, ok = prefixes(p, v); !ok {
			p.incomplete[n.Name] = true
		}
	}},
	{name: "router", set: put(func(n *Network) *Value[string] { return &n.Router }, oneOf([]string{"self", "other"}))},
	{name: "ra", set: func(p *parser, n *Network, v value) { walk(p, v, raFields, &n.RA) }},
	{name: "relay"},
	{name: "delegate"},
	{name: "pool"},
}, inNetworks, func(n *Network) *Settings { return &n.Settings })

// Bounds of RFC 4861 section 6.2.1.
const (
	minMaxInterval = 4 * time.Second
	maxMaxInterval = 1800 * time.Second
	minMinInterval = 3 * time.Second
	maxLifetimeRA  = 9000 * time.Second
)

var raFields = []field[RA]{
	{name: "managed", set: put(func(r *RA) *Value[bool] { return &r.Managed }, (*parser).boolean)},
	{name: "other", set: put(func(r *RA) *Value[bool] { return &r.Other }, (*parser).boolean)},
	{name: "autonomous", set: put(func(r *RA) *Value[bool] { return &r.Autonomous }, (*parser).boolean)},
	{name: "on_link", set: put(func(r *RA) *Value[bool] { return &r.OnLink }, (*parser).boolean)},
	{name: "min_interval", set: put(func(r *RA) *Value[time.Duration] { return &r.MinInterval },
		within(minMinInterval, maxMaxInterval*3/4, " (RFC 4861)"))},
	{name: "max_interval", set: put(func(r *RA) *Value[time.Duration] { return &r.MaxInterval },
		within(minMaxInterval, maxMaxInterval, " (RFC 4861)"))},
	{name: "lifetime", set: put(func(r *RA) *Value[time.Duration] { return &r.Lifetime },
		within(0, maxLifetimeRA, " (RFC 4861)"))},
	{name: "mtu", set: put(func(r *RA) *Value[int] { return &r.MTU }, between(1280, 65535))},
	{name: "hop_limit", set: put(func(r *RA) *Value[int] { return &r.HopLimit }, between(0, 255))},
	{name: "preference", set: put(func(r *RA) *Value[string] { return &r.Preference },
		oneOf([]string{"low", "medium", "high"}))},
}

func prefixes(p *parser, v value) ([]Value[netip.Prefix], bool) {
	return someOf(placed((*parser).prefix))(p, v)
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
		if !n.Interface.Set() {
			p.fault(at, v.path, "names no interface: write interface: eth1")
		}
		if len(n.Prefixes) == 0 {
			p.fault(at, v.path, "has no prefix: write prefix: \"2001:db8:1::/64\"")
		}
	}
	if len(n.Prefixes) == 0 {
		p.incomplete[n.Name] = true
	}
	p.intervals(n)
	p.inv.Networks = append(p.inv.Networks, n)
}

// intervals checks what RFC 4861 section 6.2.1 says of values together.
func (p *parser) intervals(n Network) {
	most := n.RA.MaxInterval.Or(BuiltinRA().MaxInterval)
	if least := n.RA.MinInterval; least.Set() && least.V > most.V*3/4 {
		p.badAt(least.Pos, "%s is more than three quarters of max_interval %s (RFC 4861)", brief(least.V), brief(most.V))
	}
	if life := n.RA.Lifetime; life.Set() && life.V != 0 && life.V < most.V {
		p.badAt(life.Pos, "%s is less than max_interval %s: hosts would lose their router between two advertisements",
			brief(life.V), brief(most.V))
	}
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
