package inventory

import (
	"net/netip"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"gopkg.in/yaml.v3"

	"bootd.internal/bootd/ident"
)

// text reads a string without control characters.
func (p *parser) text(v value) (string, bool) {
	s, ok := p.multiline(v)
	if ok && strings.ContainsFunc(s, unicode.IsControl) {
		p.bad(v, "holds a line break or another control character")
		return "", false
	}
	return s, ok
}

// multiline reads a string that may have line breaks.
func (p *parser) multiline(v value) (string, bool) {
	n := v.node
	switch {
	case v.null():
		p.bad(v, "has no value")
	case n.Kind != yaml.ScalarNode:
		p.bad(v, "wants text, got %s", describe(n))
	case n.Tag == "!!int" || n.Tag == "!!float" || n.Tag == "!!bool" || n.Tag == "!!timestamp":
		p.bad(v, "wants text, got %s: put it in quotes", describe(n))
	case n.Tag != "!!str":
		p.bad(v, "wants text, got %s", describe(n))
	case strings.TrimSpace(n.Value) == "":
		p.bad(v, "is empty")
	default:
		return n.Value, true
	}
	return "", false
}

func (p *parser) boolean(v value) (bool, bool) {
	if v.node.Kind != yaml.ScalarNode || v.node.Tag != "!!bool" {
		p.bad(v, "wants true or false, got %s", describe(v.node))
		return false, false
	}
	return strings.EqualFold(v.node.Value, "true"), true
}

// between reads a whole number.
func between(least, most int) func(*parser, value) (int, bool) {
	return func(p *parser, v value) (int, bool) {
		n, err := strconv.Atoi(v.node.Value)
		switch {
		case v.node.Kind != yaml.ScalarNode || v.node.Tag != "!!int":
			p.bad(v, "wants a number from %d to %d, got %s", least, most, describe(v.node))
			return 0, false
		case err != nil || n < least || n > most:
			p.bad(v, "%s is not a number from %d to %d", shorten(v.node.Value), least, most)
			return 0, false
		}
		return n, true
	}
}

// oneOf reads one of some words.
func oneOf(words []string) func(*parser, value) (string, bool) {
	return func(p *parser, v value) (string, bool) {
		s, ok := p.text(v)
		switch {
		case !ok:
		case slices.Contains(words, s):
			return s, true
		default:
			p.bad(v, "%q is not known%s", shorten(s), suggest(s, words))
		}
		return "", false
	}
}

// matching reads text of some characters only; like shows one that fits.
func matching(most int, ok func(rune) bool, like string) func(*parser, value) (string, bool) {
	return func(p *parser, v value) (string, bool) {
		s, is := p.text(v)
		if is && (len(s) > most || strings.ContainsFunc(s, func(r rune) bool { return !ok(r) })) {
			p.bad(v, "%q does not look like %s", shorten(s), like)
			return "", false
		}
		return s, is
	}
}

// chars makes a test for ASCII letters, digits and some more characters.
func chars(more string) func(rune) bool {
	return func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune(more, r)
	}
}

// duration reads 12h, 30m, 7d, 90s or a sum such as 1d12h.
func (p *parser) duration(v value) (time.Duration, bool) {
	s, ok := p.quantity(v, "a duration", "30s, 30m, 12h or 7d")
	if !ok {
		return 0, false
	}
	d, ok := parseDuration(s)
	if !ok {
		p.bad(v, "%q is not a duration, such as 30s, 30m, 12h or 7d", shorten(s))
	}
	return d, ok
}

// quantity reads text that is a number with its unit; like shows some.
func (p *parser) quantity(v value, what, like string) (string, bool) {
	switch {
	case v.node.Kind == yaml.ScalarNode && (v.node.Tag == "!!int" || v.node.Tag == "!!float"):
		p.bad(v, "%s has no unit: write %s", shorten(v.node.Value), like)
		return "", false
	case v.node.Kind != yaml.ScalarNode:
		p.bad(v, "wants %s such as %s, got %s", what, like, describe(v.node))
		return "", false
	}
	return p.text(v)
}

func parseDuration(s string) (time.Duration, bool) {
	var sum time.Duration
	for rest := s; ; {
		i := 0
		for i < len(rest) && rest[i] >= '0' && rest[i] <= '9' {
			i++
		}
		if i == 0 || i > 7 || i == len(rest) {
			return 0, false
		}
		n, err := strconv.Atoi(rest[:i])
		if err != nil {
			return 0, false
		}
		unit := map[byte]time.Duration{'s': time.Second, 'm': time.Minute, 'h': time.Hour, 'd': 24 * time.Hour}[rest[i]]
		if unit == 0 || time.Duration(n) > time.Duration(1<<62)/unit || sum > 1<<61 {
			return 0, false
		}
		sum += time.Duration(n) * unit
		if rest = rest[i+1:]; rest == "" {
			return sum, true
		}
	}
}

