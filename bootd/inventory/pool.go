package inventory

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

// Pool is the key `pool:` of a network: the addresses that clients get whom nobody listed. The zero Pool: nobody wrote one.
type Pool struct {
	Pos Pos
	// Ranges are whole addresses inside the network's prefixes, or suffixes inside each of them.
	Ranges []Value[Range]
	// Exclude are given to nobody.
	Exclude []Value[Range]
	// None: there are no addresses for them, only prefixes of `delegate:`.
	None bool
}

// Set reports whether somebody wrote the pool.
func (p Pool) Set() bool { return len(p.Ranges) > 0 }

// Range is addresses from First to Last, both included, inside one /64. Both are whole, or both are suffixes.
type Range struct {
	First, Last netip.Addr
}

// String is first-last, as people write it.
func (r Range) String() string {
	if r.First == r.Last {
		return r.First.String()
	}
	return r.First.String() + "-" + r.Last.String()
}

// Suffix reports whether the range is one of suffixes.
func (r Range) Suffix() bool { return IsSuffix(r.First) }

// In gives the range inside a prefix: as it is where it lies there, joined where it is one of suffixes; false: it does not
// fit.
func (r Range) In(p netip.Prefix) (Range, bool) {
	if !r.Suffix() {
		return r, p.Contains(r.First) && p.Contains(r.Last)
	}
	first, ok := Join(p, r.First)
	last, also := Join(p, r.Last)
	return Range{first, last}, ok && also
}

// Overlaps reports whether two ranges share an address.
func (r Range) Overlaps(o Range) bool { return !r.Last.Less(o.First) && !o.Last.Less(r.First) }

// DefaultPool is the pool of a prefix whose network names none: 65,536 addresses that people do not write by hand and that
// no interface identifier made from a MAC or by chance meets; the upper half of a prefix that is too long for them.
func DefaultPool(p netip.Prefix) Range {
	suffix := Range{netip.MustParseAddr("::d:0"), netip.MustParseAddr("::d:ffff")}
	if r, ok := suffix.In(p); ok {
		return r
	}
	last := lastOf(p)
	return Range{netip.PrefixFrom(last, p.Bits()+1).Masked().Addr(), last}
}

// lastOf is the last address of a prefix.
func lastOf(p netip.Prefix) netip.Addr {
	a, ones := p.Masked().Addr().As16(), [16]byte{}
	for i := range ones {
		ones[i] = 0xff
	}
	bits := HostBits(p, netip.AddrFrom16(ones)).As16()
	for i := range a {
		a[i] |= bits[i]
	}
	return netip.AddrFrom16(a)
}

var poolFields = []field[Pool]{
	{name: "ranges", set: func(p *parser, o *Pool, v value) { o.Ranges, _ = ranges(p, v) }},
	{name: "exclude", set: func(p *parser, o *Pool, v value) { o.Exclude, _ = ranges(p, v) }},
}

func ranges(p *parser, v value) ([]Value[Range], bool) {
	return someOf(placed((*parser).addrRange))(p, v)
}

// pool reads ranges, or ranges and what is left out of them, or none.
func (p *parser) pool(n *Network, v value) {
	n.Pool.Pos = v.pos()
	before := len(p.faults)
	switch {
	case v.node.Kind == yaml.ScalarNode && v.node.Value == "none":
		n.Pool.None = true
	case v.node.Kind != yaml.MappingNode:
		n.Pool.Ranges, _ = ranges(p, v)
	default:
		if walk(p, v, poolFields, &n.Pool); len(n.Pool.Ranges) == 0 && len(p.faults) == before {
			p.bad(v, `has no ranges: write ranges: ["::1000-::1fff"]`)
		}
	}
	if len(p.faults) > before {
		n.Pool = Pool{} // one mistake, one fault
	}
}

// addrRange reads a range, a prefix or one address.
func (p *parser) addrRange(v value) (Range, bool) {
	s, ok := p.text(v)
	if !ok {
		return Range{}, false
	}
	const like = "such as ::1000-::1fff, 2001:db8:1::1000-2001:db8:1::1fff or 2001:db8:1::1000/116"
	var r Range
	if x, err := netip.ParsePrefix(s); err == nil {
		if x != x.Masked() {
			p.bad(v, "%s has host bits set, did you mean %s?", s, x.Masked())
			return r, false
		}
		r = Range{x.Addr(), lastOf(x)}
	} else {
		from, to, two := strings.Cut(s, "-")
		if !two {
			to = from
		}
		var errs [2]error
		r.First, errs[0] = netip.ParseAddr(strings.TrimSpace(from))
		r.Last, errs[1] = netip.ParseAddr(strings.TrimSpace(to))
		if errs[0] != nil || errs[1] != nil {
			p.bad(v, "%q is not a range of addresses, %s", shorten(s), like)
			return r, false
		}
	}
	switch {
	case !r.First.IsUnspecified() && !p.usable(v, r.First) || !p.usable(v, r.Last): // ::/65 begins with the prefix's first
		return r, false
	case IsSuffix(r.First) != IsSuffix(r.Last):
		p.bad(v, "%q is half a suffix: write both ends whole or both as suffixes", shorten(s))
	case r.Last.Less(r.First):
		p.bad(v, "%q ends before it begins, did you mean %s?", shorten(s), Range{r.Last, r.First})
	case high(r.First) != high(r.Last):
		p.bad(v, "%q is larger than a /64: no pool needs that many", shorten(s))
	default:
		return r, true
	}
	return r, false
}

