package site

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"bootd.internal/bootd/inventory"
)

// Derive gives the prefix that an entry `from:` stands for, with its deadlines: the subnet of the first of the delegated prefixes,
// in the upstream's order, that is preferred and has it; where none is preferred, of the first that is valid. So a prefix that is
// deprecated gives way as soon as there is another.
//
// An invalid one: it is not resolved, and missing says why.
func Derive(f inventory.From, delegated []Prefix, now time.Time) (p Prefix, missing string) {
	return derive(f, delegated, now, false)
}

// derive is Derive; with around, what the upstream excludes may be a part of the subnet, which says so then.
func derive(f inventory.From, delegated []Prefix, now time.Time, around bool) (p Prefix, missing string) {
	small := 0
	var excluded netip.Prefix
	for _, whole := range distinct(delegated, now) {
		in, ok := f.In(whole.Prefix)
		x := Prefix{Prefix: in, PreferredUntil: whole.PreferredUntil, ValidUntil: whole.ValidUntil}
		if ok && whole.Exclude.IsValid() && whole.Exclude.Overlaps(in) {
			x.Exclude = whole.Exclude
			if !around || in.Bits() >= whole.Exclude.Bits() {
				excluded = whole.Exclude
				continue
			}
		}
		switch {
		case !ok && (small == 0 || whole.Bits() < small):
			small = whole.Bits()
		case ok && !whole.deprecated(now):
			return x, ""
		case ok && !p.IsValid():
			p = x
		}
	}
	switch {
	case p.IsValid():
	case excluded.IsValid():
		missing = fmt.Sprintf("%s keeps %s for its own link (RFC 6603): take another subnet", f.Upstream.V, excluded)
	case small == 0:
		missing = fmt.Sprintf("%s has delegated no prefix yet", f.Upstream.V)
	default:
		missing = fmt.Sprintf("%s delegated a /%d, which has %s: ask for a shorter prefix, or take a lower subnet",
			f.Upstream.V, small, f.Room(small))
	}
	return p, missing
}

// distinct are delegated prefixes that are valid, without those that share addresses with one before them: a subnet would be in
// two places.
func distinct(all []Prefix, now time.Time) []Prefix {
	var out []Prefix
	for _, p := range all {
		p.Prefix = p.Masked()
		if !p.IsValid() || p.Addr().Is4() || !p.valid(now) || slices.ContainsFunc(out, func(x Prefix) bool { return x.Overlaps(p.Prefix) }) {
			continue
		}
		out = append(out, p)
	}
	return out
}

// derive resolves an entry; one that it is not is a problem.
func (r *resolver) derive(network string, f inventory.From, around bool) (Prefix, bool) {
	p, missing := derive(f, r.facts.Delegated[f.Upstream.V], r.now, around)
	if missing != "" {
		r.problem(network, "", f.Pos, "%s is unresolved: %s", f, missing)
	}
	return p, p.IsValid()
}

// delegated takes what upstreams gave, and finds what two of them gave.
func (r *resolver) delegated() {
	r.snap.Delegated = make(map[string][]Prefix, len(r.facts.Delegated))
	for name, all := range r.facts.Delegated {
		r.snap.Delegated[name] = distinct(all, r.now)
	}
}

// from adds the network's prefixes out of upstreams', and our addresses in them. What they were before is found among those
// that hosts were told of (stale).
func (r *resolver) from(n *Network, in *inventory.Network) {
	for _, f := range in.From {
		p, ok := r.derive(n.Name, f, false)
		if !ok {
			continue
		}
		if !r.claim(n.Name, "", f, claimed{prefix: p.Prefix, what: "the prefix of " + n.Name}) {
			continue
		}
		n.Prefixes = append(n.Prefixes, p)
		if a, ok := inventory.Join(p.Prefix, in.Own()); ok && in.Interface.Set() {
			n.Ours = append(n.Ours, Prefix{Prefix: netip.PrefixFrom(a, p.Bits()), PreferredUntil: p.PreferredUntil, ValidUntil: p.ValidUntil})
		}
	}
}

// claimed is a prefix that has its place: a network's, a pool's, or one that is kept for a host.
type claimed struct {
	prefix netip.Prefix
	what   string
	// pool: clients get parts of it; kept: a host gets it, perhaps out of such a pool.
	pool, kept bool
}

