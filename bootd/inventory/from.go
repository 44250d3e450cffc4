package inventory

import (
	"cmp"
	"fmt"
	"math/big"
	"net/netip"
	"slices"

	"gopkg.in/yaml.v3"
)

// From is a prefix out of one that an upstream delegates to us: {from: isp, subnet: 1, length: 64}. What it will be, is known
// when the upstream has given one.
type From struct {
	Pos Pos
	// Upstream names an entry of `upstreams:`.
	Upstream Value[string]
	// Subnet counts the prefixes of the length in the delegated one, from 0.
	Subnet Value[int]
	// Length is 64 where nobody wrote one: Bits.
	Length Value[int]
}

// Source is a prefix that is written out, or one out of an upstream's: one of the two is set.
type Source struct {
	Prefix Value[netip.Prefix]
	From   From
}

// maxSubnet is the highest number of a subnet: a /40 has as many /64s.
const maxSubnet = 1<<24 - 1

// Set reports whether somebody wrote it.
func (f From) Set() bool { return f.Upstream.Set() }

// some reports whether somebody wrote a part of it.
func (f From) some() bool { return f.Upstream.Set() || f.Subnet.Set() || f.Length.Set() }

// Bits is the length of the prefix.
func (f From) Bits() int {
	if f.Length.Set() {
		return f.Length.V
	}
	return 64
}

// String is the entry as people write it.
func (f From) String() string {
	return fmt.Sprintf("{from: %s, subnet: %d, length: %d}", f.Upstream.V, f.Subnet.V, f.Bits())
}

// In is the prefix inside a delegated one; false: that has no such subnet, because it is too small.
func (f From) In(whole netip.Prefix) (netip.Prefix, bool) {
	if !whole.IsValid() || whole.Addr().Is4() || f.Subnet.V < 0 || f.Bits() > 128 || f.Bits() < whole.Bits() {
		return netip.Prefix{}, false
	}
	at := new(big.Int).Lsh(big.NewInt(int64(f.Subnet.V)), uint(128-f.Bits()))
	if at.BitLen() > 128-whole.Bits() {
		return netip.Prefix{}, false
	}
	a := whole.Masked().Addr().As16()
	at.Or(at, new(big.Int).SetBytes(a[:]))
	return netip.PrefixFrom(netip.AddrFrom16([16]byte(at.FillBytes(a[:]))), f.Bits()), true
}

// anywhere stands for a delegated prefix whose length nobody knows yet: two subnets overlap in it if they do in any.
var anywhere = netip.PrefixFrom(netip.IPv6Unspecified(), 0)

var fromFields = []field[From]{
	{name: "from", set: put(func(f *From) *Value[string] { return &f.Upstream }, (*parser).text)},
	{name: "subnet", set: put(func(f *From) *Value[int] { return &f.Subnet }, between(0, maxSubnet))},
	{name: "length", set: put(func(f *From) *Value[int] { return &f.Length }, between(16, 128))},
}

// withFrom adds from, subnet and length to the keys of an entry that may be out of an upstream's prefix; those of its own go first.
func withFrom[T any](own []field[T], get func(*T) *From) []field[T] {
	all := slices.Clone(own)
	for _, f := range fromFields {
		if !slices.ContainsFunc(own, func(o field[T]) bool { return o.name == f.name }) {
			all = append(all, field[T]{name: f.name, set: func(p *parser, t *T, v value) { f.set(p, get(t), v) }})
		}
	}
	return all
}

// derived notes a From that was read as part of v for the checks between them, and finds what it lacks. least and most bound
// its length. The entry had no fault before.
func (p *parser) derived(v value, f *From, least, most int) bool {
	f.Pos = v.pos()
	switch {
	case !f.Upstream.Set():
		p.bad(v, "names no upstream: write from: isp, and subnet: 0 for the first /%d of its prefix", f.Bits())
	case !f.Subnet.Set():
		p.bad(v, "has no subnet: write subnet: 0 for the first /%d of the prefix of %s", f.Bits(), shorten(f.Upstream.V))
	case f.Bits() < least || f.Bits() > most:
		p.badAt(f.lengthPos(), "length %d: here it is one from %d to %d", f.Bits(), least, most)
	default:
		if _, ok := f.In(anywhere); !ok {
			p.badAt(f.Subnet.Pos, "no prefix has a /%d of the number %d", f.Bits(), f.Subnet.V)
			return false
		}
		p.froms = append(p.froms, derivation{From: *f, path: v.path})
		return true
	}
	return false
}

func (f From) lengthPos() Pos {
	if f.Length.Set() {
		return f.Length.Pos
	}
	return f.Pos
}

