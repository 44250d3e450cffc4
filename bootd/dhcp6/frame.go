package dhcp6

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"
)

const (
	ipv6Header = 40
	udpHeader  = 8
	protoUDP   = 17
	clientPort = 546
	// hopLimit is that of all that we write: nothing goes further than the link.
	hopLimit = 255
)

// direct sends an answer that the kernel would not take in a frame to the card that asked, and reports whether it could. The kernel's
// neighbour table may be full of addresses that somebody invented (gc_thresh3: 1024 where nobody changed it), and then it finds
// the card of no machine that it did not know before; we know it from the frame of the question.
func (l *lane) direct(it *item) bool {
	d := &it.d
	if !d.seen || len(it.p.hops) > 0 || !d.from.Addr().IsLinkLocalUnicast() {
		return false
	}
	s := l.s
	s.mu.Lock()
	w := s.searches[d.link]
	s.mu.Unlock()
	_, _, from := seenOn(l.snap, d)
	if w == nil || !from.IsValid() {
		return false
	}
	packet := datagramOf(netip.AddrPortFrom(from, serverPort), netip.AddrPortFrom(d.from.Addr().WithZone(""), it.out.port), it.out.octets)
	return w.frames.Try(packet, d.mac) == nil
}

// noRoom reports whether the kernel had none for an answer: neither in its neighbour table (EINVAL) nor in the socket or the way out.
// What a firewall forbids (EPERM) is forbidden.
func noRoom(err error) bool {
	return errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.ENOBUFS)
}

// datagramOf is a UDP datagram from the IPv6 header on (RFC 8200 sections 3 and 8.1, RFC 768).
func datagramOf(from, to netip.AddrPort, payload []byte) []byte {
	size := udpHeader + len(payload)
	src, dst := from.Addr().As16(), to.Addr().As16()
	b := make([]byte, 0, ipv6Header+size)
	b = append(b, 0x60, 0, 0, 0, byte(size>>8), byte(size), protoUDP, hopLimit)
	b = append(append(b, src[:]...), dst[:]...)
	b = binary.BigEndian.AppendUint16(b, from.Port())
	b = binary.BigEndian.AppendUint16(b, to.Port())
	b = binary.BigEndian.AppendUint16(b, uint16(size))
	b = append(append(b, 0, 0), payload...)
	udp := b[ipv6Header:]
	pseudo := slices.Concat(src[:], dst[:], binary.BigEndian.AppendUint32(nil, uint32(size)), []byte{0, 0, 0, protoUDP}, udp)
	binary.BigEndian.PutUint16(udp[6:], checksum(pseudo))
	return b
}

// checksum is that of RFC 1071; UDP sends all ones for zero (RFC 8200 section 8.1).
func checksum(b []byte) uint16 {
	var sum uint32
	for ; len(b) >= 2; b = b[2:] {
		sum += uint32(binary.BigEndian.Uint16(b))
	}
	if len(b) == 1 {
		sum += uint32(b[0]) << 8
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	if sum == 0xffff {
		return 0xffff
	}
	return ^uint16(sum)
}
