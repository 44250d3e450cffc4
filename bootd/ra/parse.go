package ra

import (
	"encoding/binary"
	"net/netip"
	"time"

	"bootd.internal/bootd/ident"
	"bootd.internal/bootd/reason"
)

// ICMPv6 types of router discovery (RFC 4861 section 4).
const (
	typeSolicitation  = 133
	typeAdvertisement = 134
)

const (
	headerLen       = 40 // RFC 8200 section 3
	protoFragment   = 44
	protoICMPv6     = 58
	hopLimit        = 255
	solicitationLen = 8
	advertisingLen  = 16
	optionUnit      = 8
	optionSource    = 1 // source link-layer address
)

// packet is one router solicitation or advertisement that keeps the rules of RFC 4861 section 6.1.
type packet struct {
	// kind is the ICMPv6 type.
	kind byte
	// src is the sender's address, without zone; :: is legal in a solicitation.
	src netip.Addr
	// from is the MAC address that the frame came from.
	from ident.MAC
	// The rest is of an advertisement.
	managed, other bool
	lifetime       time.Duration
}

// parse checks an IPv6 packet that came in a frame from a MAC address. Reasons: None, it is good; Malformed;
// BadHopLimit; BadSource. Of the options only the frame is read, so none of them can do harm. What stands behind the
// payload is the padding of short Ethernet frames.
func parse(b []byte, from ident.MAC) (packet, reason.Reason) {
	p := packet{from: from}
	if len(b) < headerLen || b[0]>>4 != 6 {
		return p, reason.Malformed
	}
	size := int(binary.BigEndian.Uint16(b[4:]))
	if len(b)-headerLen < size {
		return p, reason.Malformed
	}
	p.src = netip.AddrFrom16([16]byte(b[8:24]))
	header, msg := b[:headerLen], b[headerLen:headerLen+size]
	if header[6] == protoFragment && len(msg) > 8 {
		p.kind = msg[8] // for the count only: fragments of router discovery are forbidden (RFC 6980 section 5)
	}
	if header[6] != protoICMPv6 || len(msg) < solicitationLen {
		return p, reason.Malformed
	}
	p.kind = msg[0]
	if header[7] != hopLimit {
		return p, reason.BadHopLimit
	}
	if checksum(header, msg) != 0 || msg[1] != 0 {
		return p, reason.Malformed
	}
	if p.src.IsMulticast() || !from.Valid() {
		return p, reason.BadSource
	}
	switch p.kind {
	case typeSolicitation:
		return p, p.checkSolicitation(msg)
	case typeAdvertisement:
		return p, p.readAdvertisement(msg)
	}
	return p, reason.Malformed
}

// checkSolicitation applies RFC 4861 section 6.1.1.
func (p *packet) checkSolicitation(msg []byte) reason.Reason {
	hasSource, ok := walk(msg[solicitationLen:])
	switch {
	case !ok:
		return reason.Malformed
	case hasSource && p.src.IsUnspecified():
		return reason.BadSource
	}
	return reason.None
}

// readAdvertisement applies RFC 4861 section 6.1.2.
func (p *packet) readAdvertisement(msg []byte) reason.Reason {
	if len(msg) < advertisingLen {
		return reason.Malformed
	}
	if _, ok := walk(msg[advertisingLen:]); !ok {
		return reason.Malformed
	}
	if !p.src.IsLinkLocalUnicast() {
		return reason.BadSource
	}
	p.managed, p.other = msg[5]&0x80 != 0, msg[5]&0x40 != 0
	p.lifetime = time.Duration(binary.BigEndian.Uint16(msg[6:])) * time.Second
	return reason.None
}

// walk steps over the options and reports whether a source link-layer address is among them; ok is false when one has
// no length or goes past the end (RFC 4861 section 4.6).
func walk(b []byte) (hasSource, ok bool) {
	for len(b) > 0 {
		if len(b) < 2 || b[1] == 0 || int(b[1])*optionUnit > len(b) {
			return hasSource, false
		}
		hasSource = hasSource || b[0] == optionSource
		b = b[int(b[1])*optionUnit:]
	}
	return hasSource, true
}

// checksum is the ICMPv6 checksum over pseudo-header and message (RFC 4443 section 2.3): 0 when msg carries the right
// one, and the value to write when its field is zero.
func checksum(header, msg []byte) uint16 {
	sum := uint32(len(msg)) + protoICMPv6
	for i := 8; i < headerLen; i += 2 {
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
