package inventory

import (
	"cmp"
	"net/netip"
	"slices"

	"gopkg.in/yaml.v3"
)

// Delegation is one entry of the key `delegate:` of a network: a prefix of which clients get parts (RFC 8415 section 6.3).
type Delegation struct {
	Pos Pos
	// Pool is written out, else it is From.
	Pool Value[netip.Prefix]
	From From
	// Length is that of each part.
	Length Value[int]
	// Exclude are given to nobody. One that is longer than Length lies inside a part, which then goes only to a client that
	// leaves it out (RFC 6603).
	Exclude []Value[netip.Prefix]
}

// delegationEntry is a Delegation while it is read: what a pool out of an upstream's prefix calls length is its own, and the
// parts' is each.
type delegationEntry struct {
	Delegation
	each Value[int]
}

const (
	// maxDelegated is the longest part: a network of hosts takes a /64.
	maxDelegated = 64
	// maxParts is the most parts of one pool as a power of two.
	maxParts = 20
)

var delegateFields = withFrom([]field[delegationEntry]{
	{name: "pool", set: put(func(d *delegationEntry) *Value[netip.Prefix] { return &d.Pool }, (*parser).delegable)},
	{name: "length", set: put(func(d *delegationEntry) *Value[int] { return &d.Length }, between(16, maxDelegated))},
	{name: "each", set: put(func(d *delegationEntry) *Value[int] { return &d.each }, between(16, maxDelegated))},
	{name: "exclude", set: func(p *parser, d *delegationEntry, v value) { d.Exclude, _ = someOf(placed((*parser).delegable))(p, v) }},
}, func(d *delegationEntry) *From { return &d.From })

// delegable reads a prefix that is routed to somebody: a global (RFC 4291 section 2.4) or a unique-local one (RFC 4193).
func (p *parser) delegable(v value) (netip.Prefix, bool) {
	x, ok := p.route(v)
	switch first := x.Addr().As16()[0]; {
	case !ok:
	case x.Bits() < 16:
		p.bad(v, "/%d is wider than any site: write prefixes from /16", x.Bits())
	case first>>5 != 1 && first>>1 != 0xfc>>1:
		p.bad(v, "%s is nobody's: write a global (2000::/3) or unique-local (fd00::/8) prefix", x)
	default:
		return x, true
	}
	return x, false
}

// delegations reads one entry or a list of them.
func delegations(p *parser, v value) ([]Delegation, bool) {
	return someOf(func(p *parser, v value) (Delegation, bool) {
		d := delegationEntry{Delegation: Delegation{Pos: v.pos()}}
		before := len(p.faults)
		if v.node.Kind != yaml.MappingNode {
			p.bad(v, "wants a pool and the length of its parts: {pool: \"2001:db8:100::/56\", length: 60}, got %s", describe(v.node))
			return d.Delegation, false
		}
		walk(p, v, delegateFields, &d)
		if len(p.faults) > before {
			return d.Delegation, false
		}
		if d.From.Set() || d.From.Subnet.Set() {
			ok := p.delegationFrom(v, &d)
			return d.Delegation, ok
		}
		switch {
		case d.each.Set():
			p.badAt(d.each.Pos, "each goes with from: of a pool that is written out, length is that of the parts")
		case !d.Pool.Set():
			p.bad(v, "has no pool: write pool: \"2001:db8:100::/56\"")
		case !d.Length.Set():
			p.bad(v, "has no length: write length: 60, of each part that a client gets")
		case d.Length.V < d.Pool.V.Bits():
			p.badAt(d.Length.Pos, "the pool %s is too small for a /%d", d.Pool.V, d.Length.V)
		case d.Length.V-d.Pool.V.Bits() > maxParts:
			p.badAt(d.Length.Pos, "the pool %s has more than a million parts of /%d: take a longer pool", d.Pool.V, d.Length.V)
		}
		for _, x := range d.Exclude {
			if d.Pool.Set() && (!d.Pool.V.Contains(x.V.Addr()) || x.V.Bits() < d.Pool.V.Bits()) {
				p.badAt(x.Pos, "%s is not inside the pool %s", x.V, d.Pool.V)
			}
		}
		return d.Delegation, len(p.faults) == before
	})(p, v)
}

