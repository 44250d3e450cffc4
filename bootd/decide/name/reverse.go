package name

import (
	"net/netip"
	"strings"
)

// parseReverse reads the address out of a whole name below ip6.arpa (RFC 3596 section 2.5), in lower case without its final
// dot.
func parseReverse(name string) (netip.Addr, bool) {
	const suffix = ".ip6.arpa"
	if len(name) != 63+len(suffix) || !strings.HasSuffix(name, suffix) {
		return netip.Addr{}, false
	}
	var b [16]byte
	for i := range 32 {
		v, ok := nibble(name[2*i])
		if !ok || name[2*i+1] != '.' {
			return netip.Addr{}, false
		}
		b[15-i/2] |= v << (4 * (i % 2))
	}
	return netip.AddrFrom16(b), true
}

func nibble(c byte) (byte, bool) {
	switch {
	case c >= '0' && c <= '9':
		return c - '0', true
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10, true
	}
	return 0, false
}

// privateZone finds the reverse zone of addresses that mean nothing outside a site, which the name lies in (RFC 6303
// section 4, RFC 7793).
func privateZone(name string) (string, bool) {
	switch {
	case strings.HasSuffix(name, ".ip6.arpa"):
		return below(name, "d.f.ip6.arpa", "8.e.f.ip6.arpa", "9.e.f.ip6.arpa", "a.e.f.ip6.arpa", "b.e.f.ip6.arpa",
			"8.b.d.0.1.0.0.2.ip6.arpa", strings.Repeat("0.", 32)+"ip6.arpa", "1."+strings.Repeat("0.", 31)+"ip6.arpa")
	case strings.HasSuffix(name, ".in-addr.arpa"):
		return private4(name)
	}
	return "", false
}

func private4(name string) (string, bool) {
	if zone, ok := below(name, "10.in-addr.arpa", "168.192.in-addr.arpa", "0.in-addr.arpa", "127.in-addr.arpa",
		"254.169.in-addr.arpa", "2.0.192.in-addr.arpa", "100.51.198.in-addr.arpa", "113.0.203.in-addr.arpa",
		"255.255.255.255.in-addr.arpa"); ok {
		return zone, true
	}
	// 172.16/12 and 100.64/10 are a zone for each value of their second octet.
	parts := strings.Split(strings.TrimSuffix(name, ".in-addr.arpa"), ".")
	if len(parts) < 2 {
		return "", false
	}
	first, second := parts[len(parts)-1], parts[len(parts)-2]
	n := 0
	for _, c := range second {
		if c < '0' || c > '9' || len(second) > 3 || second[0] == '0' {
			return "", false
		}
		n = 10*n + int(c-'0')
	}
	if first == "172" && n >= 16 && n <= 31 || first == "100" && n >= 64 && n <= 127 {
		return second + "." + first + ".in-addr.arpa", true
	}
	return "", false
}

func below(name string, zones ...string) (string, bool) {
	for _, zone := range zones {
		if name == zone || strings.HasSuffix(name, "."+zone) {
			return zone, true
		}
	}
	return "", false
}
