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
	msgForward   = 12
	msgBack      = 13

	// lenRelay is message type, hop count, link-address and peer-address (RFC 8415 section 9).
	lenRelay = 34
	relayHop = 64

	optClientID = 1
	optServerID = 2
	optIANA     = 3
	optIAAddr   = 5
	optORO      = 6
	optElapsed  = 8
	optRelayed  = 9
	optIAPD     = 25
	optIAPrefix = 26

	optRapidCommit = 14
	optUser        = 15
	optBoot        = 59
)

type message struct {
	kind   byte
	xid    uint32
	server []byte
	addr   netip.Addr
	bits   byte // of a prefix
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
	if c.cfg.Boot {
		b = option(b, optUser, []byte("\x00\x04iPXE"))
		return option(b, optORO, []byte{0, 23, 0, 24, 0, optBoot})
	}
	return option(b, optORO, []byte{0, 23, 0, 24})
}

// iaHead is an IAID with T1 and T2 of zero (RFC 8415 section 21.4).
func iaHead(c *client) []byte {
	return append(binary.BigEndian.AppendUint32(make([]byte, 0, 12), c.iaid), make([]byte, 8)...)
}

func solicit(c *client) []byte {
	if c.cfg.Prefix {
		return option(header(msgSolicit, c), optIAPD, iaHead(c))
	}
	return option(header(msgSolicit, c), optIANA, iaHead(c))
}

func request(c *client, m message) []byte {
	b := option(header(msgRequest, c), optServerID, m.server)
	a := m.addr.As16()
	if c.cfg.Prefix {
		ia := option(iaHead(c), optIAPrefix, append(append(make([]byte, 8), m.bits), a[:]...))
		return option(b, optIAPD, ia)
	}
	ia := option(iaHead(c), optIAAddr, append(a[:], make([]byte, 8)...))
	return option(b, optIANA, ia)
}

// parse reads what a client needs of an Advertise or Reply: server and first address or prefix.
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
		case code == optIAPD && len(data) >= 12:
			each(data[12:], func(code uint16, data []byte) {
				if code == optIAPrefix && len(data) >= 25 && binary.BigEndian.Uint32(data[4:]) > 0 {
					m.bits = data[8]
					m.addr, _ = netip.AddrFromSlice(data[9:25])
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

// frame is a message on its way to the server: to the group from the machine, or to the server from its relay.
func (c *client) frame(payload []byte) []byte {
	relay := c.cfg.Relay
	if !relay.Addr.IsValid() {
		return udpFrame(ident.MAC{0x33, 0x33, 0, 1, 0, 2}, c.mac, c.ll, netip.MustParseAddr("ff02::1:2"), clientPort, 1, payload)
	}
	link, peer := relay.Link.As16(), c.ll.As16()
	b := append(append([]byte{msgForward, 0}, link[:]...), peer[:]...)
	return udpFrame(relay.ServerMAC, relay.MAC, relay.Addr, relay.Server, serverPort, relayHop, option(b, optRelayed, payload))
}

// unwrap gives the machine and the message of a Relay-Reply; the zero MAC of what is none.
func unwrap(b []byte) (mac ident.MAC, msg []byte) {
	if len(b) < lenRelay || b[0] != msgBack {
		return mac, nil
	}
	each(b[lenRelay:], func(code uint16, data []byte) {
		if code == optRelayed {
			mac, _ = ident.MACFromEUI64(netip.AddrFrom16([16]byte(b[18:lenRelay])))
			msg = data
		}
	})
	return mac, msg
}

func udpFrame(dst, src ident.MAC, from, to netip.Addr, port uint16, hops byte, payload []byte) []byte {
	u := make([]byte, 8, 8+len(payload))
	binary.BigEndian.PutUint16(u, port)
	binary.BigEndian.PutUint16(u[2:], serverPort)
	binary.BigEndian.PutUint16(u[4:], uint16(8+len(payload)))
	return ethernet(dst, src, from, to, unix.IPPROTO_UDP, hops, append(u, payload...), 6)
}

func neighbourAdvert(to ident.MAC, asker netip.Addr, mac ident.MAC, target netip.Addr) []byte {
	a := target.As16()
	na := append([]byte{136, 0, 0, 0, 0x60, 0, 0, 0}, a[:]...)
	na = append(na, 2, 1)
	na = append(na, mac[:]...)
	return ethernet(to, mac, target, asker, unix.IPPROTO_ICMPV6, 255, na, 2)
}
