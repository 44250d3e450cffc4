package importer

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// File is a configuration; without a name there is none.
type File struct {
	Name string
	Data []byte
}

// ISC is a DHCPv6 server of ISC, with the router advertisement daemon and the resolver beside it. DHCPD or Radvd is needed.
type ISC struct {
	DHCPD, Radvd, Unbound File
	Known
	Open Open
}

// dhcpdBegins are words that begin statements of dhcpd.conf and stand nowhere else.
var dhcpdBegins = []string{
	"subnet6", "shared-network", "range6", "prefix6", "fixed-address6", "fixed-prefix6", "hardware", "host-identifier",
	"default-lease-time", "preferred-lifetime", "max-lease-time", "min-lease-time", "include", "if", "elsif", "else", "pool6", "log", "authoritative",
	"option",
}

// Import reads the files.
func (in ISC) Import() (*Result, error) {
	d := &dhcpd{
		draft: newDraft(), iface: in.Interface, hostNames: map[string]bool{}, byMAC: map[string]*node{},
		byValue: map[string]class{}, groupNodes: map[*statement]*node{},
	}
	var routers []*radvdInterface
	if in.Radvd.Name != "" {
		var err error
		if routers, err = d.radvd(in.Radvd); err != nil {
			return nil, err
		}
	}
	if in.DHCPD.Name != "" {
		d.title = append(d.title, in.DHCPD.Name)
		r := &iscReader{open: in.Open, begins: dhcpdBegins}
		list, err := r.read(in.DHCPD.Name, in.DHCPD.Data, Place{in.DHCPD.Name, 1})
		if err != nil {
			return nil, err
		}
		if err := d.file(list, in.Relays); err != nil {
			return nil, err
		}
	}
	if in.Radvd.Name != "" {
		d.title = append(d.title, in.Radvd.Name)
	}
	d.routers(routers, in.DHCPD.Name != "")
	if in.Unbound.Name != "" {
		d.title = append(d.title, in.Unbound.Name)
		if err := d.unbound(in.Unbound, in.Open); err != nil {
			return nil, err
		}
	}
	d.finish(in)
	return d.result()
}

// dhcpd gathers the inventory of dhcpd.conf and what stands beside it.
type dhcpd struct {
	*draft
	iface     string
	defs      []optionDef
	nets      []*iscNetwork
	hostNames map[string]bool
	byMAC     map[string]*node
	ifs       []conditional
	// denied are the lines that give machines nothing which nobody listed.
	denied []Place
	// classes counts the classes; byValue are those with subclasses.
	classes int
	byValue map[string]class
	// groupNodes stand for the machines of a group.
	groupNodes map[*statement]*node
	// later are hosts by what a relay adds.
	later []func()
}

// iscNetwork is a network to be: a subnet6, or a shared-network with several.
type iscNetwork struct {
	node     *node
	at       Place
	prefixes []netip.Prefix
	lines    []*node
	pools    []*node
	pds      []*node
	relays   []*node
	// routed: radvd speaks for it.
	routed bool
}

// file reads definitions first, as dhcpd wants them before their use, then everything.
func (d *dhcpd) file(list []*statement, relays []netip.Addr) error {
	for _, s := range list {
		if s.head() == "option" && len(s.words) > 4 && s.arg(2) == "code" {
			d.define(s)
		}
	}
	d.statements(list, scope{to: d.defaults})
	if err := d.relayed(relays); err != nil {
		return err
	}
	for _, read := range d.later {
		read()
	}
	d.ownTimes()
	d.decideBoot()
	return nil
}

// dhcpdValid is the lease time of dhcpd that nobody wrote, in seconds (DEFAULT_DEFAULT_LEASE_TIME in includes/dhcpd.h).
const dhcpdValid = 43200

// ownTimes writes the lifetimes that dhcpd takes where the file says none: what is preferred is five eighths of what is valid
// (server/dhcpv6.c).
func (d *dhcpd) ownTimes() {
	const said = "dhcpd's default"
	wrote := d.defaults.get("preferred") != nil
	if d.defaults.get("valid") == nil {
		d.defaults.kids = append(d.defaults.kids, &node{key: "valid", value: duration(dhcpdValid), from: d.defaults.written("preferred"), said: said})
	}
	for _, n := range slices.Concat([]*node{d.defaults}, d.networks.kids, d.hosts.kids) {
		valid := n.get("valid")
		if valid == nil || n.get("preferred") != nil || wrote {
			continue
		}
		v := secondsOf(valid.value)
		if v != infinity {
			v = v/2 + v/8
		}
		n.kids = append(n.kids, &node{key: "preferred", value: duration(max(v, 1)), from: valid.from, said: said})
	}
}

