package netif

import (
	"encoding/binary"
	"log/slog"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/vishvananda/netlink"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"bootd.internal/bootd/ident"
	"bootd.internal/bootd/site"
)

func ipnet(t *testing.T, s string) *net.IPNet {
	t.Helper()
	ip, n, err := net.ParseCIDR(s)
	if err != nil {
		t.Fatal(err)
	}
	return &net.IPNet{IP: ip, Mask: n.Mask}
}

func TestMakeLink(t *testing.T) {
	attrs := netlink.LinkAttrs{
		Name: "eth1", Index: 7, MTU: 1500, HardwareAddr: net.HardwareAddr{0x52, 0x54, 0, 0xaa, 1, 1},
		Flags: net.FlagUp, RawFlags: unix.IFF_UP | unix.IFF_RUNNING,
	}
	on := func(index int, s string, flags int) netlink.Addr {
		return netlink.Addr{IPNet: ipnet(t, s), LinkIndex: index, Flags: flags}
	}
	addrs := []netlink.Addr{
		on(7, "2001:db8:5::1/64", unix.IFA_F_DEPRECATED|unix.IFA_F_PERMANENT),
		on(7, "2001:db8:4::1/64", 0),
		on(7, "2001:db8:1::2/64", unix.IFA_F_TENTATIVE|unix.IFA_F_PERMANENT),
		on(7, "2001:db8:1::3/64", unix.IFA_F_DADFAILED|unix.IFA_F_TENTATIVE),
		on(7, "2001:db8:1::4/64", unix.IFA_F_TEMPORARY),
		on(7, "fd00:1::1/48", unix.IFA_F_PERMANENT),
		on(7, "2001:db8:1::1/64", unix.IFA_F_PERMANENT),
		on(7, "fe80::2/64", unix.IFA_F_PERMANENT|unix.IFA_F_TENTATIVE),
		on(7, "fe80::1/64", unix.IFA_F_PERMANENT),
		on(8, "2001:db8:9::1/64", unix.IFA_F_PERMANENT),
		on(7, "::1/128", unix.IFA_F_PERMANENT),
		on(7, "192.0.2.1/24", unix.IFA_F_PERMANENT),
		{LinkIndex: 7},
	}
	want := site.Link{
		Name: "eth1", Index: 7, MTU: 1500, MAC: ident.MAC{0x52, 0x54, 0, 0xaa, 1, 1}, Up: true,
		LinkLocal: netip.MustParseAddr("fe80::1"),
		Addrs: []netip.Prefix{
			netip.MustParsePrefix("2001:db8:1::1/64"), netip.MustParsePrefix("fd00:1::1/48"),
			netip.MustParsePrefix("2001:db8:4::1/64"), netip.MustParsePrefix("2001:db8:5::1/64"),
		},
	}
	compare := cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{})
	if diff := cmp.Diff(want, makeLink(&attrs, addrs), compare); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	attrs.RawFlags, attrs.HardwareAddr = unix.IFF_UP, nil // no carrier, no Ethernet
	want.Up, want.MAC = false, ident.MAC{}
	if diff := cmp.Diff(want, makeLink(&attrs, addrs), compare); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	want.Up = true
	if equalLinks([]site.Link{want}, []site.Link{makeLink(&attrs, addrs)}) {
		t.Error("a link that went up is told as the same")
	}
}

// notification is one netlink message.
func notification(kind uint16, data ...byte) []byte {
	b := binary.NativeEndian.AppendUint32(nil, uint32(unix.SizeofNlMsghdr+len(data)))
	b = binary.NativeEndian.AppendUint16(b, kind)
	return append(append(b, make([]byte, 10)...), data...)
}

