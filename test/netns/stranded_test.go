package netns_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"bootd.internal/bootd/ident"
	"bootd.internal/lab"
	"bootd.internal/lab/labtest"
	"bootd.internal/lab/load"
)

// TestDNSToNobody: somebody asks from an address of the link that no machine has. The kernel keeps the answers until it gives up
// looking for that machine, and meanwhile the others get theirs.
func TestDNSToNobody(t *testing.T) {
	r := newRack(t)
	n := host(t, r)
	want := "NOERROR 2001:db8:1::101\n"
	if got := dig(t, n, "r1n01.rack.example.net", "AAAA"); got != want { // it finds the server's MAC, too
		t.Fatalf("dig printed %q", got)
	}
	query := []byte("\x00\x07\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x05r1n01\x04rack\x07example\x03net\x00\x00\x1c\x00\x01")
	packet := forged(netip.MustParseAddr("2001:db8:1::bad"), netip.MustParseAddr("2001:db8:1::1"), 53, query)
	err := n.Do(func() error {
		fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		for range 1000 {
			if err := unix.Sendto(fd, packet, 0, &unix.SockaddrInet6{Addr: netip.MustParseAddr("2001:db8:1::1").As16()}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if got := dig(t, n, "r1n01.rack.example.net", "AAAA"); got != want {
		t.Errorf("dig printed %q", got)
	}
	// dig asks twice; the kernel gives up after three seconds.
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("the answers came after %s", took)
	}
}

// TestDHCPToNobody: somebody asks from addresses of the link that no machine has. The kernel keeps the answers until it gives up
// looking for those machines, and of many addresses it can look for no other: a host's card is known from its own question.
func TestDHCPToNobody(t *testing.T) {
	one := func(int) string { return "fe80::bad" }
	many := func(i int) string { return fmt.Sprintf("fe80::bad:%x", i+1) }
	t.Run("one", func(t *testing.T) { stranded(t, one, 1) })
	t.Run("many", func(t *testing.T) { stranded(t, many, 1000) }) // most kernels know 1024 neighbours
}

// stranded has the server answer 3000 Solicits from addresses that no machine has, until the kernel looks for some of them, and
// then a listed machine ask.
func stranded(t *testing.T, source func(int) string, looked int) {
	r := labtest.NewRack(t, labtest.RackConfig{Inventory: poolInventory})
	liar := r.Client(t, "liar", unlistedMAC)
	linkLocal(t, liar)
	n := r.Client(t, "host", listedMAC)
	if err := n.Sysctl(map[string]string{"net/ipv6/conf/eth0/disable_ipv6": "1"}); err != nil {
		t.Fatal(err)
	}
	if err := n.SetUp("eth0"); err != nil {
		t.Fatal(err)
	}
	exchange := func(n *lab.Node, mac string) (netip.Addr, time.Duration) {
		t.Helper()
		m, err := ident.ParseMAC(mac)
		if err != nil {
			t.Fatal(err)
		}
		var res load.Result
		err = n.Do(func() (err error) {
			res, err = load.Run(labtest.Context(t, patience), load.Config{Interface: "eth0", Clients: 1, Outstanding: 1, Exchanges: 1, Base: m})
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return res.Leases[m], res.Latency[0]
	}
	exchange(n, "52:54:00:ff:ff:02") // unlisted machines are answered from now on
	solicit := []byte("\x01\x00\x00\x07\x00\x01\x00\x06\x00\x02nobo\x00\x03\x00\x0c\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00")
	group := netip.MustParseAddr("ff02::1:2")
	err := liar.Do(func() error {
		fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		eth0, err := net.InterfaceByName("eth0")
		if err != nil {
			return err
		}
		for i := range 3000 {
			packet := forged(netip.MustParseAddr(source(i)), group, 547, solicit)
			if err := unix.Sendto(fd, packet, 0, &unix.SockaddrInet6{Addr: group.As16(), ZoneId: uint32(eth0.Index)}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx := labtest.Context(t, patience)
	for missing := ""; strings.Count(missing, "fe80::bad") < looked; {
		out, err := r.Server.Command(ctx, "ip", "-6", "neighbour", "show", "dev", "eth1").Output()
		if err != nil {
			t.Fatal(err)
		}
		missing = string(out)
	}
	has, took := exchange(n, listedMAC)
	if has != listedAddr {
		t.Errorf("the host has %s", has)
	}
	if took > 2*time.Second { // the kernel gives up after three
		t.Errorf("four messages took %s", took)
	}
}

// TestFirewallForbidsAnswers: what a firewall of the server forbids does not leave it by another way.
func TestFirewallForbidsAnswers(t *testing.T) {
	r := labtest.NewRack(t, labtest.RackConfig{Inventory: poolInventory})
	n := r.Client(t, "host", listedMAC)
	linkLocal(t, n)
	rule := "add table ip6 t; add chain ip6 t out { type filter hook output priority 0; }; add rule ip6 t out udp dport 546 counter drop"
	if out, err := r.Server.Command(labtest.Context(t, patience), "nft", rule).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	m, err := ident.ParseMAC("52:54:00:ff:ff:03")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	var res load.Result
	_ = n.Do(func() (err error) { // it ends without an answer, or with one
		res, err = load.Run(ctx, load.Config{Interface: "eth0", Clients: 1, Outstanding: 1, Exchanges: 1, Base: m})
		return err
	})
	if len(res.Leases) > 0 {
		t.Errorf("it has %v", res.Leases)
	}
	out, err := r.Server.Command(labtest.Context(t, patience), "nft", "list", "ruleset").CombinedOutput()
	if err != nil || !strings.Contains(string(out), "counter packets ") || strings.Contains(string(out), "counter packets 0 ") {
		t.Errorf("%v: the server was not asked: %s", err, out)
	}
}

// forged is an IPv6 packet with a UDP datagram from whatever address.
func forged(from, to netip.Addr, port uint16, data []byte) []byte {
	udp := binary.BigEndian.AppendUint16(nil, 546)
	udp = binary.BigEndian.AppendUint16(udp, port)
	udp = binary.BigEndian.AppendUint16(udp, uint16(8+len(data)))
	udp = append(append(udp, 0, 0), data...)
	sum := uint32(len(udp)) + unix.IPPROTO_UDP
	for _, part := range [][]byte{from.AsSlice(), to.AsSlice(), udp} {
		for i, b := range part {
			sum += uint32(b) << (8 * (1 - i%2))
		}
	}
	for sum > 0xffff {
		sum = sum&0xffff + sum>>16
	}
	binary.BigEndian.PutUint16(udp[6:], ^uint16(sum))
	p := []byte{0x60, 0, 0, 0, 0, 0, unix.IPPROTO_UDP, 64}
	binary.BigEndian.PutUint16(p[4:], uint16(len(udp)))
	p = append(append(p, from.AsSlice()...), to.AsSlice()...)
	return append(p, udp...)
}
