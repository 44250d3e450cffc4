package inventory

import (
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// DNS is the section `dns:`: how names that are not the site's own are resolved, and who may ask.
type DNS struct {
	// Upstreams are the recursive resolvers that questions go to; serve.forward is their short form.
	Upstreams Value[[]Upstream]
	// Access are prefixes behind routers whose machines may ask, besides the networks' own.
	Access []Value[netip.Prefix]
	// Cache is the most that kept answers may take, in octets.
	Cache Value[uint64]
	// Stale is how long an answer that has run out is kept for times when no upstream answers (RFC 8767); 0: not at all.
	Stale Value[time.Duration]
	// ClientLimit is how many questions of one machine may wait for upstreams, UpstreamLimit how many may wait for one upstream.
	ClientLimit, UpstreamLimit Value[int]
	// Records are names besides those of hosts.
	Records []Names
}

// The transports of an Upstream.
const (
	TransportUDP = "udp"
	TransportTCP = "tcp"
	TransportTLS = "tls"
)

// Upstream is one resolver.
type Upstream struct {
	// Transport is udp (TCP where an answer was cut), tcp or tls (RFC 7858).
	Transport string
	Addr      netip.AddrPort
	// Name is the one that its certificate must be for; tls only.
	Name string
}

// String is the form of the inventory.
func (u Upstream) String() string {
	switch u.Transport {
	case TransportTLS:
		return "tls://" + u.Addr.String() + "#" + u.Name
	case TransportTCP:
		return "tcp://" + u.Addr.String()
	}
	return u.Addr.String()
}

var dnsFields = []field[DNS]{
	{name: "upstreams", set: put(func(d *DNS) *Value[[]Upstream] { return &d.Upstreams }, someOf((*parser).upstream))},
	{name: "access", set: func(p *parser, d *DNS, v value) { d.Access, _ = listOf(placed((*parser).accessPrefix))(p, v) }},
	{name: "cache", set: put(func(d *DNS) *Value[uint64] { return &d.Cache }, (*parser).cacheSize)},
	{name: "stale", set: put(func(d *DNS) *Value[time.Duration] { return &d.Stale }, within(0, 7*24*time.Hour, ""))},
	{name: "client_limit", set: put(func(d *DNS) *Value[int] { return &d.ClientLimit }, between(1, 4096))},
	{name: "upstream_limit", set: put(func(d *DNS) *Value[int] { return &d.UpstreamLimit }, between(1, 4096))},
	{name: "records", set: func(p *parser, d *DNS, v value) { d.Records = p.records(v, false) }},
}

// Bounds of the cache: what one large answer needs, and more than a site's names ever fill.
const (
	minCache = 1_000_000
	maxCache = 4_000_000_000
)

func (p *parser) cacheSize(v value) (uint64, bool) {
	n, ok := p.amount(v, "16M or 1G", "16M, 1G or 512MiB")
	if ok && (n < minCache || n > maxCache) {
		p.bad(v, "%s is not between 1M and 4G", shorten(v.node.Value))
		return 0, false
	}
	return n, ok
}

// upstream reads ADDRESS, [ADDRESS]:PORT, tcp://[ADDRESS]:PORT or tls://[ADDRESS]:PORT#NAME.
func (p *parser) upstream(v value) (Upstream, bool) {
	s, ok := p.text(v)
	if !ok {
		return Upstream{}, false
	}
	u := Upstream{Transport: TransportUDP}
	rest := s
	if scheme, after, found := strings.Cut(s, "://"); found {
		switch scheme {
		case TransportUDP, TransportTCP, TransportTLS:
			u.Transport, rest = scheme, after
		default:
			p.bad(v, "%q is no way to ask a resolver: write udp://, tcp:// or tls://", shorten(scheme))
			return u, false
		}
	}
	rest, name, named := strings.Cut(rest, "#")
	switch {
	case u.Transport == TransportTLS && !named:
		p.bad(v, "names nobody whose certificate is wanted: write %s#dns.example.net", shorten(s))
		return u, false
	case u.Transport != TransportTLS && named:
		p.bad(v, "only tls:// checks a name: leave #%s out, or write tls://%s", shorten(name), shorten(rest+"#"+name))
		return u, false
	case named && !domainName(name):
		p.bad(v, "%q is not a domain name in lower case, such as dns.example.net", shorten(name))
		return u, false
	}
	u.Name = name
	port := uint16(53)
	if u.Transport == TransportTLS {
		port = 853
	}
	addr := rest
	if strings.HasPrefix(rest, "[") && strings.HasSuffix(rest, "]") {
		addr = rest[1 : len(rest)-1]
	}
	ap, err := netip.ParseAddrPort(rest)
	if err != nil {
		var a netip.Addr
		a, err = netip.ParseAddr(addr)
		ap = netip.AddrPortFrom(a, port)
	}
	if err != nil || ap.Port() == 0 {
		p.bad(v, "%q is not an address such as 2001:db8::53, [2001:db8::53]:5353 or tls://[2001:db8::53]:853#dns.example.net", shorten(s))
		return u, false
	}
	u.Addr = ap
	return u, p.usable(v, ap.Addr())
}

// accessPrefix reads a prefix that may ask: global or unique-local, of any length that is not the whole Internet.
func (p *parser) accessPrefix(v value) (netip.Prefix, bool) {
	s, ok := p.text(v)
	if !ok {
		return netip.Prefix{}, false
	}
	x, err := netip.ParsePrefix(s)
	switch {
	case err != nil:
		p.bad(v, "%q is not an IPv6 prefix, such as 2001:db8:1::/64", shorten(s))
	case x.Bits() == 0:
		p.bad(v, "%s is everybody: an open resolver is a weapon in others' hands", s)
	case !p.usable(v, x.Addr()):
	case x.Bits() < 16:
		p.bad(v, "/%d is wider than any site: write prefixes from /16", x.Bits())
	case x != x.Masked():
		p.bad(v, "%s has host bits set, did you mean %s?", s, x.Masked())
	default:
		return x, true
	}
	return netip.Prefix{}, false
}

// upstreams finds resolvers that are written in both places.
func (c *checker) upstreams() {
	short, long := c.inv.Serve.Forward, c.inv.DNS.Upstreams
	if short.Set() && long.Set() {
		c.badAt(long.Pos, "stands beside serve.forward (line %s): keep one of the two", strconv.Itoa(short.Pos.Line))
	}
}
