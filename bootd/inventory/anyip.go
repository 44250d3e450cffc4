package inventory

import (
	"net/netip"
	"strings"

	"gopkg.in/yaml.v3"
)

// AnyIP is one entry of `anyip:`: a prefix of IPv6 or IPv4, each of whose addresses is this machine's.
type AnyIP struct {
	Pos Pos
	// Source is the prefix; one of an upstream is IPv6.
	Source
	// Neighbour are interfaces on which addresses of the prefix are answered for as if they were there (RFC 4861 section 7.2.8).
	Neighbour Value[[]string]
	// Keep leaves the prefix bound when bootd stops. Default true.
	Keep Value[bool]
	// Names have an address in the prefix by their hash, those below a zone with *.zone.
	Names []Value[string]
}

var anyipFields = []field[AnyIP]{
	{name: "prefix", set: put(func(a *AnyIP) *Value[netip.Prefix] { return &a.Prefix }, (*parser).ownPrefix)},
	{name: "neighbour", set: put(func(a *AnyIP) *Value[[]string] { return &a.Neighbour }, someOf((*parser).ifname))},
	{name: "keep", set: put(func(a *AnyIP) *Value[bool] { return &a.Keep }, (*parser).boolean)},
	{name: "names", set: func(p *parser, a *AnyIP, v value) { a.Names, _ = someOf(placed((*parser).hashedName))(p, v) }},
}

const (
	// maxAnyIP bounds the prefixes, maxNeighbours the interfaces of one, maxNames its names.
	maxAnyIP      = 1024
	maxNeighbours = 16
	maxNames      = 4096
)

// anyip reads one prefix or a list of them; a prefix alone is an entry without options.
func (p *parser) anyip(v value) {
	if v.null() {
		return
	}
	if v.node.Kind == yaml.SequenceNode && len(v.node.Content) > maxAnyIP {
		p.bad(v, "lists %d prefixes: there can be %d", len(v.node.Content), maxAnyIP)
		return
	}
	p.inv.AnyIP, _ = listOf((*parser).oneAnyIP)(p, v)
}

func (p *parser) oneAnyIP(v value) (AnyIP, bool) {
	a, before := AnyIP{Pos: v.pos()}, len(p.faults)
	if v.node.Kind != yaml.MappingNode {
		x, ok := p.ownPrefix(v)
		if ok {
			a.Prefix = keep(p, v, x)
		}
		return a, ok
	}
	walk(p, v, withFrom(anyipFields, func(a *AnyIP) *From { return &a.From }), &a)
	if len(p.faults) > before {
		return a, false
	}
	switch {
	case a.Prefix.Set() && a.From.some():
		p.bad(v, "has a prefix of its own and one of an upstream: write two entries")
	case !a.Prefix.Set() && !a.From.some():
		p.bad(v, "has no prefix: write prefix: \"2001:db8:100::/64\", or from: isp and subnet: 0")
	case !a.Prefix.Set() && !p.derived(v, &a.From, 16, 128):
	case a.Neighbour.Set() && a.Prefix.V.Addr().Is4():
		p.badAt(a.Neighbour.Pos, "Linux answers ARP for all of %s by itself: leave neighbour out", a.Prefix.V)
	case len(a.Neighbour.V) > maxNeighbours:
		p.badAt(a.Neighbour.Pos, "lists %d interfaces: there can be %d", len(a.Neighbour.V), maxNeighbours)
	case len(a.Names) > maxNames:
		p.bad(v, "has %d names: there can be %d, or one for all below it: *.hosts.example.net", len(a.Names), maxNames)
	}
	return a, len(p.faults) == before
}

// ownPrefix reads a prefix of either family whose addresses this machine may have.
func (p *parser) ownPrefix(v value) (netip.Prefix, bool) {
	s, ok := p.text(v)
	if !ok {
		return netip.Prefix{}, false
	}
	x, err := netip.ParsePrefix(s)
	a, least := x.Addr(), 16
	if err == nil && a.Is4() {
		least = 8
	}
	switch {
	case err != nil && !strings.Contains(s, "/"):
		p.bad(v, "%q is not a prefix, such as 2001:db8:100::/64 or 192.0.2.0/28; one address is a /128 or /32", shorten(s))
	case err != nil || a.Is4In6():
		p.bad(v, "%q is not a prefix, such as 2001:db8:100::/64 or 192.0.2.0/28", shorten(s))
	case x != x.Masked():
		p.bad(v, "%s has host bits set, did you mean %s?", s, x.Masked())
	case a.IsLinkLocalUnicast() || a.IsLoopback() || a.IsMulticast() || a.IsUnspecified() || a.Is4() && a.As4()[0] >= 240:
		p.bad(v, "%s is nobody's to serve from: write a global prefix, a unique-local one (fd00::/8) or one of IPv4", x)
	case x.Bits() < least:
		p.bad(v, "/%d is wider than any site: write prefixes from /%d", x.Bits(), least)
	default:
		return x, true
	}
	return netip.Prefix{}, false
}

// hashedName reads a name, or *. and a zone.
func (p *parser) hashedName(v value) (string, bool) {
	s, ok := p.text(v)
	if !ok {
		return "", false
	}
	if s = strings.TrimSuffix(s, "."); !domainName(strings.TrimPrefix(s, "*.")) {
		p.bad(v, "%q is not a name in lower case, such as shop.example.net, or *.hosts.example.net for all below it", shorten(s))
		return "", false
	}
	return s, true
}
