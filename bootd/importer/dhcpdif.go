package importer

import (
	"slices"
	"strconv"
	"strings"
)

// condition is a test of an if; not: one that failed before an elsif or else.
type condition struct {
	words []word
	not   bool
	at    Place
}

// conditional is a boot file that clients are told under conditions, or always.
type conditional struct {
	conditions []condition
	url        string
	at         Place
	// in is the network, or the group, whose machines are told; nil: all.
	in *node
	// class is the number of the class that it stands in, depth how near it is to the machines.
	class, depth int
}

// branch reads if, elsif, else and else if; it gives the tests that have failed when the next branch is reached.
func (d *dhcpd) branch(s *statement, in scope, failed []condition) []condition {
	words := s.words[1:]
	switch {
	case s.head() == "if":
		failed = nil
	case s.head() == "else" && s.arg(1) == "if":
		words = s.words[2:]
	}
	inside := in
	inside.conditions = slices.Concat(in.conditions, failed)
	if len(words) > 0 {
		c := condition{words: words, at: s.Place}
		if !d.readable(c) {
			d.lostWhole(s, ": "+errUnread.Error())
			return failed
		}
		inside.conditions = append(inside.conditions, c)
		c.not = true
		failed = append(slices.Clone(failed), c)
	}
	if !s.hasBlock {
		d.lost(s.Place, "%s has no block", s)
		return failed
	}
	d.statements(s.block, inside)
	return failed
}

// readable reports whether a test can be decided for every boot client.
func (d *dhcpd) readable(c condition) bool {
	return !slices.ContainsFunc(boots(), func(p pretend) bool { _, err := d.holds(c, p); return err != nil })
}

func (d *dhcpd) holds(c condition, p pretend) (bool, error) {
	e := expression{
		words: c.words, client: p,
		member: func(string) (bool, error) { return false, errUnread },
		code: func(name string) (int, bool) {
			def, ok := d.find(name)
			return def.code, ok
		},
	}
	ok, err := e.holds()
	return ok != c.not, err
}

// dhcpdOptions are options that dhcpd calls otherwise than Kea.
func dhcpdOptions() map[string]string {
	return map[string]string{
		"name-servers": "dns-servers", "sip-servers-names": "sip-server-dns", "sip-servers-addresses": "sip-server-addr",
		"info-refresh-time": "information-refresh-time", "bcms-server-d": "bcmcs-server-dns", "bcms-server-a": "bcmcs-server-addr",
		"lost": "v6-lost", "client-network-interface-id": "nii", "domain-list": "domain-search",
	}
}

// find gives the definition of an option by dhcpd's name.
func (d *dhcpd) find(name string) (optionDef, bool) {
	name, six := strings.CutPrefix(name, "dhcp6.")
	if !six {
		return optionDef{}, false
	}
	if o, ok := findOption(d.defs, name, 0); ok {
		return o, true
	}
	if n, err := strconv.Atoi(strings.TrimPrefix(name, "unknown-")); err == nil && n > 0 && n < 65536 {
		return optionDef{name: name, code: n, kind: "binary", space: "dhcp6"}, true
	}
	return findOption(nil, dhcpdOptions()[name], 0)
}

// option reads option NAME VALUE, and passes definitions over.
func (d *dhcpd) option(s *statement, in scope) {
	name := s.arg(1)
	switch {
	case s.arg(2) == "code":
		return
	case (name == "dhcp-renewal-time" || name == "dhcp-rebinding-time") && len(in.conditions) == 0:
		d.seconds(in.to, map[string]string{"dhcp-renewal-time": "t1", "dhcp-rebinding-time": "t2"}[name], s.arg(2), s.Place)
		return
	case name == "dhcp6.rapid-commit":
		d.itself(s.Place, "%s: a client that asks for it gets it", s)
		return
	case !strings.HasPrefix(name, "dhcp6."):
		d.lost(s.Place, "%s: bootd serves IPv6 only", s)
		return
	}
	def, ok := d.find(name)
	values := s.rest(2)
	switch {
	case !ok || len(values) == 0:
		d.lost(s.Place, "%s", s)
	case def.code == optBootfileURL && in.to.key == hostKey && len(in.conditions) == 0:
		d.hostBoot(values[0], in.to, s.Place)
	case def.code == optBootfileURL:
		d.bootFile(values[0], in, s.Place)
	case len(in.conditions) > 0:
		d.lost(s.Place, "%s: of what stands under if or in a class, only the boot file is taken over", s)
	case !s.words[2].quoted && (def.kind == "binary" || def.kind == "string" || def.kind == "record" || def.kind == "tuple"):
		if digits := colonHex(values[0]); digits != "" && len(values) == 1 && def.kind != "record" {
			d.hexOption(in.to, def, digits, false, s.Place)
			return
		}
		d.lost(s.Place, "%s", s)
	default:
		d.sendOption(in.to, def, values, false, s.Place)
	}
}

// hostBoot is the boot file of one host.
func (d *draft) hostBoot(url string, to *node, at Place) {
	file, ok := filePath(url)
	if !ok || notALoader(url) {
		d.lost(at, "bootfile-url %s: what a host boots with iPXE stands in its profile", oneLine(url))
		return
	}
	d.put(to, &node{key: "loader", value: quote(file), from: at, said: "put it below files/"})
}

