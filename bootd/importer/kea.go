package importer

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Kea reads the configuration of Kea's DHCPv6 server.
func Kea(file string, data []byte, known Known, open Open) (*Result, error) {
	root, err := readJSON(file, data, open)
	if err != nil {
		return nil, err
	}
	if root.kind != jMap {
		return nil, syntax(root.Place, "a configuration is a map with the entry Dhcp6, got %s", root.kind)
	}
	k := &kea{draft: newDraft(file), only: known.Interface, links: map[string]*keaLink{}, hostNames: map[string]bool{}, byMAC: map[string]*node{}}
	for _, m := range root.members {
		if m.name != "Dhcp6" {
			k.lost(m.Place, "%s is not Kea's DHCPv6 server", m.name)
		}
	}
	server := root.get("Dhcp6")
	if server == nil || server.kind != jMap {
		return nil, syntax(root.Place, "there is no map Dhcp6: this is not the configuration of Kea's DHCPv6 server")
	}
	if err := relayed(server, known.Relays); err != nil {
		return nil, err
	}
	k.server(server)
	return k.result()
}

// relayed writes relays into the subnets that they are in, as if they had stood there.
func relayed(server *jvalue, relays []netip.Addr) error {
	lists := []*jvalue{server.get("subnet6")}
	if shared := server.get("shared-networks"); shared != nil {
		for _, s := range shared.list {
			lists = append(lists, s.get("subnet6"))
		}
	}
	for _, a := range relays {
		found := false
		for _, l := range lists {
			if l == nil {
				continue
			}
			for _, v := range l.list {
				if p, ok := prefixText(text(v, "subnet")); !ok || !p.Contains(a) || v.kind != jMap {
					continue
				}
				found = true
				one := &jvalue{Place: v.Place, kind: jString, text: a.String()}
				if r := v.get("relay"); r != nil && r.get("ip-addresses") != nil {
					l := r.get("ip-addresses")
					written := func(w *jvalue) bool { b, err := netip.ParseAddr(w.text); return err == nil && a == b }
					if !slices.ContainsFunc(l.list, written) {
						l.list = append(l.list, one)
					}
					continue
				}
				addrs := &jvalue{Place: v.Place, kind: jList, list: []*jvalue{one}}
				relay := &jvalue{Place: v.Place, kind: jMap, members: []jmember{{v.Place, "ip-addresses", addrs}}}
				v.members = append(v.members, jmember{v.Place, "relay", relay})
			}
		}
		if !found {
			return relayNowhere(a)
		}
	}
	return nil
}

// kea gathers the inventory of one configuration.
type kea struct {
	*draft
	defs []keaDef
	// links are the networks, by interface or by name.
	links map[string]*keaLink
	// only is the interface of subnets that name none.
	only string
	// names and MACs that hosts have already.
	hostNames map[string]bool
	byMAC     map[string]*node
	ddns      bool
	// port is what flex-id means, nil: no port.
	port *flexID
	// listens are the interfaces of the server: relays come in there.
	listens *node
}

// entry is how one key of a map is read.
type entry func(m jmember)

// each reads the members of a map by a table; what no table knows is lost.
func (k *kea) each(v *jvalue, path string, known map[string]entry) {
	if v.kind != jMap {
		k.lost(v.Place, "%s wants a map, got %s", path, v.kind)
		return
	}
	seen := map[string]bool{}
	for i := range v.members {
		m := v.members[i]
		if seen[m.name] {
			k.lost(m.Place, "%s.%s is there twice: the last one was taken", path, m.name)
		}
		seen[m.name] = true
		if slices.ContainsFunc(v.members[i+1:], func(o jmember) bool { return o.name == m.name }) {
			continue
		}
		read, ok := known[m.name]
		if !ok {
			read, ok = known["*"]
		}
		switch text, own := keaItself[m.name]; {
		case m.value.kind == jNull, m.name == "comment", m.name == "user-context":
		case ok && (known[m.name] != nil || !own):
			read(m)
		case own:
			k.itself(m.Place, "%s.%s: %s", path, m.name, text)
		case strings.HasPrefix(m.name, "ddns-") || strings.HasPrefix(m.name, "hostname-char"):
			k.ddnsKey(m, path)
		default:
			k.lost(m.Place, "%s.%s", path, m.name)
		}
	}
}

