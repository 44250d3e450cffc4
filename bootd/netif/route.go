package netif

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Forwarding reports whether the kernel forwards IPv6 packets that come in on an interface; "all" asks for the whole
// machine. A link that does not exist does not forward. The error says which setting could not be read.
func Forwarding(ifname string) (bool, error) {
	if ifname == "" || ifname == "." || ifname == ".." || strings.ContainsRune(ifname, '/') {
		return false, fmt.Errorf("reading forwarding: %q is no interface name", ifname)
	}
	b, err := os.ReadFile(filepath.Join("/proc/sys/net/ipv6/conf", ifname, "forwarding"))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("reading forwarding: %w", err)
	}
	return !bytes.Equal(bytes.TrimSpace(b), []byte("0")), nil
}

// DefaultRoute reports whether the main table holds an IPv6 default route that leads somewhere.
func DefaultRoute() (bool, error) {
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return false, fmt.Errorf("opening netlink: %w", err)
	}
	defer h.Close()
	return defaultRoute(h)
}

// DefaultRouteLinks gives the interface numbers of the IPv6 default routes in the main table; true: one of them is no router
// advertisement's, so that it does not run out.
func DefaultRouteLinks() (map[int]bool, error) {
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("opening netlink: %w", err)
	}
	defer h.Close()
	return defaultRoutes(h)
}

func defaultRoute(h *netlink.Handle) (bool, error) {
	links, err := defaultRoutes(h)
	return len(links) > 0, err
}

func defaultRoutes(h *netlink.Handle) (map[int]bool, error) {
	filter := &netlink.Route{Table: unix.RT_TABLE_MAIN, Type: unix.RTN_UNICAST}
	routes, err := h.RouteListFiltered(netlink.FAMILY_V6, filter, netlink.RT_FILTER_TABLE|netlink.RT_FILTER_TYPE)
	if err != nil {
		return nil, fmt.Errorf("listing routes: %w", err)
	}
	links := map[int]bool{}
	for _, r := range routes {
		if r.Dst != nil {
			if ones, bits := r.Dst.Mask.Size(); ones != 0 || bits != 128 {
				continue
			}
		}
		stays := r.Protocol != unix.RTPROT_RA
		links[r.LinkIndex] = links[r.LinkIndex] || stays
		for _, hop := range r.MultiPath {
			links[hop.LinkIndex] = links[hop.LinkIndex] || stays
		}
	}
	return links, nil
}
