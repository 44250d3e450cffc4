package netif_test

import (
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"bootd.internal/bootd/ident"
	"bootd.internal/bootd/netif"
	"bootd.internal/bootd/netif/netiftest"
	"bootd.internal/bootd/site"
)

// wire is a link with a served end here and a client's end in another namespace; both ends have a link-local address.
type wire struct {
	ns        *netiftest.Namespace
	near, far site.Link
}

func newWire(t *testing.T) wire {
	t.Helper()
	netiftest.Kernel(t)
	netiftest.Sysctl(t, "default/accept_dad", "0")
	netiftest.Sysctl(t, "default/accept_ra", "0")
	w := wire{ns: netiftest.NewNamespace(t)}
	w.ns.Sysctl("default/accept_dad", "0")
	w.ns.Sysctl("default/accept_ra", "0")
	w.ns.Veth("rack1", "eth0")
	w.near = upLink(t, "rack1", func(f func() error) { must(t, f()) })
	w.far = upLink(t, "eth0", w.ns.Do)
	w.near = settled(t, "rack1", func(f func() error) { must(t, f()) })
	w.far = settled(t, "eth0", w.ns.Do)
	return w
}

func upLink(t *testing.T, name string, do func(func() error)) (l site.Link) {
	t.Helper()
	do(func() error {
		nl, err := netlink.LinkByName(name)
		if err != nil {
			return err
		}
		return netlink.LinkSetUp(nl)
	})
	return l
}

// settled waits until a link has its link-local address.
func settled(t *testing.T, name string, do func(func() error)) site.Link {
	t.Helper()
	var w *netif.Watch
	do(func() (err error) {
		w, err = netif.NewWatch(logTo(t))
		return err
	})
	run(t, w.Run)
	changed := w.Changed(t.Context())
	late := time.After(carrierTime)
	for {
		if l := find(w.Links(), name); l != nil && l.Up && l.LinkLocal.IsValid() {
			return *l
		}
		select {
		case <-changed:
		case <-late:
			t.Fatalf("%s has no link-local address: %+v", name, w.Links())
		}
	}
}

func newNeighbours(t *testing.T) *netif.Neighbours {
	t.Helper()
	n, err := netif.NewNeighbours(logTo(t), time.Now)
	must(t, err)
	t.Cleanup(func() { n.Close() })
	return n
}

// listen547 is the socket of a DHCPv6 server.
func listen547(t *testing.T) *net.UDPConn {
	t.Helper()
	c, err := net.ListenUDP("udp6", &net.UDPAddr{Port: 547})
	must(t, err)
	t.Cleanup(func() { c.Close() })
	return c
}

// flood sends packets from the far end's link-local address; static neighbour entries keep neighbour discovery, which
// would teach the MAC as well, off the wire.
func (w wire) dial(t *testing.T) (c *net.UDPConn) {
	t.Helper()
	w.ns.Do(func() (err error) {
		err = netlink.NeighAdd(&netlink.Neigh{
			LinkIndex: w.far.Index, IP: w.near.LinkLocal.AsSlice(), State: unix.NUD_PERMANENT,
			HardwareAddr: w.near.MAC[:],
		})
		if err != nil {
			return err
		}
		c, err = net.DialUDP("udp6", nil, &net.UDPAddr{IP: w.near.LinkLocal.AsSlice(), Zone: "eth0", Port: 547})
		return err
	})
	t.Cleanup(func() { c.Close() })
	return c
}

// The answer is there at the moment that the packet is: thousands of packets, each from a new address, none missed.
func TestNeighbourOfThePacketInHand(t *testing.T) {
	w := newWire(t)
	n := newNeighbours(t)
	server := listen547(t)
	l, err := n.Listen(w.near)
	must(t, err)
	run(t, l.Run)
	conn := w.dial(t)
	buf := make([]byte, 64)
	for i := range 2000 {
		if _, err := conn.Write([]byte("solicit")); err != nil {
			t.Fatal(err)
		}
		must(t, server.SetReadDeadline(time.Now().Add(5*time.Second)))
		_, from, err := server.ReadFromUDPAddrPort(buf)
		must(t, err)
		got, ok := n.MAC(w.near.Index, from.Addr())
		if !ok || got != w.far.MAC {
			t.Fatalf("packet %d from %v: MAC %v, %v, want %v", i, from, got, ok, w.far.MAC)
		}
	}
}

