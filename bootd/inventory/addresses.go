package inventory

import (
	"fmt"
	"net/netip"
	"slices"
)

// IsSuffix reports whether an address of a host is written as a suffix inside its network's prefix: a value below
// ::1:0:0:0:0.
func IsSuffix(a netip.Addr) bool {
	b := a.As16()
	return [8]byte(b[:8]) == [8]byte{}
}

// Join puts a suffix into a prefix; it reports false when the suffix has bits that belong to the prefix.
func Join(p netip.Prefix, suffix netip.Addr) (netip.Addr, bool) {
	a, s := p.Masked().Addr().As16(), suffix.As16()
	if HostBits(p, suffix) != suffix {
		return netip.Addr{}, false
	}
	for i := range a {
		a[i] |= s[i]
	}
	return netip.AddrFrom16(a), true
}

// HostBits is an address without the bits that the length of p covers.
func HostBits(p netip.Prefix, a netip.Addr) netip.Addr {
	b := a.As16()
	for i := range b {
		switch n := p.Bits() - 8*i; {
		case n >= 8:
			b[i] = 0
		case n > 0:
			b[i] &= 0xff >> n
		}
	}
	return netip.AddrFrom16(b)
}

// taken is an address or suffix that a card reserves.
type taken struct {
	addr    Value[netip.Addr]
	network string // "": wherever the card appears
}

// reserved indexes addresses by their host bits, so that a suffix on any network meets what is written out.
type reserved struct {
	whole  map[netip.Addr]taken
	suffix map[netip.Addr][]taken
	// bits are the whole addresses by their host bits.
	bits map[netip.Addr][]taken
}

// addresses finds reserved addresses that lie outside, that no machine may have, or that two cards share.
func (c *checker) addresses() {
	r := reserved{map[netip.Addr]taken{}, map[netip.Addr][]taken{}, map[netip.Addr][]taken{}}
	for i := range c.inv.Hosts {
		h := &c.inv.Hosts[i]
		for _, n := range h.NICs {
			network := n.Network.Or(h.Network).V
			if network == "" && len(c.inv.Networks) == 1 {
				network = c.inv.Networks[0].Name
			}
			if _, known := c.networks[network]; network != "" && !known {
				continue
			}
			for _, a := range n.Addresses {
				if IsSuffix(a.V) {
					c.suffix(&r, taken{a, network})
				} else {
					c.whole(&r, taken{a, network})
				}
			}
		}
	}
}

// whole checks one address that is written out.
func (c *checker) whole(r *reserved, t taken) {
	a := t.addr
	in, ok := c.holder(a.V)
	switch {
	case t.network != "" && c.incomplete[t.network], t.network == "" && len(c.incomplete) > 0 && !ok:
		return // its network has a fault of its own
	case t.network != "" && (!ok || in.network.Name != t.network) && c.networks[t.network].Dynamic():
		c.badAt(a.Pos, "%s is not inside %s (%s): whatever its prefixes will be, write a suffix such as ::102", a.V, t.network, c.networks[t.network].origin())
		return
	case t.network != "" && (!ok || in.network.Name != t.network):
		c.badAt(a.Pos, "%s is not inside %s (%s)", a.V, t.network, c.networks[t.network].places())
		return
	case !ok:
		c.badAt(a.Pos, "%s is not inside any network's prefix", a.V)
		return
	}
	if first, dup := r.whole[a.V]; dup {
		c.twice(t, first)
		return
	}
	bits := HostBits(in.prefix.V, a.V)
	if msg := Unusable(in.prefix.V, a.V); msg != "" {
		c.badAt(a.Pos, "%s is %s: no machine may have it", a.V, msg)
		return
	}
	t.network = in.network.Name
	for _, s := range r.suffix[bits] {
		if s.network == "" || s.network == t.network {
			c.twice(t, s)
			return
		}
	}
	r.whole[a.V] = t
	r.bits[bits] = append(r.bits[bits], t)
}

