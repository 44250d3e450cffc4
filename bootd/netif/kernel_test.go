package netif_test

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"bootd.internal/bootd/ident"
	"bootd.internal/bootd/netif"
	"bootd.internal/bootd/netif/netiftest"
	"bootd.internal/bootd/site"
)

func TestMain(m *testing.M) { netiftest.Main(m) }

const (
	// inTime is how soon a change must be seen.
	inTime = time.Second
	// carrierTime is for a carrier that comes: the kernel itself tells of one at most once a second
	// (net/core/link_watch.c).
	carrierTime = inTime + 2*time.Second
)

func logTo(t *testing.T) *slog.Logger {
	return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// run runs a task until the end of the test.
func run(t *testing.T, f func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- f(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func newWatch(t *testing.T) *netif.Watch {
	t.Helper()
	w, err := netif.NewWatch(logTo(t))
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// eventually waits for changes until one gives want, and fails when it does not come in time.
func eventually(t *testing.T, w *netif.Watch, changed <-chan struct{}, name string, want *site.Link) {
	t.Helper()
	limit := inTime
	if want != nil && want.Up {
		limit = carrierTime
	}
	late := time.After(limit)
	for {
		got := find(w.Links(), name)
		diff := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
			cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }))
		if diff == "" {
			return
		}
		select {
		case <-changed:
		case <-late:
			t.Fatalf("not seen within %v (-want +got):\n%s", limit, diff)
		}
	}
}

func find(links []site.Link, name string) *site.Link {
	for _, l := range links {
		if l.Name == name {
			return &l
		}
	}
	return nil
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func link(t *testing.T, name string) netlink.Link {
	t.Helper()
	l, err := netlink.LinkByName(name)
	must(t, err)
	return l
}

func addr(t *testing.T, s string, flags int) *netlink.Addr {
	t.Helper()
	a, err := netlink.ParseAddr(s)
	must(t, err)
	a.Flags = flags
	return a
}

func TestWatchFollowsLink(t *testing.T) {
	netiftest.Kernel(t)
	netiftest.Sysctl(t, "default/accept_dad", "0")
	netiftest.Sysctl(t, "default/accept_ra", "0")
	ns := netiftest.NewNamespace(t)
	w := newWatch(t)
	run(t, w.Run)
	<-w.Ready()
	changed := w.Changed(t.Context())

	ns.Veth("rack1", "far")
	l := link(t, "rack1")
	mac := ident.MAC(l.Attrs().HardwareAddr)
	want := &site.Link{Name: "rack1", Index: l.Attrs().Index, MAC: mac, MTU: 1500}
	eventually(t, w, changed, "rack1", want)

	ns.Do(func() error {
		l, err := netlink.LinkByName("far")
		if err != nil {
			return err
		}
		return netlink.LinkSetUp(l)
	})
	must(t, netlink.LinkSetUp(l))
	want.Up = true
	want.LinkLocal = mac.EUI64(netip.MustParsePrefix("fe80::/64"))
	eventually(t, w, changed, "rack1", want)

	must(t, netlink.AddrAdd(l, addr(t, "2001:db8:1::1/64", unix.IFA_F_NODAD)))
	want.Addrs = []netip.Prefix{netip.MustParsePrefix("2001:db8:1::1/64")}
	eventually(t, w, changed, "rack1", want)

	must(t, netlink.AddrReplace(l, addr(t, "fd00:1::5/48", unix.IFA_F_NODAD)))
	want.Addrs = append(want.Addrs, netip.MustParsePrefix("fd00:1::5/48"))
	eventually(t, w, changed, "rack1", want)

	must(t, netlink.AddrDel(l, addr(t, "2001:db8:1::1/64", 0)))
	want.Addrs = want.Addrs[1:]
	eventually(t, w, changed, "rack1", want)

	must(t, netlink.LinkSetMTU(l, 1400))
	want.MTU = 1400
	eventually(t, w, changed, "rack1", want)

	must(t, netlink.LinkSetDown(l))
	must(t, netlink.LinkSetName(l, "renamed"))
	must(t, netlink.LinkSetUp(l))
	must(t, netlink.AddrAdd(l, addr(t, "2001:db8:2::1/64", unix.IFA_F_NODAD)))
	want.Name, want.Addrs = "renamed", []netip.Prefix{netip.MustParsePrefix("2001:db8:2::1/64")}
	eventually(t, w, changed, "renamed", want)
	eventually(t, w, changed, "rack1", nil)

	must(t, netlink.LinkDel(l))
	eventually(t, w, changed, "renamed", nil)
}

// An address is no source before its duplicate address detection is over, and never when it is a duplicate.
func TestWatchWaitsForDAD(t *testing.T) {
	netiftest.Kernel(t)
	netiftest.Sysctl(t, "default/accept_dad", "0")
	netiftest.Sysctl(t, "default/accept_ra", "0")
	ns := netiftest.NewNamespace(t)
	w := newWatch(t)
	run(t, w.Run)
	changed := w.Changed(t.Context())
	ns.Veth("rack1", "far")
	ns.Do(func() error {
		l, err := netlink.LinkByName("far")
		if err == nil {
			err = netlink.LinkSetUp(l)
		}
		if err == nil {
			err = netlink.AddrAdd(l, addr(t, "2001:db8:1::2/64", unix.IFA_F_NODAD))
		}
		return err
	})
	l := link(t, "rack1")
	netiftest.Sysctl(t, "rack1/accept_dad", "1")
	netiftest.Sysctl(t, "rack1/dad_transmits", "1")
	must(t, netlink.LinkSetUp(l))
	must(t, netlink.AddrAdd(l, addr(t, "2001:db8:1::1/64", 0)))
	must(t, netlink.AddrAdd(l, addr(t, "2001:db8:1::2/64", 0)))
	good := netip.MustParsePrefix("2001:db8:1::1/64")
	late := time.After(10 * time.Second)
	for {
		got := find(w.Links(), "rack1")
		if got != nil && got.LinkLocal.IsValid() && len(got.Addrs) > 0 {
			if diff := cmp.Diff([]string{good.String()}, []string{fmt.Sprint(got.Addrs[0])}); diff != "" || len(got.Addrs) > 1 {
				t.Fatalf("usable: %v, want only %v", got.Addrs, good)
			}
			break
		}
		select {
		case <-changed:
		case <-late:
			t.Fatalf("no usable address came: %+v", got)
		}
	}
	as, err := netlink.AddrList(l, netlink.FAMILY_V6)
	must(t, err)
	for _, a := range as {
		if a.Flags&unix.IFA_F_TENTATIVE != 0 && a.Flags&unix.IFA_F_DADFAILED == 0 {
			t.Errorf("%v is still tentative, so the test has seen nothing", a.IP)
		}
	}
}

func TestWatchForwardingAndDefaultRoute(t *testing.T) {
	netiftest.Kernel(t)
	netiftest.Sysctl(t, "default/accept_dad", "0")
	netiftest.Sysctl(t, "all/forwarding", "0")
	netiftest.NewNamespace(t).Veth("up0", "far")
	w := newWatch(t)
	run(t, w.Run)
	changed := w.Changed(t.Context())
	until := func(what string, ok func(netif.State) bool) {
		t.Helper()
		late := time.After(inTime)
		for !ok(w.State()) {
			select {
			case <-changed:
			case <-late:
				t.Fatalf("%s not seen within %v: %+v", what, inTime, w.State())
			}
		}
	}
	until("nothing", func(s netif.State) bool { return !s.Forwarding && !s.DefaultRoute })
	netiftest.Sysctl(t, "all/forwarding", "1")
	until("forwarding", func(s netif.State) bool { return s.Forwarding })
	l := link(t, "up0")
	must(t, netlink.LinkSetUp(l))
	_, all, err := net.ParseCIDR("::/0")
	must(t, err)
	route := &netlink.Route{LinkIndex: l.Attrs().Index, Dst: all}
	must(t, netlink.RouteAdd(route))
	until("default route", func(s netif.State) bool { return s.DefaultRoute })
	for _, c := range []struct {
		protocol netlink.RouteProtocol
		stays    bool
	}{{unix.RTPROT_STATIC, true}, {unix.RTPROT_RA, false}} {
		must(t, netlink.RouteDel(route))
		route.Protocol = c.protocol
		must(t, netlink.RouteAdd(route))
		if links, err := netif.DefaultRouteLinks(); err != nil || len(links) != 1 || links[l.Attrs().Index] != c.stays {
			t.Errorf("default routes of protocol %v: %v, %v", c.protocol, links, err)
		}
	}
	must(t, netlink.RouteDel(route))
	until("route gone", func(s netif.State) bool { return !s.DefaultRoute })
	has, err := netif.Forwarding("up0")
	if err != nil || !has {
		t.Errorf("Forwarding(up0) = %v, %v", has, err)
	}
	if has, err := netif.Forwarding("nothing9"); has || err != nil {
		t.Errorf("Forwarding(nothing9) = %v, %v", has, err)
	}
	if _, err := netif.Forwarding("../all"); err == nil {
		t.Error("a path passed as an interface name")
	}
}

// More notifications than the buffer holds lose nothing: the list is taken anew.
func TestWatchSurvivesOverflow(t *testing.T) {
	netiftest.Kernel(t)
	netiftest.Sysctl(t, "default/accept_dad", "0")
	netiftest.NewNamespace(t).Veth("rack1", "far")
	l := link(t, "rack1")
	w := newWatch(t) // nobody reads it while the changes come
	for range 6 {
		for i := range 1000 {
			a := addr(t, fmt.Sprintf("2001:db8:1::%x/64", i+1), unix.IFA_F_NODAD)
			must(t, netlink.AddrAdd(l, a))
			must(t, netlink.AddrDel(l, a))
		}
	}
	must(t, netlink.AddrAdd(l, addr(t, "2001:db8:9::9/64", unix.IFA_F_NODAD)))
	changed := w.Changed(t.Context())
	run(t, w.Run)
	late := time.After(inTime)
	for {
		if got := find(w.Links(), "rack1"); got != nil && len(got.Addrs) == 1 {
			return
		}
		select {
		case <-changed:
		case <-late:
			t.Fatalf("not seen: %+v", find(w.Links(), "rack1"))
		}
	}
}