// items reads a list of maps; path gets the number of the entry.
func (k *kea) items(m jmember, path string, read func(v *jvalue, path string)) {
	if m.value.kind != jList {
		k.lost(m.Place, "%s.%s wants a list, got %s", path, m.name, m.value.kind)
		return
	}
	for i, v := range m.value.list {
		at := fmt.Sprintf("%s.%s[%d]", path, m.name, i)
		if v.kind != jMap {
			k.lost(v.Place, "%s wants a map, got %s", at, v.kind)
			continue
		}
		read(v, at)
	}
}

func (k *kea) ddnsKey(m jmember, path string) {
	if k.ddns {
		k.lost(m.Place, "%s.%s: bootd updates no other DNS server, its own knows the hosts", path, m.name)
	}
}

// keaItself says what bootd does without being told, by key, wherever the key stands.
var keaItself = map[string]string{
	"lease-database":                   "leases are kept in the state directory, synced before each answer",
	"control-socket":                   "bootd status, events and reload talk to a socket of its own",
	"control-sockets":                  "bootd status, events and reload talk to a socket of its own",
	"loggers":                          "it logs to standard error; --log says how much",
	"expired-leases-processing":        "leases expire by their time",
	"multi-threading":                  "it uses the processors there are",
	"sanity-checks":                    "the journal of leases is checked as it is read",
	"mac-sources":                      "the MAC is the frame's, the relay's, or that of the DUID",
	"host-reservation-identifiers":     "a host is known by all that is listed of it",
	"reservation-mode":                 "addresses of hosts are nobody else's, in and out of pools",
	"reservations-global":              "a host is served on every network, or on the one that it names",
	"reservations-in-subnet":           "addresses of hosts are nobody else's, in and out of pools",
	"reservations-out-of-pool":         "addresses of hosts are nobody else's, in and out of pools",
	"reservations-lookup-first":        "hosts go before pools",
	"early-global-reservations-lookup": "hosts go before pools",
	"ip-reservations-unique":           "bootd check finds an address that two hosts have",
	"relay-supplied-options":           "options that a relay supplies are handled as RFC 6422 says",
	"statistic-default-sample-count":   "it has metrics of its own",
	"statistic-default-sample-age":     "it has metrics of its own",
	"data-directory":                   "the state directory (--state)",
	"cache-threshold":                  "each answer is renewed and durable",
	"cache-max-age":                    "each answer is renewed and durable",
	"allocator":                        "addresses follow from the machine (RFC 7943)",
	"pd-allocator":                     "prefixes follow from the machine (RFC 7943)",
	"parked-packet-limit":              "what waits is bounded",
	"store-extended-info":              "leases know where they were given",
	"id":                               "a network has its name",
	"dhcp-queue-control":               "what waits is bounded",
}

// server reads the map Dhcp6: definitions before what uses them.
func (k *kea) server(v *jvalue) {
	const path = "Dhcp6"
	if d := v.get("dhcp-ddns"); d.get("enable-updates") != nil {
		k.ddns = d.get("enable-updates").text == "true"
	}
	if d := v.get("option-def"); d != nil {
		k.optionDefs(d)
	}
	if i := v.get("interfaces-config"); i != nil && i.kind == jMap {
		k.interfaces(i, path+".interfaces-config")
	}
	k.flex(v)
	t := k.timers(v)
	k.each(v, path, k.common(k.defaults, path, t, map[string]entry{
		"option-def":        func(jmember) {},
		"interfaces-config": func(jmember) {},
		"dhcp-ddns": func(m jmember) {
			if k.ddns {
				k.lost(m.Place, "%s.dhcp-ddns: bootd updates no other DNS server, its own knows the hosts", path)
			}
		},
		"subnet6": func(m jmember) {
			k.items(m, path, func(v *jvalue, path string) { k.subnet(v, path, nil, t) })
		},
		"shared-networks": func(m jmember) {
			k.items(m, path, func(v *jvalue, path string) { k.shared(v, path, t) })
		},
		"reservations":   func(m jmember) { k.items(m, path, func(v *jvalue, path string) { k.reservation(v, path, nil) }) },
		"client-classes": func(m jmember) { k.classes(m, path) },
		"server-id": func(m jmember) {
			k.lost(m.Place, "%s.server-id: bootd makes its own DUID and keeps it in the state directory; clients with a lease of Kea's ask anew when it ends", path)
		},
		"hooks-libraries": func(m jmember) { k.hooks(m, path) },
		"hosts-database":  func(m jmember) { k.database(m, path) },
		"hosts-databases": func(m jmember) { k.database(m, path) },
		"decline-probation-period": func(m jmember) {
			k.itself(m.Place, "%s.decline-probation-period: an address that a client declined rests for a day, whatever stands here", path)
		},
		"ddns-send-updates": func(m jmember) { k.ddnsKey(m, path) },
	}))
	k.ownTimes()
	k.finish()
}

