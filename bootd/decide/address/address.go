// Package address decides what a DHCPv6 client gets: addresses, options, boot file, or silence with a reason (RFC 8415,
// RFC 9915). It is pure: snapshot, store view, request and time go in, one Decision comes out.
//
// The package never sees octets, sockets or the codec's types; bootd/dhcp6 does.
package address

import (
	"net/netip"
	"time"

	"bootd.internal/bootd/decide/who"
	"bootd.internal/bootd/ident"
	"bootd.internal/bootd/reason"
	"bootd.internal/bootd/site"
	"bootd.internal/bootd/store"
	"bootd.internal/bootd/timeline"
)

// Msg is a DHCPv6 message type (RFC 8415 section 7.3).
type Msg uint8

// The message types that a server receives or sends.
const (
	Solicit            Msg = 1
	Advertise          Msg = 2
	RequestMsg         Msg = 3
	Confirm            Msg = 4
	Renew              Msg = 5
	Rebind             Msg = 6
	ReplyMsg           Msg = 7
	Release            Msg = 8
	Decline            Msg = 9
	InformationRequest Msg = 11
)

// String is the message's name in RFC 8415, "unknown" for types that no server receives or sends: a closed set.
func (m Msg) String() string {
	switch m {
	case Solicit:
		return "Solicit"
	case Advertise:
		return "Advertise"
	case RequestMsg:
		return "Request"
	case Confirm:
		return "Confirm"
	case Renew:
		return "Renew"
	case Rebind:
		return "Rebind"
	case ReplyMsg:
		return "Reply"
	case Release:
		return "Release"
	case Decline:
		return "Decline"
	case InformationRequest:
		return "Information-request"
	}
	return "unknown"
}

// IAKind tells IA_NA from IA_TA and IA_PD.
type IAKind uint8

// The kinds of identity associations.
const (
	IANA IAKind = iota + 1
	IATA
	IAPD
)

// IA is one identity association that a client sent.
type IA struct {
	Kind IAKind
	IAID ident.IAID
	// Addrs are the addresses it names: hints, or what it holds.
	Addrs []netip.Addr
	// Prefixes are those of an IA_PD.
	Prefixes []netip.Prefix
}

// Request is one client message, parsed and checked as far as octets go.
type Request struct {
	At     site.Arrival
	Msg    Msg
	Client ident.DUID
	// Server is the Server Identifier it names, empty when it names none.
	Server      ident.DUID
	Evidence    []who.Evidence
	IAs         []IA
	RapidCommit bool
	// Arch is option 61, or what the vendor class says (PXEClient:Arch:00007).
	Arch []uint16
	// Classes are the entries of option 15; Vendor is the first datum of option 16, such as "HTTPClient:Arch:00016:...".
	Classes [][]byte
	Vendor  string
	ORO     []uint16
	// FQDN: it sent option 39, with these flags; the name in it is not believed.
	FQDN      bool
	FQDNFlags uint8
	// PutAside is how many addresses of a pool a Decline may put aside: its card and its network have a limit.
	PutAside int
	// Hold is why machines that nobody listed get nothing on this link now: ServerElsewhere, Listening, or RateLimited (too
	// many new ones came through one port of a relay); None: they may.
	Hold reason.Reason
}

// Decision is everything that follows from a Request. Reply nil: stay silent.
type Decision struct {
	reason.Outcome
	Reply  *Reply
	Ops    []store.Op
	Events []timeline.Event
	// PutAside is how many addresses of a pool were put aside.
	PutAside int
	// Twin is another card that speaks with the DUID and IAID of the asking one and had its lease until now; zero: none.
	Twin ident.MAC
	// Heard is what a machine that nobody listed told of itself; nil for the others.
	Heard *timeline.Machine
	// Reserved: the answer may go out although its Ops could not be written, because it grants nothing but addresses
	// that the inventory keeps for this card.
	Reserved bool
}

// Status is a DHCPv6 status code (RFC 8415 section 21.13).
type Status struct {
	Code uint16
	Text string
}

// Status codes. RFC 9915 took out 5, UseMulticast, with the Server Unicast option.
const (
	Success       uint16 = 0
	UnspecFail    uint16 = 1
	NoAddrsAvail  uint16 = 2
	NoBinding     uint16 = 3
	NotOnLink     uint16 = 4
	NoPrefixAvail uint16 = 6
)

// Reply is what goes back. Client and Server Identifier are the adapter's to add.
type Reply struct {
	Msg         Msg
	RapidCommit bool
	// Preference is sent when not negative.
	Preference int
	Status     *Status
	IAs        []IAReply
	// DNS and Search are options 23 and 24, BootURL option 59; empty ones are not sent.
	DNS     []netip.Addr
	Search  []string
	BootURL string
	// FQDN is the client's name in option 39, with its flags; empty: not sent.
	FQDN      string
	FQDNFlags uint8
	// Options are the inventory's, the most important one first.
	Options []Option
	// HTTPClient echoes option 16, without which UEFI HTTP boot takes no offer.
	HTTPClient bool
	// SolMaxRT, InfMaxRT and InfoRefresh are options 82, 83 and 32; zero ones are not sent.
	SolMaxRT, InfMaxRT, InfoRefresh time.Duration
}

// Option is one option as it is sent.
type Option struct {
	Code uint16
	Data []byte
}

// IAReply answers one IA.
type IAReply struct {
	Kind   IAKind
	IAID   ident.IAID
	T1, T2 time.Duration
	Addrs  []Lease
	// Prefixes answer an IA_PD.
	Prefixes []PrefixLease
	Status   *Status
}

// PrefixLease is one delegated prefix with its lifetimes; both zero: stop using it. Exclude, where it is valid, is what the
// client leaves out of it (RFC 6603).
type PrefixLease struct {
	Prefix, Exclude  netip.Prefix
	Preferred, Valid time.Duration
}

// Lease is one address with its lifetimes; both zero: stop using it.
type Lease struct {
	Addr             netip.Addr
	Preferred, Valid time.Duration
}
