package inventory

import (
	"net/netip"
	"slices"
	"strings"
	"time"

	"gopkg.in/yaml.v3"
)

// RA is the key `ra:` of a network: what its router advertisements say (RFC 4861 section 6.2.1, RFC 4191, RFC 8106, RFC 8781,
// RFC 8910). Unset values take those of BuiltinRA.
type RA struct {
	Managed, Other, Autonomous, OnLink Value[bool]
	MinInterval, MaxInterval, Lifetime Value[time.Duration]
	MTU, HopLimit                      Value[int]
	// ReachableTime and RetransTimer are whole milliseconds, 0: not specified.
	ReachableTime, RetransTimer Value[time.Duration]
	// Preference: low, medium, high (RFC 4191).
	Preference Value[string]
	// Prefixes are those that are advertised otherwise than the network says.
	Prefixes []RAPrefix
	// Routes are told besides the default route (RFC 4191 section 2.3).
	Routes []RARoute
	// RDNSSLifetime is how long the resolvers may be used, DNSSLLifetime the search domains; 0: not any more.
	RDNSSLifetime, DNSSLLifetime Value[time.Duration]
	// Pref64 are the prefixes of NAT64 (RFC 8781).
	Pref64 []RAPref64
	// CaptivePortal is the URI of the portal's API (RFC 8910).
	CaptivePortal Value[string]
}

// RAPrefix is how one prefix of a network is advertised; what is unset is the network's.
type RAPrefix struct {
	Prefix             Value[netip.Prefix]
	Autonomous, OnLink Value[bool]
	Preferred, Valid   Value[time.Duration]
}

// RARoute is one route to a prefix by this router.
type RARoute struct {
	Prefix     Value[netip.Prefix]
	Lifetime   Value[time.Duration]
	Preference Value[string]
}

// RAPref64 is the prefix of one NAT64.
type RAPref64 struct {
	Prefix   Value[netip.Prefix]
	Lifetime Value[time.Duration]
}

// Bounds of RFC 4861 section 6.2.1.
const (
	minMaxInterval   = 4 * time.Second
	maxMaxInterval   = 1800 * time.Second
	minMinInterval   = 3 * time.Second
	maxLifetimeRA    = 9000 * time.Second
	maxReachableTime = time.Hour
	// maxPref64 is the largest lifetime that its 13 bits of 8 seconds carry (RFC 8781 section 4).
	maxPref64 = 8191 * 8 * time.Second
	// maxPortal bounds the URI of a captive portal in octets: it must leave room for the rest of an advertisement.
	maxPortal = 240
	// capportNone says that there is no captive portal (RFC 8910 section 2).
	capportNone = "urn:ietf:params:capport:unrestricted"
)

var preferences = []string{"low", "medium", "high"}

