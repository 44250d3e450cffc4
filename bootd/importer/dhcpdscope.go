package importer

import (
	"cmp"
	"net/netip"
	"slices"
)

// scope is where a statement stands: what it sets, and for whom.
type scope struct {
	to  *node
	net *iscNetwork
	// conditions are the tests of the ifs, and of the class, around it.
	conditions []condition
	// groups are the groups around it, the innermost first: what they set counts where nothing nearer says it.
	groups []*statement
	// class counts the classes of the file, 0: it stands in none.
	class int
	// depth is how near it is to the machines: what is nearer counts.
	depth int
}

// Depths of scopes; a group around another, or around a host, is as deep as its number.
const (
	inShared     = 100
	inGroupThere = 200
	inSubnet     = 300
)

// class is one that others are told by the values of (match, and subclass).
type class struct {
	// match is what is compared, set what the class itself says, number its place among all classes.
	match  []word
	set    []*statement
	number int
}

// hostKey is the key of a node that holds what a host has besides its names and addresses; it is not printed.
const hostKey = "a host"

// owned reports whether a statement of a group is for itself, and no setting of the machines in the group.
func owned(s *statement) bool {
	switch s.head() {
	case "host", "group", "subnet6", "shared-network", "pool6", "range6", "prefix6", "class", "subclass", "subnet":
		return true
	}
	return false
}

// group reads the hosts and networks of a group; each of them takes what the group sets.
func (d *dhcpd) group(s *statement, in scope) {
	in.groups = append([]*statement{s}, in.groups...)
	for _, x := range s.block {
		if owned(x) {
			d.statement(x, in)
		}
	}
}

// around reads what the groups around a host or a network set.
func (d *dhcpd) around(to *node, in scope) *node {
	all := &node{key: to.key}
	for i, g := range in.groups {
		own := &node{key: to.key}
		var set []*statement
		for _, x := range g.block {
			if !owned(x) {
				set = append(set, x)
			}
		}
		d.statements(set, scope{to: own, net: in.net, groups: []*statement{g}, depth: in.depth + len(in.groups) - i})
		all.inheritAll(own)
	}
	return all
}

// inheritAll sets what n has not got yet, option by option.
func (n *node) inheritAll(above *node) {
	for _, k := range above.kids {
		old := n.get(k.key)
		switch {
		case old == nil:
			n.kids = append(n.kids, k)
		case len(old.kids) > 0 && len(k.kids) > 0 && old.kids[0].key != "-":
			old.inheritAll(k)
		}
	}
}

// differs tells of what a group sets for a subnet, nearer to it than the shared network, which has another value already.
func (d *dhcpd) differs(n, group *node) {
	for _, k := range group.kids {
		old := n.get(k.key)
		switch {
		case old == nil:
		case len(old.kids) > 0 && len(k.kids) > 0 && old.kids[0].key != "-":
			d.differs(old, k)
		default:
			d.put(n, k)
		}
	}
}

// bootFile notes a boot file: for everybody, or for the machines of a network or of a group.
func (d *dhcpd) bootFile(url string, in scope, at Place) {
	c := conditional{conditions: in.conditions, url: url, at: at, class: in.class, depth: in.depth}
	switch {
	case in.class > 0:
	case in.net != nil && in.to != nil && in.to.key != hostKey:
		c.in = in.net.node
	case len(in.groups) > 0:
		if d.groupNodes[in.groups[0]] == nil {
			d.groupNodes[in.groups[0]] = &node{}
		}
		c.in = d.groupNodes[in.groups[0]]
	}
	same := func(o conditional) bool {
		return o.in == c.in && o.at == c.at && o.url == c.url && slices.EqualFunc(o.conditions, c.conditions, func(a, b condition) bool {
			return a.at == b.at && a.not == b.not
		})
	}
	if c.in == nil || !slices.ContainsFunc(d.ifs, same) { // a group is read once for each of its hosts
		d.ifs = append(d.ifs, c)
	}
}

// classOf reads a class whose test is about booting, or one value of a class that has several (a subclass).
func (d *dhcpd) classOf(s *statement, in scope) {
	var test []word
	own := class{}
	for _, x := range s.block {
		switch {
		case x.head() != "match":
			own.set = append(own.set, x)
		case x.arg(1) == "if":
			test = x.words[2:]
		default:
			own.match = x.words[1:]
		}
	}
	d.classes++
	own.number = d.classes
	of, known := d.byValue[s.arg(1)]
	switch {
	case s.head() == "subclass" && known && len(s.words) > 2: // it takes the place of its class among all
		test = slices.Concat(of.match, []word{{text: "="}}, s.words[2:])
		own.set, own.number = slices.Concat(of.set, own.set), of.number
	case s.head() == "class" && len(own.match) > 0 && d.readable(condition{words: slices.Concat(own.match, []word{{text: "="}, {text: "00"}})}):
		d.byValue[s.arg(1)] = own
		return // its subclasses say the rest
	}
	c := condition{words: test, at: s.Place}
	if len(test) == 0 || !namesBoot(own.set) || !d.readable(c) {
		d.lostWhole(s, ": bootd has no classes")
		return
	}
	d.statements(own.set, scope{to: &node{key: "a class"}, conditions: append(slices.Clip(in.conditions), c), class: own.number})
}

// namesBoot reports whether statements name a boot file somewhere.
func namesBoot(list []*statement) bool {
	return slices.ContainsFunc(list, func(s *statement) bool {
		return s.head() == "option" && s.arg(1) == "dhcp6.bootfile-url" || namesBoot(s.block)
	})
}

