package name

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"bootd.internal/bootd/site"
)

// Embed writes an IPv4 address into the prefix of a NAT64 (RFC 6052 section 2.2): the octet after the first 64 bits stays zero.
func Embed(p netip.Prefix, a netip.Addr) netip.Addr {
	out, v4 := p.Addr().As16(), a.As4()
	at := p.Bits() / 8
	for _, b := range v4 {
		if at == 8 {
			at++
		}
		out[at] = b
		at++
	}
	return netip.AddrFrom16(out)
}

// Extract reads the IPv4 address out of one that Embed made.
func Extract(p netip.Prefix, a netip.Addr) (netip.Addr, bool) {
	if !p.Contains(a) {
		return netip.Addr{}, false
	}
	in := a.As16()
	var v4 [4]byte
	at := p.Bits() / 8
	for i := range v4 {
		if at == 8 {
			at++
		}
		v4[i] = in[at]
		at++
	}
	out := netip.AddrFrom4(v4)
	return out, Embed(p, out) == a
}

// Synthesize gives the addresses by which machines of a network reach these of IPv4 (RFC 6147 section 5.1.7).
func Synthesize(d *site.DNS64, all []netip.Addr) []netip.Addr {
	var out []netip.Addr
	for _, a := range all {
		if !holds(d.Skip, a) {
			out = append(out, Embed(d.Prefix, a))
		}
	}
	return out
}

// Counts reports whether an AAAA record is one that machines can use (section 5.1.4).
func Counts(d *site.DNS64, a netip.Addr) bool { return !holds(d.Exclude, a) }

func holds(all []netip.Prefix, a netip.Addr) bool {
	return slices.ContainsFunc(all, func(p netip.Prefix) bool { return p.Contains(a) })
}

// ipv4only is the name by which machines look for a NAT64 (RFC 7050): it is answered here and never asked for elsewhere
// (RFC 8880 section 7.1).
const ipv4only = "ipv4only.arpa"

func onlyAddrs() []netip.Addr {
	return []netip.Addr{netip.AddrFrom4([4]byte{192, 0, 0, 170}), netip.AddrFrom4([4]byte{192, 0, 0, 171})}
}

// only answers for ipv4only.arpa, its reverse names, and for addresses inside the prefix of the NAT64, whose names are those of
// the IPv4 addresses in them (RFC 6147 section 5.3.1).
func (d decider) only() (Answer, bool) {
	switch {
	case d.name == ipv4only:
		a := local("")
		switch {
		case d.q.Type == TypeA:
			a.Records = d.addrs(TypeA, onlyAddrs())
		case d.q.Type == TypeAAAA && d.q.DNS64 != nil:
			for _, v4 := range onlyAddrs() { // whatever is skipped otherwise: this is how the prefix is learned
				a.Records = append(a.Records, d.addrs(TypeAAAA, []netip.Addr{Embed(d.q.DNS64.Prefix, v4)})...)
			}
		case d.q.Type == TypeSOA:
			a.Records = []Record{d.soa(d.q.Name)}
		}
		if len(a.Records) == 0 {
			a.Authority = []Record{d.soa(d.q.Name)}
		}
		return a, true
	case strings.HasSuffix(d.name, "."+ipv4only):
		return d.deny(ipv4only), true
	case d.name == "170.0.0.192.in-addr.arpa", d.name == "171.0.0.192.in-addr.arpa":
		return d.pointer("", ipv4only), true
	}
	addr, ok := parseReverse(d.name)
	if !ok || d.q.DNS64 == nil {
		return Answer{}, false
	}
	v4, ok := Extract(d.q.DNS64.Prefix, addr)
	if !ok {
		return Answer{}, false
	}
	return d.follow("", reverse4(v4)), true
}

func reverse4(a netip.Addr) string {
	b := a.As4()
	var s strings.Builder
	for i := 3; i >= 0; i-- {
		s.WriteString(strconv.Itoa(int(b[i])))
		s.WriteByte('.')
	}
	return s.String() + "in-addr.arpa"
}