var raFields = []field[RA]{
	{name: "managed", set: put(func(r *RA) *Value[bool] { return &r.Managed }, (*parser).boolean)},
	{name: "other", set: put(func(r *RA) *Value[bool] { return &r.Other }, (*parser).boolean)},
	{name: "autonomous", set: put(func(r *RA) *Value[bool] { return &r.Autonomous }, (*parser).boolean)},
	{name: "on_link", set: put(func(r *RA) *Value[bool] { return &r.OnLink }, (*parser).boolean)},
	{name: "min_interval", set: put(func(r *RA) *Value[time.Duration] { return &r.MinInterval },
		within(minMinInterval, maxMaxInterval*3/4, " (RFC 4861)"))},
	{name: "max_interval", set: put(func(r *RA) *Value[time.Duration] { return &r.MaxInterval },
		within(minMaxInterval, maxMaxInterval, " (RFC 4861)"))},
	{name: "lifetime", set: put(func(r *RA) *Value[time.Duration] { return &r.Lifetime },
		within(0, maxLifetimeRA, " (RFC 4861)"))},
	{name: "mtu", set: put(func(r *RA) *Value[int] { return &r.MTU }, between(1280, 65535))},
	{name: "hop_limit", set: put(func(r *RA) *Value[int] { return &r.HopLimit }, between(0, 255))},
	{name: "reachable_time", set: put(func(r *RA) *Value[time.Duration] { return &r.ReachableTime }, (*parser).milliseconds)},
	{name: "retrans_timer", set: put(func(r *RA) *Value[time.Duration] { return &r.RetransTimer }, (*parser).milliseconds)},
	{name: "preference", set: put(func(r *RA) *Value[string] { return &r.Preference }, oneOf(preferences))},
	{name: "prefixes", set: func(p *parser, r *RA, v value) { r.Prefixes, _ = someOf((*parser).raPrefix)(p, v) }},
	{name: "routes", set: func(p *parser, r *RA, v value) { r.Routes, _ = someOf((*parser).raRoute)(p, v) }},
	{name: "rdnss_lifetime", set: put(func(r *RA) *Value[time.Duration] { return &r.RDNSSLifetime }, lasting(0))},
	{name: "dnssl_lifetime", set: put(func(r *RA) *Value[time.Duration] { return &r.DNSSLLifetime }, lasting(0))},
	{name: "pref64", set: func(p *parser, r *RA, v value) { r.Pref64, _ = someOf((*parser).raPref64)(p, v) }},
	{name: "captive_portal", set: put(func(r *RA) *Value[string] { return &r.CaptivePortal }, (*parser).portal)},
}

var raPrefixFields = []field[RAPrefix]{
	{name: "prefix", set: put(func(r *RAPrefix) *Value[netip.Prefix] { return &r.Prefix }, (*parser).prefix)},
	{name: "autonomous", set: put(func(r *RAPrefix) *Value[bool] { return &r.Autonomous }, (*parser).boolean)},
	{name: "on_link", set: put(func(r *RAPrefix) *Value[bool] { return &r.OnLink }, (*parser).boolean)},
	{name: "preferred", set: put(func(r *RAPrefix) *Value[time.Duration] { return &r.Preferred }, lasting(0))},
	{name: "valid", set: put(func(r *RAPrefix) *Value[time.Duration] { return &r.Valid }, lasting(time.Second))},
}

var raRouteFields = []field[RARoute]{
	{name: "prefix", set: put(func(r *RARoute) *Value[netip.Prefix] { return &r.Prefix }, (*parser).route)},
	{name: "lifetime", set: put(func(r *RARoute) *Value[time.Duration] { return &r.Lifetime }, lasting(0))},
	{name: "preference", set: put(func(r *RARoute) *Value[string] { return &r.Preference }, oneOf(preferences))},
}

var raPref64Fields = []field[RAPref64]{
	{name: "prefix", set: put(func(r *RAPref64) *Value[netip.Prefix] { return &r.Prefix }, (*parser).nat64)},
	{name: "lifetime", set: put(func(r *RAPref64) *Value[time.Duration] { return &r.Lifetime }, within(0, maxPref64, " (RFC 8781)"))},
}

// raPrefix reads one entry of ra.prefixes.
func (p *parser) raPrefix(v value) (r RAPrefix, ok bool) {
	before := len(p.faults)
	if v.node.Kind == yaml.ScalarNode {
		p.bad(v, "wants keys with values, got %s: write {prefix: \"2001:db8:1::/64\", autonomous: false}", describe(v.node))
		return r, false
	}
	walk(p, v, raPrefixFields, &r)
	if len(p.faults) == before && !r.Prefix.Set() {
		p.bad(v, "names no prefix: write {prefix: \"2001:db8:1::/64\", autonomous: false}")
	}
	return r, len(p.faults) == before
}

// raRoute reads a route: its prefix alone, or with its keys.
func (p *parser) raRoute(v value) (r RARoute, ok bool) {
	before := len(p.faults)
	if v.node.Kind != yaml.MappingNode {
		put(func(r *RARoute) *Value[netip.Prefix] { return &r.Prefix }, (*parser).route)(p, &r, v)
		return r, len(p.faults) == before
	}
	walk(p, v, raRouteFields, &r)
	if len(p.faults) == before && !r.Prefix.Set() {
		p.bad(v, "names no prefix: write {prefix: \"2001:db8:100::/48\", preference: high}")
	}
	return r, len(p.faults) == before
}

