package site

import (
	"crypto/sha256"
	"encoding/binary"
	"iter"
	"net/netip"
	"slices"

	"bootd.internal/bootd/ident"
	"bootd.internal/bootd/inventory"
)

const (
	// GuestSlots is how many addresses of a prefix are for machines that nobody listed: as many leases of theirs can be in
	// the store at one time, whatever names a flood of clients invents.
	GuestSlots = 1024
	// guestTries bounds the slots that one client may look at.
	guestTries = 16
)

// Guest gives the addresses inside p that a client nobody listed may take, in its order: the first one that is free, or its
// own already, is the one. They are RFC 7943 hashes (section 4.1) over prefix and slot, and the slot is a hash over the
// client (its MAC, else DUID and IAID): the same client gets the same address although the leases were lost. Addresses of
// hosts, of relays and our own are left out.
func (s *Snapshot) Guest(n *Network, p netip.Prefix, client []byte) iter.Seq[netip.Addr] {
	return func(yield func(netip.Addr) bool) {
		sum := sha256.Sum256(append(s.Secret[:], client...))
		first := binary.BigEndian.Uint32(sum[:])
		for i := range uint32(guestTries) {
			a := stable(s.Secret, p, guestSlot((first+i)%GuestSlots), 0)
			if s.mayBeGuest(n, p, a) && !yield(a) {
				return
			}
		}
	}
}

// guestSlot names a slot as a group address, so that it meets the hash of no card.
func guestSlot(i uint32) ident.MAC {
	return ident.MAC{1, 'g', byte(i >> 24), byte(i >> 16), byte(i >> 8), byte(i)}
}

func (s *Snapshot) mayBeGuest(n *Network, p netip.Prefix, a netip.Addr) bool {
	if _, fixed := s.index.byAddr[a]; fixed || inventory.Unusable(p, a) != "" {
		return false
	}
	if slices.Contains(n.Relays, a) { // the router has it
		return false
	}
	if n.Link == nil {
		return true
	}
	for _, own := range n.Link.Addrs {
		if own.Addr() == a {
			return false
		}
	}
	return true
}
