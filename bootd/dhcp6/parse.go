// Package dhcp6 is the DHCPv6 adapter (RFC 8415): one socket on port 547, octets to decide/address.Request, Decision to
// octets.
//
// The codec is that of insomniacslk/dhcp, and its types stop here. It reads and writes the contents of options; the frames around
// them, of a message and of an IA, are walked and written here, and scan checks a datagram's octets first: names with
// compression stall the library, and it refuses a whole message for one option that real firmware sends broken.
// docs/decisions/0007-dhcpv6-codec.md has the figures.
//
// The package never decides what a client gets and never reads the inventory.
package dhcp6

import (
	"encoding/binary"
	"net/netip"
	"slices"

	"github.com/insomniacslk/dhcp/dhcpv6"
	"github.com/insomniacslk/dhcp/iana"

	"bootd.internal/bootd/decide/address"
	"bootd.internal/bootd/ident"
	"bootd.internal/bootd/reason"
)

// maxCodes bounds the codes of option 6: each is looked for among those before it, and there are fewer than that.
const maxCodes = 256

// packet is one client message.
type packet struct {
	xid [3]byte
	req address.Request // At and Evidence are still empty
	// hops are the relays that it came through, the one next to us first; none on a link.
	hops []hop
}

// parse reads one datagram. A reason other than None: stay silent. What cannot be read of an option that real firmware
// sends broken (user class without lengths, vendor class without data, an odd ORO) is dropped, and the rest answered.
func parse(b []byte) (packet, reason.Reason) { return parseInto(b, address.Request{}) }

// parseInto is parse with the slices of a request that nobody needs any more.
func parseInto(b []byte, spare address.Request) (packet, reason.Reason) {
	switch {
	case len(b) > maxDatagram:
		return packet{}, reason.Oversized
	case len(b) < lenHeader:
		return packet{}, reason.Malformed
	}
	if b[0] == byte(dhcpv6.MessageTypeRelayForward) {
		return relayed(b, spare)
	}
	return client(b, spare)
}

// client reads a message of a client.
func client(b []byte, spare address.Request) (packet, reason.Reason) {
	p := packet{xid: [3]byte(b[1:4]), req: address.Request{
		Msg: address.Msg(b[0]), IAs: spare.IAs[:0], Arch: spare.Arch[:0], Classes: spare.Classes[:0], ORO: spare.ORO[:0],
	}}
	switch p.req.Msg {
	case address.Solicit, address.RequestMsg, address.Confirm, address.Renew, address.Rebind, address.Release,
		address.Decline, address.InformationRequest:
	case address.Advertise, address.ReplyMsg, address.Msg(dhcpv6.MessageTypeReconfigure), address.Msg(dhcpv6.MessageTypeRelayReply):
		return p, reason.NotForServers
	default:
		return p, reason.UnknownMessage
	}
	var s scan
	if r := s.message(b[lenHeader:]); r != reason.None {
		return p, r
	}
	_ = eachOption(b[lenHeader:], func(code dhcpv6.OptionCode, data []byte) reason.Reason { // s has seen that they add up
		p.take(code, data)
		return reason.None
	})
	return p, reason.None
}

// take takes from one option what the decision looks at. It never fails: an option that the library refuses is read by its octets
// or dropped.
func (p *packet) take(code dhcpv6.OptionCode, data []byte) {
	q := &p.req
	switch code {
	case dhcpv6.OptionClientID: // DUIDs are opaque (RFC 8415 section 11), and the library refuses UUIDs of other than 16 octets
		q.Client, _ = ident.DUIDFrom(data)
	case dhcpv6.OptionServerID:
		q.Server, _ = ident.DUIDFrom(data)
	case dhcpv6.OptionRapidCommit:
		q.RapidCommit = true
	case dhcpv6.OptionFQDN:
		if len(data) > 0 {
			q.FQDN, q.FQDNFlags = true, data[0]
		}
	case dhcpv6.OptionIANA:
		q.IAs = append(q.IAs, readIA(address.IANA, data, lenIANA))
	case dhcpv6.OptionIATA:
		q.IAs = append(q.IAs, readIA(address.IATA, data, lenIATA))
	case dhcpv6.OptionIAPD:
		q.IAs = append(q.IAs, readIA(address.IAPD, data, lenIANA))
	case dhcpv6.OptionORO: // once by the letter; some send several
		q.ORO = slices.Grow(q.ORO, min(len(data)/2, maxCodes-len(q.ORO)))
		for ; len(data) >= 2 && len(q.ORO) < maxCodes; data = data[2:] {
			if c := binary.BigEndian.Uint16(data); !slices.Contains(q.ORO, c) {
				q.ORO = append(q.ORO, c)
			}
		}
	case dhcpv6.OptionClientArchType:
		var archs iana.Archs
		if archs.FromBytes(data[:len(data)&^1]) == nil {
			for _, a := range archs {
				q.Arch = append(q.Arch, uint16(a))
			}
		}
	case dhcpv6.OptionUserClass:
		q.Classes = append(q.Classes, userClasses(data)...)
	case dhcpv6.OptionVendorClass:
		if q.Vendor == "" {
			q.Vendor = vendorClass(data)
		}
	}
}

// userClasses reads option 15: entries with a length each (RFC 8415 section 21.15). Where the lengths do not add up, the
// sender left them out and the whole is one class.
func userClasses(data []byte) [][]byte {
	var o dhcpv6.OptUserClass
	switch {
	case len(data) == 0:
		return nil
	case o.FromBytes(data) != nil:
		return [][]byte{slices.Clone(data)}
	}
	return o.UserClasses
}

// vendorClass reads the first entry of option 16: an enterprise number, then entries with a length each (section 21.16), or
// without.
func vendorClass(data []byte) string {
	var o dhcpv6.OptVendorClass
	switch {
	case len(data) <= lenEnterprise:
		return ""
	case o.FromBytes(data) != nil:
		return string(data[lenEnterprise:])
	}
	return string(o.Data[0])
}

// readIA reads the members that belong into an IA of this kind, whose options begin behind fixed octets. What stands inside
// those is none of a client's business.
func readIA(kind address.IAKind, b []byte, fixed int) address.IA {
	ia := address.IA{Kind: kind, IAID: ident.IAID(binary.BigEndian.Uint32(b))}
	_ = eachOption(b[fixed:], func(code dhcpv6.OptionCode, data []byte) reason.Reason {
		switch {
		case code == dhcpv6.OptionIAAddr && kind != address.IAPD:
			ia.Addrs = append(ia.Addrs, netip.AddrFrom16([16]byte(data)))
		case code == dhcpv6.OptionIAPrefix && kind == address.IAPD:
			ia.Prefixes = append(ia.Prefixes, readPrefix(data))
		}
		return reason.None
	})
	return ia
}

// readPrefix reads what stands behind two lifetimes: a length, which scan has checked, and a prefix (RFC 8415 section 21.22).
func readPrefix(b []byte) netip.Prefix {
	if b[8] == 0 {
		return netip.PrefixFrom(netip.IPv6Unspecified(), 0)
	}
	return netip.PrefixFrom(netip.AddrFrom16([16]byte(b[9:])), int(b[8]))
}
