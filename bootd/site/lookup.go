package site

import (
	"net/netip"
	"slices"
	"strings"

	"bootd.internal/bootd/ident"
)

// index is built once by Resolve.
type index struct {
	byName   map[string]*Host
	byMAC    map[ident.MAC]*NIC
	byUUID   map[ident.UUID]*Host
	byDUID   map[ident.DUID]*Host
	byAddr   map[netip.Addr]*NIC
	networks map[string]*Network
	byLink   map[string]*Network
	byRelay  map[netip.Addr]*Network
	byPort   map[netip.Addr][]*Host
	// kept are the prefixes of hosts in order of address; none overlaps another.
	kept []Kept
}

// Host finds a host by its name.
func (s *Snapshot) Host(name string) (*Host, bool) {
	h, ok := s.index.byName[name]
	return h, ok
}

// Lists reports whether a holder of leases is a card of the inventory (NIC.Holder).
func (s *Snapshot) Lists(holder string) bool {
	name, _, _ := strings.Cut(holder, "/")
	h, ok := s.Host(name)
	return ok && slices.ContainsFunc(h.NICs, func(n *NIC) bool { return n.Holder() == holder })
}

// NIC finds a listed card by its MAC.
func (s *Snapshot) NIC(m ident.MAC) (*NIC, bool) {
	n, ok := s.index.byMAC[m]
	return n, ok
}

// HostByUUID finds a host by its SMBIOS UUID in either byte order.
func (s *Snapshot) HostByUUID(u ident.UUID) (*Host, bool) {
	if h, ok := s.index.byUUID[u]; ok {
		return h, true
	}
	h, ok := s.index.byUUID[u.Swapped()]
	return h, ok
}

// HostByDUID finds the host that lists a DUID.
func (s *Snapshot) HostByDUID(d ident.DUID) (*Host, bool) {
	h, ok := s.index.byDUID[d]
	return h, ok
}

// HostByPort finds the host that is plugged into a relay's port: the one that lists both identifiers before those that list one
// of them.
func (s *Snapshot) HostByPort(at Port) (*Host, bool) {
	var found *Host
	for _, h := range s.index.byPort[at.Relay] {
		p := h.Port
		if p.InterfaceID != "" && p.InterfaceID != at.InterfaceID || p.RemoteID != "" && p.RemoteID != at.RemoteID {
			continue
		}
		if p.InterfaceID != "" && p.RemoteID != "" {
			return h, true
		}
		if found == nil {
			found = h
		}
	}
	return found, found != nil
}

// Nameless reports whether the host lists no MAC: its UUID, DUID or port alone names it.
func (h *Host) Nameless() bool {
	for _, n := range h.NICs {
		if n.MAC.Valid() {
			return false
		}
	}
	return true
}

// Holder finds the card that a fixed address (reserved or computed) belongs to.
func (s *Snapshot) Holder(a netip.Addr) (*NIC, bool) {
	n, ok := s.index.byAddr[a]
	return n, ok
}

// Network finds a network by its name.
func (s *Snapshot) Network(name string) (*Network, bool) {
	n, ok := s.index.networks[name]
	return n, ok
}

// Serves finds the network that an arrival belongs to: by its relay, else by the link that it came in on. No network: the
// link is not served.
func (s *Snapshot) Serves(at Arrival) (*Network, bool) {
	if at.Relay.IsValid() {
		n, ok := s.index.byRelay[at.Relay]
		return n, ok
	}
	n, ok := s.index.byLink[at.Link]
	return n, ok
}

// ServesLink finds the network on an interface by the interface's name.
func (s *Snapshot) ServesLink(name string) (*Network, bool) {
	n, ok := s.index.byLink[name]
	return n, ok
}

// NetworkOf finds the network whose prefix holds a.
func (s *Snapshot) NetworkOf(a netip.Addr) (*Network, bool) {
	for _, n := range s.Networks {
		if n.Contains(a) {
			return n, true
		}
	}
	return nil, false
}

// Contains reports whether a lies inside one of the network's prefixes, or of those that it had before: machines that still
// use an address of such a one are served.
func (n *Network) Contains(a netip.Addr) bool {
	for _, p := range n.Prefixes {
		if p.Contains(a) {
			return true
		}
	}
	return slices.ContainsFunc(n.Stale, func(s Stale) bool { return !s.Moved && s.Prefix.Contains(a) })
}