// define reads option NAME code N = TYPE.
func (d *dhcpd) define(s *statement) {
	name := s.arg(1)
	code, err := strconv.Atoi(s.arg(3))
	kind := s.rest(5)
	o := optionDef{name: strings.TrimPrefix(name, "dhcp6."), code: code, space: "dhcp6"}
	if err != nil || code < 1 || code > 65535 || len(kind) == 0 {
		d.lost(s.Place, "%s", s)
		return
	}
	if !strings.HasPrefix(name, "dhcp6.") {
		d.lost(s.Place, "%s: only options of DHCPv6 itself (dhcp6.NAME)", s)
		return
	}
	if kind[0] == "array" && len(kind) > 2 {
		o.array, kind = true, kind[2:]
	}
	switch strings.Join(kind, " ") {
	case "ip6-address":
		o.kind = "ipv6-address"
	case "text", "string":
		o.kind = "string"
	case "unsigned integer 8", "integer 8":
		o.kind = "uint8"
	case "unsigned integer 16", "integer 16":
		o.kind = "uint16"
	case "unsigned integer 32", "integer 32":
		o.kind = "uint32"
	case "boolean", "flag":
		o.kind = "boolean"
	case "domain-name", "domain-list":
		o.kind = "fqdn"
	default:
		o.kind = "record"
	}
	d.defs = append(d.defs, o)
}

// dhcpdItself says what bootd does without being told.
var dhcpdItself = map[string]string{
	"authoritative":             "a client with an address of elsewhere is told so",
	"log-facility":              "it logs to standard error; --log says how much",
	"lease-file-name":           "leases are kept in the state directory, synced before each answer",
	"dhcpv6-lease-file-name":    "leases are kept in the state directory, synced before each answer",
	"dhcpv6-pid-file-name":      "systemd watches over it",
	"pid-file-name":             "systemd watches over it",
	"dhcpv6-lease-file-format":  "leases are kept in the state directory, synced before each answer",
	"update-static-leases":      "its own DNS knows the hosts",
	"allow-leasequery":          "bootd leases --json",
	"one-lease-per-client":      "a network card has one address in each prefix",
	"deny-duplicates":           "bootd check finds a machine that is listed twice",
	"server-name":               "there is one server",
	"local-port":                "port 547",
	"remote-port":               "port 546",
	"prefix-length-mode":        "a length that a client asks for is a hint",
	"dhcp-cache-threshold":      "each answer is renewed and durable",
	"delayed-ack":               "answers that wait for the disk share one sync",
	"max-ack-delay":             "answers that wait for the disk share one sync",
	"persist-eui-64-leases":     "all leases are durable",
	"limit-addrs-per-ia":        "a network card has one address in each prefix",
	"max-lease-time":            "every client is told the network's lifetimes, whatever it asks for",
	"min-lease-time":            "every client is told the network's lifetimes, whatever it asks for",
	"dhcpv6-set-tee-times":      "renew and rebind times follow from the preferred lifetime",
	"do-forward-updates":        "its own DNS knows the hosts",
	"update-conflict-detection": "its own DNS knows the hosts",
}

func (d *dhcpd) statements(list []*statement, in scope) {
	var chain []condition // the ifs before an elsif or else
	for _, s := range list {
		switch s.head() {
		case "if", "elsif", "else":
			chain = d.branch(s, in, chain)
		default:
			d.statement(s, in)
		}
	}
}