// within reads a duration inside bounds.
func within(least, most time.Duration, source string) func(*parser, value) (time.Duration, bool) {
	return func(p *parser, v value) (time.Duration, bool) {
		d, ok := p.duration(v)
		if ok && (d < least || d > most) {
			p.bad(v, "%s is not between %s and %s%s", v.node.Value, brief(least), brief(most), source)
			return 0, false
		}
		return d, ok
	}
}

// lifetime reads the lifetime of a lease: a duration, or infinite.
func (p *parser) lifetime(v value) (time.Duration, bool) { return lasting(time.Second)(p, v) }

// lasting reads a lifetime from the least one on: a duration, or infinite.
func lasting(least time.Duration) func(*parser, value) (time.Duration, bool) {
	return func(p *parser, v value) (time.Duration, bool) {
		if v.node.Kind == yaml.ScalarNode && v.node.Value == "infinite" {
			return Infinite, true
		}
		return within(least, maxLifetime, "")(p, v)
	}
}

// brief writes a duration as people do in the inventory: 12h, not 12h0m0s.
func brief(d time.Duration) string {
	day := 24 * time.Hour
	switch {
	case d == Infinite:
		return "infinite"
	case d != 0 && d%day == 0:
		return strconv.FormatInt(int64(d/day), 10) + "d"
	case d != 0 && d%time.Hour == 0:
		return strconv.FormatInt(int64(d/time.Hour), 10) + "h"
	case d != 0 && d%time.Minute == 0:
		return strconv.FormatInt(int64(d/time.Minute), 10) + "m"
	}
	return d.String()
}

// size reads octets: 400G, 4T, 512M, 1.92T, or GiB and so on.
func (p *parser) size(v value) (uint64, bool) {
	return p.amount(v, "400G or 4T", "400G, 1.92T or 512GiB")
}

// amount is size with examples that suit the key.
func (p *parser) amount(v value, like, more string) (uint64, bool) {
	s, ok := p.quantity(v, "a size", like)
	if !ok {
		return 0, false
	}
	n, ok := parseSize(s)
	if !ok {
		p.bad(v, "%q is not a size, such as %s", shorten(s), more)
	}
	return n, ok
}

func parseSize(s string) (uint64, bool) {
	i := strings.IndexFunc(s, func(r rune) bool { return (r < '0' || r > '9') && r != '.' })
	if i <= 0 || i > 12 {
		return 0, false
	}
	n, err := strconv.ParseFloat(s[:i], 64)
	unit := strings.TrimSpace(s[i:])
	base := 1000.0
	if b, ok := strings.CutSuffix(unit, "iB"); ok {
		unit, base = b, 1024
	} else {
		unit = strings.TrimSuffix(unit, "B")
	}
	power := strings.Index("KMGTP", unit) + 1
	if err != nil || len(unit) != 1 || power == 0 {
		return 0, false
	}
	for range power {
		n *= base
	}
	return uint64(n), n >= 1 && n < 1<<62
}

// addr reads an IPv6 unicast address without zone.
func (p *parser) addr(v value) (netip.Addr, bool) {
	s, ok := p.text(v)
	if !ok {
		return netip.Addr{}, false
	}
	a, err := netip.ParseAddr(s)
	if err != nil {
		if x, err := netip.ParsePrefix(s); err == nil {
			p.bad(v, "%s is a prefix; an address has no length, did you mean %s?", s, x.Addr())
		} else {
			p.bad(v, "%q is not an IPv6 address", shorten(s))
		}
		return a, false
	}
	return a, p.usable(v, a)
}

// suffix reads the part of an address that follows the prefix.
func (p *parser) suffix(v value) (netip.Addr, bool) {
	a, ok := p.addr(v)
	if ok && !IsSuffix(a) {
		p.bad(v, "%s is no suffix: write what follows the prefix, such as ::1", a)
		return a, false
	}
	return a, ok
}

// usable refuses what can be no server's or host's address.
func (p *parser) usable(v value, a netip.Addr) bool {
	switch {
	case a.Is4() || a.Is4In6():
		p.bad(v, "%s is an IPv4 address: bootd serves IPv6 only", a)
	case a.Zone() != "":
		p.bad(v, "%s has a zone: write the address alone", shorten(a.String()))
	case a.IsMulticast():
		p.bad(v, "%s is a multicast address", a)
	case a.IsUnspecified():
		p.bad(v, "%s is the unspecified address", a)
	default:
		return true
	}
	return false
}

