package importer

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// radvdInterface is one interface of radvd.conf, as lines of a network to be.
type radvdInterface struct {
	at   Place
	name string
	// prefixes are those it advertises; auto: those of its own addresses (::/64).
	prefixes []radvdPrefix
	auto     *radvdPrefix
	ra       *node
	// servers and search are what RDNSS and DNSSL told.
	servers, search []string
	serversAt       Place
	searchAt        Place
	other           bool // it sent no advertisements
}

type radvdPrefix struct {
	netip.Prefix
	at               Place
	onLink, auto     bool
	preferred, valid uint64
	given            bool // lifetimes were written
}

var radvdBegins = []string{
	"interface", "prefix", "route", "RDNSS", "DNSSL", "AdvSendAdvert", "MinRtrAdvInterval", "MaxRtrAdvInterval", "AdvManagedFlag",
	"AdvOtherConfigFlag", "AdvOnLink", "AdvAutonomous", "IgnoreIfMissing", "AdvLinkMTU", "AdvDefaultLifetime", "AdvRDNSSLifetime",
}

// radvd reads radvd.conf.
func (d *dhcpd) radvd(f File) ([]*radvdInterface, error) {
	r := &iscReader{begins: radvdBegins}
	list, err := r.read(f.Name, f.Data, Place{f.Name, 1})
	if err != nil {
		return nil, err
	}
	var out []*radvdInterface
	for _, s := range list {
		if s.head() != "interface" || !s.hasBlock {
			d.lost(s.Place, "%s", s)
			continue
		}
		for _, name := range s.rest(1) { // several names share one block
			out = append(out, d.advertiser(name, s))
		}
	}
	return out, nil
}

// advertiser reads the block of an interface. radvd's defaults are written where bootd's differ.
func (d *dhcpd) advertiser(name string, s *statement) *radvdInterface {
	i := &radvdInterface{at: s.Place, name: name, ra: &node{key: "ra", from: s.Place}, other: true}
	i.ra.kids = []*node{
		{key: "managed", value: "false", said: "radvd's default"},
		{key: "other", value: "false", said: "radvd's default"},
		{key: "max_interval", value: "10m", said: "radvd's default"},
	}
	for _, x := range s.block {
		switch x.head() {
		case "prefix":
			d.advertised(i, x)
		case "route":
			d.route(i, x)
		case "RDNSS":
			i.serversAt = x.Place
			i.servers = append(i.servers, d.told(i, x, "rdnss_lifetime", "AdvRDNSSLifetime", "FlushRDNSS")...)
		case "DNSSL":
			i.searchAt = x.Place
			i.search = append(i.search, d.told(i, x, "dnssl_lifetime", "AdvDNSSLLifetime", "FlushDNSSL")...)
		case "nat64prefix":
			d.nat64(i, x)
		default:
			d.radvdOption(i, x)
		}
	}
	return i
}

// radvdKeys are options of an interface that are keys of ra: how their value is written, and the key.
var radvdKeys = map[string]struct{ key, kind string }{
	"AdvManagedFlag": {"managed", "switch"}, "AdvOtherConfigFlag": {"other", "switch"},
	"MaxRtrAdvInterval": {"max_interval", "seconds"}, "MinRtrAdvInterval": {"min_interval", "seconds"},
	"AdvDefaultLifetime": {"lifetime", "seconds"}, "AdvLinkMTU": {"mtu", "number"}, "AdvCurHopLimit": {"hop_limit", "number"},
	"AdvDefaultPreference": {"preference", "word"}, "AdvReachableTime": {"reachable_time", "ms"},
	"AdvRetransTimer": {"retrans_timer", "ms"}, "AdvCaptivePortalAPI": {"captive_portal", "text"},
}