// suffix checks one suffix on the network of its card, or on all.
func (c *checker) suffix(r *reserved, t taken) {
	if t.network != "" {
		if c.incomplete[t.network] {
			return
		}
		if !c.fits(t, c.networks[t.network]) {
			return
		}
	} else if !c.fitsSome(t.addr.V) {
		c.badAt(t.addr.Pos, "the suffix %s does not fit into any network's prefix", t.addr.V)
		return
	} else if Unusable(netip.PrefixFrom(netip.IPv6Unspecified(), 64), t.addr.V) != "" {
		c.badAt(t.addr.Pos, "%s is reserved (RFC 5453): no machine may have it", t.addr.V)
		return
	}
	for _, other := range slices.Concat(r.suffix[t.addr.V], r.bits[t.addr.V]) {
		if other.network == "" || t.network == "" || other.network == t.network {
			c.twice(t, other)
			return
		}
	}
	r.suffix[t.addr.V] = append(r.suffix[t.addr.V], t)
}

func (c *checker) fits(t taken, n *Network) bool {
	if len(n.From) > 0 && t.addr.V == n.Own() {
		c.badAt(t.addr.Pos, "%s is bootd's own address in %s: give the host another one, or write address: for bootd's", t.addr.V, n.Name)
		return false
	}
	for _, p := range n.assumed() {
		a, ok := Join(p.V, t.addr.V)
		if !ok {
			where := p.V.String()
			if !p.Set() {
				where = fmt.Sprintf("a /%d", p.V.Bits())
			}
			c.badAt(t.addr.Pos, "the suffix %s does not fit into %s of %s", t.addr.V, where, n.Name)
			return false
		}
		if msg := Unusable(p.V, a); msg != "" {
			c.badAt(t.addr.Pos, "%s is %s: no machine may have it", a, msg)
			return false
		}
	}
	return true
}

// fitsSome reports whether the widest prefix has room for a suffix.
func (c *checker) fitsSome(suffix netip.Addr) bool {
	dynamic := slices.ContainsFunc(c.inv.Networks, func(n Network) bool { return n.Dynamic() })
	if len(c.incomplete) > 0 || len(c.ranges) == 0 || dynamic {
		return true // the networks have faults of their own, or one will have room
	}
	return HostBits(c.widest, suffix) == suffix
}

func (c *checker) twice(t, first taken) {
	c.badAt(t.addr.Pos, "%s is already an address of %s (line %d)", t.addr.V, c.owner(first.addr.Pos, ".address"), first.addr.Pos.Line)
}

// holder finds the prefix that an address lies in; prefixes that overlap have faults of their own.
func (c *checker) holder(a netip.Addr) (prefixOf, bool) {
	i, exact := slices.BinarySearchFunc(c.ranges, a, func(r prefixOf, a netip.Addr) int { return r.prefix.V.Addr().Compare(a) })
	if !exact {
		i--
	}
	if i < 0 || !c.ranges[i].prefix.V.Contains(a) {
		return prefixOf{}, false
	}
	return c.ranges[i], true
}

// Unusable says why a may be no machine's address inside p, "" when it may: the subnet-router anycast address (RFC 4291
// section 2.6.1), and on a /64 the identifiers of RFC 5453 (anycast of RFC 2526, and those under the Ethernet number of IANA).
func Unusable(p netip.Prefix, a netip.Addr) string {
	bits := HostBits(p, a)
	if bits.IsUnspecified() {
		return "the subnet-router anycast address"
	}
	if p.Bits() > 64 {
		return ""
	}
	b := a.As16()
	iid := [8]byte(b[8:])
	switch {
	case [7]byte(iid[:7]) == [7]byte{0xfd, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff} && iid[7] >= 0x80:
		return "a reserved anycast address (RFC 2526)"
	case [5]byte(iid[:5]) == [5]byte{0x02, 0x00, 0x5e, 0xff, 0xfe}:
		return "a reserved interface identifier (RFC 5453)"
	}
	return ""
}
