package ra

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"bootd.internal/bootd/ident"
	"bootd.internal/bootd/netif"
	"bootd.internal/bootd/netif/netiftest"
	"bootd.internal/bootd/site"
	"bootd.internal/bootd/site/sitetest"
	"bootd.internal/bootd/timeline"
)

type discard struct{}

func (discard) Observe(timeline.Observation) {}

// here runs f in the namespace of the tests, as Namespace.Do does in another.
func here(t *testing.T) func(func() error) {
	return func(f func() error) {
		t.Helper()
		if err := f(); err != nil {
			t.Fatal(err)
		}
	}
}

// until waits for a link to become what a test needs; do runs functions in the link's namespace.
func until(t *testing.T, do func(func() error), name string, ok func(netif.State, site.Link) bool) site.Link {
	t.Helper()
	var w *netif.Watch
	do(func() (err error) {
		w, err = netif.NewWatch(slog.New(slog.NewTextHandler(t.Output(), nil)))
		return err
	})
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	done := make(chan error)
	go func() { done <- w.Run(ctx) }()
	changed := w.Changed(ctx)
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	for {
		state := w.State()
		for _, l := range state.Links {
			if l.Name == name && ok(state, l) {
				return l
			}
		}
		if _, more := <-changed; !more {
			t.Fatalf("%s did not come to it: %+v", name, state)
		}
	}
}

func up(name string) func() error {
	return func() error {
		l, err := netlink.LinkByName(name)
		if err != nil {
			return err
		}
		return netlink.LinkSetUp(l)
	}
}

func hasLinkLocal(_ netif.State, l site.Link) bool { return l.Up && l.LinkLocal.IsValid() }

// rackWire is eth1, on which a task advertises, and the far end eth0 in a namespace of its own.
func rackWire(t *testing.T) (ns *netiftest.Namespace, eth1 site.Link) {
	t.Helper()
	netiftest.Kernel(t)
	netiftest.Sysctl(t, "default/accept_dad", "0")
	ns = netiftest.NewNamespace(t)
	ns.Sysctl("default/accept_dad", "0")
	ns.Sysctl("default/accept_ra", "1")
	ns.Veth("eth1", "eth0")
	here(t)(up("eth1"))
	ns.Do(up("eth0"))
	eth1 = until(t, here(t), "eth1", hasLinkLocal)
	return ns, eth1
}

func snapshotOn(t *testing.T, eth1 site.Link) *site.Snapshot {
	t.Helper()
	f := sitetest.Facts(eth1)
	f.Links[0].Addrs = []netip.Prefix{netip.MustParsePrefix("2001:db8:1::1/64")}
	f.Forwarding, f.DefaultRoute = true, true
	return sitetest.Snapshot(t, insisting(), f)
}

func startTask(t *testing.T, eth1 site.Link, final bool) (stop func()) {
	t.Helper()
	snap := snapshotOn(t, eth1)
	task, err := New(Config{
		Snapshot: func() *site.Snapshot { return snap }, Observer: discard{}, Final: func() bool { return final },
	}, eth1)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- task.Run(ctx) }()
	<-task.Ready()
	stop = func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		done <- nil
	}
	t.Cleanup(stop)
	return stop
}

// The kernel's own autoconfiguration takes prefix and default route from us, and lets the route go at the end.
func TestKernelSLAAC(t *testing.T) {
	ns, eth1 := rackWire(t)
	stop := startTask(t, eth1, true)
	got := until(t, ns.Do, "eth0", func(s netif.State, l site.Link) bool { return len(l.Addrs) > 0 && s.DefaultRoute })
	want := netip.PrefixFrom(got.MAC.EUI64(netip.MustParsePrefix("2001:db8:1::/64")), 64)
	if len(got.Addrs) != 1 || got.Addrs[0] != want {
		t.Errorf("addresses %v, want %v", got.Addrs, want)
	}
	ns.Do(func() error {
		routes, err := netlink.RouteList(nil, netlink.FAMILY_V6)
		if err != nil {
			return err
		}
		for _, r := range routes {
			if a, ok := netip.AddrFromSlice(r.Gw); ok && a == eth1.LinkLocal {
				return nil
			}
		}
		return errors.New("no route by our link-local address")
	})
	stop()
	until(t, ns.Do, "eth0", func(s netif.State, _ site.Link) bool { return !s.DefaultRoute })
}

// A machine without an address, such as firmware, is answered within the 500 ms that installers wait, by a frame that
// nobody else takes.
func TestKernelUnspecifiedSource(t *testing.T) {
	ns, eth1 := rackWire(t)
	startTask(t, eth1, false)
	var fd, index int
	var far *netif.Discovery
	var mac ident.MAC
	ns.Do(func() (err error) {
		l, err := netlink.LinkByName("eth0")
		if err != nil {
			return err
		}
		index, mac = l.Attrs().Index, ident.MAC(l.Attrs().HardwareAddr)
		if far, err = netif.ListenDiscovery(site.Link{Name: "eth0", Index: index}); err != nil {
			return err
		}
		fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM, 0xdd86) // ETH_P_IPV6 in network order
		return err
	})
	defer far.Close()
	defer unix.Close(fd)
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 20}); err != nil {
		t.Fatal(err)
	}
	sent := time.Now()
	if err := far.Write(unhex(rsOVMF), allRoutersMAC()); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 1500)
	for {
		n, from, err := unix.Recvfrom(fd, b, 0)
		if errors.Is(err, unix.EINTR) {
			continue // the runtime's signals end a wait with a limit
		}
		if err != nil {
			t.Fatalf("no answer to %v: %v", mac, err)
		}
		sll, ok := from.(*unix.SockaddrLinklayer)
		if !ok || sll.Ifindex != index || sll.Pkttype != unix.PACKET_HOST || n < 41 || b[40] != typeAdvertisement {
			continue // the multicasts are for all
		}
		if netip.AddrFrom16([16]byte(b[24:40])) != allNodes() {
			continue // the kernel has asked by itself, from its link-local address
		}
		t.Logf("answered after %v", time.Since(sent))
		return
	}
}

// A link that goes down ends the task with an error that says so; what follows links starts another when it comes back.
func TestKernelLinkDown(t *testing.T) {
	_, eth1 := rackWire(t)
	snap := snapshotOn(t, eth1)
	task, err := New(Config{Snapshot: func() *site.Snapshot { return snap }, Observer: discard{}}, eth1)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() { done <- task.Run(t.Context()) }()
	<-task.Ready()
	here(t)(func() error {
		l, err := netlink.LinkByName("eth1")
		if err != nil {
			return err
		}
		return netlink.LinkSetDown(l)
	})
	if err := <-done; err == nil || err.Error() != "reading router discovery on eth1: network is down" {
		t.Errorf("Run: %v", err)
	}
}