// raPref64 reads the prefix of a NAT64: alone, or with its lifetime.
func (p *parser) raPref64(v value) (r RAPref64, ok bool) {
	before := len(p.faults)
	if v.node.Kind != yaml.MappingNode {
		put(func(r *RAPref64) *Value[netip.Prefix] { return &r.Prefix }, (*parser).nat64)(p, &r, v)
		return r, len(p.faults) == before
	}
	walk(p, v, raPref64Fields, &r)
	if len(p.faults) == before && !r.Prefix.Set() {
		p.bad(v, "names no prefix: write {prefix: \"64:ff9b::/96\", lifetime: 30m}")
	}
	return r, len(p.faults) == before
}

// anyPrefix reads a prefix of any length without host bits.
func (p *parser) anyPrefix(v value, like string) (netip.Prefix, bool) {
	s, ok := p.text(v)
	if !ok {
		return netip.Prefix{}, false
	}
	x, err := netip.ParsePrefix(s)
	switch {
	case err != nil || x.Addr().Is4() || x.Addr().Is4In6():
		p.bad(v, "%q is not an IPv6 prefix, such as %s", shorten(s), like)
	case x != x.Masked():
		p.bad(v, "%s has host bits set, did you mean %s?", s, x.Masked())
	default:
		return x, true
	}
	return netip.Prefix{}, false
}

// route reads where a route leads; ::/0 is legal.
func (p *parser) route(v value) (netip.Prefix, bool) {
	x, ok := p.anyPrefix(v, "2001:db8:100::/48")
	if ok && (x.Addr().IsMulticast() || x.Addr().IsLinkLocalUnicast() || x.Addr().IsLoopback()) {
		p.bad(v, "%s is never routed: write a global (2000::/3) or unique-local (fd00::/8) prefix, or ::/0", x)
		return x, false
	}
	return x, ok
}

// nat64 reads a prefix that IPv4 addresses are embedded in (RFC 6052 section 2.2): bits 64 to 71 are zero.
func (p *parser) nat64(v value) (netip.Prefix, bool) {
	x, ok := p.anyPrefix(v, "64:ff9b::/96")
	switch a := x.Addr().As16(); {
	case !ok:
	case !slices.Contains([]int{96, 64, 56, 48, 40, 32}, x.Bits()):
		p.bad(v, "%s cannot hold IPv4 addresses: a NAT64 prefix has 96, 64, 56, 48, 40 or 32 bits (RFC 6052)", x)
	case x.Addr().IsMulticast() || x.Addr().IsLinkLocalUnicast() || x.Addr().IsUnspecified():
		p.bad(v, "%s is no prefix of a NAT64: write 64:ff9b::/96 or one of your own", x)
	case a[8] != 0:
		p.bad(v, "%s has bits among 64 to 71 set, which must be zero (RFC 6052)", x)
	default:
		return x, true
	}
	return netip.Prefix{}, false
}

// milliseconds reads a duration with ms as a further unit; RFC 4861 counts these timers so.
func (p *parser) milliseconds(v value) (d time.Duration, ok bool) {
	s, ok := p.quantity(v, "a duration", "500ms or 30s")
	if !ok {
		return 0, false
	}
	if n, is := strings.CutSuffix(s, "ms"); is {
		d, ok = parseDuration(n + "s") // of 1s500ms it would read 501
		ok = ok && strings.Trim(n, "0123456789") == ""
		d /= 1000
	} else {
		d, ok = parseDuration(s)
	}
	switch {
	case !ok:
		p.bad(v, "%q is not a duration, such as 500ms or 30s", shorten(s))
	case d > maxReachableTime:
		p.bad(v, "%s is not between 0s and 1h (RFC 4861)", shorten(s))
		ok = false
	}
	return d, ok
}

