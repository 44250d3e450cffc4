package dhcp6

import (
	"encoding/binary"
	"net/netip"

	"bootd.internal/bootd/decide/address"
	"bootd.internal/bootd/ident"
)

// answer is what another server said to our Solicit.
type answer struct {
	xid    [3]byte
	from   netip.Addr
	server ident.DUID
	// offers: it holds an address.
	offers bool
}

// parseAnswer reads an Advertise or Reply, from the IPv6 header on. The checksum is not looked at: a packet between two
// namespaces of one machine has none yet, and a broken one would only be a notice to a person. What stands behind the
// payload is the padding of short Ethernet frames.
func parseAnswer(b []byte) (answer, bool) {
	if len(b) < ipv6Header+udpHeader+lenHeader || b[0]>>4 != 6 || b[6] != protoUDP {
		return answer{}, false
	}
	size := int(binary.BigEndian.Uint16(b[4:]))
	if size < udpHeader+lenHeader || size > len(b)-ipv6Header || binary.BigEndian.Uint16(b[ipv6Header+2:]) != clientPort {
		return answer{}, false
	}
	a := answer{from: netip.AddrFrom16([16]byte(b[8:24]))}
	msg := b[ipv6Header+udpHeader : ipv6Header+size]
	if t := address.Msg(msg[0]); t != address.Advertise && t != address.ReplyMsg || !a.from.IsLinkLocalUnicast() && !a.from.IsGlobalUnicast() {
		return answer{}, false
	}
	a.xid = [3]byte(msg[1:4])
	good := plainOptions(msg[lenHeader:], func(code uint16, data []byte) {
		switch {
		case code == searchServerID:
			a.server, _ = ident.DUIDFrom(data)
		case code == searchIANA && len(data) >= 12:
			plainOptions(data[12:], func(code uint16, data []byte) {
				a.offers = a.offers || code == searchIAAddr && len(data) >= 24
			})
		}
	})
	return a, good && a.server != ""
}

// plainOptions walks options without looking into them, and reports whether they add up.
func plainOptions(b []byte, take func(code uint16, data []byte)) bool {
	for len(b) > 0 {
		if len(b) < 4 {
			return false
		}
		n := int(binary.BigEndian.Uint16(b[2:]))
		if n > len(b)-4 {
			return false
		}
		take(binary.BigEndian.Uint16(b), b[4:4+n])
		b = b[4+n:]
	}
	return true
}