// derivation is a From with the key path of its entry.
type derivation struct {
	From
	path string
	// shared: it says what another entry may have as well.
	shared bool
	// pool: clients get parts of it; kept: a host gets it, perhaps out of such a pool.
	pool, kept bool
}

// kept reads the prefixes that are kept for a host.
func (p *parser) kept(h *Host, v value) {
	before := len(p.froms)
	all, _ := someOf(source((*parser).delegable, 16, maxDelegated))(p, v)
	for _, s := range all {
		if s.Prefix.Set() {
			h.Delegate = append(h.Delegate, s.Prefix)
		} else {
			h.From = append(h.From, s.From)
		}
	}
	for i := range p.froms[before:] {
		p.froms[before+i].kept = true
	}
}

// source reads a prefix as whole does, or keys that name one of an upstream's, whose length is from least to most.
func source(whole func(*parser, value) (netip.Prefix, bool), least, most int) func(*parser, value) (Source, bool) {
	return func(p *parser, v value) (Source, bool) {
		var s Source
		if v.node.Kind != yaml.MappingNode {
			x, ok := whole(p, v)
			if ok {
				s.Prefix = keep(p, v, x)
			}
			return s, ok
		}
		before := len(p.faults)
		walk(p, v, fromFields, &s.From)
		return s, len(p.faults) == before && p.derived(v, &s.From, least, most)
	}
}

// Room says how many subnets of the length a delegated prefix has, where it has not the one that is wanted.
func (f From) Room(bits int) string {
	n := 1 << min(max(f.Bits()-bits, 0), 62)
	switch {
	case f.Bits() < bits:
		return fmt.Sprintf("no /%d", f.Bits())
	case n == 1:
		return fmt.Sprintf("one /%d (subnet 0), not subnet %d", f.Bits(), f.Subnet.V)
	}
	return fmt.Sprintf("%d /%d (subnets 0 to %d), not subnet %d", n, f.Bits(), n-1, f.Subnet.V)
}

// derivations finds entries whose upstream nobody listed or is asked for less, and those that are out of the same part of its
// prefix, whatever it will be.
func (c *checker) derivations() {
	all := slices.DeleteFunc(slices.Clone(c.froms), func(d derivation) bool { return !c.asked(d) || d.shared })
	at := func(d derivation) netip.Prefix {
		p, _ := d.In(anywhere)
		return p
	}
	slices.SortStableFunc(all, func(a, b derivation) int {
		if c := cmp.Or(cmp.Compare(a.Upstream.V, b.Upstream.V), at(a).Addr().Compare(at(b).Addr()), cmp.Compare(a.Bits(), b.Bits())); c != 0 || a.pool == b.pool {
			return c
		}
		if a.pool {
			return -1
		}
		return 1
	})
	holder, inside := -1, -1 // inside is the last that is kept for a host out of the pool that holds it
	for i, d := range all {
		within := func(j int) bool {
			return j >= 0 && all[j].Upstream.V == d.Upstream.V && at(all[j]).Overlaps(at(d))
		}
		switch {
		case !within(holder):
			holder, inside = i, -1
			continue
		case all[holder].pool && d.kept && !within(inside):
			inside = i
			continue
		}
		first, second := all[holder], d
		if within(inside) {
			first = all[inside]
		}
		if second.Pos.Line < first.Pos.Line {
			first, second = second, first
		}
		c.fault(second.Pos, second.path, "%s overlaps %s of %s (line %d): take another subnet", second, first, first.path, first.Pos.Line)
	}
}

// asked reports whether the upstream is there, and is asked for a prefix that has the subnet; one without a wish may give any.
func (c *checker) asked(d derivation) bool {
	i := slices.IndexFunc(c.inv.Upstreams, func(u Uplink) bool { return u.Name == d.Upstream.V })
	if i < 0 {
		c.badAt(d.Upstream.Pos, "no upstream is named %s%s", shorten(d.Upstream.V), suggest(d.Upstream.V, names(c.inv.Upstreams, func(u Uplink) string { return u.Name })))
		return false
	}
	widest := 0
	for _, r := range c.inv.Upstreams[i].Request {
		if _, ok := d.In(netip.PrefixFrom(netip.IPv6Unspecified(), r.V.Length)); ok {
			return true
		}
		if widest == 0 || r.V.Length < widest {
			widest = r.V.Length
		}
	}
	if widest > 0 {
		c.fault(d.Pos, d.path, "%s is asked for a /%d (line %d), which has %s", d.Upstream.V, widest, c.inv.Upstreams[i].Pos.Line, d.Room(widest))
		return false
	}
	return true
}