// clashes reports whether only one of two can have its place.
func (c claimed) clashes(o claimed) bool {
	inside := c.pool && o.kept && c.prefix.Bits() <= o.prefix.Bits() || o.pool && c.kept && o.prefix.Bits() <= c.prefix.Bits()
	return c.prefix.Overlaps(o.prefix) && !inside
}

// claim gives a prefix that came out of an upstream's its place. It has none, and that is a problem, where another has addresses of
// it: upstreams give what they like. What is written out goes first, then the order of the file.
func (r *resolver) claim(network, host string, f inventory.From, c claimed) bool {
	if r.claims == nil {
		r.claims = r.writtenOut()
	}
	if i := slices.IndexFunc(r.claims, c.clashes); i >= 0 {
		r.problem(network, host, f.Pos, "%s is %s, which overlaps %s, %s: it is not used", f, c.prefix, r.claims[i].what, r.claims[i].prefix)
		return false
	}
	r.claims = append(r.claims, c)
	return true
}

// writtenOut are the prefixes that the inventory names.
func (r *resolver) writtenOut() []claimed {
	out := []claimed{}
	for i := range r.inv.Networks {
		n := &r.inv.Networks[i]
		for _, p := range n.Prefixes {
			out = append(out, claimed{prefix: p.V, what: "the prefix of " + n.Name})
		}
		for _, d := range n.Delegate {
			if d.Pool.Set() {
				out = append(out, claimed{prefix: d.Pool.V, what: "a pool of " + n.Name, pool: true})
			}
		}
	}
	for i := range r.inv.Hosts {
		for _, p := range r.inv.Hosts[i].Delegate {
			out = append(out, claimed{prefix: p.V, what: "the prefix of " + r.inv.Hosts[i].Name, kept: true})
		}
	}
	return out
}

// holder names another network that has addresses of a prefix.
func (r *resolver) holder(n *Network, p netip.Prefix) (string, bool) {
	for i := range r.inv.Networks {
		other := &r.inv.Networks[i]
		if other.Name != n.Name && slices.ContainsFunc(other.Prefixes, func(x inventory.Value[netip.Prefix]) bool { return x.V.Overlaps(p) }) {
			return other.Name, true
		}
	}
	for _, other := range r.snap.Networks {
		if other.Name != n.Name && slices.ContainsFunc(other.Prefixes, func(x Prefix) bool { return x.Overlaps(p) }) {
			return other.Name, true
		}
	}
	return "", false
}

// kept adds the host's prefixes out of upstreams'. One that is about to end is given to nobody any more.
func (r *resolver) kept(h *Host, in *inventory.Host) {
	for _, f := range in.From {
		p, missing := Derive(f, r.facts.Delegated[f.Upstream.V], r.now)
		if missing != "" {
			r.problem("", h.Name, f.Pos, "%s is unresolved: %s", f, missing)
		}
		if p.IsValid() && !p.deprecated(r.now) && r.claim("", h.Name, f, claimed{prefix: p.Prefix, what: "the prefix of " + h.Name, kept: true}) {
			h.Delegated = append(h.Delegated, p.Prefix)
			r.snap.index.kept = append(r.snap.index.kept, Kept{p.Prefix, h})
		}
	}
}

// Ends are the deadlines of the upstream's prefix that a prefix is out of; zero: it is out of none.
func (s *Snapshot) Ends(p netip.Prefix) (preferred, valid time.Time) {
	for _, all := range s.Delegated {
		for _, whole := range all {
			if whole.Overlaps(p) && whole.Bits() <= p.Bits() {
				return whole.PreferredUntil, whole.ValidUntil
			}
		}
	}
	return time.Time{}, time.Time{}
}

// NextEnd is when the first of the delegated prefixes is deprecated or ends, so that what is derived from it changes; zero: none
// does.
func NextEnd(delegated map[string][]Prefix, now time.Time) time.Time {
	var next time.Time
	for _, all := range delegated {
		for _, p := range all {
			for _, t := range []time.Time{p.PreferredUntil, p.ValidUntil} {
				if t.After(now) && (next.IsZero() || t.Before(next)) {
					next = t
				}
			}
		}
	}
	return next
}
