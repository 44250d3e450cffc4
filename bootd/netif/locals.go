package netif

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Locals are the prefixes that bootd made this machine's own, each by a route of type local in the kernel's table local: what
// `ip route add local PREFIX dev lo` does. They have the number of all of bootd's routes. Writing needs CAP_NET_ADMIN.
type Locals struct{ handle *netlink.Handle }

// Other is a route of somebody else.
type Other struct {
	Prefix netip.Prefix
	// Type is that of ip-route(8): local, unicast, unreachable...
	Type string
	// Link is where it leads, empty: nowhere. Setter says who wrote it.
	Link, Setter string
	// Connected: an address of ours on Link made it.
	Connected bool
}

// OpenLocals opens netlink. It needs no privilege.
func OpenLocals() (*Locals, error) {
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("opening netlink: %w", err)
	}
	return &Locals{h}, nil
}

// Close closes netlink; the prefixes stay.
func (l *Locals) Close() error {
	l.handle.Close()
	return nil
}

// List gives those that are bound, of both families.
func (l *Locals) List() ([]netip.Prefix, error) {
	filter := &netlink.Route{Table: unix.RT_TABLE_LOCAL, Protocol: routeProtocol, Type: unix.RTN_LOCAL}
	all, err := l.handle.RouteListFiltered(netlink.FAMILY_ALL, filter, netlink.RT_FILTER_TABLE|netlink.RT_FILTER_PROTOCOL|netlink.RT_FILTER_TYPE)
	if err != nil {
		return nil, fmt.Errorf("listing local routes: %w", err)
	}
	var out []netip.Prefix
	for _, k := range all {
		if p, ok := anyPrefix(k.Dst); ok {
			out = append(out, p)
		}
	}
	return out, nil
}

// Set binds a prefix, or unbinds it; one that is gone already is none to remove. errors.Is(err, fs.ErrExist): somebody else
// bound it.
func (l *Locals) Set(p netip.Prefix, bound bool) error {
	lo, err := l.handle.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("finding lo: %w", err)
	}
	route := &netlink.Route{
		Dst: &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}, LinkIndex: lo.Attrs().Index,
		Table: unix.RT_TABLE_LOCAL, Type: unix.RTN_LOCAL, Protocol: routeProtocol,
	}
	if p.Addr().Is4() {
		route.Scope = unix.RT_SCOPE_HOST
	} else {
		route.Priority = usualMetric
	}
	if !bound {
		if err = l.handle.RouteDel(route); errors.Is(err, unix.ESRCH) {
			return nil
		}
		return local("removing", p, err)
	}
	if lo.Attrs().Flags&net.FlagUp == 0 {
		return fmt.Errorf("binding %s: the link lo is down: `ip link set lo up`", p)
	}
	return local("binding", p, l.handle.RouteAdd(route))
}

func local(doing string, p netip.Prefix, err error) error {
	if err != nil {
		return fmt.Errorf("%s %s: %w", doing, p, err)
	}
	return nil
}

// maxOthers bounds what is told of one prefix: whoever has a thousand routes inside it needs to be told of some.
const maxOthers = 4

// Within finds routes of others that would lead nowhere once a prefix is local, since the table local comes before all: those
// to the prefix itself and to parts of it. Addresses of this machine are none.
func (l *Locals) Within(prefixes []netip.Prefix) (map[netip.Prefix][]Other, error) {
	wanted, lengths := map[netip.Prefix]bool{}, map[int]bool{}
	for _, p := range prefixes {
		wanted[p], lengths[p.Bits()] = true, true
	}
	type found struct {
		route  netlink.Route
		within netip.Prefix
	}
	var all []found
	count := map[netip.Prefix]int{}
	err := l.handle.RouteListFilteredIter(netlink.FAMILY_ALL, &netlink.Route{Table: unix.RT_TABLE_UNSPEC}, netlink.RT_FILTER_TABLE, func(k netlink.Route) bool {
		dst, ok := anyPrefix(k.Dst)
		if !ok || k.Protocol == routeProtocol || ownAddress(k, dst) {
			return true
		}
		for bits := range lengths {
			p, err := dst.Addr().Prefix(min(bits, dst.Addr().BitLen()))
			if err != nil || bits > dst.Bits() || !wanted[p] || count[p] == maxOthers {
				continue
			}
			count[p]++
			all = append(all, found{k, p})
		}
		return true
	})
	if err != nil {
		return nil, fmt.Errorf("listing routes: %w", err)
	}
	out := map[netip.Prefix][]Other{}
	for _, f := range all { // names are asked for when the list is through: the handle answers one question at a time
		out[f.within] = append(out[f.within], l.other(f.route))
	}
	return out, nil
}

// ownAddress reports whether a route is there because this machine has an address, and for that address alone.
func ownAddress(k netlink.Route, dst netip.Prefix) bool {
	return dst.IsSingleIP() && k.Protocol == unix.RTPROT_KERNEL || k.Type == unix.RTN_ANYCAST || k.Type == unix.RTN_MULTICAST || k.Type == unix.RTN_BROADCAST
}

func (l *Locals) other(k netlink.Route) Other {
	dst, _ := anyPrefix(k.Dst)
	name := ""
	if link, err := l.handle.LinkByIndex(k.LinkIndex); err == nil {
		name = link.Attrs().Name
	}
	kind, ok := map[int]string{
		unix.RTN_UNICAST: "unicast", unix.RTN_LOCAL: "local", unix.RTN_UNREACHABLE: "unreachable", unix.RTN_BLACKHOLE: "blackhole",
		unix.RTN_PROHIBIT: "prohibit", unix.RTN_THROW: "throw",
	}[k.Type]
	if !ok {
		kind = fmt.Sprintf("type %d", k.Type)
	}
	return Other{
		Prefix: dst, Type: kind, Link: name, Setter: setter(int(k.Protocol)),
		Connected: k.Protocol == unix.RTPROT_KERNEL && k.Type == unix.RTN_UNICAST,
	}
}

// setter says in words who writes routes of a protocol number (rtnetlink(7)).
func setter(protocol int) string {
	name, ok := map[int]string{
		unix.RTPROT_KERNEL: "the kernel", unix.RTPROT_BOOT: "a person or a script (ip route)", unix.RTPROT_STATIC: "an administrator (proto static)",
		unix.RTPROT_RA: "a router advertisement", unix.RTPROT_DHCP: "a DHCP client", unix.RTPROT_ZEBRA: "zebra of FRR", unix.RTPROT_BIRD: "bird",
		unix.RTPROT_BGP: "BGP", unix.RTPROT_OSPF: "OSPF", unix.RTPROT_ISIS: "IS-IS", unix.RTPROT_RIP: "RIP", unix.RTPROT_BABEL: "babel",
		unix.RTPROT_KEEPALIVED: "keepalived",
	}[protocol]
	if !ok {
		return fmt.Sprintf("the program with protocol number %d", protocol)
	}
	return name
}

// anyPrefix is prefixOf for both families.
func anyPrefix(n *net.IPNet) (netip.Prefix, bool) {
	if n == nil {
		return netip.Prefix{}, false
	}
	if four := n.IP.To4(); four != nil {
		ones, bits := n.Mask.Size()
		a, ok := netip.AddrFromSlice(four)
		return netip.PrefixFrom(a, ones), ok && bits == 32
	}
	return prefixOf(n)
}
