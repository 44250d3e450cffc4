package trace

import (
	"encoding/binary"
	"net/netip"
	"time"

	"bootd.internal/bootd/ident"
)

const (
	ethernet   = 14
	ipv6Header = 40
	udpHeader  = 8
	protoUDP   = 17
	serverPort = 547
	snapLen    = 65535
)

// CaptureHeader begins a capture in the classic format: microseconds, Ethernet.
func CaptureHeader() []byte {
	le := binary.LittleEndian
	b := le.AppendUint32(nil, 0xa1b2c3d4)
	b = le.AppendUint16(le.AppendUint16(b, 2), 4)
	b = le.AppendUint64(b, 0)
	return le.AppendUint32(le.AppendUint32(b, snapLen), 1)
}

// Capture lays an exchange out as records of a capture: the query and the reply. The socket sees no headers, so these are made
// anew: Ethernet, IPv6 and UDP, with the addresses and ports that are known and hop limit 64. Fragments and VLANs are not shown.
func (x Exchange) Capture() []byte {
	to := linkAddr(x.Server, x.ServerMAC)
	b := record(nil, x.Time, frame(x.MAC, to, x.Client, netip.AddrPortFrom(x.Server, serverPort), x.Query))
	if len(x.Reply) > 0 {
		client := netip.AddrPortFrom(x.Client.Addr(), x.To)
		b = record(b, x.Time.Add(x.Took), frame(x.ServerMAC, linkAddr(client.Addr(), x.MAC), netip.AddrPortFrom(x.From, serverPort), client, x.Reply))
	}
	return b
}

// linkAddr is the MAC that a multicast address maps to (RFC 2464 section 7), else that of the card.
func linkAddr(a netip.Addr, card ident.MAC) ident.MAC {
	if !a.IsMulticast() {
		return card
	}
	b := a.As16()
	return ident.MAC{0x33, 0x33, b[12], b[13], b[14], b[15]}
}

func record(b []byte, at time.Time, frame []byte) []byte {
	le := binary.LittleEndian
	kept := frame[:min(len(frame), snapLen)]
	b = le.AppendUint32(b, uint32(at.Unix()))
	b = le.AppendUint32(b, uint32(at.Nanosecond()/1000))
	b = le.AppendUint32(b, uint32(len(kept)))
	b = le.AppendUint32(b, uint32(len(frame)))
	return append(b, kept...)
}

func frame(from, to ident.MAC, src, dst netip.AddrPort, payload []byte) []byte {
	be := binary.BigEndian
	size := udpHeader + len(payload)
	b := make([]byte, 0, ethernet+ipv6Header+size)
	b = append(append(append(b, to[:]...), from[:]...), 0x86, 0xdd)
	b = append(b, 0x60, 0, 0, 0)
	b = be.AppendUint16(b, uint16(size))
	b = append(b, protoUDP, 64)
	s, d := src.Addr().As16(), dst.Addr().As16()
	b = append(append(b, s[:]...), d[:]...)
	b = be.AppendUint16(be.AppendUint16(b, src.Port()), dst.Port())
	b = be.AppendUint16(be.AppendUint16(b, uint16(size)), 0)
	b = append(b, payload...)
	udp := b[ethernet+ipv6Header:]
	sum := uint32(protoUDP) + uint32(size) // the pseudo header (RFC 8200 section 8.1)
	sum = add(add(add(sum, s[:]), d[:]), udp)
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	check := ^uint16(sum)
	if check == 0 {
		check = 0xffff
	}
	be.PutUint16(udp[6:], check)
	return b
}

func add(sum uint32, b []byte) uint32 {
	for ; len(b) >= 2; b = b[2:] {
		sum += uint32(binary.BigEndian.Uint16(b))
	}
	if len(b) == 1 {
		sum += uint32(b[0]) << 8
	}
	return sum
}
