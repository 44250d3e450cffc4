package inventory

import (
	"net/netip"
	"strings"
)

// label reports whether s is a host name of one label (RFC 1123 section 2.1), in lower case: DNS does not tell cases apart,
// file names and templates do.
func label(s string) bool {
	if s == "" || len(s) > 63 || s[0] == '-' || s[len(s)-1] == '-' {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return true
}

// domain reads a DNS name without a final dot.
func (p *parser) domain(v value) (string, bool) {
	s, ok := p.text(v)
	if !ok {
		return "", false
	}
	if s = strings.TrimSuffix(s, "."); !domainName(s) {
		p.bad(v, "%q is not a domain name in lower case, such as example.net", shorten(s))
		return "", false
	}
	return s, true
}

func domainName(s string) bool {
	if len(s) > 253 {
		return false
	}
	for l := range strings.SplitSeq(s, ".") {
		if !label(l) {
			return false
		}
	}
	return true
}

// server reads the name or IPv6 address of a server.
func (p *parser) server(v value) (string, bool) {
	s, ok := p.text(v)
	if !ok {
		return "", false
	}
	if a, err := netip.ParseAddr(s); err == nil {
		return a.String(), p.usable(v, a)
	}
	if !domainName(s) {
		p.bad(v, "%q is neither a name such as ntp.example.net nor an IPv6 address", shorten(s))
		return "", false
	}
	return s, true
}

// entryName checks the name of a network, profile or network card: it stands in metrics, key paths and file names.
func (p *parser) entryName(at Pos, path, s string) {
	fits := s != "" && len(s) <= 63 && !strings.ContainsFunc(s, func(r rune) bool { return !chars("-_.")(r) }) &&
		!strings.HasPrefix(s, ".") && !strings.HasPrefix(s, "-")
	if !fits {
		p.fault(at, path, "a name is made of letters, digits, - _ and . (63 at most)")
	}
}
