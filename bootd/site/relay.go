package site

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// relayed finds the links that relays come in on, and what networks that are behind relays alone are told of us: one address
// for all of them, since whoever is behind a router reaches it by any of its links. It is the inventory's; else the one of
// before, as long as we have it; else the first global address on the transit links, then on those of the networks.
func (r *resolver) relayed() {
	s := r.snap
	s.Transit = slices.Clone(r.inv.Serve.Transit.V)
	for _, name := range s.Transit {
		i := slices.IndexFunc(r.facts.Links, func(l Link) bool { return l.Name == name })
		if i < 0 {
			r.problem("", "", r.inv.Serve.Transit.Pos, "there is no interface %s: relays are answered when it comes; `ip link` lists those there are", name)
			continue
		}
		l := r.facts.Links[i]
		l.Addrs = slices.Clone(l.Addrs)
		s.TransitLinks = append(s.TransitLinks, l)
	}
	address := r.inv.Serve.Address
	ours := slices.ContainsFunc(r.facts.Links, func(l Link) bool { return l.has(address.V) })
	if address.Set() && !ours {
		r.problem("", "", address.Pos, "%s is no address of this machine: hosts behind relays would be told one that nobody answers on; `ip -6 address` lists those there are", address.V)
	}
	own := address.V
	if !address.Set() {
		own = r.reachable()
	}
	for _, n := range s.Networks {
		if n.Interface != "" {
			continue
		}
		if !own.IsValid() {
			r.problem(n.Name, "", r.written[n.Name].Pos, "we have no address that hosts behind its relay could reach: give a transit interface one, or write serve: {address: \"2001:db8:1::1\"}")
			continue
		}
		n.Own, n.Servers = own, []netip.Addr{own}
		if len(n.Nameservers) == 0 {
			n.Nameservers = []netip.Addr{own}
		}
	}
}

func (l Link) has(a netip.Addr) bool {
	return slices.ContainsFunc(l.Addrs, func(p netip.Prefix) bool { return p.Addr() == a })
}

// Near reports whether an address is inside one of the link's own prefixes, so that its machine is a neighbour.
func (l Link) Near(a netip.Addr) bool {
	return slices.ContainsFunc(l.Addrs, func(p netip.Prefix) bool { return p.Contains(a) })
}

// reachable is our address for those who are behind relays, steady over changes of other addresses.
func (r *resolver) reachable() netip.Addr {
	var all []netip.Addr
	add := func(l *Link) {
		for _, a := range l.Addrs {
			all = append(all, a.Addr())
		}
	}
	for i := range r.snap.TransitLinks {
		add(&r.snap.TransitLinks[i])
	}
	for _, n := range r.snap.Networks {
		all = append(all, n.Servers...)
	}
	if len(all) == 0 {
		return netip.Addr{}
	}
	if r.prev != nil {
		for _, n := range r.prev.Networks {
			if n.Interface == "" && slices.Contains(all, n.Own) {
				return n.Own
			}
		}
	}
	return all[0]
}

// Carries finds the link of a number among those that relays, and hosts behind them, may come in on. On any other nobody from
// beyond a router is answered, whatever address he writes.
func (s *Snapshot) Carries(index int) (Link, bool) {
	if len(s.Transit) > 0 {
		for _, l := range s.TransitLinks {
			if l.Index == index {
				return l, true
			}
		}
		return Link{}, false
	}
	for _, n := range s.Networks {
		if n.Link != nil && n.Link.Index == index {
			return *n.Link, true
		}
	}
	return Link{}, false
}

// Behind finds the network of an address that is behind a relay.
func (s *Snapshot) Behind(a netip.Addr) (*Network, bool) {
	n, ok := s.NetworkOf(a)
	if !ok || len(n.Relays) == 0 {
		return nil, false
	}
	return n, true
}

// Served reports whether somebody on the network could be answered now: its link is up, or it is behind a relay and we have
// an address to tell.
func (n *Network) Served() bool {
	return n.Link != nil && n.Link.Up || len(n.Relays) > 0 && n.Own.IsValid()
}

// Where says for people where the network is: its interface, its relays, or both.
func (n *Network) Where() string {
	var at []string
	if n.Interface != "" {
		at = append(at, n.Interface)
	}
	for _, a := range n.Relays {
		at = append(at, "relay "+a.String())
	}
	return strings.Join(at, ", ")
}

// RelaysFrom reports whether a relay for the network may send from an address.
func (n *Network) RelaysFrom(a netip.Addr) bool {
	return len(n.RelayFrom) == 0 || slices.ContainsFunc(n.RelayFrom, func(p netip.Prefix) bool { return p.Contains(a) })
}

// RelayFromLine says what to write so that a relay may send from an address: the whole line, or where that is longer than most
// octets, what to add to it.
func (n *Network) RelayFromLine(a netip.Addr, most int) string {
	all := make([]string, 0, len(n.RelayFrom)+1)
	for _, p := range n.RelayFrom {
		text := p.String()
		if p.IsSingleIP() {
			text = p.Addr().String()
		}
		all = append(all, strconv.Quote(text))
	}
	all = append(all, strconv.Quote(a.String()))
	line := fmt.Sprintf("write below %s: relay_from: [%s]", n.RelayFromIn, strings.Join(all, ", "))
	if len(line) > most {
		line = fmt.Sprintf("add to relay_from below %s: %q", n.RelayFromIn, a)
	}
	return line
}

// RelayLine is the line below `networks:` that lists a relay, with the /64 of its address: what a person pastes.
func RelayLine(link netip.Addr) string {
	p, _ := link.Prefix(64) // only a length beyond the address fails
	return fmt.Sprintf("rack: {relay: %q, prefix: %q}", link, p)
}
