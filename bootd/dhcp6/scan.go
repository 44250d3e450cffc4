package dhcp6

import (
	"encoding/binary"

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

// Options that this package reads or writes, and those whose insides it checks.
const (
	optClientID     = 1
	optServerID     = 2
	optIANA         = 3
	optIATA         = 4
	optIAAddr       = 5
	optORO          = 6
	optRelayMsg     = 9
	optRapidCommit  = 14
	optUserClass    = 15
	optVendorClass  = 16
	optDomainList   = 24
	optIAPD         = 25
	optIAPrefix     = 26
	optFQDN         = 39
	optNTP          = 56
	optClientArch   = 61
	optPDExclude    = 67
	optClientLLAddr = 79
	subNTPName      = 3 // RFC 5908 section 4.3
)

// Fixed parts before the options of a container (RFC 8415 sections 9, 21.4, 21.5, 21.6, 21.21 and 21.22).
const (
	lenHeader      = 4
	lenRelayHeader = 34
	lenIANA        = 12
	lenIATA        = 4
	lenIAAddr      = 24
	lenIAPrefix    = 25
)

// eachOption walks an option area. It ends at the first reason that fn gives, or with Malformed where a length runs past
// the end or one to three octets trail.
func eachOption(b []byte, fn func(code uint16, data []byte) reason.Reason) reason.Reason {
	for len(b) > 0 {
		if len(b) < 4 {
			return reason.Malformed
		}
		code, n := binary.BigEndian.Uint16(b), int(binary.BigEndian.Uint16(b[2:]))
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
	return eachOption(b, func(code uint16, data []byte) reason.Reason {
		switch code {
		case optClientID:
			s.client++
			if s.client > 1 || !isDUID(data) {
				return reason.BadClientID
			}
		case optServerID:
			s.server++
			if s.server > 1 || !isDUID(data) {
				return reason.Malformed
			}
		case optIANA:
			return s.ia(data, lenIANA)
		case optIATA:
			return s.ia(data, lenIATA)
		case optIAPD:
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
	return eachOption(b[fixed:], func(code uint16, data []byte) reason.Reason {
		switch code {
		case optIANA, optIATA, optIAPD:
			return reason.Malformed
		case optIAAddr:
			return s.member(data, lenIAAddr)
		case optIAPrefix:
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
	return eachOption(b[fixed:], func(code uint16, data []byte) reason.Reason {
		switch code {
		case optIANA, optIATA, optIAPD, optIAAddr, optIAPrefix:
			return reason.Malformed
		case optPDExclude: // longer than the prefix that it is cut out of (RFC 6603 section 4.2)
			if fixed != lenIAPrefix || len(data) < 2 || data[0] > 128 || data[0] <= b[8] {
				return reason.Malformed
			}
		}
		return leaf(code, data)
	})
}

// leaf checks the options with domain names. We read none of them, but whoever sends such names attacks.
func leaf(code uint16, data []byte) reason.Reason {
	switch code {
	case optDomainList:
		return names(data)
	case optFQDN:
		if len(data) > 0 {
			return names(data[1:])
		}
	case optNTP:
		return eachOption(data, func(code uint16, data []byte) reason.Reason {
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

// relayed checks a Relay-Forward and all inside it, without recursion.
func relayed(b []byte) reason.Reason {
	for range maxRelays {
		if len(b) < lenRelayHeader {
			return reason.Malformed
		}
		if b[1] >= maxRelays {
			return reason.Oversized
		}
		inner, r := relayMessage(b[lenRelayHeader:])
		if r != reason.None {
			return r
		}
		if inner[0] != msgRelayForward {
			if inner[0] == msgRelayReply {
				return reason.NotForServers
			}
			var s scan
			return s.message(inner[lenHeader:])
		}
		b = inner
	}
	return reason.Oversized
}

// relayMessage finds the one Relay Message option of a Relay-Forward.
func relayMessage(b []byte) (inner []byte, r reason.Reason) {
	r = eachOption(b, func(code uint16, data []byte) reason.Reason {
		switch code {
		case optRelayMsg:
			if inner != nil || len(data) < lenHeader {
				return reason.Malformed
			}
			inner = data
		case optClientLLAddr: // u16 hardware type and a MAC (RFC 6939 section 4)
			if len(data) != 8 {
				return reason.Malformed
			}
		}
		return leaf(code, data)
	})
	if r == reason.None && inner == nil {
		r = reason.Malformed
	}
	return inner, r
}

// isDUID: two octets of type and 1 to 128 more (RFC 8415 section 11.1).
func isDUID(b []byte) bool { return len(b) >= 3 && len(b) <= 130 }
