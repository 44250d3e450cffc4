package site

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"bootd.internal/bootd/inventory"
)

// RA is what the router advertisements of a network carry besides its prefixes and resolvers.
type RA struct {
	Managed, Other, Autonomous, OnLink bool
	MinInterval, MaxInterval           time.Duration
	// Lifetime as a default router; 0 unless this machine forwards and has a default route.
	Lifetime time.Duration
	// MTU 0: not advertised. HopLimit 0: unspecified.
	MTU, HopLimit int
	// ReachableTime and RetransTimer 0: unspecified.
	ReachableTime, RetransTimer time.Duration
	// Preference: low, medium, high.
	Preference string
	// Prefixes are those of the network that are advertised otherwise than the rest.
	Prefixes []PrefixRA
	Routes   []Route
	// RDNSSLifetime and DNSSLLifetime are how long resolvers and search domains may be used; 0: not any more.
	RDNSSLifetime, DNSSLLifetime time.Duration
	Pref64                       []Pref64
	// CaptivePortal is a URI; empty: not told.
	CaptivePortal string
}

// PrefixRA is how one prefix is advertised.
type PrefixRA struct {
	Prefix             netip.Prefix
	Autonomous, OnLink bool
	Preferred, Valid   time.Duration
}

// Route is one that hosts take by this router (RFC 4191 section 2.3); Lifetime 0: not any more.
type Route struct {
	Prefix     netip.Prefix
	Lifetime   time.Duration
	Preference string
}

// Pref64 is the prefix of a NAT64 (RFC 8781).
type Pref64 struct {
	Prefix   netip.Prefix
	Lifetime time.Duration
}

// Advertised is a prefix that hosts on a link were told of. It is durable: they do not forget it when we restart.
type Advertised struct {
	Link               string
	Prefix             netip.Prefix
	OnLink, Autonomous bool
	// ValidUntil is when the last address in it has ended.
	ValidUntil time.Time
}

// Stale is an Advertised that its network does not have any more.
type Stale struct {
	Prefix             netip.Prefix
	OnLink, Autonomous bool
	ValidUntil         time.Time
	// Moved: another network has it now, so its addresses are not here at all.
	Moved bool
}

// maxStale bounds the stale prefixes of a network; the latest stay.
const maxStale = 16

// stale finds what the links of networks had before. All networks must be resolved.
func (r *resolver) stale() {
	for _, n := range r.snap.Networks {
		for _, a := range r.facts.Advertised {
			has := slices.ContainsFunc(n.Prefixes, func(p Prefix) bool { return p.Masked() == a.Prefix && p.valid(r.now) })
			if a.Link != n.Interface || has || !r.now.Before(a.ValidUntil) {
				continue
			}
			n.Stale = append(n.Stale, Stale{
				Prefix: a.Prefix, OnLink: a.OnLink, Autonomous: a.Autonomous, ValidUntil: a.ValidUntil, Moved: r.elsewhere(n, a.Prefix),
			})
		}
		slices.SortFunc(n.Stale, func(a, b Stale) int {
			return cmp.Or(b.ValidUntil.Compare(a.ValidUntil), a.Prefix.Addr().Compare(b.Prefix.Addr()), cmp.Compare(a.Prefix.Bits(), b.Prefix.Bits()))
		})
		n.Stale = n.Stale[:min(len(n.Stale), maxStale)]
	}
}

// Advertised is how a prefix of the network is advertised.
func (n *Network) Advertised(p netip.Prefix) PrefixRA {
	if i := slices.IndexFunc(n.RA.Prefixes, func(r PrefixRA) bool { return r.Prefix == p }); i >= 0 {
		return n.RA.Prefixes[i]
	}
	return PrefixRA{Prefix: p, Autonomous: n.RA.Autonomous, OnLink: n.RA.OnLink, Preferred: n.Preferred, Valid: n.Valid}
}

// forgets is how many intervals hosts remember what has a lifetime, where nobody wrote one (RFC 8106 section 5.1, RFC 8781
// section 4.1): two advertisements may be lost.
const forgets = 3

// maxPref64 is the largest lifetime of a NAT64's prefix (RFC 8781 section 4.1).
const maxPref64 = 8191 * 8 * time.Second

