package netif

import (
	"encoding/binary"
	"errors"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"bootd.internal/bootd/site"
)

// ListenSolicitations opens a packet socket on a link that hears neighbour solicitations for any address: those for a whole
// prefix go to millions of groups, so that the card has to pass all of them. The packets come unchecked. Errors: no CAP_NET_RAW, the link
// does not exist any more.
func ListenSolicitations(link site.Link) (*Discovery, error) {
	return listen(link, "neighbour proxying", solicitationFilter(), func(d *Discovery) error {
		var joined error
		err := d.conn.Control(func(fd uintptr) {
			all := &unix.PacketMreq{Ifindex: int32(link.Index), Type: unix.PACKET_MR_ALLMULTI}
			joined = unix.SetsockoptPacketMreq(int(fd), unix.SOL_PACKET, unix.PACKET_ADD_MEMBERSHIP, all)
		})
		return errors.Join(err, joined)
	})
}

// solicitationFilter passes neighbour solicitations whole.
func solicitationFilter() []bpf.Instruction {
	return only(protoICMPv6, bpf.LoadAbsolute{Off: offType, Size: 1}, typeNeighborSolicitation)
}

// Checksum is the ICMPv6 checksum over the pseudo-header of an IPv6 header and the message (RFC 4443 section 2.3): 0 when msg carries the right
// one, and the value to write when its field is zero.
func Checksum(header, msg []byte) uint16 {
	sum := uint32(len(msg)) + protoICMPv6
	for i := 8; i < ipv6HeaderLen; i += 2 {
		sum += uint32(binary.BigEndian.Uint16(header[i:]))
	}
	for i := 0; i+1 < len(msg); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(msg[i:]))
	}
	if len(msg)%2 != 0 {
		sum += uint32(msg[len(msg)-1]) << 8
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}
