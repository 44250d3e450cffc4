package netns_test

import (
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"
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

// forged is an IPv6 packet with a UDP datagram from whatever address.
func forged(from, to netip.Addr, port uint16, data []byte) []byte {
	udp := binary.BigEndian.AppendUint16(nil, 5353)
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
