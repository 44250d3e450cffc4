package ra

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"time"

	"bootd.internal/bootd/ident"
	"bootd.internal/bootd/netif"
	"bootd.internal/bootd/reason"
	"bootd.internal/bootd/timeline"
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
	// said is what an advertisement says.
	said timeline.Foreign
}

// parse checks an IPv6 packet that came in a frame from a MAC address. Reasons: None, it is good; Malformed;
// BadHopLimit; BadSource. Options that are not understood, or are longer or shorter than they may be, are stepped over (RFC
// 4861 section 4.6). What stands behind the payload is the padding of short Ethernet frames.
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
	if netif.Checksum(header, msg) != 0 || msg[1] != 0 {
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
	p.said = timeline.Foreign{
		Kind: timeline.OtherRouter, Addr: p.src, MAC: p.from, Managed: msg[5]&0x80 != 0, Other: msg[5]&0x40 != 0,
		Lifetime: time.Duration(binary.BigEndian.Uint16(msg[6:])) * time.Second, HopLimit: int(msg[4]),
		ReachableTime: time.Duration(binary.BigEndian.Uint32(msg[8:])) * time.Millisecond,
		RetransTimer:  time.Duration(binary.BigEndian.Uint32(msg[12:])) * time.Millisecond,
	}
	for b := msg[advertisingLen:]; len(b) > 0; b = b[int(b[1])*optionUnit:] {
		readOption(&p.said, b[:int(b[1])*optionUnit])
	}
	return reason.None
}

// Options of an advertisement that are compared with our own.
const (
	optionPrefix = 3  // RFC 4861 section 4.6.2
	optionMTU    = 5  // RFC 4861 section 4.6.4
	optionRDNSS  = 25 // RFC 8106 section 5.1
	// maxListed bounds the prefixes, and the resolvers, that are kept of one router: nobody compares more.
	maxListed = 32
)

// readOption takes one option whose length is a multiple of 8 octets. A resolver's option has an odd number of units (CVE-2020-16898).
func readOption(f *timeline.Foreign, o []byte) {
	seconds := func(at int) time.Duration { return time.Duration(binary.BigEndian.Uint32(o[at:])) * time.Second }
	switch {
	case o[0] == optionPrefix && len(o) == 32 && o[2] <= 128 && len(f.Prefixes) < maxListed:
		f.Prefixes = append(f.Prefixes, timeline.ForeignPrefix{
			Prefix: netip.PrefixFrom(netip.AddrFrom16([16]byte(o[16:])), int(o[2])).Masked(), OnLink: o[3]&0x80 != 0, Autonomous: o[3]&0x40 != 0,
			Valid: seconds(4), Preferred: seconds(8),
		})
	case o[0] == optionMTU && len(o) == 8:
		f.MTU = int(binary.BigEndian.Uint32(o[4:]))
	case o[0] == optionRDNSS && len(o) >= 24 && len(o)%16 == 8 && seconds(4) > 0:
		for a := range slices.Chunk(o[8:], 16) {
			if len(f.Nameservers) < maxListed {
				f.Nameservers = append(f.Nameservers, netip.AddrFrom16([16]byte(a)))
			}
		}
	}
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
