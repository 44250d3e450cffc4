package who

import (
	"net/netip"
	"strings"

	"bootd.internal/bootd/ident"
	"bootd.internal/bootd/lease"
	"bootd.internal/bootd/reason"
	"bootd.internal/bootd/site"
	"bootd.internal/bootd/store"
)

// Frame is the evidence of the frame's source or the neighbour table; a MAC that cannot name one machine is none.
func Frame(m ident.MAC) []Evidence {
	if !m.Valid() {
		return nil
	}
	return []Evidence{{Kind: FrameMAC, MAC: m}}
}

// Source is the evidence that a source address holds: the MAC in its interface identifier, and whose lease it is.
func Source(a netip.Addr) []Evidence {
	a = a.WithZone("")
	ev := AppendEUI64(nil, a)
	if a.IsGlobalUnicast() {
		ev = append(ev, Evidence{Kind: LeaseAddr, Addr: a})
	}
	return ev
}

// AppendEUI64 appends the MAC in the interface identifier of a source address without zone, if there is one.
func AppendEUI64(ev []Evidence, a netip.Addr) []Evidence {
	if m, ok := ident.MACFromEUI64(a); ok {
		ev = append(ev, Evidence{Kind: EUI64, MAC: m, Addr: a})
	}
	return ev
}

// Client is the evidence that a DUID holds: a MAC, an SMBIOS UUID, or only itself.
func Client(d ident.DUID) []Evidence { return AppendClient(nil, d) }

// AppendClient appends what Client gives.
func AppendClient(ev []Evidence, d ident.DUID) []Evidence {
	if d == "" {
		return ev
	}
	if m, ok := d.MAC(); ok {
		return append(ev, Evidence{Kind: DUIDMAC, MAC: m, DUID: d})
	}
	if u, ok := d.UUID(); ok {
		ev = append(ev, Evidence{Kind: SMBIOSUUID, UUID: u})
	}
	return append(ev, Evidence{Kind: LearnedDUID, DUID: d})
}

// Identify says which listed machine the evidence names. net is where it asks; nil asks for the host wherever it is.
//
// The strongest MAC decides alone: where it is not listed, nobody is known, whatever UUID, DUID or address comes with it.
// Only a DUID-LL or LLT made on another card of the machine steps back, behind the MAC of the source address. A UUID, a
// DUID or a leased address count only where there is no MAC, or for a host that lists none.
//
// Reason None: Host is known; NIC too, unless a UUID or DUID names a host with several cards on net. UnknownHost: both
// are nil. WrongNetwork: both are set, and must get nothing.
func Identify(snap *site.Snapshot, v store.View, net *site.Network, ev []Evidence) Match {
	m := byMAC(snap, v, ev)
	if m.NIC == nil {
		if listed := byListed(snap, net, ev, m.Observed); listed.Host != nil {
			m = listed
		} else if m.Observed == (ident.MAC{}) {
			m = byName(snap, v, net, ev)
		}
	}
	switch {
	case m.Host == nil:
		m.Reason = reason.UnknownHost
	case m.NIC != nil && net != nil && m.NIC.Network != nil && m.NIC.Network.Name != net.Name:
		m.Reason = reason.WrongNetwork
	}
	return m
}

// byMAC looks for MAC evidence only. An unlisted MAC leaves NIC nil and Observed set.
func byMAC(snap *site.Snapshot, v store.View, ev []Evidence) Match {
	var m Match
	for kind := FrameMAC; kind <= EUI64; kind++ {
		e, ok := find(ev, kind)
		if !ok || kind == EUI64 && ours(snap, v, e.Addr) {
			continue // an address that we gave out says nothing of the card
		}
		if kind == EUI64 && m.NIC != nil {
			if _, listed := snap.NIC(e.MAC); !listed { // a listed card's DUID on a card that is not
				return Match{Observed: e.MAC}
			}
			return m
		}
		m = Match{Rule: kind, Observed: e.MAC}
		if nic, listed := snap.NIC(e.MAC); listed {
			m.Host, m.NIC = nic.Host, nic
		} else {
			m.Rule = 0
		}
		if kind != DUIDMAC {
			return m
		}
	}
	return m
}