func (d *dhcpd) statement(s *statement, in scope) {
	head := s.head()
	text, own := dhcpdItself[head]
	switch {
	case head == "option":
		d.option(s, in)
	case len(in.conditions) > 0:
		d.lostWhole(s, ": of what stands under if or in a class, only the boot file is taken over")
	case head == "subnet6", head == "shared-network", head == "group", head == "pool6", head == "host", head == "class", head == "subclass":
		d.blockOf(s, in)
	case in.net != nil && (head == "range6" || head == "prefix6"):
		d.rangeOf(s, in.net)
	case head == "default-lease-time" || head == "preferred-lifetime":
		n, err := strconv.ParseUint(s.arg(1), 10, 32)
		if err != nil {
			d.lost(s.Place, "%s", s)
			return
		}
		key := map[string]string{"default-lease-time": "valid", "preferred-lifetime": "preferred"}[head]
		d.set(in.to, key, duration(n), s.Place)
	case head == "ddns-update-style" && s.arg(1) == "none", head == "ddns-updates" && s.arg(1) == "off":
		d.itself(s.Place, "%s: its own DNS knows the hosts", s)
	case (head == "deny" || head == "ignore") && s.arg(1) == "unknown-clients":
		d.denied = append(d.denied, s.Place)
	case (head == "allow" || head == "deny" || head == "ignore") && slices.Contains([]string{"leasequery", "duplicates", "client-updates", "booting"}, s.arg(1)):
		d.itself(s.Place, "%s", s)
	case own:
		d.itself(s.Place, "%s: %s", s, text)
	case head == "interface" && in.net != nil:
		d.put(in.net.node, &node{key: "interface", value: quote(s.arg(1)), from: s.Place})
	default:
		d.lostWhole(s, dhcpdWhy(head))
	}
}

// lostWhole lists a statement with all that stands in its block: each line is somebody's to look at.
func (d *dhcpd) lostWhole(s *statement, why string) {
	d.lost(s.Place, "%s%s", s, why)
	for _, x := range s.block {
		d.lostWhole(x, ": it stands in the block of line "+strconv.Itoa(s.Line))
	}
}

// dhcpdWhy says more of what people have often.
func dhcpdWhy(head string) string {
	switch head {
	case "subnet", "range", "fixed-address", "next-server", "filename":
		return ": bootd serves IPv6 only"
	case "match", "spawn":
		return ": bootd has no classes"
	case "server-duid":
		return ": bootd makes its own DUID and keeps it in the state directory; clients with a lease of dhcpd's ask anew when it ends"
	case "failover", "key", "zone", "omapi-port", "omapi-key", "on", "execute":
		return ": bootd has nothing like it"
	case "ddns-update-style", "ddns-domainname", "ddns-rev-domainname", "ddns-hostname", "ddns-updates":
		return ": bootd updates no other DNS server, its own knows the hosts"
	}
	return ""
}

// blockOf reads what has a block of its own.
func (d *dhcpd) blockOf(s *statement, in scope) {
	switch s.head() {
	case "subnet6":
		d.subnet(s, in)
	case "shared-network":
		n := d.network(s.arg(1), s.Place)
		above := d.around(n.node, scope{net: n, groups: in.groups})
		d.statements(s.block, scope{to: n.node, net: n, depth: inShared})
		n.node.inheritAll(above)
	case "group":
		d.group(s, in)
	case "class", "subclass":
		d.classOf(s, in)
	case "pool6":
		for _, p := range s.block {
			if p.head() == "range6" || p.head() == "prefix6" {
				d.statement(p, in)
				continue
			}
			d.lost(p.Place, "%s: a pool gives to every machine on its link, with the network's options", p)
		}
	case "host":
		if byRelay(s) {
			d.later = append(d.later, func() { d.host(s, in) })
			return
		}
		d.host(s, in)
	}
}

// network makes a network with a name of its own.
func (d *dhcpd) network(name string, at Place) *iscNetwork {
	base := entryName(name)
	name = base
	for i := 2; d.networks.get(name) != nil; i++ {
		name = base + "-" + strconv.Itoa(i)
	}
	n := &iscNetwork{node: d.networks.add(name, "", at), at: at}
	d.nets = append(d.nets, n)
	return n
}

func (d *dhcpd) subnet(s *statement, in scope) {
	p, ok := prefixText(s.arg(1))
	if !ok {
		d.lost(s.Place, "%s: %q is not an IPv6 prefix", s, s.arg(1))
		return
	}
	n := in.net
	if n == nil {
		n = d.network("net"+strconv.Itoa(len(d.nets)+1), s.Place)
	}
	n.prefixes = append(n.prefixes, p)
	n.lines = append(n.lines, &node{key: "-", value: quote(p.String()), from: s.Place})
	above := d.around(n.node, scope{net: n, groups: in.groups, depth: inGroupThere})
	if in.net != nil {
		d.differs(n.node, above)
	}
	d.statements(s.block, scope{to: n.node, net: n, depth: inSubnet})
	n.node.inheritAll(above)
}