// The lifetimes of Kea that nobody wrote, in seconds (GLOBAL6_DEFAULTS in src/lib/dhcpsrv/parsers/simple_parser6.cc).
const keaPreferred, keaValid = 3600, 7200

// ownTimes writes the lifetimes that Kea takes where the file says none. One that is preferred for longer than it is valid
// becomes five eighths of that (AllocEngine::getLifetimes6).
func (k *kea) ownTimes() {
	const said = "Kea's default"
	wrote := k.defaults.get("preferred") != nil
	for _, x := range []struct {
		key  string
		time uint64
	}{{"preferred", keaPreferred}, {"valid", keaValid}} {
		if k.defaults.get(x.key) == nil {
			k.defaults.kids = append(k.defaults.kids, &node{key: x.key, value: duration(x.time), from: k.defaults.written("preferred", "valid"), said: said})
		}
	}
	for _, n := range append([]*node{k.defaults}, k.networks.kids...) {
		valid := n.get("valid")
		if valid == nil || wrote || secondsOf(valid.value) >= keaPreferred {
			continue
		}
		short := &node{key: "preferred", value: duration(max(secondsOf(valid.value)*5/8, 1)), from: valid.from, said: said}
		if old := n.get("preferred"); old == nil {
			n.kids = append(n.kids, short)
		} else if old.said == said {
			*old = *short
		}
	}
}

func (k *kea) database(m jmember, path string) {
	k.lost(m.Place, "%s.%s: hosts in a database are not read: list them below hosts", path, m.name)
}

// hooks names each library.
func (k *kea) hooks(m jmember, path string) {
	k.items(m, path, func(v *jvalue, path string) {
		name := "?"
		if l := v.get("library"); l != nil {
			name = l.text[strings.LastIndexByte(l.text, '/')+1:]
		}
		switch {
		case strings.HasPrefix(name, "libdhcp_lease_cmds"), strings.HasPrefix(name, "libdhcp_stat_cmds"):
			k.itself(v.Place, "%s %s: bootd leases --json, and metrics", path, name)
		case strings.HasPrefix(name, "libdhcp_flex_id") && k.port != nil:
			k.itself(v.Place, "%s %s: hosts by the port of a relay (port:)", path, name)
		default:
			k.lost(v.Place, "%s %s: bootd loads no hooks", path, name)
		}
	})
}

// interfaces reads interfaces-config: a subnet that names no interface is on the only one there is.
func (k *kea) interfaces(v *jvalue, path string) {
	k.each(v, path, map[string]entry{
		"interfaces": func(m jmember) {
			var names []string
			for _, x := range m.value.list {
				name, address, unicast := strings.Cut(x.text, "/")
				names = append(names, name)
				if unicast {
					k.itself(x.Place, "%s: messages to %s itself are answered on a link that a network names", path, oneLine(address))
				}
			}
			if len(names) == 1 && names[0] != "*" {
				k.only = names[0]
			}
			k.listens = &node{key: "transit", from: m.Place}
			for _, n := range names {
				if n != "*" {
					k.listens.add("-", quote(n), m.Place)
				}
			}
		},
		"*": func(m jmember) { k.itself(m.Place, "%s.%s: links are followed as they come and go", path, m.name) },
	})
}

// keaTimers are the times of one level, with those of the levels above.
type keaTimers struct{ preferred, valid, renew, rebind *jvalue }

func (k *kea) timers(v *jvalue, above ...keaTimers) keaTimers {
	t := keaTimers{}
	if len(above) > 0 {
		t = above[0]
	}
	for key, to := range map[string]**jvalue{"preferred-lifetime": &t.preferred, "valid-lifetime": &t.valid, "renew-timer": &t.renew, "rebind-timer": &t.rebind} {
		if x := v.get(key); x != nil {
			*to = x
		}
	}
	return t
}

