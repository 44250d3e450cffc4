package site

import (
	"net/netip"
	"slices"

	"bootd.internal/bootd/inventory"
)

// AnyIP is a prefix each of whose addresses is this machine's.
type AnyIP struct {
	// Prefix is invalid while nobody has given it; Fault says why then. Wanted is what the inventory says.
	Prefix        netip.Prefix
	Wanted, Fault string
	// Keep: it stays bound when bootd stops.
	Keep bool
	// Neighbours are those of the interfaces on which its addresses are answered for that exist.
	Neighbours []Link
}

// anyip takes the section anyip. Of an upstream's prefix that was replaced and is still valid, the old part stays beside the new
// one, which has the names.
func (r *resolver) anyip() {
	for i := range r.inv.AnyIP {
		in := &r.inv.AnyIP[i]
		a := AnyIP{Prefix: in.Prefix.V, Wanted: in.Prefix.V.String(), Keep: in.Keep.V || !in.Keep.Set()}
		for _, name := range in.Neighbour.V {
			if l, ok := r.exists(name, in.Neighbour.Pos); ok {
				a.Neighbours = append(a.Neighbours, l)
			}
		}
		if !in.From.Set() {
			r.snap.AnyIP = append(r.snap.AnyIP, a)
			r.hashed = append(r.hashed, a.Prefix)
			continue
		}
		a.Wanted = in.From.String()
		first := len(r.snap.AnyIP)
		for _, p := range r.bindable(in.From) {
			if other, twice := r.holder(&Network{}, p); twice {
				a.Fault = p.String() + " overlaps a prefix of " + other
				continue
			}
			r.snap.AnyIP = append(r.snap.AnyIP, AnyIP{Prefix: p, Wanted: a.Wanted, Keep: a.Keep, Neighbours: a.Neighbours})
		}
		if len(r.snap.AnyIP) == first && a.Fault == "" {
			_, a.Fault = Derive(in.From, r.facts.Delegated[in.From.Upstream.V], r.now)
		}
		if len(r.snap.AnyIP) == first {
			r.snap.AnyIP = append(r.snap.AnyIP, a)
		}
		r.hashed = append(r.hashed, r.snap.AnyIP[first].Prefix)
	}
}

// exists finds a link by its name; one that does not is a problem.
func (r *resolver) exists(name string, at inventory.Pos) (Link, bool) {
	i := slices.IndexFunc(r.facts.Links, func(l Link) bool { return l.Name == name })
	if i < 0 {
		r.problem("", "", at, "there is no interface %s: neighbours are answered there when it comes; `ip link` lists those there are", name)
		return Link{}, false
	}
	l := r.facts.Links[i]
	l.Addrs = slices.Clone(l.Addrs)
	return l, true
}

// bindable is what a From stands for, then what it stood for in prefixes that are still valid.
func (r *resolver) bindable(f inventory.From) []netip.Prefix {
	first, ok := r.derive("", f, false)
	if !ok {
		return nil
	}
	out := []netip.Prefix{first.Prefix}
	for _, whole := range distinct(r.facts.Delegated[f.Upstream.V], r.now) {
		if p, ok := f.In(whole.Prefix); ok && p != first.Prefix && !(whole.Exclude.IsValid() && whole.Exclude.Overlaps(p)) {
			out = append(out, p)
		}
	}
	return out
}

// hash adds the names of anyip to those of the site.
func (r *resolver) hash(add func(host, name string, n Name, at inventory.Pos)) {
	for i, p := range r.hashed {
		for _, name := range r.inv.AnyIP[i].Names {
			n := Name{} // while there is no prefix the name is ours, without an address
			if p.IsValid() {
				n.Within = []netip.Prefix{p}
			}
			add("", name.V, n, name.Pos)
		}
	}
}