// Without a task that reads, the lookup finds the packet's frame all the same.
func TestNeighbourWithoutRun(t *testing.T) {
	w := newWire(t)
	n := newNeighbours(t)
	server := listen547(t)
	l, err := n.Listen(w.near)
	must(t, err)
	defer l.Close()
	if _, err := n.Listen(w.near); err == nil {
		t.Error("a second Listener on one link was allowed")
	}
	conn := w.dial(t)
	if got, ok := n.MAC(w.near.Index, w.far.LinkLocal); ok {
		t.Fatalf("MAC %v is known before any packet", got)
	}
	_, err = conn.Write([]byte("solicit"))
	must(t, err)
	_, from, err := server.ReadFromUDPAddrPort(make([]byte, 64))
	must(t, err)
	if got, ok := n.MAC(w.near.Index, from.Addr()); !ok || got != w.far.MAC {
		t.Errorf("MAC %v, %v, want %v", got, ok, w.far.MAC)
	}
	if got, ok := n.MAC(w.near.Index+1, from.Addr()); ok {
		t.Errorf("MAC %v on another link", got)
	}
}

// The kernel's table answers where no frame was seen.
func TestNeighbourFromKernel(t *testing.T) {
	w := newWire(t)
	n := newNeighbours(t)
	a := netip.MustParseAddr("2001:db8:1::77")
	want := ident.MAC{0x52, 0x54, 0, 0xaa, 1, 1}
	if got, ok := n.MAC(w.near.Index, a); ok {
		t.Fatalf("MAC %v is known before there is an entry", got)
	}
	entry := &netlink.Neigh{LinkIndex: w.near.Index, IP: a.AsSlice(), State: unix.NUD_STALE, HardwareAddr: want[:]}
	must(t, netlink.NeighAdd(entry))
	if got, ok := n.MAC(w.near.Index, a); !ok || got != want {
		t.Errorf("MAC %v, %v, want %v", got, ok, want)
	}
	if got, ok := n.MAC(w.near.Index, a.WithZone("rack1")); !ok || got != want {
		t.Errorf("with a zone: MAC %v, %v, want %v", got, ok, want)
	}
	entry.State = unix.NUD_FAILED
	must(t, netlink.NeighSet(entry))
	if got, ok := n.MAC(w.near.Index, a); ok {
		t.Errorf("MAC %v of a neighbour that failed", got)
	}
}

// A link that goes down and comes back is still listened to.
func TestListenerSurvivesDown(t *testing.T) {
	w := newWire(t)
	n := newNeighbours(t)
	server := listen547(t)
	l, err := n.Listen(w.near)
	must(t, err)
	run(t, l.Run)
	must(t, netlink.LinkSetDown(link(t, "rack1")))
	must(t, netlink.LinkSetUp(link(t, "rack1")))
	w.near = settled(t, "rack1", func(f func() error) { must(t, f()) })
	w.far = settled(t, "eth0", w.ns.Do)
	conn := w.dial(t)
	_, err = conn.Write([]byte("solicit"))
	must(t, err)
	_, from, err := server.ReadFromUDPAddrPort(make([]byte, 64))
	must(t, err)
	if got, ok := n.MAC(w.near.Index, from.Addr()); !ok || got != w.far.MAC {
		t.Errorf("MAC %v, %v, want %v", got, ok, w.far.MAC)
	}
}

func TestDiscoveryCarriesFrames(t *testing.T) {
	w := newWire(t)
	near, err := netif.ListenDiscovery(w.near)
	must(t, err)
	var far *netif.Discovery
	w.ns.Do(func() (err error) {
		far, err = netif.ListenDiscovery(w.far)
		return err
	})
	defer far.Close()
	// A solicitation from ::, as firmware sends it: 40 octets of IPv6 header, 8 of ICMPv6 (checksum left out).
	rs := make([]byte, 48)
	rs[0], rs[5], rs[6], rs[7] = 0x60, 8, 58, 255
	dst := netip.MustParseAddr("ff02::2").As16()
	copy(rs[24:], dst[:])
	rs[40] = 133
	must(t, far.Write(rs, ident.MAC{0x33, 0x33, 0, 0, 0, 2}))
	buf := make([]byte, 1500)
	for {
		size, from, err := near.Read(buf)
		must(t, err)
		if from != w.far.MAC {
			t.Fatalf("from %v, want %v", from, w.far.MAC)
		}
		if string(buf[:size]) == string(rs) { // the kernel's own solicitations come as well
			break
		}
	}
	fragment := append(append([]byte(nil), rs[:40]...), 58, 0, 0, 1, 0, 0, 0, 9, 133, 0, 0, 0)
	fragment[5], fragment[6] = 12, 44
	must(t, far.Write(fragment, ident.MAC{0x33, 0x33, 0, 0, 0, 2}))
	for {
		size, _, err := near.Read(buf)
		must(t, err)
		if string(buf[:size]) == string(fragment) {
			break
		}
	}
	done := make(chan error)
	go func() {
		for {
			if _, _, err := near.Read(buf); err != nil {
				done <- err
				return
			}
		}
	}()
	must(t, near.Close())
	if err := <-done; err == nil || err.Error() != "reading router discovery on rack1: use of closed network connection" {
		t.Errorf("Read after Close: %v", err)
	}
}
