package inventory

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"

	"bootd.internal/bootd/ident"
)

// check finds what is wrong between the values of an inventory; the walk before found what is wrong in each.
func (p *parser) check() {
	c := checker{
		parser:   p,
		networks: make(map[string]*Network, len(p.inv.Networks)),
		profiles: make(map[string]*Profile, len(p.inv.Profiles)),
	}
	if len(p.inv.Networks) == 0 && len(p.inv.Upstreams) == 0 && len(p.inv.AnyIP) == 0 && len(p.inv.Follow) == 0 && len(p.faults) == 0 {
		p.fault(Pos{1, 1}, "networks", "no network is listed: bootd serves nothing without one")
	}
	for i := range p.inv.Networks {
		c.networks[p.inv.Networks[i].Name] = &p.inv.Networks[i]
	}
	for i := range p.inv.Profiles {
		c.profiles[p.inv.Profiles[i].Name] = &p.inv.Profiles[i]
	}
	c.references()
	c.secrets()
	c.upstreams()
	c.recordNames()
	c.links()
	c.uplinks()
	c.relays()
	c.ports()
	c.derivations()
	c.delegations()
	c.lengths()
	c.overlaps()
	c.lifetimes()
	c.advertised()
	c.machines()
	c.phones()
	c.names()
	c.own()
	c.addresses()
	c.pools()
}

type checker struct {
	*parser
	networks map[string]*Network
	profiles map[string]*Profile
	// ranges are the prefixes of all networks in order of address.
	ranges []prefixOf
	// widest is the prefix with the most room.
	widest netip.Prefix
}

type prefixOf struct {
	prefix  Value[netip.Prefix]
	network *Network
}

// references finds names of networks and profiles that nobody listed.
func (c *checker) references() {
	profile := func(v Value[string]) {
		if !v.Set() {
			return
		}
		if _, ok := c.profiles[v.V]; !ok {
			c.badAt(v.Pos, "no profile is named %s%s", shorten(v.V), suggest(v.V, names(c.inv.Profiles, func(f Profile) string { return f.Name })))
		}
	}
	network := func(v Value[string]) {
		if !v.Set() {
			return
		}
		if _, ok := c.networks[v.V]; !ok {
			c.badAt(v.Pos, "no network is named %s%s", shorten(v.V), suggest(v.V, names(c.inv.Networks, func(n Network) string { return n.Name })))
		}
	}
	profile(c.inv.Defaults.Profile)
	for i := range c.inv.Networks {
		profile(c.inv.Networks[i].Profile)
	}
	for i := range c.inv.Hosts {
		h := &c.inv.Hosts[i]
		profile(h.Profile)
		network(h.Network)
		for _, n := range h.NICs {
			network(n.Network)
		}
	}
}

// names lists names for a suggestion; more would not be read, and many wrong references among many names would take long.
func names[T any](all []T, name func(T) string) []string {
	out := make([]string, 0, min(len(all), 64))
	for _, x := range all[:min(len(all), 64)] {
		out = append(out, name(x))
	}
	return out
}

// links finds two networks on one interface: which prefix a client belongs to could not be told.
func (c *checker) links() {
	seen := map[string]*Network{}
	for i := range c.inv.Networks {
		n := &c.inv.Networks[i]
		if !n.Interface.Set() {
			continue
		}
		if other, ok := seen[n.Interface.V]; ok {
			c.badAt(n.Interface.Pos, "%s is already the interface of %s (line %d): one network may have several prefixes",
				n.Interface.V, other.Name, other.Interface.Pos.Line)
			continue
		}
		seen[n.Interface.V] = n
	}
}

