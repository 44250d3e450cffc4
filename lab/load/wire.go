package load

import (
	"encoding/binary"
	"net/netip"

	"golang.org/x/sys/unix"

	"bootd.internal/bootd/ident"
)

const (
	clientPort   = 546
	serverPort   = 547
	msgSolicit   = 1
	msgAdvertise = 2
	msgRequest   = 3
	msgReply     = 7

	optClientID = 1
	optServerID = 2
	optIANA     = 3
	optIAAddr   = 5
	optORO      = 6
	optElapsed  = 8

	optRapidCommit = 14
	optUser        = 15
	optBoot        = 59
)

type message struct {
	kind   byte
	xid    uint32
	server []byte
	addr   netip.Addr
	boot   string
}

func option(b []byte, code uint16, data []byte) []byte {
	b = binary.BigEndian.AppendUint16(b, code)
	b = binary.BigEndian.AppendUint16(b, uint16(len(data)))
	return append(b, data...)
}

func header(kind byte, c *client) []byte {
	b := []byte{kind, byte(c.xid >> 16), byte(c.xid >> 8), byte(c.xid)}
	b = option(b, optClientID, []byte(ident.NewDUIDLL(c.mac)))
	b = option(b, optElapsed, []byte{0, 0})
	if c.boot {
		b = option(b, optUser, []byte("\x00\x04iPXE"))
		return option(b, optORO, []byte{0, 23, 0, 24, 0, optBoot})
	}
	return option(b, optORO, []byte{0, 23, 0, 24})
}

func solicit(c *client) []byte {
	return option(header(msgSolicit, c), optIANA, make([]byte, 12))
}

func request(c *client, m message) []byte {
	b := option(header(msgRequest, c), optServerID, m.server)
	a := m.addr.As16()
	ia := option(make([]byte, 12), optIAAddr, append(a[:], make([]byte, 8)...))
	return option(b, optIANA, ia)
}

// parse reads what a client needs of an Advertise or Reply: server and first address.
func parse(b []byte) (message, bool) {
	if len(b) < 4 {
		return message{}, false
	}
	m := message{kind: b[0], xid: uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])}
	each(b[4:], func(code uint16, data []byte) {
		switch {
		case code == optServerID:
			m.server = append([]byte(nil), data...)
		case code == optBoot:
			m.boot = string(data)
		case code == optIANA && len(data) >= 12:
			each(data[12:], func(code uint16, data []byte) {
				if code == optIAAddr && len(data) >= 24 && binary.BigEndian.Uint32(data[20:]) > 0 {
					m.addr, _ = netip.AddrFromSlice(data[:16])
				}
			})
		}
	})
	return m, true
}

func each(b []byte, fn func(uint16, []byte)) {
	for len(b) >= 4 {
		n := int(binary.BigEndian.Uint16(b[2:]))
		if len(b) < 4+n {
			return
		}
		fn(binary.BigEndian.Uint16(b), b[4:4+n])
		b = b[4+n:]
	}
}

// ethernet gives an Ethernet and an IPv6 header with the payload behind them; the checksum at offset sum of the payload is
// filled in (RFC 8200 section 8.1).
func ethernet(dst, src ident.MAC, from, to netip.Addr, proto, hops byte, payload []byte, sum int) []byte {
	f := make([]byte, 0, 54+len(payload))
	f = append(f, dst[:]...)
	f = append(f, src[:]...)
	f = append(f, 0x86, 0xdd, 0x60, 0, 0, 0, byte(len(payload)>>8), byte(len(payload)), proto, hops)
	a, b := from.As16(), to.As16()
	f = append(f, a[:]...)
	f = append(f, b[:]...)
	f = append(f, payload...)
	total := uint32(len(payload)) + uint32(proto)
	for i := 22; i < len(f); i += 2 {
		if i+1 < len(f) {
			total += uint32(f[i])<<8 | uint32(f[i+1])
		} else {
			total += uint32(f[i]) << 8
		}
	}
	for total > 0xffff {
		total = total&0xffff + total>>16
	}
	c := ^uint16(total)
	if c == 0 {
		c = 0xffff
	}
	binary.BigEndian.PutUint16(f[54+sum:], c)
	return f
}

func udpFrame(c *client, payload []byte) []byte {
	u := make([]byte, 8, 8+len(payload))
	binary.BigEndian.PutUint16(u, clientPort)
	binary.BigEndian.PutUint16(u[2:], serverPort)
	binary.BigEndian.PutUint16(u[4:], uint16(8+len(payload)))
	return ethernet(ident.MAC{0x33, 0x33, 0, 1, 0, 2}, c.mac, c.ll, netip.MustParseAddr("ff02::1:2"), unix.IPPROTO_UDP, 1,
		append(u, payload...), 6)
}

func neighbourAdvert(to ident.MAC, asker netip.Addr, mac ident.MAC, target netip.Addr) []byte {
	a := target.As16()
	na := append([]byte{136, 0, 0, 0, 0x60, 0, 0, 0}, a[:]...)
	na = append(na, 2, 1)
	na = append(na, mac[:]...)
	return ethernet(to, mac, target, asker, unix.IPPROTO_ICMPV6, 255, na, 2)
}