// byRelay reports whether a host is known by an option of a relay.
func byRelay(s *statement) bool {
	return slices.ContainsFunc(s.block, func(x *statement) bool { return x.head() == "host-identifier" && x.arg(1) == "v6relopt" })
}

// lenEnterprise stands before a remote-id (RFC 4649 section 3).
const lenEnterprise = 4

// port reads host-identifier v6relopt 1 dhcp6.interface-id "swp7": the relay is that of the network that the host's address
// is in, or that the host stands in.
func (d *dhcpd) port(h *newHost, x *statement, in scope) {
	key, known := map[string]string{"dhcp6.interface-id": "interface_id", "dhcp6.remote-id": "remote_id"}[x.arg(3)]
	if !known || x.arg(2) != "1" || len(x.words) != 5 {
		d.lost(x.Place, "%s: a port is an interface-id or remote-id of the relay next to the machine (v6relopt 1)", x)
		return
	}
	octets := []byte(x.arg(4))
	if !x.words[4].quoted {
		octets = octetsOf(colonHex(x.arg(4)))
	}
	if key == "remote_id" {
		octets = octets[min(lenEnterprise, len(octets)):]
	}
	if len(octets) == 0 {
		d.lost(x.Place, "%s: wants text in quotes or hex with colons, of a remote-id with its enterprise number of four octets", x)
		return
	}
	net := in.net
	for _, a := range h.addresses {
		addr, _ := netip.ParseAddr(unquoted(a.value))
		i := slices.IndexFunc(d.nets, func(n *iscNetwork) bool {
			return slices.ContainsFunc(n.prefixes, func(p netip.Prefix) bool { return p.Contains(addr) })
		})
		if i >= 0 {
			net = d.nets[i]
			break
		}
	}
	if net == nil || len(net.relays) != 1 {
		d.lost(x.Place, "%s: dhcpd does not say which relay that is: name it with --relay LINK-ADDRESS, or write port: {relay: LINK-ADDRESS, %s: ...} for the host, and relay: LINK-ADDRESS for its network", x, key)
		return
	}
	h.port = portNode(net.relays[0].value, key, octets, x.Place)
}

// relayed gives the relays that the command line names to the networks that they are in.
func (d *dhcpd) relayed(relays []netip.Addr) error {
	for _, a := range relays {
		i := slices.IndexFunc(d.nets, func(n *iscNetwork) bool {
			return slices.ContainsFunc(n.prefixes, func(p netip.Prefix) bool { return p.Contains(a) })
		})
		if i < 0 {
			return relayNowhere(a)
		}
		d.nets[i].relays = append(d.nets[i].relays, &node{key: "-", value: quote(a.String()), from: d.nets[i].at, said: "from the command line"})
	}
	return nil
}

// decideBoot asks every boot client what it is told in each network. Of several boot files that hold, the last counts, as in
// dhcpd: what stands in a network after what stands around it, a class after both, and the first class last
// (test/netns, TestImportedOrder).
func (d *dhcpd) decideBoot() {
	slices.SortStableFunc(d.ifs, func(a, b conditional) int { return cmp.Compare(a.depth, b.depth) })
	var places []*node // the networks, and the groups of hosts
	for _, n := range d.nets {
		places = append(places, n.node)
	}
	if len(places) == 0 {
		places = append(places, nil)
	}
	for _, x := range d.ifs {
		if x.in != nil && !slices.Contains(places, x.in) {
			places = append(places, x.in)
		}
	}
	clients := boots()
	all := make([]answer, len(clients))
	for i, p := range clients {
		all[i].pretend = p
		for _, place := range places {
			d.alike(&all[i], d.answered(p, place))
		}
	}
	d.boot(all)
	if len(d.ifs) > 0 && len(d.hosts.kids) == 0 && !slices.ContainsFunc(d.nets, func(n *iscNetwork) bool { return len(n.pools)+len(n.pds) > 0 }) {
		d.set(d.defaults, "unknown", "discover", d.ifs[0].at)
		d.review(d.ifs[0].at, "no machine is listed, and every one was told what to boot: bootd boots those that are listed; the others say who they are, and boot their own disks (bootd discovered, bootd adopt)")
	}
}

// answered is what a client is told in a place.
func (d *dhcpd) answered(p pretend, place *node) answer {
	a := answer{pretend: p}
	in := func(x conditional) bool {
		return !slices.ContainsFunc(x.conditions, func(c condition) bool { ok, _ := d.holds(c, p); return !ok })
	}
	take := func(fits func(conditional) bool) {
		for _, x := range d.ifs {
			if fits(x) && in(x) {
				a.url, a.at = x.url, x.at
			}
		}
	}
	take(func(x conditional) bool { return x.class == 0 && x.in == nil })
	take(func(x conditional) bool { return x.class == 0 && x.in != nil && x.in == place })
	for class := d.classes; class > 0; class-- {
		take(func(x conditional) bool { return x.class == class })
	}
	return a
}

// alike takes what a client is told in one more place; bootd tells the same everywhere.
func (d *dhcpd) alike(first *answer, other answer) {
	switch {
	case first.url == "":
		*first = other
	case other.url == "":
	default:
		a, _ := filePath(first.url)
		if b, _ := filePath(other.url); a != b {
			d.lost(other.at, "%s gets %s here, but %s elsewhere (%s): bootd tells one on all networks; loader: gives a host its own",
				other.name, other.url, first.url, first.at)
		}
	}
}