// lengths finds prefixes on which clients cannot make addresses (RFC 4862 section 5.5.3: the interface identifier of
// Ethernet has 64 bits).
func (c *checker) lengths() {
	for i := range c.inv.Networks {
		n := &c.inv.Networks[i]
		if n.RA.Autonomous.Set() && !n.RA.Autonomous.V || n.Router.V == "other" || !n.Interface.Set() {
			continue
		}
		for _, f := range n.From {
			if f.Bits() != 64 {
				c.badAt(f.lengthPos(), "a /%d is no /64, which clients need to make their own addresses (SLAAC): leave length out, or write ra: {autonomous: false}", f.Bits())
			}
		}
		for _, p := range n.Prefixes {
			alone := slices.ContainsFunc(n.RA.Prefixes, func(r RAPrefix) bool { return r.Prefix.V == p.V && r.Autonomous.Set() })
			if p.V.Bits() != 64 && !alone {
				c.badAt(p.Pos, "%s is not a /64, which clients need to make their own addresses (SLAAC): take a /64, or write ra: {autonomous: false}", p.V)
			}
		}
	}
}

// overlaps finds prefixes that share addresses.
func (c *checker) overlaps() {
	for i := range c.inv.Networks {
		for _, p := range c.inv.Networks[i].Prefixes {
			c.ranges = append(c.ranges, prefixOf{p, &c.inv.Networks[i]})
			if !c.widest.IsValid() || p.V.Bits() < c.widest.Bits() {
				c.widest = p.V
			}
		}
	}
	slices.SortStableFunc(c.ranges, func(a, b prefixOf) int {
		return cmp.Or(a.prefix.V.Addr().Compare(b.prefix.V.Addr()), cmp.Compare(a.prefix.V.Bits(), b.prefix.V.Bits()))
	})
	// A prefix that holds another stands before it, and all between them lie inside the holder.
	holder := -1
	for i, r := range c.ranges {
		if holder < 0 || !c.ranges[holder].prefix.V.Overlaps(r.prefix.V) {
			holder = i
			continue
		}
		first, second := c.ranges[holder], r
		if second.prefix.Pos.Line < first.prefix.Pos.Line {
			first, second = second, first
		}
		c.badAt(second.prefix.Pos, "%s overlaps %s of %s (line %d)", second.prefix.V, first.prefix.V, first.network.Name, first.prefix.Pos.Line)
	}
}

// lifetimes finds leases that are preferred longer than they are valid (RFC 8415 section 21.6).
func (c *checker) lifetimes() {
	check := func(s, wide Settings) {
		pref, valid := s.Preferred.Or(wide.Preferred), s.Valid.Or(wide.Valid)
		at := s.Preferred
		if !at.Set() {
			at = s.Valid
		}
		if at.Set() && pref.V > valid.V {
			c.badAt(at.Pos, "preferred %s (%s) is longer than valid %s (%s)", brief(pref.V), pref.From, brief(valid.V), valid.From)
		}
	}
	check(c.inv.Defaults, Builtin())
	wide := Settings{
		Preferred: c.inv.Defaults.Preferred.Or(Builtin().Preferred),
		Valid:     c.inv.Defaults.Valid.Or(Builtin().Valid),
	}
	for i := range c.inv.Networks {
		check(c.inv.Networks[i].Settings, wide)
	}
	c.renewals()
	for i := range c.inv.Hosts {
		h := &c.inv.Hosts[i]
		layers := []Settings{h.Settings}
		n, homed := c.networks[h.Network.V]
		if !homed && len(c.inv.Networks) == 1 {
			n, homed = &c.inv.Networks[0], true
		}
		outer := wide
		if homed {
			outer.Preferred, outer.Valid = n.Preferred.Or(wide.Preferred), n.Valid.Or(wide.Valid)
			outer.Profile = n.Profile
		}
		if f, ok := c.profiles[h.Profile.Or(outer.Profile).Or(c.inv.Defaults.Profile).V]; ok {
			layers = append(layers, f.Settings)
		}
		both := Settings{}
		for _, l := range layers {
			both.Preferred, both.Valid = both.Preferred.Or(l.Preferred), both.Valid.Or(l.Valid)
		}
		check(both, outer)
	}
}

