// Package dhcp6 is the DHCPv6 adapter (RFC 8415): one socket on port 547, octets to decide/address.Request, Decision to
// octets.
//
// It reads and writes options itself. A client shows a dozen of them, and a general codec gets in the way of all that
// matters here: it refuses a whole packet for one bad option where real firmware must be answered, reads options that
// nobody asked for, and lets lifetimes wrap.
//
// The package never decides what a client gets and never reads the inventory.
package dhcp6

import (
	"encoding/binary"
	"net/netip"

	"bootd.internal/bootd/decide/address"
	"bootd.internal/bootd/ident"
	"bootd.internal/bootd/reason"
)

// Message types that a server hears but never answers.
const (
	msgReconfigure  = 10
	msgRelayForward = 12
	msgRelayReply   = 13
)

// packet is one client message.
type packet struct {
	xid [3]byte
	req address.Request // At and Evidence are still empty
}

// parse reads one datagram. A reason other than None: stay silent. What cannot be read of an option that real firmware
// sends broken (user class without lengths, vendor class without data, an odd ORO) is dropped, and the rest answered.
func parse(b []byte) (packet, reason.Reason) {
	switch {
	case len(b) > maxDatagram:
		return packet{}, reason.Oversized
	case len(b) < lenHeader:
		return packet{}, reason.Malformed
	}
	p := packet{xid: [3]byte(b[1:4]), req: address.Request{Msg: address.Msg(b[0])}}
	switch p.req.Msg {
	case address.Solicit, address.RequestMsg, address.Confirm, address.Renew, address.Rebind, address.Release,
		address.Decline, address.InformationRequest:
	case address.Advertise, address.ReplyMsg, msgReconfigure, msgRelayReply:
		return p, reason.NotForServers
	case msgRelayForward:
		if r := relayed(b); r != reason.None {
			return p, r
		}
		return p, reason.UnconfiguredRelay
	default:
		return p, reason.UnknownMessage
	}
	var s scan
	if r := s.message(b[lenHeader:]); r != reason.None {
		return p, r
	}
	eachOption(b[lenHeader:], p.option)
	return p, reason.None
}

// option reads one option of a message that scan let through.
func (p *packet) option(code uint16, data []byte) reason.Reason {
	q := &p.req
	switch code {
	case optClientID:
		q.Client, _ = ident.DUIDFrom(data)
	case optServerID:
		q.Server, _ = ident.DUIDFrom(data)
	case optIANA:
		q.IAs = append(q.IAs, readIA(address.IANA, data, lenIANA))
	case optIATA:
		q.IAs = append(q.IAs, readIA(address.IATA, data, lenIATA))
	case optIAPD:
		q.IAs = append(q.IAs, readIA(address.IAPD, data, lenIANA))
	case optORO: // once by the letter; some send several
		q.ORO = append(q.ORO, uint16s(data)...)
	case optRapidCommit:
		q.RapidCommit = true
	case optUserClass:
		q.Classes = append(q.Classes, userClasses(data)...)
	case optVendorClass:
		if q.Vendor == "" {
			q.Vendor = vendorClass(data)
		}
	case optClientArch:
		q.Arch = append(q.Arch, uint16s(data)...)
	}
	return reason.None
}

func readIA(kind address.IAKind, b []byte, fixed int) address.IA {
	ia := address.IA{Kind: kind, IAID: ident.IAID(binary.BigEndian.Uint32(b))}
	eachOption(b[fixed:], func(code uint16, data []byte) reason.Reason {
		switch {
		case code == optIAAddr && kind != address.IAPD:
			ia.Addrs = append(ia.Addrs, netip.AddrFrom16([16]byte(data[:16])))
		case code == optIAPrefix && kind == address.IAPD:
			ia.Prefixes = append(ia.Prefixes, netip.PrefixFrom(netip.AddrFrom16([16]byte(data[9:25])), int(data[8])))
		}
		return reason.None
	})
	return ia
}

// uint16s reads a list of numbers; a trailing odd octet is ignored.
func uint16s(b []byte) []uint16 {
	var out []uint16
	for ; len(b) >= 2; b = b[2:] {
		out = append(out, binary.BigEndian.Uint16(b))
	}
	return out
}

// userClasses reads option 15: entries with a length each (RFC 8415 section 21.15). Where the lengths do not add up, the
// sender left them out and the whole is one class.
func userClasses(b []byte) [][]byte {
	entries, ok := counted(b)
	if !ok {
		return [][]byte{append([]byte(nil), b...)}
	}
	return entries
}

// vendorClass reads the first datum of option 16: an enterprise number, then entries with a length each (section 21.16).
func vendorClass(b []byte) string {
	if len(b) < 4 {
		return ""
	}
	entries, ok := counted(b[4:])
	switch {
	case !ok:
		return string(b[4:])
	case len(entries) == 0:
		return ""
	}
	return string(entries[0])
}

// counted splits entries that have a length of two octets each.
func counted(b []byte) ([][]byte, bool) {
	var out [][]byte
	for len(b) > 0 {
		if len(b) < 2 {
			return nil, false
		}
		n := int(binary.BigEndian.Uint16(b))
		if n > len(b)-2 {
			return nil, false
		}
		out = append(out, append([]byte(nil), b[2:2+n]...))
		b = b[2+n:]
	}
	return out, true
}