// host reads a host; where it stands does not matter: its addresses say which network it is in.
func (d *dhcpd) host(s *statement, in scope) {
	h := newHost{draft: d.draft, at: s.Place, path: "host " + oneLine(s.arg(1)), more: node{key: hostKey}}
	h.setName(s.arg(1), s.Place)
	for _, x := range s.block {
		switch x.head() {
		case "hardware":
			if x.arg(1) != "ethernet" {
				d.lost(x.Place, "%s: cards are Ethernet", x)
				continue
			}
			h.setMAC(x.arg(2), x.Place)
		case "fixed-address6":
			for _, a := range x.rest(1) {
				h.address(a, x.Place)
			}
		case "fixed-prefix6":
			for _, p := range x.rest(1) {
				h.prefix(p, x.Place)
			}
		case "host-identifier":
			if x.arg(1) != "v6relopt" {
				d.identifier(&h, x)
			}
		case "option":
			if name := x.arg(1); name == "host-name" || name == "dhcp6.fqdn" {
				d.itself(x.Place, "%s: a host is called as it is listed", x)
				continue
			}
			d.option(x, scope{to: &h.more})
		case "ddns-hostname":
			d.itself(x.Place, "%s: a host is called as it is listed", x)
		case "if", "elsif", "else":
			d.lostWhole(x, ": what one host boots under conditions stands in its profile")
		default:
			d.statement(x, scope{to: &h.more})
		}
	}
	for _, x := range s.block { // its addresses are known by now
		if x.head() == "host-identifier" && x.arg(1) == "v6relopt" {
			d.port(&h, x, in)
		}
	}
	h.more.inheritAll(d.around(&h.more, in))
	h.write(d.hostNames, d.byMAC)
}

// identifier reads host-identifier option dhcp6.client-id DUID.
func (d *dhcpd) identifier(h *newHost, x *statement) {
	if x.arg(1) == "option" && (x.arg(2) == "dhcp6.client-id" || x.arg(2) == "dhcp6.client-identifier") && len(x.words) > 3 {
		if x.words[3].quoted {
			h.setDUID(colons([]byte(x.arg(3))), x.Place)
			return
		}
		h.setDUID(x.arg(3), x.Place)
		return
	}
	d.lost(x.Place, "%s: a host is known by its MAC, its UUID, its DUID or its port (an interface-id or remote-id of a relay)", x)
}

// strangers says what became of "deny unknown-clients": a pool is for everybody.
func (d *dhcpd) strangers() {
	pool := slices.ContainsFunc(d.nets, func(n *iscNetwork) bool { return len(n.pools)+len(n.pds) > 0 })
	for _, at := range d.denied {
		if pool {
			d.review(at, "deny unknown-clients: range6 and prefix6 became a pool, of which machines get something that nobody listed: without unknown: pool and pool: only those that are listed do")
		} else {
			d.itself(at, "deny unknown-clients: machines that are not listed get nothing without a pool")
		}
	}
}

// finish writes what was gathered of each network, and guesses an interface where nobody named one.
func (d *dhcpd) finish(in ISC) {
	d.strangers()
	guess := 1
	taken := func(name string) bool {
		return slices.ContainsFunc(d.networks.kids, func(n *node) bool { i := n.get("interface"); return i != nil && i.value == name })
	}
	for _, n := range d.nets {
		kids := n.node.kids
		iface := n.node.get("interface")
		switch {
		case iface != nil, len(n.relays) > 0:
		case d.iface != "" && !taken(quote(d.iface)):
			iface = &node{key: "interface", value: quote(d.iface)}
		default:
			name := "eth1"
			for ; taken(name); name = "eth" + strconv.Itoa(guess) {
				guess++
			}
			iface = &node{key: "interface", value: name, from: n.at, said: "a guess"}
			d.review(n.at, "which interface is it? %s is a guess, --interface names another; of a network behind a router, --relay names the link-address", name)
		}
		n.node.kids = nil
		for _, k := range []*node{iface, gathered("relay", n.relays), gathered("prefix", n.lines), gathered("delegate", n.pds)} {
			if k != nil {
				n.node.kids = append(n.node.kids, k)
			}
		}
		if len(n.pools) > 0 {
			n.node.kids = append(n.node.kids, &node{key: "unknown", value: "pool", from: n.pools[0].from}, gathered("pool", n.pools))
		} else if len(n.pds) > 0 {
			n.node.kids = append(n.node.kids, prefixesAlone(n.pds[0].from)...)
		}
		switch {
		case n.routed, iface == nil: // the router before it advertises
		case in.Radvd.Name == "":
			d.review(n.at, "who sends router advertisements there? --radvd reads radvd.conf; bootd does it unless you write router: other")
		default:
			n.node.kids = append(n.node.kids, &node{key: "router", value: "other", from: n.at, said: "radvd did not advertise it"})
		}
		for _, k := range kids {
			if k.key != "interface" {
				n.node.kids = append(n.node.kids, k)
			}
		}
	}
	d.transit()
}

// transit names the interface that relays come in on, where no network has one.
func (d *dhcpd) transit() {
	for _, n := range d.nets {
		if n.node.get("interface") != nil {
			return
		}
	}
	switch {
	case len(d.nets) == 0:
	case d.iface != "":
		d.set(d.serve, "transit", quote(d.iface), Place{})
	default:
		d.put(d.serve, &node{key: "transit", value: "eth0", from: d.nets[0].at, said: "a guess"})
		d.review(d.nets[0].at, "which interface do relays come in on? eth0 is a guess, --interface names another")
	}
}