// rangeOf reads range6 and prefix6.
func (d *dhcpd) rangeOf(s *statement, n *iscNetwork) {
	args := s.rest(1)
	if s.head() == "prefix6" {
		d.prefixRange(s, n, args)
		return
	}
	text, ok := "", false
	switch {
	case len(args) == 1:
		if _, err := netip.ParseAddr(args[0]); err == nil {
			args = append(args, args[0])
			text, ok = rangeText(args[0] + "-" + args[1])
		} else {
			text, ok = rangeText(args[0])
		}
	case len(args) == 2 && args[1] == "temporary":
		d.lost(s.Place, "%s: bootd gives no temporary addresses by DHCPv6; clients make their own (RFC 8981)", s)
		return
	case len(args) == 2:
		text, ok = rangeText(args[0] + "-" + args[1])
	}
	if !ok {
		d.lost(s.Place, "%s: wants two addresses or a prefix", s)
		return
	}
	n.pools = append(n.pools, &node{key: "-", value: quote(text), from: s.Place})
}

// prefixRange turns prefix6 FIRST LAST /BITS into prefixes that hold exactly the same.
func (d *dhcpd) prefixRange(s *statement, n *iscNetwork, args []string) {
	if len(args) == 3 && strings.HasPrefix(args[2], "/") || len(args) == 2 && strings.Contains(args[1], "/") {
		if len(args) == 2 {
			last, bits, _ := strings.Cut(args[1], "/")
			args = []string{args[0], last, "/" + bits}
		}
		first, err1 := netip.ParseAddr(args[0])
		last, err2 := netip.ParseAddr(args[1])
		bits, err3 := strconv.Atoi(args[2][1:])
		if err1 == nil && err2 == nil && err3 == nil && first.Is6() && last.Is6() && bits > 0 && bits <= 64 && !last.Less(first) {
			if pools, ok := cover(first, last, bits); ok {
				for _, p := range pools {
					n.pds = append(n.pds, &node{key: "-", value: "{pool: " + quote(p.String()) + ", length: " + strconv.Itoa(bits) + "}", from: s.Place})
				}
				return
			}
		}
	}
	d.lost(s.Place, "%s: wants the first and the last prefix and their length, such as prefix6 2001:db8:0:100:: 2001:db8:0:1f0:: /60", s)
}

// maxCover bounds the prefixes that a range falls into.
const maxCover = 16

// cover gives the fewest prefixes that hold the prefixes of a length from first to last and nothing else. Ends that are no
// prefixes of that length are refused, as dhcpd does.
func cover(first, last netip.Addr, bits int) ([]netip.Prefix, bool) {
	var out []netip.Prefix
	end := netip.PrefixFrom(last, bits).Masked()
	at := netip.PrefixFrom(first, bits)
	if at != at.Masked() || end.Addr() != last {
		return nil, false
	}
	for {
		best := at
		for b := bits - 1; b >= 1; b-- {
			wider := netip.PrefixFrom(at.Addr(), b)
			if wider != wider.Masked() || end.Addr().Less(lastOf(wider, bits)) {
				break
			}
			best = wider
		}
		if out = append(out, best); len(out) > maxCover {
			return nil, false
		}
		last := lastOf(best, bits)
		if last == end.Addr() {
			return out, true
		}
		if end.Addr().Less(last) {
			return nil, false
		}
		at = netip.PrefixFrom(after(last, bits), bits)
	}
}

// lastOf is the address of the last prefix of a length inside p.
func lastOf(p netip.Prefix, bits int) netip.Addr {
	b := p.Addr().As16()
	for i := p.Bits(); i < bits; i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	return netip.AddrFrom16(b)
}

// after is the address of the prefix of a length after the one at a.
func after(a netip.Addr, bits int) netip.Addr {
	b := a.As16()
	for i := bits - 1; i >= 0; i-- {
		b[i/8] ^= 0x80 >> (i % 8)
		if b[i/8]&(0x80>>(i%8)) != 0 {
			break
		}
	}
	return netip.AddrFrom16(b)
}