// radvdItself says what bootd does without being told, by option and value; an empty value is any.
var radvdItself = map[string]map[string]string{
	"IgnoreIfMissing":    {"on": "a network whose interface is missing is served when it comes", "off": "a network whose interface is missing is served when it comes"},
	"AdvSourceLLAddress": {"on": "advertisements carry the link-layer address"},
	"AdvIntervalOpt":     {"off": "not sent"}, "AdvHomeAgentFlag": {"off": "not sent"}, "AdvHomeAgentInfo": {"off": "not sent"},
	"AdvMobRtrSupportFlag": {"off": "not sent"}, "UnicastOnly": {"off": "advertisements are multicast too"},
	"MinDelayBetweenRAs": {"": "the RFC's three seconds lie between two multicasts; solicitations are answered at once by unicast"},
	"AdvRouterAddr":      {"off": "not sent"}, "DecrementLifetimes": {"off": "lifetimes are those that are written"},
	"DeprecatePrefix": {"": "a prefix that leaves the inventory is advertised as deprecated until its lifetime is over"},
	"FlushRDNSS":      {"": "resolvers stay as long as they were told to"}, "FlushDNSSL": {"": "search domains stay as long as they were told to"},
	"RemoveRoute": {"": "routes stay as long as they were told to"}, "RemoveAdvOnExit": {"": "bootd stop sends a final advertisement, a restart does not"},
	"AdvRDNSSPreference": {"": "radvd itself ignores it"}, "AdvRDNSSOpen": {"": "radvd itself ignores it"}, "UnrestrictedUnicast": {"": "solicitations are answered by unicast"},
	"AdvRASolicitedUnicast": {"on": "solicitations are answered by unicast"},
}

func (d *dhcpd) ownWay(s *statement) bool {
	values, ok := radvdItself[s.head()]
	if !ok {
		return false
	}
	text, ok := values[s.arg(1)]
	if !ok {
		text, ok = values[""]
	}
	if ok {
		d.itself(s.Place, "%s: %s", s, text)
	}
	return ok
}

// radvdOption reads one option of an interface.
func (d *dhcpd) radvdOption(i *radvdInterface, s *statement) {
	k, ok := radvdKeys[s.head()]
	v := ""
	switch n, err := strconv.ParseUint(s.arg(1), 10, 32); {
	case s.head() == "AdvSendAdvert":
		i.other = s.arg(1) != "on"
		return
	case !ok:
		if !d.ownWay(s) {
			d.lost(s.Place, "%s", s)
		}
		return
	case k.kind == "switch" && (s.arg(1) == "on" || s.arg(1) == "off"):
		v = strconv.FormatBool(s.arg(1) == "on")
	case k.kind == "seconds" && err == nil:
		v = duration(n)
	case k.kind == "ms" && err == nil:
		if v = duration(n / 1000); n%1000 != 0 {
			v = s.arg(1) + "ms"
		}
	case k.kind == "number" && err == nil:
		v = s.arg(1)
	case k.kind == "word" || k.kind == "text":
		v = quote(s.arg(1))
	}
	if v == "" {
		d.lost(s.Place, "%s", s)
		return
	}
	line := node{key: k.key, value: v, from: s.Place}
	if old := i.ra.get(k.key); old != nil {
		*old = line
		return
	}
	i.ra.kids = append(i.ra.kids, &line)
}

// lifetimes of radvd: a number of seconds or infinity.
func (d *dhcpd) lifetime(s *statement) (uint64, bool) {
	if s.arg(1) == "infinity" {
		return infinity, true
	}
	n, err := strconv.ParseUint(s.arg(1), 10, 32)
	if err != nil {
		d.lost(s.Place, "%s", s)
	}
	return n, err == nil
}

