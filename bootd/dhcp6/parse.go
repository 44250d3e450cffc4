// Package dhcp6 is the DHCPv6 adapter (RFC 8415): one socket on port 547, octets to decide/address.Request, Decision to
// octets.
//
// The codec is that of insomniacslk/dhcp, and its types stop here. Two guards stand before it: scan checks a datagram's
// octets first, because names with compression stall it, and lenient hands it only the options that the decision looks at,
// because it refuses a whole message for one option that real firmware sends broken. The frame of a reply is written here,
// option by option: docs/decisions/0007-dhcpv6-codec.md has the figures.
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

// maxCodes bounds the codes of option 6: the library looks for each among those before it, and there are fewer than that.
const maxCodes = 256

// usualOptions is as many as clients send.
const usualOptions = 12

// packet is one client message.
type packet struct {
	xid [3]byte
	req address.Request // At and Evidence are still empty
	// hops are the relays that it came through, the one next to us first; none on a link.
	hops []hop
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
	if b[0] == byte(dhcpv6.MessageTypeRelayForward) {
		return relayed(b)
	}
	return client(b)
}

// client reads a message of a client.
func client(b []byte) (packet, reason.Reason) {
	p := packet{xid: [3]byte(b[1:4]), req: address.Request{Msg: address.Msg(b[0])}}
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
	options := make(dhcpv6.Options, 0, usualOptions)
	if err := options.FromBytesWithParser(b[lenHeader:], lenient); err != nil {
		return p, reason.Malformed
	}
	p.read(options)
	return p, reason.None
}

// dropped stands for an option that is not read: a parser must return one for each.
type dropped struct{}

func (dropped) Code() dhcpv6.OptionCode { return 0 }
func (dropped) ToBytes() []byte         { return nil }
func (dropped) String() string          { return "dropped" }
func (dropped) FromBytes([]byte) error  { return nil }

// requested and architectures are the library's types of options 6 and 61, which it does not export: asked through its
// accessors, it goes through all options once more and copies.
type (
	requested     struct{ dhcpv6.OptionCodes }
	architectures struct{ iana.Archs }
)

func (*requested) Code() dhcpv6.OptionCode     { return dhcpv6.OptionORO }
func (*architectures) Code() dhcpv6.OptionCode { return dhcpv6.OptionClientArchType }

// lenient reads one option of a message that scan let through. It never fails: an option that the library refuses is
// read by its octets or dropped.
func lenient(code dhcpv6.OptionCode, data []byte) (dhcpv6.Option, error) {
	switch code {
	case dhcpv6.OptionClientID, dhcpv6.OptionServerID, dhcpv6.OptionRapidCommit, dhcpv6.OptionFQDN:
		// DUIDs are opaque (RFC 8415 section 11), and the library refuses UUIDs of other than 16 octets.
		return &dhcpv6.OptionGeneric{OptionCode: code, OptionData: data}, nil
	case dhcpv6.OptionIANA:
		return &dhcpv6.OptIANA{IaId: [4]byte(data), Options: dhcpv6.IdentityOptions{Options: members(data[lenIANA:])}}, nil
	case dhcpv6.OptionIATA:
		return &dhcpv6.OptIATA{IaId: [4]byte(data), Options: dhcpv6.IdentityOptions{Options: members(data[lenIATA:])}}, nil
	case dhcpv6.OptionIAPD:
		return &dhcpv6.OptIAPD{IaId: [4]byte(data), Options: dhcpv6.PDOptions{Options: members(data[lenIANA:])}}, nil
	case dhcpv6.OptionORO:
		codes := make(dhcpv6.OptionCodes, 0, min(len(data)/2, maxCodes))
		_ = codes.FromBytes(data[:min(len(data), 2*maxCodes)&^1]) // whole codes only: nothing is left to refuse
		return &requested{codes}, nil
	case dhcpv6.OptionClientArchType:
		o := &architectures{}
		if o.FromBytes(data[:len(data)&^1]) != nil {
			return dropped{}, nil
		}
		return o, nil
	case dhcpv6.OptionUserClass:
		return userClasses(data), nil
	case dhcpv6.OptionVendorClass:
		return vendorClass(data), nil
	}
	return dropped{}, nil
}

// members reads what stands inside an IA.
func members(data []byte) dhcpv6.Options {
	if len(data) == 0 {
		return nil
	}
	out := make(dhcpv6.Options, 0, 1)
	_ = out.FromBytesWithParser(data, member) // scan has walked it, and member refuses nothing
	return out
}