// byListed looks for a host that lists the port or the DUID, or whose UUID it holds. A card that nobody listed is a host's only where
// that host lists no MAC at all: who writes one down means that card and no other.
func byListed(snap *site.Snapshot, net *site.Network, ev []Evidence, seen ident.MAC) Match {
	named := func(h *site.Host, ok bool, rule Kind) Match {
		if !ok || seen != (ident.MAC{}) && !h.Nameless() {
			return Match{}
		}
		return Match{Host: h, NIC: onlyNIC(h, net), Rule: rule, Observed: seen}
	}
	if e, ok := find(ev, RelayPort); ok {
		h, ok := snap.HostByPort(e.Port)
		if m := named(h, ok, RelayPort); m.Host != nil {
			return m
		}
	}
	for _, e := range ev {
		if e.DUID == "" {
			continue
		}
		h, ok := snap.HostByDUID(e.DUID)
		if m := named(h, ok, ListedDUID); m.Host != nil {
			return m
		}
	}
	if e, ok := find(ev, SMBIOSUUID); ok && seen != (ident.MAC{}) && e.UUID.Identifies() {
		h, ok := snap.HostByUUID(e.UUID)
		return named(h, ok, SMBIOSUUID)
	}
	return Match{}
}

// byName looks for what names a host without a MAC.
func byName(snap *site.Snapshot, v store.View, net *site.Network, ev []Evidence) Match {
	for kind := SMBIOSUUID; kind <= LeaseAddr; kind++ {
		e, ok := find(ev, kind)
		if !ok {
			continue
		}
		var m Match
		switch kind {
		case SMBIOSUUID:
			m.Host = byUUID(snap, v, e.UUID)
		case LearnedDUID:
			m.Host = learned(snap, v, duidKey(e.DUID))
		case LeaseAddr:
			if nic := holder(snap, v, e.Addr); nic != nil {
				m.Host, m.NIC = nic.Host, nic
			}
		}
		if m.Host == nil {
			continue
		}
		m.Rule = kind
		if m.NIC == nil {
			m.NIC = onlyNIC(m.Host, net)
		}
		return m
	}
	return Match{}
}

// byUUID finds a host by its UUID in either byte order: as listed, else as learned. A learned one that leads to two hosts
// names none; the inventory has no such pair.
func byUUID(snap *site.Snapshot, v store.View, u ident.UUID) *site.Host {
	if !u.Identifies() {
		return nil
	}
	if h, ok := snap.HostByUUID(u); ok {
		return h
	}
	x, y := learned(snap, v, uuidKey(u)), learned(snap, v, uuidKey(u.Swapped()))
	switch {
	case x == nil:
		return y
	case y != nil && y != x:
		return nil
	}
	return x
}

// onlyNIC is the host's one card that belongs on net; nil where there are several or none, or no net to ask for.
func onlyNIC(h *site.Host, net *site.Network) *site.NIC {
	var found *site.NIC
	for _, nic := range h.NICs {
		if net != nil && nic.Network != nil && nic.Network.Name != net.Name {
			continue
		}
		if found != nil {
			return nil
		}
		found = nic
	}
	if found == nil && len(h.NICs) > 0 {
		return h.NICs[0] // pinned elsewhere: Identify says so
	}
	return found
}

// holder finds the card that an address was given to: reserved, or by a lease in force.
func holder(snap *site.Snapshot, v store.View, a netip.Addr) *site.NIC {
	if nic, ok := snap.Holder(a); ok {
		return nic
	}
	if v == nil {
		return nil
	}
	raw, ok := v.Get(lease.Key(a))
	if !ok {
		return nil
	}
	b, err := lease.Decode(raw)
	if err != nil || b.State != lease.Bound && b.State != lease.Resting {
		return nil
	}
	name, _, _ := strings.Cut(b.Holder, "/")
	h, ok := snap.Host(name)
	if !ok {
		return nil
	}
	for _, nic := range h.NICs {
		if nic.Holder() == b.Holder {
			return nic
		}
	}
	return nil
}

func ours(snap *site.Snapshot, v store.View, a netip.Addr) bool {
	return a.IsGlobalUnicast() && holder(snap, v, a) != nil
}

func find(ev []Evidence, k Kind) (Evidence, bool) {
	for _, e := range ev {
		if e.Kind == k {
			return e, true
		}
	}
	return Evidence{}, false
}
