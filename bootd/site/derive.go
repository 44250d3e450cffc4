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
	small := 0
	for _, whole := range distinct(delegated, now) {
		in, ok := f.In(whole.Prefix)
		switch {
		case !ok && (small == 0 || whole.Bits() < small):
			small = whole.Bits()
		case ok && !whole.deprecated(now):
			return Prefix{in, whole.PreferredUntil, whole.ValidUntil}, ""
		case ok && !p.IsValid():
			p = Prefix{in, whole.PreferredUntil, whole.ValidUntil}
		}
	}
	switch {
	case p.IsValid():
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
func (r *resolver) derive(network string, f inventory.From) (Prefix, bool) {
	p, missing := Derive(f, r.facts.Delegated[f.Upstream.V], r.now)
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
		p, ok := r.derive(n.Name, f)
		if !ok {
			continue
		}
		if other, twice := r.holds(n, p.Prefix); twice {
			r.problem(n.Name, "", f.Pos, "%s is %s, which overlaps a prefix of %s: it is not served", f, p.Prefix, other)
			continue
		}
		n.Prefixes = append(n.Prefixes, p)
		if a, ok := inventory.Join(p.Prefix, in.Own()); ok && in.Interface.Set() {
			n.Ours = append(n.Ours, Prefix{netip.PrefixFrom(a, p.Bits()), p.PreferredUntil, p.ValidUntil})
		}
	}
}

// holds names the network that has addresses of a prefix already.
func (r *resolver) holds(n *Network, p netip.Prefix) (string, bool) {
	if slices.ContainsFunc(n.Prefixes, func(x Prefix) bool { return x.Overlaps(p) }) {
		return n.Name, true
	}
	return r.holder(n, p)
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
