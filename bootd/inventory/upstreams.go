package inventory

import (
	"net/netip"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"bootd.internal/bootd/ident"
)

// Uplink is one entry of `upstreams:`: a link on which a delegating router is asked for prefixes, as a client (RFC 8415
// section 6.3).
type Uplink struct {
	Name string
	Pos  Pos
	// Interface is the link to the delegating router.
	Interface Value[string]
	// Request has one entry for each prefix that is asked for; none: one, whatever the server gives.
	Request []Value[PrefixHint]
	// Address: an address of the link is asked for beside (RFC 8415 section 6.4).
	Address Value[bool]
	// RapidCommit offers servers to give at once (section 18.2.1).
	RapidCommit Value[bool]
	// DUID is told instead of the one that bootd made for itself.
	DUID Value[ident.DUID]
	// Release gives everything back when bootd is stopped for good.
	Release Value[bool]
	// Hooks are programs that are run when something changes; relative ones are beside the inventory.
	Hooks Value[[]string]
}

// BuiltinUplink is what an upstream is when it says nothing.
func BuiltinUplink() Uplink {
	return Uplink{Address: builtin(false), RapidCommit: builtin(true), Release: builtin(false)}
}

// PrefixHint is what a client would like to have (RFC 8415 section 18.2.1); a server may give another.
type PrefixHint struct {
	// Length is that of the prefix, 0: any.
	Length int
	// Prefix is a certain one, invalid: any.
	Prefix netip.Prefix
}

// maxRequested bounds the prefixes of one upstream, maxUplinks the upstreams.
const (
	maxRequested = 8
	maxUplinks   = 16
)

var uplinkFields = []field[Uplink]{
	{name: "interface", set: put(func(u *Uplink) *Value[string] { return &u.Interface }, (*parser).ifname)},
	{name: "request", set: func(p *parser, u *Uplink, v value) {
		if v.node.Kind == yaml.SequenceNode && len(v.node.Content) > maxRequested {
			p.bad(v, "asks for %d prefixes: an upstream has %d at most", len(v.node.Content), maxRequested)
			return
		}
		u.Request, _ = someOf(placed((*parser).prefixHint))(p, v)
	}},
	{name: "address", set: put(func(u *Uplink) *Value[bool] { return &u.Address }, (*parser).boolean)},
	{name: "rapid_commit", set: put(func(u *Uplink) *Value[bool] { return &u.RapidCommit }, (*parser).boolean)},
	{name: "duid", set: put(func(u *Uplink) *Value[ident.DUID] { return &u.DUID }, (*parser).duid)},
	{name: "release", set: put(func(u *Uplink) *Value[bool] { return &u.Release }, (*parser).boolean)},
	{name: "hooks", set: put(func(u *Uplink) *Value[[]string] { return &u.Hooks }, someOf((*parser).hook))},
}

// hook reads the path of a program, which is run without arguments and without a shell.
func (p *parser) hook(v value) (string, bool) {
	s, ok := p.text(v)
	if ok && strings.ContainsAny(s, " \t") {
		p.bad(v, "%q holds a space: a hook is the path of a program, which gets no arguments", shorten(s))
		return "", false
	}
	return s, ok
}

// prefixHint reads a length, or a prefix that is wanted back.
func (p *parser) prefixHint(v value) (PrefixHint, bool) {
	if v.node.Kind == yaml.ScalarNode && v.node.Tag == "!!int" {
		n, ok := between(16, maxDelegated)(p, v)
		return PrefixHint{Length: n}, ok
	}
	x, ok := p.delegable(v)
	if ok && x.Bits() > maxDelegated {
		p.bad(v, "%s is longer than a /64, which is what a network of hosts takes", x)
		return PrefixHint{}, false
	}
	return PrefixHint{Length: x.Bits(), Prefix: x}, ok
}

func (p *parser) uplink(key *yaml.Node, v value) {
	at := Pos{key.Line, key.Column}
	p.entryName(at, v.path, key.Value)
	u := Uplink{Name: key.Value, Pos: at}
	before := len(p.faults)
	walk(p, v, uplinkFields, &u)
	if len(p.faults) == before && !u.Interface.Set() {
		p.fault(at, v.path, "names no interface: write interface: eth0, the link to the router that delegates")
	}
	p.inv.Upstreams = append(p.inv.Upstreams, u)
}

// uplinks finds interfaces that are said twice: a link is either served or asked on, by one client.
func (c *checker) uplinks() {
	if n := len(c.inv.Upstreams); n > maxUplinks {
		c.fault(c.inv.Upstreams[maxUplinks].Pos, "upstreams", "lists %d upstreams: there can be %d", n, maxUplinks)
		return
	}
	for i := range c.inv.Upstreams {
		u := &c.inv.Upstreams[i]
		if !u.Interface.Set() {
			continue
		}
		first := slices.IndexFunc(c.inv.Upstreams[:i], func(o Uplink) bool { return o.Interface.Set() && o.Interface.V == u.Interface.V })
		if first >= 0 {
			o := &c.inv.Upstreams[first]
			c.badAt(u.Interface.Pos, "%s is already the interface of %s (line %d): one upstream may request several prefixes",
				u.Interface.V, o.Name, o.Interface.Pos.Line)
			continue
		}
		served := slices.IndexFunc(c.inv.Networks, func(n Network) bool { return n.Interface.Set() && n.Interface.V == u.Interface.V })
		if served >= 0 {
			n := &c.inv.Networks[served]
			c.badAt(u.Interface.Pos, "%s is the interface of the network %s (line %d), which bootd serves: it would answer itself",
				u.Interface.V, n.Name, n.Interface.Pos.Line)
		}
	}
}
