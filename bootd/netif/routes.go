package netif

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

const (
	// routeProtocol marks the routes that are bootd's (rtnetlink(7), rtm_protocol; `ip -6 route show proto 217`): they are found
	// again after a crash, and no other program's is ever touched. It is none of the numbers that the kernel's rtnetlink.h, the
	// rt_protos of iproute2 or FRR give to routing daemons.
	routeProtocol = 217
	// lastMetric is that of unreachable routes: whatever else leads to the prefix comes first.
	lastMetric = 0xff000000
	// usualMetric is what the kernel gives a route that names none.
	usualMetric = 1024
)

// Route leads to a prefix.
type Route struct {
	Prefix netip.Prefix
	// Via is the next hop on the link whose number is Link; invalid: the prefix is unreachable.
	Via  netip.Addr
	Link int
}

// String is the route as ip(8) would have it, without the link's name.
func (r Route) String() string {
	if !r.Via.IsValid() {
		return "unreachable " + r.Prefix.String()
	}
	return r.Prefix.String() + " via " + r.Via.String()
}

// Compare orders routes by prefix, so that what belongs together stands together.
func (r Route) Compare(o Route) int {
	return cmp.Or(r.Prefix.Addr().Compare(o.Prefix.Addr()), cmp.Compare(r.Prefix.Bits(), o.Prefix.Bits()), r.Via.Compare(o.Via), cmp.Compare(r.Link, o.Link))
}

// Routes are bootd's own in the kernel's main table. Writing needs CAP_NET_ADMIN.
type Routes struct{ handle *netlink.Handle }

// OpenRoutes opens netlink. It needs no privilege.
func OpenRoutes() (*Routes, error) {
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("opening netlink: %w", err)
	}
	return &Routes{h}, nil
}

// Close closes netlink; the routes stay.
func (r *Routes) Close() error {
	r.handle.Close()
	return nil
}

// List gives those that are there.
func (r *Routes) List() ([]Route, error) {
	filter := &netlink.Route{Table: unix.RT_TABLE_MAIN, Protocol: routeProtocol}
	all, err := r.handle.RouteListFiltered(netlink.FAMILY_V6, filter, netlink.RT_FILTER_TABLE|netlink.RT_FILTER_PROTOCOL)
	if err != nil {
		return nil, fmt.Errorf("listing routes: %w", err)
	}
	var out []Route
	for _, k := range all {
		if k.Dst == nil { // a default route, which is never ours
			continue
		}
		p, ok := prefixOf(k.Dst)
		if !ok {
			continue
		}
		route := Route{Prefix: p}
		if k.Type != unix.RTN_UNREACHABLE {
			via, _ := netip.AddrFromSlice(k.Gw)
			route.Via, route.Link = via, k.LinkIndex
		}
		out = append(out, route)
	}
	return out, nil
}

// Put writes a route in the place of ours to the same prefix, if replace, else beside nothing: errors.Is(err, fs.ErrExist)
// says that somebody else's is there.
func (r *Routes) Put(route Route, replace bool) error {
	write := r.handle.RouteAdd
	if replace {
		write = r.handle.RouteReplace
	}
	return doing("writing", route, write(toKernel(route)))
}

// Delete removes a route of ours; one that is gone already is none to remove.
func (r *Routes) Delete(route Route) error {
	err := r.handle.RouteDel(toKernel(route))
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	return doing("removing", route, err)
}

func doing(what string, route Route, err error) error {
	if err != nil {
		return fmt.Errorf("%s the route %s: %w", what, route, err)
	}
	return nil
}

func toKernel(r Route) *netlink.Route {
	k := &netlink.Route{
		Dst:   &net.IPNet{IP: r.Prefix.Addr().AsSlice(), Mask: net.CIDRMask(r.Prefix.Bits(), 128)},
		Table: unix.RT_TABLE_MAIN, Protocol: routeProtocol, Priority: usualMetric,
	}
	if !r.Via.IsValid() {
		k.Type, k.Priority = unix.RTN_UNREACHABLE, lastMetric
		return k
	}
	k.Gw, k.LinkIndex = r.Via.AsSlice(), r.Link
	return k
}