func TestMatters(t *testing.T) {
	route := func(dstLen byte) []byte {
		return notification(unix.RTM_NEWROUTE, unix.AF_INET6, dstLen, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
	}
	for _, tt := range []struct {
		name string
		in   []byte
		want bool
	}{
		{"link", notification(unix.RTM_NEWLINK, make([]byte, unix.SizeofIfInfomsg)...), true},
		{"default route", route(0), true},
		{"another route", route(64), false},
		{"another route, then an address", append(route(64), notification(unix.RTM_NEWADDR, make([]byte, 8)...)...), true},
		{"cut short", route(64)[:20], true},
		{"nothing", nil, false},
	} {
		if got := matters(tt.in); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}

// The filters behind the part that asks the kernel about the frame, which the machine of package bpf does not know.
func TestFilters(t *testing.T) {
	packet := func(next byte, rest ...byte) []byte {
		b := make([]byte, ipv6HeaderLen)
		b[0], b[offNextHeader] = 0x60, next
		return append(b, rest...)
	}
	udp := func(port uint16) []byte { return packet(protoUDP, 2, 34, byte(port>>8), byte(port), 0, 8, 0, 0) }
	icmp := func(kind byte) []byte { return packet(protoICMPv6, kind, 0, 0, 0, 0, 0, 0, 0) }
	fragment := func(next, kind byte) []byte { return packet(protoFragment, next, 0, 0, 1, 0, 0, 0, 9, kind, 0, 0, 0) }
	for _, tt := range []struct {
		name               string
		in                 []byte
		neighbours, router bool
	}{
		{"DHCPv6 to servers", udp(547), true, false},
		{"DHCPv6 to clients", udp(546), false, false},
		{"router solicitation", icmp(133), true, true},
		{"router advertisement", icmp(134), false, true},
		{"neighbour solicitation", icmp(135), true, false},
		{"neighbour advertisement", icmp(136), false, false},
		{"echo", icmp(128), false, false},
		{"TCP", packet(6, 2, 35, 2, 35), false, false},
		{"fragmented router solicitation", fragment(protoICMPv6, 133), false, true},
		{"fragmented router advertisement", fragment(protoICMPv6, 134), false, true},
		{"fragmented echo", fragment(protoICMPv6, 128), false, false},
		{"fragmented UDP", fragment(protoUDP, 133), false, false},
		{"a bare header", packet(protoICMPv6), false, false},
		{"half a header", packet(protoICMPv6)[:20], false, false},
	} {
		for name, f := range map[string]struct {
			code []bpf.Instruction
			want bool
		}{"neighbours": {neighbourFilter(), tt.neighbours}, "router": {routerFilter(), tt.router}} {
			vm, err := bpf.NewVM(f.code[len(preamble())-1:])
			if err != nil {
				t.Fatal(err)
			}
			if n, err := vm.Run(tt.in); err != nil || n > 0 != f.want {
				t.Errorf("%s filter, %s: %d, %v, want %v", name, tt.name, n, err, f.want)
			}
		}
	}
}

func TestLearning(t *testing.T) {
	now := time.Unix(0, 0)
	n, err := NewNeighbours(slog.New(slog.DiscardHandler), func() time.Time { return now })
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	from := func(a netip.Addr, hw ...byte) {
		b := make([]byte, ipv6HeaderLen)
		src := a.As16()
		copy(b[offSource:], src[:])
		sll := &unix.RawSockaddrLinklayer{Halen: uint8(len(hw))}
		copy(sll.Addr[:], hw)
		n.mu.Lock()
		defer n.mu.Unlock()
		n.learn(7, b, sll)
	}
	known := func(a netip.Addr) ident.MAC {
		m, _ := n.learned(7, a)
		return m
	}
	a, b := netip.MustParseAddr("fe80::a"), netip.MustParseAddr("fe80::b")
	one, two := ident.MAC{0x52, 0x54, 0, 0, 0, 1}, ident.MAC{0x52, 0x54, 0, 0, 0, 2}
	from(a, one[:]...)
	from(b, 1, 2, 3, 4, 5, 6, 7, 8)                        // no Ethernet
	from(b, 0x33, 0x33, 0, 0, 0, 1)                        // no machine
	from(netip.MustParseAddr("fe80::c"), 0, 0, 0, 0, 0, 0) // loopback
	if known(a) != one || known(b) != (ident.MAC{}) {
		t.Errorf("a %v, b %v", known(a), known(b))
	}
	from(a, two[:]...)
	if known(a) != two {
		t.Errorf("a %v after it moved, want %v", known(a), two)
	}
	now = now.Add(generation)
	from(b, one[:]...)
	if known(a) != two {
		t.Error("forgotten after one generation")
	}
	now = now.Add(generation)
	from(b, one[:]...)
	if known(a) != (ident.MAC{}) || known(b) != one {
		t.Errorf("after two generations: a %v, b %v", known(a), known(b))
	}
	for i := range uint32(5 * maxLearned) {
		flood := netip.MustParseAddr("2001:db8::").As16()
		binary.BigEndian.PutUint32(flood[12:], i)
		from(netip.AddrFrom16(flood), two[:]...)
		if got := known(netip.AddrFrom16(flood)); got != two {
			t.Fatalf("the packet in hand is unknown in a flood, at %d", i)
		}
	}
	if size := len(n.young) + len(n.old); size > 2*maxLearned {
		t.Errorf("%d addresses are remembered", size)
	}
}

func TestNoQuestionForTheKernel(t *testing.T) {
	n := &Neighbours{} // would crash on a question
	for _, a := range []netip.Addr{
		{},
		netip.IPv6Unspecified(), netip.IPv6Loopback(), netip.MustParseAddr("ff02::1"), netip.MustParseAddr("192.0.2.1"),
		netip.MustParseAddr("::ffff:192.0.2.1"),
	} {
		if m, ok := n.MAC(7, a); ok {
			t.Errorf("%v has MAC %v", a, m)
		}
	}
}