// member reads an address or prefix of an IA. What stands inside those is none of a client's business.
func member(code dhcpv6.OptionCode, data []byte) (dhcpv6.Option, error) {
	switch code {
	case dhcpv6.OptionIAAddr:
		o := &dhcpv6.OptIAAddress{Options: dhcpv6.AddressOptions{Options: dhcpv6.Options{}}} // or room for ten is made
		return o, o.FromBytes(data[:lenIAAddr])
	case dhcpv6.OptionIAPrefix:
		o := &dhcpv6.OptIAPrefix{Options: dhcpv6.PrefixOptions{Options: dhcpv6.Options{}}}
		return o, o.FromBytes(data[:lenIAPrefix])
	}
	return dropped{}, nil
}

// userClasses reads option 15: entries with a length each (RFC 8415 section 21.15). Where the lengths do not add up, the
// sender left them out and the whole is one class.
func userClasses(data []byte) dhcpv6.Option {
	var o dhcpv6.OptUserClass
	switch {
	case len(data) == 0:
		return dropped{}
	case o.FromBytes(data) != nil:
		return &dhcpv6.OptUserClass{UserClasses: [][]byte{slices.Clone(data)}}
	}
	return &o
}

// vendorClass reads option 16: an enterprise number, then entries with a length each (section 21.16), or without.
func vendorClass(data []byte) dhcpv6.Option {
	var o dhcpv6.OptVendorClass
	switch {
	case len(data) <= 4:
		return dropped{}
	case o.FromBytes(data) != nil:
		return &dhcpv6.OptVendorClass{EnterpriseNumber: binary.BigEndian.Uint32(data), Data: [][]byte{slices.Clone(data[4:])}}
	}
	return &o
}

// read takes what the decision looks at.
func (p *packet) read(options dhcpv6.Options) {
	q := &p.req
	for _, o := range options {
		switch o := o.(type) {
		case *dhcpv6.OptionGeneric:
			switch o.OptionCode {
			case dhcpv6.OptionClientID:
				q.Client, _ = ident.DUIDFrom(o.OptionData)
			case dhcpv6.OptionServerID:
				q.Server, _ = ident.DUIDFrom(o.OptionData)
			case dhcpv6.OptionRapidCommit:
				q.RapidCommit = true
			case dhcpv6.OptionFQDN:
				if len(o.OptionData) > 0 {
					q.FQDN, q.FQDNFlags = true, o.OptionData[0]
				}
			}
		case *dhcpv6.OptIANA:
			q.IAs = append(q.IAs, readIA(address.IANA, o.IaId, o.Options.Options))
		case *dhcpv6.OptIATA:
			q.IAs = append(q.IAs, readIA(address.IATA, o.IaId, o.Options.Options))
		case *dhcpv6.OptIAPD:
			q.IAs = append(q.IAs, readIA(address.IAPD, o.IaId, o.Options.Options))
		case *dhcpv6.OptUserClass:
			q.Classes = append(q.Classes, o.UserClasses...)
		case *dhcpv6.OptVendorClass:
			if q.Vendor == "" {
				q.Vendor = string(o.Data[0])
			}
		case *requested: // once by the letter; some send several
			q.ORO = slices.Grow(q.ORO, min(len(o.OptionCodes), maxCodes-len(q.ORO)))
			for _, c := range o.OptionCodes {
				if len(q.ORO) < maxCodes && !slices.Contains(q.ORO, uint16(c)) {
					q.ORO = append(q.ORO, uint16(c))
				}
			}
		case *architectures:
			for _, a := range o.Archs {
				q.Arch = append(q.Arch, uint16(a))
			}
		}
	}
}

// readIA reads the members that belong into an IA of this kind.
func readIA(kind address.IAKind, id [4]byte, members dhcpv6.Options) address.IA {
	ia := address.IA{Kind: kind, IAID: ident.IAID(binary.BigEndian.Uint32(id[:]))}
	for _, o := range members {
		switch o := o.(type) {
		case *dhcpv6.OptIAAddress:
			if kind != address.IAPD {
				ia.Addrs = append(ia.Addrs, netip.AddrFrom16([16]byte(o.IPv6Addr)))
			}
		case *dhcpv6.OptIAPrefix:
			if kind == address.IAPD {
				ia.Prefixes = append(ia.Prefixes, prefixOf(o))
			}
		}
	}
	return ia
}

// prefixOf reads a prefix whose length scan has checked; the library has none for a length of zero.
func prefixOf(o *dhcpv6.OptIAPrefix) netip.Prefix {
	if o.Prefix == nil {
		return netip.PrefixFrom(netip.IPv6Unspecified(), 0)
	}
	bits, _ := o.Prefix.Mask.Size()
	return netip.PrefixFrom(netip.AddrFrom16([16]byte(o.Prefix.IP)), bits)
}
