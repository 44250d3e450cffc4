package netif_test

import (
	"errors"
	"io/fs"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"bootd.internal/bootd/netif"
	"bootd.internal/bootd/netif/netiftest"
)

// TestLocals binds prefixes in a kernel, beside what others have there.
func TestLocals(t *testing.T) {
	netiftest.NewNamespace(t).Veth("eth0", "far")
	l := link(t, "eth0")
	must(t, netlink.LinkSetUp(l))
	k, err := netif.OpenLocals()
	must(t, err)
	defer k.Close()
	six, four := netip.MustParsePrefix("2001:db8:100::/64"), netip.MustParsePrefix("192.0.2.0/28")
	must(t, netlink.LinkSetDown(link(t, "lo")))
	if err := k.Set(six, true); err == nil || !strings.Contains(err.Error(), "ip link set lo up") {
		t.Errorf("with lo down: %v", err)
	}
	must(t, netlink.LinkSetUp(link(t, "lo")))
	must(t, k.Set(six, true))
	must(t, k.Set(four, true))
	for _, a := range []string{"[2001:db8:100::abcd:1]:0", "192.0.2.9:0"} {
		c, err := net.Dial("udp", strings.Replace(a, ":0", ":9", 1)) // the kernel has a route to itself
		must(t, err)
		if got := netip.MustParseAddrPort(c.LocalAddr().String()).Addr(); got.IsUnspecified() {
			t.Errorf("to %s from %s", a, got)
		}
		c.Close()
	}
	if err := k.Set(six, true); !errors.Is(err, fs.ErrExist) {
		t.Errorf("twice: %v", err)
	}
	list := func() []string {
		all, err := k.List()
		must(t, err)
		var out []string
		for _, p := range all {
			out = append(out, p.String())
		}
		slices.Sort(out)
		return out
	}
	if diff := cmp.Diff([]string{"192.0.2.0/28", "2001:db8:100::/64"}, list()); diff != "" {
		t.Error(diff)
	}
	for range 2 {
		must(t, k.Set(six, false))
		must(t, k.Set(four, false))
	}
	if got := list(); len(got) != 0 {
		t.Errorf("left over: %v", got)
	}
}

// TestWithin: whose routes a prefix would hide.
func TestWithin(t *testing.T) {
	netiftest.NewNamespace(t).Veth("eth0", "far")
	l, lo := link(t, "eth0"), link(t, "lo")
	must(t, netlink.LinkSetUp(l))
	must(t, netlink.LinkSetUp(lo))
	address := func(s string) {
		a, err := netlink.ParseAddr(s)
		must(t, err)
		a.Flags = unix.IFA_F_NODAD
		must(t, netlink.AddrAdd(l, a))
	}
	address("2001:db8:1::1/64")
	address("2001:db8:100::7/128")
	address("192.0.2.65/26")
	add := func(dst string, change func(*netlink.Route)) {
		_, n, err := net.ParseCIDR(dst)
		must(t, err)
		r := &netlink.Route{Dst: n, LinkIndex: l.Attrs().Index, Protocol: unix.RTPROT_STATIC}
		change(r)
		must(t, netlink.RouteAdd(r))
	}
	add("2001:db8:100::/64", func(r *netlink.Route) {
		r.Type, r.Table, r.LinkIndex, r.Protocol = unix.RTN_LOCAL, unix.RT_TABLE_LOCAL, lo.Attrs().Index, unix.RTPROT_BOOT
	})
	add("2001:db8:200:0:8000::/80", func(r *netlink.Route) { r.Protocol = unix.RTPROT_BGP })
	add("2001:db8::/32", func(*netlink.Route) {}) // wider: a prefix inside it is no conflict
	k, err := netif.OpenLocals()
	must(t, err)
	defer k.Close()
	one := netip.MustParsePrefix("2001:db8:1::/64")
	local, bgp, four := netip.MustParsePrefix("2001:db8:100::/64"), netip.MustParsePrefix("2001:db8:200::/64"), netip.MustParsePrefix("192.0.2.0/24")
	got, err := k.Within([]netip.Prefix{one, local, bgp, four, netip.MustParsePrefix("2001:db8:300::/64")})
	must(t, err)
	want := map[netip.Prefix][]netif.Other{
		one:   {{Prefix: one, Type: "unicast", Link: "eth0", Setter: "the kernel", Connected: true}},
		local: {{Prefix: local, Type: "local", Link: "lo", Setter: "a person or a script (ip route)"}},
		bgp:   {{Prefix: netip.MustParsePrefix("2001:db8:200:0:8000::/80"), Type: "unicast", Link: "eth0", Setter: "BGP"}},
		four:  {{Prefix: netip.MustParsePrefix("192.0.2.64/26"), Type: "unicast", Link: "eth0", Setter: "the kernel", Connected: true}},
	}
	if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); diff != "" {
		t.Error(diff)
	}
}
