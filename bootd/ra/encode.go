package ra

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"

	"github.com/mdlayher/ndp"

	"bootd.internal/bootd/decide/advert"
	"bootd.internal/bootd/ident"
	"bootd.internal/bootd/netif"
)

// minMTU is what every IPv6 link carries (RFC 8200 section 5). A larger advertisement would need fragments, which are
// dropped (RFC 6980 section 5).
const minMTU = 1280

// Groups of RFC 4291 section 2.7.1 and the MAC addresses that carry them (RFC 2464 section 7).
func allNodes() netip.Addr     { return netip.AddrFrom16([16]byte{0: 0xff, 1: 0x02, 15: 1}) }
func allRouters() netip.Addr   { return netip.AddrFrom16([16]byte{0: 0xff, 1: 0x02, 15: 2}) }
func allNodesMAC() ident.MAC   { return ident.MAC{0x33, 0x33, 0, 0, 0, 1} }
func allRoutersMAC() ident.MAC { return ident.MAC{0x33, 0x33, 0, 0, 0, 2} }

// answerTo is where the answer to src goes: a machine without an address hears ff02::1.
func answerTo(src netip.Addr) netip.Addr {
	if src.IsUnspecified() {
		return allNodes()
	}
	return src
}

// encodeAdvertisement makes the IPv6 packet of an advertisement. Errors: a value that no option can carry, or a packet
// over what the link carries; decide/advert gives neither.
func encodeAdvertisement(ra advert.RA, src, dst netip.Addr) ([]byte, error) {
	m := &ndp.RouterAdvertisement{
		CurrentHopLimit: ra.HopLimit, ManagedConfiguration: ra.Managed, OtherConfiguration: ra.Other,
		RouterSelectionPreference: preference(ra.Preference), RouterLifetime: ra.Lifetime,
		ReachableTime: ra.ReachableTime, RetransmitTimer: ra.RetransTimer,
	}
	if ra.Source != (ident.MAC{}) {
		m.Options = append(m.Options, sourceOption(ra.Source))
	}
	if ra.MTU != 0 {
		m.Options = append(m.Options, ndp.NewMTU(ra.MTU))
	}
	for _, p := range ra.Prefixes {
		m.Options = append(m.Options, &ndp.PrefixInformation{
			PrefixLength: uint8(p.Prefix.Bits()), Prefix: p.Prefix.Addr(), OnLink: p.OnLink,
			AutonomousAddressConfiguration: p.Autonomous, ValidLifetime: p.Valid, PreferredLifetime: p.Preferred,
		})
	}
	for _, some := range advert.ResolverLists(ra.Nameservers) {
		m.Options = append(m.Options, &ndp.RecursiveDNSServer{Lifetime: ra.RDNSSLifetime, Servers: some})
	}
	for _, p := range ra.Pref64 {
		m.Options = append(m.Options, &ndp.PREF64{Prefix: p.Prefix, Lifetime: p.Lifetime})
	}
	for _, r := range ra.Routes {
		m.Options = append(m.Options, &ndp.RouteInformation{
			Prefix: r.Prefix.Addr(), PrefixLength: uint8(r.Prefix.Bits()), Preference: preference(r.Preference), RouteLifetime: r.Lifetime,
		})
	}
	if ra.CaptivePortal != "" {
		m.Options = append(m.Options, &ndp.CaptivePortal{URI: ra.CaptivePortal})
	}
	for _, names := range advert.SearchLists(ra.Search) {
		m.Options = append(m.Options, &ndp.DNSSearchList{Lifetime: ra.DNSSLLifetime, DomainNames: names})
	}
	return encode(m, src, dst, max(ra.Room, minMTU))
}

// encodeSolicitation makes the packet that asks other routers to show themselves.
func encodeSolicitation(src netip.Addr, mac ident.MAC) ([]byte, error) {
	return encode(&ndp.RouterSolicitation{Options: []ndp.Option{sourceOption(mac)}}, src, allRouters(), minMTU)
}

func sourceOption(m ident.MAC) ndp.Option {
	return &ndp.LinkLayerAddress{Direction: ndp.Source, Addr: net.HardwareAddr(m[:])}
}

func preference(s string) ndp.Preference {
	switch s {
	case "low":
		return ndp.Low
	case "high":
		return ndp.High
	}
	return ndp.Medium
}

// encode puts a message behind its IPv6 header; most is the largest packet in octets.
func encode(m ndp.Message, src, dst netip.Addr, most int) ([]byte, error) {
	msg, err := ndp.MarshalMessage(m)
	if err != nil {
		return nil, fmt.Errorf("encoding %s: %w", kindName(byte(m.Type())), err)
	}
	if headerLen+len(msg) > most {
		return nil, fmt.Errorf("encoding %s: %d octets do not fit %d", kindName(byte(m.Type())), headerLen+len(msg), most)
	}
	b := make([]byte, headerLen, headerLen+len(msg))
	b[0] = 6 << 4
	binary.BigEndian.PutUint16(b[4:], uint16(len(msg)))
	b[6], b[7] = protoICMPv6, hopLimit
	from := src.As16()
	copy(b[8:], from[:])
	b = append(b, msg...)
	readdress(b, dst)
	return b, nil
}

// readdress gives a packet another destination.
func readdress(b []byte, dst netip.Addr) {
	to := dst.As16()
	copy(b[24:], to[:])
	header, msg := b[:headerLen], b[headerLen:]
	binary.BigEndian.PutUint16(msg[2:], 0)
	binary.BigEndian.PutUint16(msg[2:], netif.Checksum(header, msg))
}

// kindName is the protocol's name of a message, out of a closed set: it becomes a metric's label.
func kindName(kind byte) string {
	switch kind {
	case typeSolicitation:
		return "RouterSolicitation"
	case typeAdvertisement:
		return "RouterAdvertisement"
	}
	return "Unknown"
}