// high is the upper half of an address.
func high(a netip.Addr) uint64 {
	b := a.As16()
	return binary.BigEndian.Uint64(b[:8])
}

// pools finds pools that lie outside, that nobody uses, or that hold nothing.
func (c *checker) pools() {
	for i := range c.inv.Networks {
		n := &c.inv.Networks[i]
		if n.Pool.None && len(n.Delegate) == 0 {
			c.fault(n.Pool.Pos, "networks."+pathKey(n.Name)+".pool", "none, and no delegate: machines that nobody listed would get nothing: write unknown: ignore")
		}
		if !n.Pool.Set() && !n.Pool.None || c.incomplete[n.Name] || n.Auto.Set() { // of an interface: known when it is
			continue
		}
		if u := n.Unknown.Or(c.inv.Defaults.Unknown).Or(Builtin().Unknown); u.V != "pool" {
			c.fault(n.Pool.Pos, "networks."+pathKey(n.Name)+".pool", "unknown: %s (%s) gives nobody an address of it: write unknown: pool", u.V, u.From)
		}
		if c.inside(n, n.Pool.Ranges) && c.inside(n, n.Pool.Exclude) && !n.Pool.None {
			c.apart(n)
		}
	}
}

// inside checks that ranges lie inside the network's prefixes: a suffix fits into each, an address lies in one.
func (c *checker) inside(n *Network, all []Value[Range]) bool {
	before := len(c.faults)
	for _, r := range all {
		fits := func(p Value[netip.Prefix]) bool {
			_, ok := r.V.In(p.V)
			return ok
		}
		in := slices.ContainsFunc(n.Prefixes, fits)
		if r.V.Suffix() {
			in = !slices.ContainsFunc(n.assumed(), func(p Value[netip.Prefix]) bool { return !fits(p) })
		}
		switch {
		case !in && len(n.From) > 0 && !r.V.Suffix():
			c.badAt(r.Pos, "%s is not inside %s (%s): whatever its prefixes will be, write suffixes such as ::1000-::1fff", r.V, n.Name, n.origin())
		case !in:
			c.badAt(r.Pos, "%s is not inside %s (%s)", r.V, n.Name, n.places())
		}
	}
	return len(c.faults) == before
}

// apart finds ranges that share addresses, exclusions that exclude nothing, and a pool of which nothing is left.
func (c *checker) apart(n *Network) {
	for i, r := range n.Pool.Ranges {
		for _, first := range n.Pool.Ranges[:i] {
			if overlap(n, r.V, first.V) {
				c.badAt(r.Pos, "%s overlaps %s (line %d)", r.V, first.V, first.Pos.Line)
				break
			}
		}
	}
	for _, x := range n.Pool.Exclude {
		if !slices.ContainsFunc(n.Pool.Ranges, func(r Value[Range]) bool { return overlap(n, r.V, x.V) }) {
			c.badAt(x.Pos, "%s is in no range of the pool: it excludes nothing", x.V)
		}
	}
	for _, p := range n.assumed() {
		if len(n.Pool.In(p.V)) > 0 {
			return
		}
	}
	c.fault(n.Pool.Pos, "networks."+pathKey(n.Name)+".pool", "exclude leaves no address")
}

// overlap compares ranges where they come to lie.
func overlap(n *Network, a, b Range) bool {
	if a.Suffix() == b.Suffix() {
		return a.Overlaps(b)
	}
	for _, p := range n.Prefixes {
		x, in := a.In(p.V)
		y, also := b.In(p.V)
		if in && also && x.Overlaps(y) {
			return true
		}
	}
	return false
}

// In gives what the pool holds of a prefix, in order, without what is excluded.
func (o Pool) In(p netip.Prefix) []Range {
	out := within64(o.Ranges, p)
	for _, x := range within64(o.Exclude, p) {
		var rest []Range
		for _, r := range out {
			if !r.Overlaps(x) {
				rest = append(rest, r)
				continue
			}
			if r.First.Less(x.First) {
				rest = append(rest, Range{r.First, x.First.Prev()})
			}
			if x.Last.Less(r.Last) {
				rest = append(rest, Range{x.Last.Next(), r.Last})
			}
		}
		out = rest
	}
	slices.SortFunc(out, func(a, b Range) int { return a.First.Compare(b.First) })
	return out
}

// within64 is the ranges that lie in a prefix.
func within64(all []Value[Range], p netip.Prefix) []Range {
	var out []Range
	for _, r := range all {
		if in, ok := r.V.In(p); ok {
			out = append(out, in)
		}
	}
	return out
}

// Size is the number of addresses of a range minus one: a whole /64 has one more than 64 bits can count.
func (r Range) Size() uint64 { return low(r.Last) - low(r.First) }

// At is the address so many after the first.
func (r Range) At(i uint64) netip.Addr {
	b := r.First.As16()
	binary.BigEndian.PutUint64(b[8:], low(r.First)+i)
	return netip.AddrFrom16(b)
}

// Index is how many addresses stand before one in the range; false: it is not in it.
func (r Range) Index(a netip.Addr) (uint64, bool) {
	if a.Less(r.First) || r.Last.Less(a) {
		return 0, false
	}
	return low(a) - low(r.First), true
}

// low is the lower half of an address.
func low(a netip.Addr) uint64 {
	b := a.As16()
	return binary.BigEndian.Uint64(b[8:])
}
