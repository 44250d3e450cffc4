package site

import (
	"net/netip"
	"slices"
	"strings"
	"time"

	"bootd.internal/bootd/inventory"
)

// valid reports whether a prefix may be used now.
func (p Prefix) valid(now time.Time) bool { return p.ValidUntil.IsZero() || now.Before(p.ValidUntil) }

// deprecated reports whether new connections should avoid the prefix (RFC 4862 section 5.5.4).
func (p Prefix) deprecated(now time.Time) bool {
	return !p.PreferredUntil.IsZero() && !now.Before(p.PreferredUntil)
}

func (r *resolver) network(in *inventory.Network) {
	layers := []*inventory.Settings{&in.Settings, &r.defaults, &r.builtin}
	n := &Network{
		Name:       in.Name,
		Interface:  in.Interface.V,
		Domain:     pick(layers, func(s *inventory.Settings) inventory.Value[string] { return s.Domain }).V,
		NTP:        slices.Clone(pick(layers, func(s *inventory.Settings) inventory.Value[[]string] { return s.NTP }).V),
		Unknown:    pick(layers, func(s *inventory.Settings) inventory.Value[string] { return s.Unknown }).V,
		Preferred:  pick(layers, func(s *inventory.Settings) inventory.Value[time.Duration] { return s.Preferred }).V,
		Valid:      pick(layers, func(s *inventory.Settings) inventory.Value[time.Duration] { return s.Valid }).V,
		RouterSelf: in.Router.V != "other", RouterWritten: in.Router.Set(),
	}
	for _, p := range in.Prefixes {
		n.Prefixes = append(n.Prefixes, Prefix{Prefix: p.V})
	}
	search := pick(layers, func(s *inventory.Settings) inventory.Value[[]string] { return s.Search })
	n.Search = slices.Clone(search.V)
	if !search.Set() {
		n.Search = []string{n.Domain}
	}
	r.link(n, in.Interface.Pos)
	servers := pick(layers, func(s *inventory.Settings) inventory.Value[[]netip.Addr] { return s.Nameservers })
	n.Nameservers = slices.Clone(servers.V)
	if !servers.Set() && n.Own.IsValid() {
		n.Nameservers = []netip.Addr{n.Own}
	}
	r.ra(n, in)
	r.written[n.Name] = in
	r.snap.Networks = append(r.snap.Networks, n)
	r.snap.index.networks[n.Name] = n
	if n.Interface != "" {
		r.snap.index.byLink[n.Interface] = n
	}
}

// link finds the network's interface and our addresses on it.
func (r *resolver) link(n *Network, at inventory.Pos) {
	i := slices.IndexFunc(r.facts.Links, func(l Link) bool { return l.Name == n.Interface })
	if i < 0 {
		r.problem(n.Name, "", at, "there is no interface %s: it is served when it comes; `ip link` lists those there are", n.Interface)
		return
	}
	l := r.facts.Links[i]
	l.Addrs = slices.Clone(l.Addrs)
	n.Link = &l
	for _, a := range l.Addrs {
		for _, p := range n.Prefixes {
			if p.Contains(a.Addr()) && p.valid(r.now) {
				n.Servers = append(n.Servers, a.Addr())
				break
			}
		}
	}
	// The address that clients were told stays, whatever order the kernel lists.
	if r.prev != nil {
		if old, ok := r.prev.Network(n.Name); ok {
			if k := slices.Index(n.Servers, old.Own); k > 0 {
				n.Servers = slices.Insert(slices.Delete(n.Servers, k, k+1), 0, old.Own)
			}
		}
	}
	switch {
	case !l.Up:
		r.problem(n.Name, "", at, "%s is down: `ip link set %s up`", l.Name, l.Name)
	case !l.LinkLocal.IsValid():
		r.problem(n.Name, "", at, "%s has no link-local address yet: wait for duplicate address detection, or see `sysctl net.ipv6.conf.%s.disable_ipv6`",
			l.Name, l.Name)
	}
	if len(n.Servers) > 0 {
		n.Own = n.Servers[0]
		return
	}
	if len(n.Prefixes) > 0 {
		p := n.Prefixes[0].Prefix
		r.problem(n.Name, "", at, "%s has no address inside %s, so boot URLs have nowhere to point: `ip address add %s/%d dev %s`",
			l.Name, prefixList(n.Prefixes), p.Addr().Next(), p.Bits(), l.Name)
	}
}

func prefixList(ps []Prefix) string {
	all := make([]string, len(ps))
	for i, p := range ps {
		all[i] = p.Prefix.String()
	}
	return strings.Join(all, ", ")
}

// ra resolves the router advertisement of a network. The intervals that are not set follow those that are (RFC 4861 section
// 6.2.1).
func (r *resolver) ra(n *Network, in *inventory.Network) {
	b, ra := inventory.BuiltinRA(), in.RA
	n.RA = RA{
		Managed: ra.Managed.Or(b.Managed).V, Other: ra.Other.Or(b.Other).V,
		Autonomous: ra.Autonomous.Or(b.Autonomous).V, OnLink: ra.OnLink.Or(b.OnLink).V,
		MaxInterval: ra.MaxInterval.Or(b.MaxInterval).V,
		MTU:         ra.MTU.Or(b.MTU).V, HopLimit: ra.HopLimit.Or(b.HopLimit).V,
		Preference: ra.Preference.Or(b.Preference).V,
	}
	n.RA.MinInterval = max(n.RA.MaxInterval/3, 3*time.Second)
	if ra.MinInterval.Set() {
		n.RA.MinInterval = ra.MinInterval.V
	}
	if !n.RouterSelf {
		return
	}
	if n.Link != nil && n.Link.MTU > 0 && n.RA.MTU > n.Link.MTU {
		r.problem(n.Name, "", ra.MTU.Pos, "ra.mtu %d is more than the MTU %d of %s", n.RA.MTU, n.Link.MTU, n.Interface)
	}
	router := r.facts.Forwarding && r.facts.DefaultRoute
	switch {
	case !ra.Lifetime.Set() && router:
		n.RA.Lifetime = 3 * n.RA.MaxInterval
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
