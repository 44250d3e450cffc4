package inventory

import (
	"net/netip"
	"strings"

	"gopkg.in/yaml.v3"

	"bootd.internal/bootd/ident"
)

// DefaultNIC is the name of the card of a host that lists only one.
const DefaultNIC = "net0"

// hostEntry is a host as it is written: with cards of its own or as one card.
type hostEntry struct {
	Host
	one  NIC
	nics value
}

var hostFields = withSettings([]field[hostEntry]{
	{name: "mac", set: put(func(h *hostEntry) *Value[ident.MAC] { return &h.one.MAC }, (*parser).mac)},
	{name: "address", set: func(p *parser, h *hostEntry, v value) { h.one.Addresses, _ = addresses(p, v) }},
	{name: "network", set: put(func(h *hostEntry) *Value[string] { return &h.Network }, (*parser).text)},
	{name: "uuid", set: put(func(h *hostEntry) *Value[ident.UUID] { return &h.UUID }, (*parser).uuid)},
	{name: "duid", set: func(p *parser, h *hostEntry, v value) { h.DUIDs, _ = someOf(placed((*parser).duid))(p, v) }},
	{name: "port", set: func(p *parser, h *hostEntry, v value) { h.Port, _ = p.port(v) }},
	{name: "serial", set: put(func(h *hostEntry) *Value[string] { return &h.Serial }, (*parser).text)},
	{name: "dns", set: func(p *parser, h *hostEntry, v value) { walk(p, v, hostDNSFields, &h.DNS) }},
	{name: "delegate", set: func(p *parser, h *hostEntry, v value) { p.kept(&h.Host, v) }},
	{name: "nics", set: func(p *parser, h *hostEntry, v value) { h.nics = v; p.nics(&h.Host, v) }},
}, inHosts, func(h *hostEntry) *Settings { return &h.Settings })

var nicFields = []field[NIC]{
	{name: "mac", set: put(func(n *NIC) *Value[ident.MAC] { return &n.MAC }, (*parser).mac)},
	{name: "address", set: func(p *parser, n *NIC, v value) { n.Addresses, _ = addresses(p, v) }},
	{name: "network", set: put(func(n *NIC) *Value[string] { return &n.Network }, (*parser).text)},
}

func addresses(p *parser, v value) ([]Value[netip.Addr], bool) {
	return someOf(placed((*parser).addr))(p, v)
}

func (p *parser) host(key *yaml.Node, v value) {
	h := hostEntry{Host: Host{Name: key.Value, Pos: Pos{key.Line, key.Column}}, one: NIC{Name: DefaultNIC}}
	p.hostName(h.Pos, v.path, h.Name)
	before := len(p.faults)
	switch {
	case v.node.Kind == yaml.ScalarNode:
		if m, ok := p.mac(v); ok {
			h.one.MAC = keep(p, v, m)
		}
	default:
		walk(p, v, hostFields, &h)
	}
	named := h.UUID.Set() || len(h.DUIDs) > 0 || h.Port.Relay.Set()
	one := h.one.MAC.Set() || len(h.one.Addresses) > 0
	switch {
	case one && h.nics.node != nil:
		p.bad(h.nics, "mac and address stand beside nics: move them into a card below nics")
	case len(p.faults) == before && !h.one.MAC.Set() && len(h.NICs) == 0 && !named:
		p.fault(h.Pos, v.path, "has no mac")
	}
	if h.one.MAC.Set() || named && h.nics.node == nil {
		h.NICs = append(h.NICs, h.one)
	}
	p.inv.Hosts = append(p.inv.Hosts, h.Host)
}

func (p *parser) nics(h *Host, v value) {
	p.each(v, func(key *yaml.Node, child value) {
		at := Pos{key.Line, key.Column}
		p.entryName(at, child.path, key.Value)
		n := NIC{Name: key.Value}
		before := len(p.faults)
		if child.node.Kind == yaml.ScalarNode {
			if m, ok := p.mac(child); ok {
				n.MAC = keep(p, child, m)
			}
		} else {
			walk(p, child, nicFields, &n)
		}
		if len(p.faults) == before && !n.MAC.Set() {
			p.fault(at, child.path, "has no mac")
		}
		if n.MAC.Set() {
			h.NICs = append(h.NICs, n)
		}
	})
}

func (p *parser) hostName(at Pos, path, s string) {
	switch {
	case label(s):
	case label(strings.ToLower(s)):
		p.fault(at, path, "a host name is in lower case, did you mean %s?", strings.ToLower(s))
	case strings.Contains(s, ".") && domainName(strings.ToLower(s)):
		p.fault(at, path, "a host name is one label, did you mean %s? The rest is its domain", strings.SplitN(s, ".", 2)[0])
	default:
		p.fault(at, path, "a host name is made of a-z, 0-9 and -, 63 at most, no - at its ends (RFC 1123)")
	}
}