// renewals finds times of renewal that come too late (RFC 8415 section 21.4).
func (c *checker) renewals() {
	check := func(s, wide Settings) {
		t1, t2, preferred := s.T1.Or(wide.T1), s.T2.Or(wide.T2), s.Preferred.Or(wide.Preferred).Or(Builtin().Preferred)
		switch {
		case t1.Set() && t2.Set() && t1.V > t2.V:
			c.badAt(s.T1.Or(s.T2).Or(t1).Pos, "t1 %s (%s) is later than t2 %s (%s)", brief(t1.V), t1.From, brief(t2.V), t2.From)
		case t2.Set() && t2.V > preferred.V:
			c.badAt(t2.Pos, "t2 %s (%s) is later than the end of preferred %s (%s)", brief(t2.V), t2.From, brief(preferred.V), preferred.From)
		case t1.Set() && t1.V > preferred.V:
			c.badAt(t1.Pos, "t1 %s (%s) is later than the end of preferred %s (%s)", brief(t1.V), t1.From, brief(preferred.V), preferred.From)
		}
	}
	check(c.inv.Defaults, Settings{})
	for i := range c.inv.Networks {
		check(c.inv.Networks[i].Settings, c.inv.Defaults)
	}
}

// machines finds cards and machines that are listed twice.
func (c *checker) machines() {
	macs := map[ident.MAC]Value[ident.MAC]{}
	uuids := map[ident.UUID]Value[ident.UUID]{}
	duids := map[ident.DUID]Value[ident.DUID]{}
	for i := range c.inv.Hosts {
		h := &c.inv.Hosts[i]
		for _, n := range h.NICs {
			if !n.MAC.Set() {
				continue
			}
			if first, dup := macs[n.MAC.V]; dup {
				c.badAt(n.MAC.Pos, "%s is already the MAC of %s (line %d)", n.MAC.V, c.owner(first.Pos, ".mac"), first.Pos.Line)
				continue
			}
			macs[n.MAC.V] = n.MAC
		}
		for _, d := range h.DUIDs {
			if first, dup := duids[d.V]; dup {
				c.badAt(d.Pos, "%s is already the DUID of %s (line %d)", shorten(d.V.String()), c.owner(first.Pos, ".duid"), first.Pos.Line)
				continue
			}
			duids[d.V] = d
		}
		if !h.UUID.Set() {
			continue
		}
		// Firmware writes the first three fields in one order or the other: both forms of one UUID are one machine.
		if first, dup := uuids[h.UUID.V]; dup {
			c.badAt(h.UUID.Pos, "%s is already the UUID of %s (line %d)", h.UUID.V, c.owner(first.Pos, ".uuid"), first.Pos.Line)
			continue
		}
		uuids[h.UUID.V] = h.UUID
		uuids[h.UUID.V.Swapped()] = h.UUID
	}
}

// owner is the key path of the host or card that a value belongs to.
func (c *checker) owner(at Pos, key string) string {
	path := c.paths[at]
	if i := strings.LastIndex(path, key); i > 0 {
		return path[:i]
	}
	return path
}

// names finds hosts whose full name is too long for DNS (RFC 1035 section 2.3.4).
func (c *checker) names() {
	for i := range c.inv.Hosts {
		h := &c.inv.Hosts[i]
		domain, profile := c.inv.Defaults.Domain, c.inv.Defaults.Profile
		if n, ok := c.networks[h.Network.V]; ok {
			domain, profile = n.Domain.Or(domain), n.Profile.Or(profile)
		}
		if f, ok := c.profiles[h.Profile.Or(profile).V]; ok {
			domain = f.Domain.Or(domain)
		}
		if len(h.Name)+1+len(h.Domain.Or(domain).V) > 253 {
			c.fault(h.Pos, h.path(), "with its domain the name has more than 253 characters")
		}
	}
}
