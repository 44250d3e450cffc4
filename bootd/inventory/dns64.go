package inventory

import (
	"net/netip"

	"gopkg.in/yaml.v3"
)

// DNS64 says how machines without IPv4 reach those with nothing else (RFC 6147).
type DNS64 struct {
	// Prefix is that of the NAT64; invalid: off.
	Prefix netip.Prefix
	// Exclude are AAAA records that count as none (section 5.1.4), Skip IPv4 addresses that are given none.
	Exclude, Skip []netip.Prefix
}

// dns64Entry is DNS64 as it is written.
type dns64Entry struct {
	prefix        Value[netip.Prefix]
	exclude, skip []netip.Prefix
}

var dns64Fields = []field[dns64Entry]{
	{name: "prefix", set: put(func(d *dns64Entry) *Value[netip.Prefix] { return &d.prefix }, (*parser).nat64)},
	{name: "exclude", set: func(p *parser, d *dns64Entry, v value) {
		d.exclude, _ = listOf(func(p *parser, v value) (netip.Prefix, bool) { return p.anyPrefix(v, "2001:db8:1::/64") })(p, v)
	}},
	{name: "skip", set: func(p *parser, d *dns64Entry, v value) { d.skip, _ = listOf((*parser).prefix4)(p, v) }},
}

// dns64 reads a prefix, off, or keys.
func (p *parser) dns64(v value) (DNS64, bool) {
	if v.node.Kind == yaml.ScalarNode && (v.node.Value == "off" || v.node.Value == "false") {
		return DNS64{}, true
	}
	if v.node.Kind != yaml.MappingNode {
		x, ok := p.nat64(v)
		return DNS64{Prefix: x}, ok
	}
	var d dns64Entry
	before := len(p.faults)
	walk(p, v, dns64Fields, &d)
	if len(p.faults) == before && !d.prefix.Set() {
		p.bad(v, "names no prefix: write {prefix: \"64:ff9b::/96\"}")
	}
	return DNS64{Prefix: d.prefix.V, Exclude: d.exclude, Skip: d.skip}, len(p.faults) == before
}

// prefix4 reads a prefix of IPv4 without host bits.
func (p *parser) prefix4(v value) (netip.Prefix, bool) {
	s, ok := p.text(v)
	if !ok {
		return netip.Prefix{}, false
	}
	x, err := netip.ParsePrefix(s)
	switch {
	case err != nil || !x.Addr().Is4():
		p.bad(v, "%q is not an IPv4 prefix, such as 10.0.0.0/8", shorten(s))
	case x != x.Masked():
		p.bad(v, "%s has host bits set, did you mean %s?", s, x.Masked())
	default:
		return x, true
	}
	return netip.Prefix{}, false
}
