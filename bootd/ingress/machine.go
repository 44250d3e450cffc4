package ingress

import (
	"net/netip"

	"bootd.internal/bootd/ident"
	"bootd.internal/bootd/site"
)

// Machine is who is counted where one machine may not take what all share: a card where the neighbour table knows it, since
// one machine has as many addresses as it likes, else an address.
type Machine struct {
	MAC  ident.MAC
	Addr netip.Addr
}

// Counted finds the machine behind an arrival. neighbour finds the card behind an on-link address; nil: nobody knows.
func Counted(neighbour func(index int, a netip.Addr) (ident.MAC, bool), at site.Arrival) Machine {
	if neighbour != nil {
		if m, ok := neighbour(at.Index, at.Source); ok {
			return Machine{MAC: m}
		}
	}
	return Machine{Addr: at.Source}
}