// advertised reads a prefix with its block.
func (d *dhcpd) advertised(i *radvdInterface, s *statement) {
	p, err := netip.ParsePrefix(s.arg(1))
	if err != nil || !p.Addr().Is6() {
		d.lost(s.Place, "%s: %q is not an IPv6 prefix", s, s.arg(1))
		return
	}
	x := radvdPrefix{Prefix: p.Masked(), at: s.Place, onLink: true, auto: true, preferred: 14400, valid: 86400}
	for _, o := range s.block {
		on := o.arg(1) == "on"
		switch n, ok := uint64(0), false; o.head() {
		case "AdvOnLink":
			x.onLink = on
		case "AdvAutonomous":
			x.auto = on
		case "AdvValidLifetime":
			if n, ok = d.lifetime(o); ok {
				x.valid, x.given = n, true
			}
		case "AdvPreferredLifetime":
			if n, ok = d.lifetime(o); ok {
				x.preferred, x.given = n, true
			}
		case "Base6to4Interface", "Base6Interface":
			d.lost(s.Place, "%s: %s: radvd made the prefix out of the address of another interface: write prefix: with one of yours, or {from: UPSTREAM, subnet: N} where bootd asks a router for it", s, o)
			return
		default:
			if !d.ownWay(o) {
				d.lost(o.Place, "%s", o)
			}
		}
	}
	if x.Addr().IsUnspecified() && x.Bits() == 64 {
		i.auto = &x
		return
	}
	i.prefixes = append(i.prefixes, x)
}

// route reads a route with its block.
func (d *dhcpd) route(i *radvdInterface, s *statement) {
	p, ok := prefixText(s.arg(1))
	if !ok {
		d.lost(s.Place, "%s: %q is not an IPv6 prefix", s, s.arg(1))
		return
	}
	text := "prefix: " + quote(p.String())
	for _, o := range s.block {
		switch o.head() {
		case "AdvRouteLifetime":
			if n, ok := d.lifetime(o); ok {
				text += ", lifetime: " + duration(n)
			}
		case "AdvRoutePreference":
			text += ", preference: " + quote(o.arg(1))
		default:
			if !d.ownWay(o) {
				d.lost(o.Place, "%s", o)
			}
		}
	}
	r := i.ra.under("routes", s.Place)
	r.add("-", "{"+text+"}", s.Place)
}

// maxNAT64 is the longest lifetime of a NAT64's prefix: 13 bits of eight seconds (RFC 8781 section 4).
const maxNAT64 = 8191 * 8

func (d *dhcpd) nat64(i *radvdInterface, s *statement) {
	p, ok := prefixText(s.arg(1))
	if !ok {
		d.lost(s.Place, "%s: %q is not an IPv6 prefix", s, s.arg(1))
		return
	}
	text := "prefix: " + quote(p.String())
	for _, o := range s.block {
		if n, ok := uint64(0), false; o.head() == "AdvValidLifetime" {
			if n, ok = d.lifetime(o); ok {
				if n > maxNAT64 {
					d.review(o.Place, "%s: an advertisement can say %s of a NAT64 at most (RFC 8781)", o, duration(maxNAT64))
				}
				text += ", lifetime: " + duration(min(n, maxNAT64))
			}
			continue
		}
		d.lost(o.Place, "%s", o)
	}
	i.ra.under("pref64", s.Place).add("-", "{"+text+"}", s.Place)
}

// told reads RDNSS or DNSSL: what it tells, and for how long.
func (d *dhcpd) told(i *radvdInterface, s *statement, key, lifetime, flush string) []string {
	for _, o := range s.block {
		switch n, ok := uint64(0), false; o.head() {
		case lifetime:
			if n, ok = d.lifetime(o); ok {
				d.set(i.ra, key, duration(n), o.Place)
			}
		default:
			if !d.ownWay(o) {
				d.lost(o.Place, "%s", o)
			}
		}
	}
	return s.rest(1)
}