// portal reads the URI of a captive portal's API, which is https (RFC 8908 section 4).
func (p *parser) portal(v value) (string, bool) {
	s, ok := p.text(v)
	if !ok || s == capportNone {
		return s, ok
	}
	host, _, _ := strings.Cut(strings.TrimPrefix(s, "https://"), "/")
	switch {
	case !strings.HasPrefix(s, "https://") || host == "" || strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' }):
		p.bad(v, "%q is not the URI of a portal's API, such as https://portal.example.net/api (or %s)", shorten(s), capportNone)
	case len(s) > maxPortal:
		p.bad(v, "the URI has %d characters: at most %d fit beside the rest", len(s), maxPortal)
	default:
		return s, true
	}
	return "", false
}

// intervals checks what RFC 4861 section 6.2.1 says of values together: what hosts forget between two advertisements is of no
// use to them.
func (p *parser) intervals(n Network) {
	most := n.RA.MaxInterval.Or(BuiltinRA().MaxInterval)
	if least := n.RA.MinInterval; least.Set() && least.V > most.V*3/4 {
		p.badAt(least.Pos, "%s is more than three quarters of max_interval %s (RFC 4861)", brief(least.V), brief(most.V))
	}
	lives := func(life Value[time.Duration], what string) {
		if life.Set() && life.V != 0 && life.V < most.V {
			p.badAt(life.Pos, "%s is less than max_interval %s: hosts would lose %s between two advertisements", brief(life.V), brief(most.V), what)
		}
	}
	lives(n.RA.Lifetime, "their router")
	lives(n.RA.RDNSSLifetime, "their resolvers")
	lives(n.RA.DNSSLLifetime, "their search domains")
	for _, r := range n.RA.Routes {
		lives(r.Lifetime, "the route")
	}
	for _, r := range n.RA.Pref64 {
		lives(r.Lifetime, "the NAT64")
	}
}

// advertised checks the lists of each network's `ra:` against the network.
func (c *checker) advertised() {
	for i := range c.inv.Networks {
		n := &c.inv.Networks[i]
		c.advertisedPrefixes(n)
		twice(c, n.RA.Routes, func(r RARoute) Value[netip.Prefix] { return r.Prefix })
		twice(c, n.RA.Pref64, func(r RAPref64) Value[netip.Prefix] { return r.Prefix })
	}
}

func (c *checker) advertisedPrefixes(n *Network) {
	twice(c, n.RA.Prefixes, func(r RAPrefix) Value[netip.Prefix] { return r.Prefix })
	for _, r := range n.RA.Prefixes {
		known := slices.ContainsFunc(n.Prefixes, func(p Value[netip.Prefix]) bool { return p.V == r.Prefix.V })
		if !known && !c.incomplete[n.Name] && !n.Auto.Set() {
			c.badAt(r.Prefix.Pos, "%s is not a prefix of %s (%s)", r.Prefix.V, n.Name, n.places())
		}
		if known && r.Autonomous.V && r.Prefix.V.Bits() != 64 {
			c.badAt(r.Autonomous.Pos, "%s is not a /64, which clients need to make their own addresses (SLAAC)", r.Prefix.V)
		}
		preferred := r.Preferred.Or(n.Preferred).Or(c.inv.Defaults.Preferred).Or(Builtin().Preferred)
		valid := r.Valid.Or(n.Valid).Or(c.inv.Defaults.Valid).Or(Builtin().Valid)
		if at := r.Preferred.Or(r.Valid); at.Set() && preferred.V > valid.V {
			c.badAt(at.Pos, "preferred %s (%s) is longer than valid %s (%s)", brief(preferred.V), preferred.From, brief(valid.V), valid.From)
		}
	}
}

// twice finds a prefix that one list names two times.
func twice[T any](c *checker, all []T, get func(T) Value[netip.Prefix]) {
	seen := map[netip.Prefix]int{}
	for _, x := range all {
		p := get(x)
		if line, dup := seen[p.V]; dup {
			c.badAt(p.Pos, "%s is there twice, first on line %d", p.V, line)
			continue
		}
		seen[p.V] = p.Pos.Line
	}
}
