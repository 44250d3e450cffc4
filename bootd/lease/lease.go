// Package lease holds the binding of one address or prefix to one holder. Its key is the prefix (an address is a /128),
// so no address can have two holders.
//
// The package never talks to a client or a disk.
package lease

import (
	"fmt"
	"net/netip"
	"time"

	"bootd.internal/bootd/ident"
	"bootd.internal/bootd/store"
)

// State is where a binding stands.
type State uint8

// The states of a binding.
const (
	Free State = iota
	// Bound: somebody uses it.
	Bound
	// Resting: released, kept an hour for its last holder (iPXE goes on using an address that firmware released).
	Resting
	// Declined: a client found another machine using it (RFC 8415 section 18.3.8).
	Declined
)

// String is the lower-case name.
func (s State) String() string {
	return [...]string{"free", "bound", "resting", "declined"}[s&3]
}

// MarshalText writes String.
func (s State) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads what String writes.
func (s *State) UnmarshalText(b []byte) error {
	for i := Free; i <= Declined; i++ {
		if i.String() == string(b) {
			*s = i
			return nil
		}
	}
	return fmt.Errorf("reading lease state: %q is none", b)
}

// Claim is one client identity that uses a binding.
type Claim struct {
	DUID ident.DUID `json:"duid"`
	IAID ident.IAID `json:"iaid"`
}

// MaxClaims bounds the claims of a binding; the oldest goes first.
const MaxClaims = 8

// Binding is one address or prefix in use.
type Binding struct {
	// Holder is host/nic, or the DUID of an unlisted client.
	Holder  string `json:"holder"`
	Network string `json:"network"`
	// MAC is the card that holds it, zero where none was known: a renamed host keeps its address.
	MAC    ident.MAC `json:"mac,omitzero"`
	Claims []Claim   `json:"claims,omitempty"`
	State  State     `json:"state"`
	// PreferredUntil and ValidUntil are absolute.
	PreferredUntil time.Time `json:"preferred_until"`
	ValidUntil     time.Time `json:"valid_until"`
	// Via and Link are the next hop of a delegated prefix.
	Via  netip.Addr `json:"via,omitzero"`
	Link string     `json:"link,omitempty"`
}

// Key is where the binding of an address lives.
func Key(a netip.Addr) store.Key { return PrefixKey(netip.PrefixFrom(a, a.BitLen())) }

// PrefixKey is where the binding of a prefix lives.
func PrefixKey(p netip.Prefix) store.Key {
	return store.Key{Table: store.TableLease, ID: p.Masked().String()}
}

// HeldKey is where the address of an unlisted client is noted, so that it is found again without a search.
func HeldKey(network, holder string) store.Key {
	return store.Key{Table: store.TableHeld, ID: network + " " + holder}
}

// ClientPrefix begins the holder of a client that is known by DUID and IAID only.
const ClientPrefix = "duid "

// ClientHolder is the holder of an unlisted client's lease (RFC 8415 section 12: DUID and IAID name it).
func ClientHolder(d ident.DUID, i ident.IAID) string {
	return ClientPrefix + d.String() + " iaid " + i.String()
}

// Prefix reads a key that PrefixKey made.
func Prefix(k store.Key) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(k.ID)
	if err != nil || k.Table != store.TableLease {
		return netip.Prefix{}, fmt.Errorf("reading lease key %s: not a prefix", k)
	}
	return p, nil
}
