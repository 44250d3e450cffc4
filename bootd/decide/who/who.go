// Package who answers one question: which listed machine is this? One machine shows many identities in one boot; DHCPv6
// and HTTP ask the same code.
//
// The package never learns from an unlisted machine and never lets it inherit a host's name.
package who

import (
	"net/netip"

	"bootd.internal/bootd/ident"
	"bootd.internal/bootd/reason"
	"bootd.internal/bootd/site"
)

// Kind orders evidence: the smaller, the stronger.
type Kind uint8

// The kinds of evidence, strongest first.
const (
	FrameMAC    Kind = iota + 1 // source of the Ethernet frame or the neighbour table
	RelayMAC                    // option 79 of a configured relay (RFC 6939)
	DUIDMAC                     // DUID-LL or DUID-LLT
	EUI64                       // interface identifier of the source address
	SMBIOSUUID                  // DUID-UUID in either byte order; only where there is no MAC
	LearnedDUID                 // a DUID seen before from this host; only where there is no MAC
	LeaseAddr                   // the source address is a lease of this host
	ListedDUID                  // a DUID that the inventory lists; where there is no MAC, or for hosts that list none
	RelayPort                   // a relay's port that the inventory lists; likewise
)

// String names the rule for logs and explain.
func (k Kind) String() string {
	names := [...]string{"none", "frame-mac", "relay-mac", "duid-mac", "eui64", "uuid", "learned-duid", "lease", "duid", "port"}
	if int(k) < len(names) {
		return names[k]
	}
	return "invalid"
}

// Evidence is one thing that a packet says of its sender.
type Evidence struct {
	Kind Kind
	MAC  ident.MAC
	UUID ident.UUID
	DUID ident.DUID
	Addr netip.Addr
	// Port is that of RelayPort.
	Port site.Port
}

// Match is who it is. Host and NIC are nil when nobody listed it; Reason then says why.
type Match struct {
	Host *site.Host
	NIC  *site.NIC
	Rule Kind
	// Observed is the strongest MAC in evidence, zero when there was none.
	Observed ident.MAC
	Reason   reason.Reason
}
