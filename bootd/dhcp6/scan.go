package dhcp6

import (
	"encoding/binary"

	"github.com/insomniacslk/dhcp/dhcpv6"

	"bootd.internal/bootd/reason"
)

// Bounds on what one message may hold; firmware, installers and operating systems stay far below them.
const (
	// maxDatagram is the most octets of one message: no client of a link fills even one Ethernet frame.
	maxDatagram = 2048
	maxIAs      = 8
	maxAddrs    = 16
	// maxRelays is HOP_COUNT_LIMIT (RFC 8415 section 7.6).
	maxRelays = 8
	// maxLabel is the first octet that is no label length (RFC 1035 section 4.1.4): compression, which DHCPv6 forbids
	// (RFC 8415 section 10), or a label too long.
	maxLabel = 0x40
)

// subNTPName is the name of a server inside option 56 (RFC 5908 section 4.3).
const subNTPName = 3

// Fixed parts before the options of a container (RFC 8415 sections 9, 21.4, 21.5, 21.6, 21.21 and 21.22).
const (
	lenHeader      = dhcpv6.MessageHeaderSize
	lenRelayHeader = dhcpv6.RelayHeaderSize
	lenIANA        = 12
	lenIATA        = 4
	lenIAAddr      = 24
	lenIAPrefix    = 25
)

// eachOption walks an option area. It ends at the first reason that fn gives, or with Malformed where a length runs past
// the end or one to three octets trail.
func eachOption(b []byte, fn func(code dhcpv6.OptionCode, data []byte) reason.Reason) reason.Reason {
	for len(b) > 0 {
		if len(b) < 4 {
			return reason.Malformed
		}
		code, n := dhcpv6.OptionCode(binary.BigEndian.Uint16(b)), int(binary.BigEndian.Uint16(b[2:]))
		if n > len(b)-4 {
			return reason.Malformed
		}
		if r := fn(code, b[4:4+n]); r != reason.None {
			return r
		}
		b = b[4+n:]
	}
	return reason.None
}

// scan checks everything about a client message that does not depend on its meaning, in one pass over the octets.
type scan struct {
	client, server, ias, addrs int
}

// message checks the option area of a client message.
func (s *scan) message(b []byte) reason.Reason {
	return eachOption(b, func(code dhcpv6.OptionCode, data []byte) reason.Reason {
		switch code {
		case dhcpv6.OptionClientID:
			s.client++
			if s.client > 1 || !isDUID(data) {
				return reason.BadClientID
			}
		case dhcpv6.OptionServerID:
			s.server++
			if s.server > 1 || !isDUID(data) {
				return reason.Malformed
			}
		case dhcpv6.OptionIANA:
			return s.ia(data, lenIANA)
		case dhcpv6.OptionIATA:
			return s.ia(data, lenIATA)
		case dhcpv6.OptionIAPD:
			return s.ia(data, lenIANA)
		}
		return leaf(code, data)
	})
}

// ia checks one identity association; none may stand inside another.
func (s *scan) ia(b []byte, fixed int) reason.Reason {
	s.ias++
	if s.ias > maxIAs {
		return reason.Oversized
	}
	if len(b) < fixed {
		return reason.Malformed
	}
	return eachOption(b[fixed:], func(code dhcpv6.OptionCode, data []byte) reason.Reason {
		switch code {
		case dhcpv6.OptionIANA, dhcpv6.OptionIATA, dhcpv6.OptionIAPD:
			return reason.Malformed
		case dhcpv6.OptionIAAddr:
			return s.member(data, lenIAAddr)
		case dhcpv6.OptionIAPrefix:
			if len(data) < lenIAPrefix || data[8] > 128 {
				return reason.Malformed
			}
			return s.member(data, lenIAPrefix)
		}
		return leaf(code, data)
	})
}

// member checks an address or prefix inside an identity association.
func (s *scan) member(b []byte, fixed int) reason.Reason {
	s.addrs++
	if s.addrs > maxAddrs {
		return reason.Oversized
	}
	if len(b) < fixed {
		return reason.Malformed
	}
	return eachOption(b[fixed:], func(code dhcpv6.OptionCode, data []byte) reason.Reason {
		switch code {
		case dhcpv6.OptionIANA, dhcpv6.OptionIATA, dhcpv6.OptionIAPD, dhcpv6.OptionIAAddr, dhcpv6.OptionIAPrefix:
			return reason.Malformed
		case dhcpv6.OptionPDExclude: // longer than the prefix that it is cut out of (RFC 6603 section 4.2)
			if fixed != lenIAPrefix || len(data) < 2 || data[0] > 128 || data[0] <= b[8] {
				return reason.Malformed
			}
		}
		return leaf(code, data)
	})
}

// leaf checks the options with domain names. We read none of them, but whoever sends such names attacks.
func leaf(code dhcpv6.OptionCode, data []byte) reason.Reason {
	switch code {
	case dhcpv6.OptionDomainSearchList:
		return names(data)
	case dhcpv6.OptionFQDN:
		if len(data) > 0 {
			return names(data[1:])
		}
	case dhcpv6.OptionNTPServer:
		return eachOption(data, func(code dhcpv6.OptionCode, data []byte) reason.Reason {
			if code == subNTPName {
				return names(data)
			}
			return reason.None
		})
	}
	return reason.None
}

// names checks a list of domain names in wire form; the last may lack its root (RFC 4704 section 4.2).
func names(b []byte) reason.Reason {
	for len(b) > 0 {
		n := int(b[0])
		if n >= maxLabel || n > len(b)-1 {
			return reason.HostileLabel
		}
		b = b[1+n:]
	}
	return reason.None
}

// isDUID: two octets of type and 1 to 128 more (RFC 8415 section 11.1).
func isDUID(b []byte) bool { return len(b) >= 3 && len(b) <= 130 }