// ra resolves the router advertisement of a network. The intervals that are not set follow those that are (RFC 4861 section
// 6.2.1).
func (r *resolver) ra(n *Network, in *inventory.Network) {
	b, ra := inventory.BuiltinRA(), in.RA
	most := ra.MaxInterval.Or(b.MaxInterval).V
	lives := func(v inventory.Value[time.Duration]) time.Duration {
		if v.Set() {
			return v.V
		}
		return forgets * most
	}
	n.RA = RA{
		Managed: ra.Managed.Or(b.Managed).V, Other: ra.Other.Or(b.Other).V,
		Autonomous: ra.Autonomous.Or(b.Autonomous).V, OnLink: ra.OnLink.Or(b.OnLink).V,
		MinInterval: max(most/3, 3*time.Second), MaxInterval: most,
		MTU: ra.MTU.Or(b.MTU).V, HopLimit: ra.HopLimit.Or(b.HopLimit).V,
		ReachableTime: ra.ReachableTime.Or(b.ReachableTime).V, RetransTimer: ra.RetransTimer.Or(b.RetransTimer).V,
		Preference:    ra.Preference.Or(b.Preference).V,
		RDNSSLifetime: lives(ra.RDNSSLifetime), DNSSLLifetime: lives(ra.DNSSLLifetime), CaptivePortal: ra.CaptivePortal.V,
	}
	if ra.MinInterval.Set() {
		n.RA.MinInterval = ra.MinInterval.V
	}
	for _, x := range ra.Prefixes {
		usual := n.Advertised(x.Prefix.V)
		n.RA.Prefixes = append(n.RA.Prefixes, PrefixRA{
			Prefix: x.Prefix.V, Autonomous: or(x.Autonomous, usual.Autonomous), OnLink: or(x.OnLink, usual.OnLink),
			Preferred: or(x.Preferred, usual.Preferred), Valid: or(x.Valid, usual.Valid),
		})
	}
	for _, x := range ra.Routes {
		n.RA.Routes = append(n.RA.Routes, Route{x.Prefix.V, lives(x.Lifetime), or(x.Preference, b.Preference.V)})
	}
	for _, x := range ra.Pref64 {
		n.RA.Pref64 = append(n.RA.Pref64, Pref64{x.Prefix.V, min(lives(x.Lifetime), maxPref64)})
	}
	if n.RouterSelf {
		r.router(n, in)
	}
}

func or[T any](v inventory.Value[T], otherwise T) T {
	if v.Set() {
		return v.V
	}
	return otherwise
}

// router decides whether this machine is a default router, and says what keeps it from being one.
func (r *resolver) router(n *Network, in *inventory.Network) {
	ra := in.RA
	if n.Link != nil && n.Link.MTU > 0 && n.RA.MTU > n.Link.MTU {
		r.problem(n.Name, "", ra.MTU.Pos, "ra.mtu %d is more than the MTU %d of %s", n.RA.MTU, n.Link.MTU, n.Interface)
	}
	if len(n.RA.Routes) > 0 && !r.facts.Forwarding {
		r.problem(n.Name, "", ra.Routes[0].Prefix.Pos, "ra.routes sends traffic to this machine, but it does not forward: "+
			"`sysctl -w net.ipv6.conf.all.forwarding=1`; until then it takes them back (lifetime 0)")
		for i := range n.RA.Routes {
			n.RA.Routes[i].Lifetime = 0
		}
	}
	router := r.facts.Forwarding && r.facts.DefaultRoute
	switch {
	case !ra.Lifetime.Set() && router:
		n.RA.Lifetime = forgets * n.RA.MaxInterval
	case !ra.Lifetime.Set() || ra.Lifetime.V == 0:
	case router:
		n.RA.Lifetime = ra.Lifetime.V
	case !r.facts.Forwarding:
		r.problem(n.Name, "", ra.Lifetime.Pos, "ra.lifetime makes this machine a default router, but it does not forward: "+
			"`sysctl -w net.ipv6.conf.all.forwarding=1` (and accept_ra=2 on the upstream interface); until then it advertises 0")
	default:
		r.problem(n.Name, "", ra.Lifetime.Pos, "ra.lifetime makes this machine a default router, but it has no default route itself: "+
			"`ip -6 route show default`; until then it advertises 0")
	}
}

// auto takes the prefixes of the interface's addresses, each once, in their order; those that the inventory names stay first.
func (r *resolver) auto(n *Network) {
	if n.Link == nil {
		return
	}
	for _, a := range n.Link.Addrs {
		p := a.Masked()
		overlaps := func(x Prefix) bool { return x.Overlaps(p) }
		if p.Bits() < 48 || p.Bits() > 120 || slices.ContainsFunc(n.Prefixes, overlaps) || r.elsewhere(n, p) {
			continue
		}
		n.Prefixes = append(n.Prefixes, n.Link.ends(p))
	}
}

// ends is a prefix with the deadlines of the address in it that lives longest.
func (l *Link) ends(p netip.Prefix) Prefix {
	out := Prefix{Prefix: p}
	for _, a := range l.Addrs {
		if a.Masked() != p {
			continue
		}
		i := slices.IndexFunc(l.Dynamic, func(d Prefix) bool { return d.Prefix == a })
		if i < 0 {
			return Prefix{Prefix: p} // one that stays
		}
		if d := l.Dynamic[i]; d.ValidUntil.After(out.ValidUntil) {
			out.ValidUntil = d.ValidUntil
		}
		if d := l.Dynamic[i]; d.PreferredUntil.After(out.PreferredUntil) {
			out.PreferredUntil = d.PreferredUntil
		}
	}
	return out
}

// elsewhere reports whether a prefix belongs to another network: a machine may have an address of it all the same.
func (r *resolver) elsewhere(n *Network, p netip.Prefix) bool {
	_, is := r.holder(n, p)
	return is
}
