package netif_test

import (
	"errors"
	"io/fs"
	"net"
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"bootd.internal/bootd/netif"
	"bootd.internal/bootd/netif/netiftest"
)

// TestRoutes writes routes into a kernel, beside those of another program.
func TestRoutes(t *testing.T) {
	netiftest.NewNamespace(t).Veth("rack1", "far")
	l := link(t, "rack1")
	must(t, netlink.LinkSetUp(l))
	index := l.Attrs().Index
	r, err := netif.OpenRoutes()
	must(t, err)
	defer r.Close()
	list := func() []string {
		t.Helper()
		all, err := r.List()
		if err != nil {
			t.Fatal(err)
		}
		var out []string
		for _, x := range all {
			out = append(out, x.String())
		}
		slices.Sort(out)
		return out
	}
	pool, part := netip.MustParsePrefix("2001:db8:0:100::/56"), netip.MustParsePrefix("2001:db8:0:110::/60")
	over := func(via string) netif.Route {
		return netif.Route{Prefix: part, Via: netip.MustParseAddr(via), Link: index}
	}
	for _, x := range []struct {
		route   netif.Route
		replace bool
	}{{netif.Route{Prefix: pool}, false}, {over("fe80::1"), false}, {over("fe80::2"), true}} {
		if err := r.Put(x.route, x.replace); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff([]string{"2001:db8:0:110::/60 via fe80::2", "unreachable 2001:db8:0:100::/56"}, list()); diff != "" {
		t.Error(diff)
	}
	other := netip.MustParsePrefix("2001:db8:0:120::/60")
	must(t, netlink.RouteAdd(&netlink.Route{
		Dst: &net.IPNet{IP: other.Addr().AsSlice(), Mask: net.CIDRMask(60, 128)}, LinkIndex: index, Gw: net.ParseIP("fe80::9"), Protocol: unix.RTPROT_STATIC,
	}))
	if err := r.Put(netif.Route{Prefix: other, Via: netip.MustParseAddr("fe80::1"), Link: index}, false); !errors.Is(err, fs.ErrExist) {
		t.Errorf("beside another program's: %v", err)
	}
	for i, protocol := range []int{ // each routing daemon's own: they stay what they are
		unix.RTPROT_KERNEL, unix.RTPROT_BOOT, unix.RTPROT_STATIC, unix.RTPROT_GATED, unix.RTPROT_RA, unix.RTPROT_ZEBRA, unix.RTPROT_BIRD,
		unix.RTPROT_DHCP, unix.RTPROT_KEEPALIVED, unix.RTPROT_BABEL, unix.RTPROT_OPENR, unix.RTPROT_BGP, unix.RTPROT_ISIS, unix.RTPROT_OSPF,
		unix.RTPROT_RIP, 190, 191, unix.RTPROT_EIGRP, 193, 194, 195, 196, 197, 198,
	} {
		must(t, netlink.RouteAdd(&netlink.Route{
			Dst: &net.IPNet{IP: net.IP{0x20, 1, 0xd, 0xb8, 0xff, byte(i), 15: 0}, Mask: net.CIDRMask(48, 128)}, LinkIndex: index,
			Protocol: netlink.RouteProtocol(protocol),
		}))
	}
	if got := list(); len(got) != 2 {
		t.Errorf("beside those of routing daemons: %v", got)
	}
	for range 2 {
		if err := r.Delete(over("fe80::2")); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.Delete(netif.Route{Prefix: pool}); err != nil {
		t.Fatal(err)
	}
	if got := list(); len(got) != 0 {
		t.Errorf("left over: %v", got)
	}
}