// prefix reads a network's prefix; whether its length suits is checked when the whole network is known.
func (p *parser) prefix(v value) (netip.Prefix, bool) {
	var none netip.Prefix
	s, ok := p.text(v)
	if !ok {
		return none, false
	}
	if a, err := netip.ParseAddr(s); err == nil && a.Is6() && !a.Is4In6() && a.Zone() == "" {
		p.bad(v, "%s has no length, did you mean %s?", s, netip.PrefixFrom(a, 64).Masked())
		return none, false
	}
	x, err := netip.ParsePrefix(s)
	switch {
	case err != nil:
		p.bad(v, "%q is not an IPv6 prefix, such as 2001:db8:1::/64", shorten(s))
	case !p.usable(v, x.Addr()):
	case x.Bits() < minOnLink || x.Bits() > maxOnLink:
		p.bad(v, "a prefix on a link is a /64; with ra.autonomous: false it may be from /48 to /120")
	case x.Addr().IsLinkLocalUnicast() || x.Addr().IsLoopback():
		p.bad(v, "%s is link-local: write a global (2000::/3) or unique-local (fd00::/8) prefix", x)
	case x != x.Masked():
		p.bad(v, "%s has host bits set, did you mean %s?", s, x.Masked())
	default:
		return x, true
	}
	return none, false
}

// addrPort reads [address]:port, or an address where port is not 0.
func (p *parser) addrPort(v value, port uint16, like string) (netip.AddrPort, bool) {
	s, ok := p.text(v)
	if !ok {
		return netip.AddrPort{}, false
	}
	ap, err := netip.ParseAddrPort(s)
	if err != nil && port != 0 {
		var a netip.Addr
		a, err = netip.ParseAddr(s)
		ap = netip.AddrPortFrom(a, port)
	}
	if err != nil || ap.Port() == 0 {
		p.bad(v, "%q is not %s", shorten(s), like)
		return netip.AddrPort{}, false
	}
	return ap, p.usable(v, ap.Addr())
}

// below reads a path that stays below a directory of the server.
func (p *parser) below(v value) (string, bool) {
	s, ok := p.text(v)
	switch {
	case !ok:
	case strings.HasPrefix(s, "/"):
		p.bad(v, "%q begins with /: write it relative to the files or templates directory", shorten(s))
	case strings.ContainsAny(s, `\?#%" `) || path.Clean(s) != s || s == ".." || strings.HasPrefix(s, "../") || s == ".":
		p.bad(v, "%q is not a plain relative path, such as debian13/linux", shorten(s))
	default:
		return s, true
	}
	return "", false
}

// mac reads a card's address; without separators YAML may take it for a number.
func (p *parser) mac(v value) (ident.MAC, bool) {
	s := v.node.Value
	if v.node.Kind != yaml.ScalarNode || v.null() {
		p.bad(v, "wants a MAC such as 52:54:00:aa:01:01, got %s", describe(v.node))
		return ident.MAC{}, false
	}
	m, err := ident.ParseMAC(s)
	switch {
	case err != nil:
		p.bad(v, "%q is %s", shorten(s), err)
	case m[0]&1 != 0:
		p.bad(v, "%s is a group address: no card has it", m)
	case !m.Valid():
		p.bad(v, "%s is no card's address", m)
	default:
		return m, true
	}
	return ident.MAC{}, false
}

func (p *parser) uuid(v value) (ident.UUID, bool) {
	if v.node.Kind != yaml.ScalarNode || v.null() {
		p.bad(v, "wants a UUID, got %s", describe(v.node))
		return ident.UUID{}, false
	}
	u, err := ident.ParseUUID(v.node.Value)
	switch {
	case err != nil:
		p.bad(v, "%q is %s", shorten(v.node.Value), err)
	case !u.Identifies():
		p.bad(v, "%s is what boards without a UUID carry: leave it out", u)
	default:
		return u, true
	}
	return ident.UUID{}, false
}

func (p *parser) duid(v value) (ident.DUID, bool) {
	if v.node.Kind != yaml.ScalarNode || v.null() {
		p.bad(v, "wants a DUID, got %s", describe(v.node))
		return "", false
	}
	d, err := ident.ParseDUID(v.node.Value)
	if err != nil {
		p.bad(v, "%q is %s", shorten(v.node.Value), err)
	}
	return d, err == nil
}
