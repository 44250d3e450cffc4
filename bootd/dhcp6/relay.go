package dhcp6

import (
	"encoding/binary"
	"net/netip"
	"slices"

	"github.com/insomniacslk/dhcp/dhcpv6"

	"bootd.internal/bootd/decide/address"
	"bootd.internal/bootd/ident"
	"bootd.internal/bootd/reason"
)

// hop is one relay that a message came through (RFC 8415 section 9): what it says, and what its reply must repeat. The
// octets are those of the datagram.
type hop struct {
	count      uint8
	link, peer netip.Addr
	// interfaceID (option 18) and port (option 135, RFC 8357) go back as they came; nil: there was none.
	interfaceID, port []byte
	// remoteID and subscriberID are options 37 and 38 (RFC 4649, RFC 4580); nil: there was none.
	remoteID, subscriberID []byte
	// mac is option 79 (RFC 6939), zero where there was none or the link is no Ethernet.
	mac ident.MAC
	// supplied is option 66 (RFC 6422): options that the relay asks us to pass on.
	supplied []byte
}

const (
	lenPort = 2
	// lenEnterprise stands before a Remote-ID.
	lenEnterprise = 4
	// lenMAC is a hardware type and an Ethernet address.
	lenMAC   = 8
	ethernet = 1
)

// relayed reads a Relay-Forward and the client's message inside it, without recursion: relays nest to HOP_COUNT_LIMIT.
func relayed(b []byte, spare address.Request) (packet, reason.Reason) {
	var hops []hop
	for range maxRelays {
		if len(b) < lenRelayHeader {
			return packet{}, reason.Malformed
		}
		if b[1] >= maxRelays {
			return packet{}, reason.Oversized
		}
		h := hop{count: b[1], link: netip.AddrFrom16([16]byte(b[2:18])), peer: netip.AddrFrom16([16]byte(b[18:34]))}
		inner, r := h.read(b[lenRelayHeader:])
		if r != reason.None {
			return packet{}, r
		}
		hops = append(hops, h)
		if inner[0] != byte(dhcpv6.MessageTypeRelayForward) {
			p, r := client(inner, spare)
			p.hops = hops
			return p, r
		}
		b = inner
	}
	return packet{}, reason.Oversized
}

// read takes the options of one Relay-Forward and finds its one Relay Message. An option that may stand once and stands twice
// is a fault: which of them the relay would go by could not be told.
func (h *hop) read(b []byte) (inner []byte, r reason.Reason) {
	r = eachOption(b, func(code dhcpv6.OptionCode, data []byte) reason.Reason {
		var to *[]byte
		least := 0
		switch code {
		case dhcpv6.OptionRelayMsg:
			to, least = &inner, lenHeader
		case dhcpv6.OptionInterfaceID:
			to = &h.interfaceID
		case dhcpv6.OptionRelayPort:
			if len(data) != lenPort {
				return reason.Malformed
			}
			to = &h.port
		case dhcpv6.OptionRemoteID:
			to, least = &h.remoteID, lenEnterprise
		case dhcpv6.OptionRelayAgentSubscriberID:
			to = &h.subscriberID
		case dhcpv6.OptionRSOO:
			to = &h.supplied
			if r := eachOption(data, func(dhcpv6.OptionCode, []byte) reason.Reason { return reason.None }); r != reason.None {
				return r
			}
		case dhcpv6.OptionClientLinkLayerAddr: // u16 hardware type and a MAC (RFC 6939 section 4)
			if len(data) != lenMAC || h.mac != (ident.MAC{}) {
				return reason.Malformed
			}
			if binary.BigEndian.Uint16(data) == ethernet {
				h.mac = ident.MAC(data[2:])
			}
			return reason.None
		default:
			return leaf(code, data)
		}
		if *to != nil || len(data) < least {
			return reason.Malformed
		}
		*to = data
		return reason.None
	})
	if r == reason.None && inner == nil {
		r = reason.Malformed
	}
	return inner, r
}

// linkAddress is what names the client's link: the link-address of the relay next to the client that gives one. A relay that
// only switches writes :: (RFC 6221 section 5.3.1), and the next one out knows.
func linkAddress(hops []hop) netip.Addr {
	for _, h := range slices.Backward(hops) {
		if !h.link.IsUnspecified() {
			return h.link
		}
	}
	return netip.IPv6Unspecified()
}

// wrap puts a reply into the Relay-Replies that lead back through the hops (RFC 8415 section 19.3): each repeats hop count,
// addresses, interface-id and relay port of its Relay-Forward.
func wrap(hops []hop, reply []byte) []byte {
	for _, h := range slices.Backward(hops) {
		link, peer := h.link.As16(), h.peer.As16()
		b := make([]byte, 0, lenRelayHeader+16+len(h.interfaceID)+len(reply))
		b = append(b, byte(dhcpv6.MessageTypeRelayReply), h.count)
		b = append(append(b, link[:]...), peer[:]...)
		if h.interfaceID != nil {
			b = putOption(b, dhcpv6.OptionInterfaceID, h.interfaceID)
		}
		if h.port != nil {
			b = putOption(b, dhcpv6.OptionRelayPort, h.port)
		}
		reply = putOption(b, dhcpv6.OptionRelayMsg, reply)
	}
	return reply
}

// optERPLocalDomain is the only option that relays may supply so far (RFC 6440, and IANA's list of RFC 6422 section 8).
const optERPLocalDomain = dhcpv6.OptionERPLocalDomainName

// passOn appends what relays supply and the client asked for, the relay next to the client first; what is not on the list of
// RFC 6422 stays behind.
func passOn(reply []byte, hops []hop, oro []uint16) []byte {
	if !slices.Contains(oro, uint16(optERPLocalDomain)) {
		return reply
	}
	for _, h := range slices.Backward(hops) {
		found := false
		_ = eachOption(h.supplied, func(code dhcpv6.OptionCode, data []byte) reason.Reason {
			if code == optERPLocalDomain && !found && len(reply)+4+len(data) <= lenHeader+maxOptions {
				reply, found = putOption(reply, code, data), true
			}
			return reason.None
		})
		if found {
			break
		}
	}
	return reply
}
