// Package uplink decides what a DHCPv6 client says to the router that delegates prefixes to this machine, and what it makes of
// the answers (RFC 8415 section 18.2; prefixes section 6.3; RFC 6603, RFC 7083).
//
// The package is pure: messages, time and chance are arguments. It never knows how a message is encoded or sent, where a lease is
// kept, and what the prefixes are used for.
package uplink

import (
	"math"
	"net/netip"
	"time"

	"bootd.internal/bootd/ident"
)

// Type is a message type (RFC 8415 section 7.3).
type Type uint8

// The message types that a client sends or hears.
const (
	Solicit     Type = 1
	Advertise   Type = 2
	Request     Type = 3
	Renew       Type = 5
	Rebind      Type = 6
	Reply       Type = 7
	Release     Type = 8
	Reconfigure Type = 10
)

// Code is a status code (RFC 8415 section 21.13).
type Code uint16

// The status codes that mean something here.
const (
	Success       Code = 0
	UnspecFail    Code = 1
	NoAddrsAvail  Code = 2
	NoBinding     Code = 3
	NotOnLink     Code = 4
	NoPrefixAvail Code = 6
)

// Forever is a lifetime that does not end (RFC 8415 section 7.7).
const Forever = math.MaxUint32 * time.Second

// Lease is one prefix or address inside an IA. An address is a /128. In a message of ours the lifetimes are zero.
type Lease struct {
	Prefix netip.Prefix
	// Exclude, where it is valid, is inside Prefix and belongs to the link that we ask on (RFC 6603).
	Exclude          netip.Prefix
	Preferred, Valid time.Duration
}

// IA is one identity association: for a prefix, or for an address.
type IA struct {
	ID      ident.IAID
	Address bool
	T1, T2  time.Duration
	Status  Code
	Leases  []Lease
}

// Message is one DHCPv6 message, ours or a server's.
type Message struct {
	Type           Type
	XID            [3]byte
	Client, Server ident.DUID
	IAs            []IA
	RapidCommit    bool
	// Elapsed is since the exchange began; ours only.
	Elapsed time.Duration
	// The rest is a server's only. Preference is 0 where it says none; SolMaxRT 0: it says none.
	Preference  int
	Status      Code
	SolMaxRT    time.Duration
	Nameservers []netip.Addr
	Search      []string
}

// Hint is what is asked for: any prefix, one of a length, or a certain one.
type Hint struct {
	Length int
	Prefix netip.Prefix
}

// Config is what a client is to get.
type Config struct {
	// Client is this machine's DUID (section 11); it never changes, nor do the IAIDs.
	Client ident.DUID
	// Prefixes has one entry for each IA_PD.
	Prefixes []Wanted
	// Address, where it is not nil, is the IAID of an IA_NA.
	Address *ident.IAID
	// RapidCommit offers the exchange of two messages (section 18.2.1).
	RapidCommit bool
}

// Wanted is one IA_PD.
type Wanted struct {
	IAID ident.IAID
	Hint Hint
}

// Cause is why what a client holds changed.
type Cause uint8

// The causes.
const (
	Unchanged Cause = iota
	// Bound: after a Solicit or a Request.
	Bound
	// Renewed and Rebound: after those messages.
	Renewed
	Rebound
	// Expired: lifetimes ended, or the server took leases back.
	Expired
	// Released: a person or the end of the daemon gave all back.
	Released
)

// String is the word for logs.
func (c Cause) String() string {
	return [...]string{"unchanged", "bound", "renewed", "rebound", "expired", "released"}[c]
}

// State is what a client is doing.
type State string

// The states.
const (
	Detached   State = "detached"   // the link is not there
	Soliciting State = "soliciting" // looking for a server
	Requesting State = "requesting" // one was chosen
	Holding    State = "holding"    // a server refused: another try comes later
	Confirming State = "confirming" // the link came anew: is what we hold still ours?
	Ready      State = "bound"      // nothing to do until T1
	Renewing   State = "renewing"   // T1 has passed
	Rebinding  State = "rebinding"  // T2 has passed: any server may answer
	Releasing  State = "releasing"  // all was given back
	Idle       State = "released"   // and nothing is asked for until a person says so
)
