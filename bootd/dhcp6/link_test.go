package dhcp6

import (
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"bootd.internal/bootd/decide/address"
	"bootd.internal/bootd/netif/netiftest"
	"bootd.internal/bootd/reason"
	"bootd.internal/bootd/site"
	"bootd.internal/bootd/site/sitetest"
	"bootd.internal/bootd/store/memory"
)

// TestLink hears a multicast on a link that it joined and answers from its link-local address to the port that clients listen
// on, whatever port they send from, and hears nothing on a link that it left.
func TestLink(t *testing.T) {
	netiftest.Kernel(t)
	netiftest.Sysctl(t, "default/accept_dad", "0")
	ns := netiftest.NewNamespace(t)
	ns.Sysctl("default/accept_dad", "0")
	ns.Veth("rack1", "nic0")
	here, err := wire("rack1", nil)
	if err != nil {
		t.Fatal(err)
	}
	var there int
	ns.Do(func() (err error) {
		there, err = wire("nic0", net.ParseIP("fe80::b"))
		return err
	})
	if _, err := wire("rack1", net.ParseIP("fe80::a")); err != nil {
		t.Fatal(err)
	}
	snap := sitetest.Snapshot(t, "networks:\n  rack1: {interface: rack1, prefix: \"2001:db8::/64\"}\nhosts:\n  node0: {mac: \"52:54:00:00:01:00\", address: \"::100\"}\n",
		sitetest.Facts(sitetest.Link(t, here, "rack1", "2001:db8::1/64")))
	seen := make(recorder, 4096)
	server, err := New(Config{
		Snapshot: func() *site.Snapshot { return snap }, Store: memory.New(), Observer: seen,
		Neighbours: netiftest.Neighbours{}, Now: sitetest.Now, Lanes: 1, // observed in the order of the wire
	})
	if err != nil {
		t.Fatal(err)
	}
	run(t, server)
	leave := run(t, server.Link(*snap.Networks[0].Link))

	var client, sender *net.UDPConn
	ns.Do(func() (err error) {
		if sender, err = net.ListenUDP("udp6", &net.UDPAddr{Port: 10546}); err != nil {
			return err
		}
		client, err = net.ListenUDP("udp6", &net.UDPAddr{Port: clientPort})
		return err
	})
	t.Cleanup(func() { client.Close(); sender.Close() })
	solicit := encodeRequest(packet{req: address.Request{Msg: address.Solicit, Client: node0(), IAs: []address.IA{{Kind: address.IANA}}}})
	send := func(b []byte, to string) {
		ns.Do(func() error {
			_, err := sender.WriteToUDP(b, &net.UDPAddr{IP: net.ParseIP(to), Port: serverPort, Zone: fmt.Sprint(there)})
			return err
		})
	}
	in := make([]byte, 2000)
	var from netip.AddrPort
	for deadline := time.Now().Add(20 * time.Second); ; { // as a client does: the first ones may meet a link without carrier
		send(solicit, "ff02::1:2")
		if err := client.SetReadDeadline(time.Now().Add(200 * time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		if _, from, err = client.ReadFromUDPAddrPort(in); err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("no answer: %v; observed %+v", err, seen.next(t))
		}
	}
	if !from.Addr().IsLinkLocalUnicast() || from.Port() != serverPort || in[0] != byte(address.Advertise) {
		t.Errorf("a message of type %d came from %s", in[0], from)
	}

	leave()
	again := run(t, server.Link(*snap.Networks[0].Link)) // a link may come back
	again()
	send([]byte{255}, "fe80::a")
	for seen.next(t).Outcome.Reason != reason.Malformed { // what was heard before it left
	}
	send(solicit, "ff02::1:2")
	send([]byte{255}, "fe80::a") // one wire keeps its frames in order
	if o := seen.next(t); o.Outcome.Reason != reason.Malformed {
		t.Errorf("a link that was left is still heard: %+v", o)
	}
}

// wire sets an interface up and gives it an address that is usable at once.
func wire(name string, a net.IP) (index int, err error) {
	l, err := netlink.LinkByName(name)
	if err != nil {
		return 0, err
	}
	if name == "nic0" { // node0's card
		if err := netlink.LinkSetHardwareAddr(l, net.HardwareAddr{0x52, 0x54, 0, 0, 1, 0}); err != nil {
			return 0, err
		}
	}
	if err := netlink.LinkSetUp(l); err != nil || a == nil {
		return l.Attrs().Index, err
	}
	return l.Attrs().Index, netlink.AddrAdd(l, &netlink.Addr{
		IPNet: &net.IPNet{IP: a, Mask: net.CIDRMask(64, 128)}, Flags: unix.IFA_F_NODAD,
	})
}