// common are the keys that every level has; more are those of one level.
func (k *kea) common(to *node, path string, t keaTimers, more map[string]entry) map[string]entry {
	lifetime := func(key string) entry {
		return func(m jmember) {
			if s, ok := seconds(m.value); ok {
				k.set(to, key, s, m.Place)
				return
			}
			k.lost(m.Place, "%s.%s wants a number of seconds", path, m.name)
		}
	}
	// A time that is what bootd tells anyway, a half and four fifths of the preferred lifetime, is not written.
	timer := func(key string, num, den uint64) entry {
		return func(m jmember) {
			preferred := uint64(keaPreferred)
			if t.preferred != nil {
				preferred, _ = strconv.ParseUint(t.preferred.text, 10, 32)
			}
			value, ok := seconds(m.value)
			switch {
			case !ok:
				k.lost(m.Place, "%s.%s wants a number of seconds", path, m.name)
			case m.value.text == strconv.FormatUint(preferred*num/den, 10):
			default:
				k.set(to, key, value, m.Place)
			}
		}
	}
	bounds := func(m jmember) {
		k.itself(m.Place, "%s.%s: every client is told the network's lifetimes, whatever it asks for", path, m.name)
	}
	table := map[string]entry{
		"preferred-lifetime":     lifetime("preferred"),
		"valid-lifetime":         lifetime("valid"),
		"renew-timer":            timer("t1", 1, 2),
		"rebind-timer":           timer("t2", 4, 5),
		"min-preferred-lifetime": bounds, "max-preferred-lifetime": bounds,
		"min-valid-lifetime": bounds, "max-valid-lifetime": bounds,
		"calculate-tee-times": func(jmember) {},
		"t1-percent":          k.percent("0.5", path), "t2-percent": k.percent("0.8", path),
		"rapid-commit": func(m jmember) {
			k.itself(m.Place, "%s.rapid-commit: a client that asks for it gets it", path)
		},
		"option-data": func(m jmember) {
			k.items(m, path, func(v *jvalue, path string) { k.option(v, path, to) })
		},
	}
	for name, e := range more {
		table[name] = e
	}
	return table
}

func (k *kea) percent(ours, path string) entry {
	return func(m jmember) {
		if m.value.text != ours {
			k.lost(m.Place, "%s.%s: bootd has %s", path, m.name, ours)
		}
	}
}

// seconds writes a number of seconds as an inventory does.
func seconds(v *jvalue) (string, bool) {
	n, err := strconv.ParseUint(v.text, 10, 32)
	if err != nil || v.kind != jNumber {
		return "", false
	}
	return duration(n), true
}

// infinity is the number of seconds that mean for ever (RFC 8415 section 7.7).
const infinity = 1<<32 - 1

// duration is a number of seconds in the largest unit that leaves nothing.
func duration(n uint64) string {
	const day = uint64(24 * time.Hour / time.Second)
	switch {
	case n == infinity:
		return "infinite"
	case n > 0 && n%day == 0:
		return fmt.Sprintf("%dd", n/day)
	case n > 0 && n%3600 == 0:
		return fmt.Sprintf("%dh", n/3600)
	case n > 0 && n%60 == 0:
		return fmt.Sprintf("%dm", n/60)
	}
	return fmt.Sprintf("%ds", n)
}

// written is where the first of some keys stands, if any is there: what follows from it is of that place.
func (n *node) written(keys ...string) Place {
	for _, key := range keys {
		if k := n.get(key); k != nil && k.from.File != "" {
			return k.from
		}
	}
	return Place{}
}

// secondsOf reads what duration writes.
func secondsOf(text string) uint64 {
	if text == "infinite" {
		return infinity
	}
	n, _ := strconv.ParseUint(text[:len(text)-1], 10, 32)
	return n * map[byte]uint64{'s': 1, 'm': 60, 'h': 3600, 'd': 86400}[text[len(text)-1]]
}

// prefixText reads a prefix, host bits cut off as Kea does.
func prefixText(s string) (netip.Prefix, bool) {
	p, err := netip.ParsePrefix(strings.TrimSpace(s))
	if err != nil || !p.Addr().Is6() {
		return netip.Prefix{}, false
	}
	return p.Masked(), true
}