// routers gives each network the router advertisements that radvd sent there.
func (d *dhcpd) routers(all []*radvdInterface, beside bool) {
	for _, i := range all {
		if i.other && !beside {
			d.itself(i.at, "interface %s: radvd sends nothing there without AdvSendAdvert on, and bootd without a network", oneLine(i.name))
			continue
		}
		n := d.routed(i, beside)
		if n.routed {
			first := n.node.get("interface")
			if first.value == quote(i.name) {
				d.lost(i.at, "interface %s: it is there twice, first %s", oneLine(i.name), first.from)
			} else {
				d.lost(i.at, "interface %s: it has a prefix of %s (%s), and bootd serves a prefix on one link: give this one a prefix of its own", oneLine(i.name), first.value, first.from)
			}
			continue
		}
		n.routed = true
		d.set(n.node, "interface", quote(i.name), i.at)
		if i.other {
			n.node.kids = append(n.node.kids, &node{key: "router", value: "other", from: i.at, said: "radvd sends nothing without AdvSendAdvert on"})
			continue
		}
		d.prefixFlags(n, i)
		for _, told := range []struct {
			key    string
			values []string
			at     Place
		}{{"nameservers", quoted(i.servers), i.serversAt}, {"search", quoted(lower(i.search)), i.searchAt}} {
			if len(told.values) == 0 {
				continue
			}
			line := list(told.key, told.values, told.at)
			if above := d.defaults.get(told.key); above != nil && n.node.get(told.key) == nil {
				if !above.same(line) {
					d.lost(line.from, "%s differs from what DHCPv6 told (%s): bootd tells both the same", told.key, above.from)
				}
				continue
			}
			d.put(n.node, line)
		}
		n.node.kids = append(n.node.kids, i.ra)
	}
}

// routed finds the network of an interface: the one with a prefix of its, or the only one that has none yet.
func (d *dhcpd) routed(i *radvdInterface, beside bool) *iscNetwork {
	var free []*iscNetwork
	for _, n := range d.nets {
		if slices.ContainsFunc(i.prefixes, func(p radvdPrefix) bool { return slices.Contains(n.prefixes, p.Prefix) }) {
			return n
		}
		if named := n.node.get("interface"); named != nil && named.value == quote(i.name) {
			return n
		}
		if !n.routed {
			free = append(free, n)
		}
	}
	if beside && i.auto != nil && len(free) == 1 {
		return free[0]
	}
	n := d.network(i.name, i.at)
	if i.auto != nil {
		n.lines = append(n.lines, &node{key: "-", value: "auto", from: i.auto.at})
	}
	return n
}

// prefixFlags writes flags and lifetimes of an interface's prefixes, and those that DHCPv6 did not serve.
func (d *dhcpd) prefixFlags(n *iscNetwork, i *radvdInterface) {
	all := slices.Clone(i.prefixes)
	if i.auto != nil {
		all = append(all, *i.auto)
	}
	own := n.node.get("preferred") == nil && n.node.get("valid") == nil && d.defaults.get("preferred") == nil && d.defaults.get("valid") == nil
	for _, p := range i.prefixes {
		if !slices.Contains(n.prefixes, p.Prefix) {
			n.prefixes = append(n.prefixes, p.Prefix)
			n.lines = append(n.lines, &node{key: "-", value: quote(p.String()), from: p.at})
		}
	}
	if len(all) == 0 {
		return
	}
	first := all[0]
	alike := !slices.ContainsFunc(all, func(p radvdPrefix) bool {
		return p.onLink != first.onLink || p.auto != first.auto || p.preferred != first.preferred || p.valid != first.valid
	})
	if alike && !first.onLink {
		d.set(i.ra, "on_link", "false", first.at)
	}
	if alike && !first.auto {
		d.set(i.ra, "autonomous", "false", first.at)
	}
	said := ""
	if !first.given {
		said = "radvd's default"
	}
	if alike && own && len(n.pools) == 0 {
		n.node.kids = append(n.node.kids,
			&node{key: "preferred", value: duration(first.preferred), from: first.at, said: said},
			&node{key: "valid", value: duration(first.valid), from: first.at, said: said})
		return
	}
	for _, p := range all {
		if p.Addr().IsUnspecified() {
			if len(n.prefixes) != 1 {
				d.lost(p.at, "flags and lifetimes of ::/64: a prefix that is not written has the network's")
				continue
			}
			p.Prefix = n.prefixes[0]
		}
		text := []string{"prefix: " + quote(p.String())}
		if !alike {
			text = append(text, "on_link: "+strconv.FormatBool(p.onLink), "autonomous: "+strconv.FormatBool(p.auto))
		}
		text = append(text, "preferred: "+duration(p.preferred), "valid: "+duration(p.valid))
		i.ra.under("prefixes", p.at).add("-", "{"+strings.Join(text, ", ")+"}", p.at)
	}
}
