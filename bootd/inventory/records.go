package inventory

import (
	"net/netip"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"
)

// Names is what stands at one name of `records`.
type Names struct {
	// Name is in lower case, without a final dot; the first label may be *.
	Name string
	Pos  Pos
	A    []netip.Addr
	AAAA []netip.Addr
	TXT  []string
	SRV  []SRV
	// CNAME stands alone.
	CNAME string
}

// SRV is one service (RFC 2782).
type SRV struct {
	Priority, Weight, Port uint16
	// Target is empty where a host's own record leaves it out: the host itself.
	Target string
}

// HostDNS is the key `dns:` of a host: names besides its own.
type HostDNS struct {
	// Aliases are other names that lead to the host, one label or whole.
	Aliases []Value[string]
	// Wildcard: every name below the host's leads to it.
	Wildcard Value[bool]
	// Records are relative to the host's name; "@" is the host itself.
	Records []Names
}

var hostDNSFields = []field[HostDNS]{
	{name: "aliases", set: func(p *parser, h *HostDNS, v value) { h.Aliases, _ = listOf(placed((*parser).domain))(p, v) }},
	{name: "wildcard", set: put(func(h *HostDNS) *Value[bool] { return &h.Wildcard }, (*parser).boolean)},
	{name: "records", set: func(p *parser, h *HostDNS, v value) { h.Records = p.records(v, true) }},
}

var recordFields = []field[Names]{
	{name: "a", set: listInto(func(n *Names) *[]netip.Addr { return &n.A }, (*parser).addr4)},
	{name: "aaaa", set: listInto(func(n *Names) *[]netip.Addr { return &n.AAAA }, (*parser).addr)},
	{name: "cname", set: func(p *parser, n *Names, v value) { n.CNAME, _ = p.domain(v) }},
	{name: "srv", set: listInto(func(n *Names) *[]SRV { return &n.SRV }, (*parser).srv)},
	{name: "txt", set: listInto(func(n *Names) *[]string { return &n.TXT }, (*parser).txt)},
}

func listInto[T any](get func(*Names) *[]T, parse func(*parser, value) (T, bool)) func(*parser, *Names, value) {
	return func(p *parser, n *Names, v value) { *get(n), _ = someOf(parse)(p, v) }
}

// records reads name: records; of a host, names are relative to it.
func (p *parser) records(v value, host bool) []Names {
	var all []Names
	p.each(v, func(key *yaml.Node, child value) {
		at := Pos{key.Line, key.Column}
		n := Names{Name: strings.TrimSuffix(key.Value, "."), Pos: at}
		if !recordName(n.Name) && (!host || n.Name != "@") {
			p.fault(at, child.path, "%q is not a name in lower case, such as _http._tcp.example.net or *.example.net", shorten(key.Value))
			return
		}
		before := len(p.faults)
		if !walk(p, child, recordFields, &n) || len(p.faults) > before {
			return
		}
		others := len(n.A) + len(n.AAAA) + len(n.TXT) + len(n.SRV)
		switch {
		case n.CNAME == "" && others == 0:
			p.bad(child, "has no record: write aaaa, a, cname, srv or txt")
			return
		case n.CNAME != "" && (others > 0 || n.Name == "@"):
			p.bad(child, "a cname stands alone (RFC 2181 section 10.1): leave out the others")
			return
		}
		for i := range n.SRV {
			if n.SRV[i].Target == "" && !host {
				p.bad(child, "an srv record wants priority, weight, port and target, such as 0 0 80 r1n01.example.net")
				return
			}
		}
		all = append(all, n)
	})
	return all
}

// recordName takes what a host name may not have: underscores of services (RFC 8552) and a first label of *.
func recordName(s string) bool {
	if len(s) > 253 {
		return false
	}
	s = strings.TrimPrefix(s, "*.")
	for l := range strings.SplitSeq(s, ".") {
		if !label(strings.TrimPrefix(l, "_")) {
			return false
		}
	}
	return true
}

// addr4 reads an IPv4 address: machines reach it by DNS64, or not at all.
func (p *parser) addr4(v value) (netip.Addr, bool) {
	s, ok := p.text(v)
	if !ok {
		return netip.Addr{}, false
	}
	a, err := netip.ParseAddr(s)
	if err != nil || !a.Is4() || a.IsMulticast() || a.IsUnspecified() {
		p.bad(v, "%q is not an IPv4 address of a machine, such as 192.0.2.1", shorten(s))
		return netip.Addr{}, false
	}
	return a, true
}

// txt reads the text of one record; one that is longer than a string of DNS, 255 octets, is sent as several.
func (p *parser) txt(v value) (string, bool) {
	s, ok := p.text(v)
	if ok && len(s) > 4000 {
		p.bad(v, "has %d octets: no more than 4000 fit into an answer", len(s))
		return "", false
	}
	return s, ok
}

// srv reads "priority weight port target"; the target may be left out.
func (p *parser) srv(v value) (SRV, bool) {
	var r SRV
	s, ok := p.text(v)
	if !ok {
		return r, false
	}
	parts := strings.Fields(s)
	if len(parts) != 3 && len(parts) != 4 {
		p.bad(v, "%q is not priority, weight, port and target, such as 0 0 80 r1n01.example.net", shorten(s))
		return r, false
	}
	for i, to := range []*uint16{&r.Priority, &r.Weight, &r.Port} {
		n, err := strconv.ParseUint(parts[i], 10, 16)
		if err != nil {
			p.bad(v, "%q is not a number from 0 to 65535", shorten(parts[i]))
			return r, false
		}
		*to = uint16(n)
	}
	if len(parts) == 4 {
		r.Target = strings.TrimSuffix(parts[3], ".")
		if !domainName(r.Target) {
			p.bad(v, "%q is not a domain name in lower case, such as example.net", shorten(parts[3]))
			return r, false
		}
	}
	return r, true
}

// recordNames finds one name that is written twice.
func (c *checker) recordNames() {
	seen := map[string]Pos{}
	for _, n := range c.inv.DNS.Records {
		if first, dup := seen[n.Name]; dup {
			c.fault(n.Pos, "dns.records."+pathKey(n.Name), "is there twice, first on line %d", first.Line)
			continue
		}
		seen[n.Name] = n.Pos
	}
}