// delegationFrom finds what a pool out of an upstream's prefix lacks: {from: isp, subnet: 1, length: 56, each: 60}.
func (p *parser) delegationFrom(v value, d *delegationEntry) bool {
	d.From.Length, d.Length = d.Length, d.each
	switch {
	case d.Pool.Set():
		p.badAt(d.Pool.Pos, "pool and from: a pool is written out, or a subnet of an upstream's prefix")
	case !d.Length.Set():
		p.bad(v, "has no each: write each: 60, the length of each part that a client gets")
	case len(d.Exclude) > 0:
		p.badAt(d.Exclude[0].Pos, "what %s will have is not known: exclude goes with a pool that is written out", shorten(d.From.Upstream.V))
	case d.Length.V < d.From.Bits():
		p.badAt(d.Length.Pos, "the pool, a /%d, is too small for a /%d", d.From.Bits(), d.Length.V)
	case d.Length.V-d.From.Bits() > maxParts:
		p.badAt(d.Length.Pos, "a /%d has more than a million parts of /%d: take a longer pool", d.From.Bits(), d.Length.V)
	default:
		if !p.derived(v, &d.From, 16, maxDelegated) {
			return false
		}
		p.froms[len(p.froms)-1].pool = true
		return true
	}
	return false
}

// part is a prefix that something is said of.
type part struct {
	prefix Value[netip.Prefix]
	// what says of it: "the prefix of rack1", "a pool of rack1", "hosts.r1n01".
	what string
	// pool: what hosts are given may lie inside; apart: nothing else may have any of it.
	pool, apart bool
}

// delegations finds pools and reservations that share addresses with others: a prefix is one network's, one pool's, one
// host's. What a host is given may lie inside a pool.
func (c *checker) delegations() {
	var fixed, kept []part
	some := false
	for i := range c.inv.Networks {
		n := &c.inv.Networks[i]
		for _, p := range n.Prefixes {
			fixed = append(fixed, part{prefix: p, what: "the prefix of " + n.Name})
		}
		for _, d := range n.Delegate {
			if d.From.Set() {
				continue // derivations looks at those
			}
			some = true
			fixed = append(fixed, part{prefix: d.Pool, what: "a pool of " + n.Name, pool: true})
		}
	}
	for i := range c.inv.Follow { // what others follow is somebody's already
		if f := &c.inv.Follow[i]; f.Name == dockerName && f.Prefix.Set() {
			some = true
			fixed = append(fixed, part{prefix: f.Prefix, what: "the prefix of docker", apart: true})
		}
	}
	for i := range c.inv.AnyIP {
		if p := c.inv.AnyIP[i].Prefix; p.Set() {
			some = true
			fixed = append(fixed, part{prefix: p, what: "the prefix of " + c.paths[p.Pos], apart: true})
		}
	}
	for i := range c.inv.Hosts {
		for _, p := range c.inv.Hosts[i].Delegate {
			kept = append(kept, part{prefix: p, what: "hosts." + c.inv.Hosts[i].Name})
		}
	}
	if !some && len(kept) == 0 {
		return
	}
	fixed = c.disjoint(fixed)
	for _, k := range c.disjoint(kept) {
		if k.prefix.V.Bits() > maxDelegated {
			c.badAt(k.prefix.Pos, "%s is longer than a /64, which is what a network of hosts takes", k.prefix.V)
		}
		i, _ := slices.BinarySearchFunc(fixed, k, byAddr)
		for _, j := range []int{i - 1, i} {
			if j < 0 || j >= len(fixed) || !fixed[j].prefix.V.Overlaps(k.prefix.V) {
				continue
			}
			if f := fixed[j]; !f.pool || f.prefix.V.Bits() > k.prefix.V.Bits() {
				c.badAt(k.prefix.Pos, "%s overlaps %s, %s (line %d)", k.prefix.V, f.what, f.prefix.V, f.prefix.Pos.Line)
			}
		}
	}
}

func byAddr(a, b part) int {
	return cmp.Or(a.prefix.V.Addr().Compare(b.prefix.V.Addr()), cmp.Compare(a.prefix.V.Bits(), b.prefix.V.Bits()))
}

// disjoint sorts parts by address and reports those that overlap; what is left does not. Networks' prefixes among themselves
// have been looked at.
func (c *checker) disjoint(all []part) []part {
	slices.SortStableFunc(all, byAddr)
	var out []part
	for _, p := range all {
		if len(out) == 0 || !out[len(out)-1].prefix.V.Overlaps(p.prefix.V) {
			out = append(out, p)
			continue
		}
		first, second := out[len(out)-1], p
		if second.prefix.Pos.Line < first.prefix.Pos.Line {
			first, second = second, first
		}
		if first.pool || second.pool || first.apart || second.apart || len(first.what) > 5 && first.what[:6] == "hosts." {
			c.badAt(second.prefix.Pos, "%s overlaps %s, %s (line %d)", second.prefix.V, first.what, first.prefix.V, first.prefix.Pos.Line)
		}
	}
	return out
}
