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
		Name:               in.Name,
		Interface:          in.Interface.V,
		Domain:             pick(layers, func(s *inventory.Settings) inventory.Value[string] { return s.Domain }).V,
		NTP:                slices.Clone(pick(layers, func(s *inventory.Settings) inventory.Value[[]string] { return s.NTP }).V),
		Unknown:            pick(layers, func(s *inventory.Settings) inventory.Value[string] { return s.Unknown }).V,
		Preferred:          pick(layers, func(s *inventory.Settings) inventory.Value[time.Duration] { return s.Preferred }).V,
		Valid:              pick(layers, func(s *inventory.Settings) inventory.Value[time.Duration] { return s.Valid }).V,
		InformationRefresh: pick(layers, func(s *inventory.Settings) inventory.Value[time.Duration] { return s.InformationRefresh }).V,
		Options:            portal(r.options(layers...), in),
		T1:                 pick(layers, func(s *inventory.Settings) inventory.Value[time.Duration] { return s.T1 }).V,
		T2:                 pick(layers, func(s *inventory.Settings) inventory.Value[time.Duration] { return s.T2 }).V,
		RouterSelf:         in.Router.V != "other" && in.Interface.Set(), RouterWritten: in.Router.Set(), Auto: in.Auto.Set(),
	}
	n.Origins = origins(layers)
	for _, p := range in.Prefixes {
		n.Prefixes = append(n.Prefixes, Prefix{Prefix: p.V})
	}
	r.from(n, in)
	search := pick(layers, func(s *inventory.Settings) inventory.Value[[]string] { return s.Search })
	n.Search = slices.Clone(search.V)
	if !search.Set() {
		n.Search = []string{n.Domain}
	}
	for _, d := range in.Delegate {
		if d, ok := r.delegation(n.Name, d); ok {
			n.Delegate = append(n.Delegate, d)
		}
	}
	for _, a := range in.Relays {
		n.Relays = append(n.Relays, a.V)
		r.snap.index.byRelay[a.V] = n
	}
	from := pick(layers, func(s *inventory.Settings) inventory.Value[[]netip.Prefix] { return s.RelayFrom })
	n.RelayFrom, n.RelayFromIn = slices.Clone(from.V), from.From
	n.RelayHops = pick(layers, func(s *inventory.Settings) inventory.Value[int] { return s.RelayHops }).V
	if n.Interface != "" {
		r.link(n, in)
	}
	servers := pick(layers, func(s *inventory.Settings) inventory.Value[[]netip.Addr] { return s.Nameservers })
	n.Nameservers = slices.Clone(servers.V)
	if !servers.Set() && n.Own.IsValid() {
		n.Nameservers = []netip.Addr{n.Own}
	}
	r.ra(n, in)
	r.dns64(n, pick(layers, func(s *inventory.Settings) inventory.Value[inventory.DNS64] { return s.DNS64 }))
	r.written[n.Name] = in
	r.snap.Networks = append(r.snap.Networks, n)
	r.snap.index.networks[n.Name] = n
	if n.Interface != "" {
		r.snap.index.byLink[n.Interface] = n
	}
}

// origins are where a network's values for clients come from.
func origins(layers []*inventory.Settings) map[string]Origin {
	out := map[string]Origin{}
	origin(out, "nameservers", pick(layers, func(s *inventory.Settings) inventory.Value[[]netip.Addr] { return s.Nameservers }))
	origin(out, "search", pick(layers, func(s *inventory.Settings) inventory.Value[[]string] { return s.Search }))
	for key, get := range map[string]func(*inventory.Settings) inventory.Value[time.Duration]{
		"preferred": func(s *inventory.Settings) inventory.Value[time.Duration] { return s.Preferred },
		"valid":     func(s *inventory.Settings) inventory.Value[time.Duration] { return s.Valid },
		"t1":        func(s *inventory.Settings) inventory.Value[time.Duration] { return s.T1 },
		"t2":        func(s *inventory.Settings) inventory.Value[time.Duration] { return s.T2 },
	} {
		origin(out, key, pick(layers, get))
	}
	return out
}

// link finds the network's interface and our addresses on it.
func (r *resolver) link(n *Network, in *inventory.Network) {
	at := in.Interface.Pos
	i := slices.IndexFunc(r.facts.Links, func(l Link) bool { return l.Name == n.Interface })
	if i < 0 {
		r.problem(n.Name, "", at, "there is no interface %s: it is served when it comes; `ip link` lists those there are", n.Interface)
		return
	}
	l := r.facts.Links[i]
	l.Addrs = slices.Clone(l.Addrs)
	n.Link = &l
	if n.Auto {
		r.auto(n)
	}
	for _, p := range n.Ours { // they are put there without delay: what is told of them is told at once
		if !l.has(p.Addr()) {
			l.Addrs = append(l.Addrs, p.Prefix)
		}
	}
	r.servers(n)
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
	if len(in.From) > 0 {
		return // why there is none was said
	}
	if len(n.Prefixes) == 0 {
		r.problem(n.Name, "", at, "%s has no address whose prefix could be served: `ip address add 2001:db8:1::1/64 dev %s` with a prefix of yours, or name one instead of auto",
			l.Name, l.Name)
	} else {
		p := n.Prefixes[0].Prefix
		r.problem(n.Name, "", at, "%s has no address inside %s, so boot URLs have nowhere to point: `ip address add %s/%d dev %s`",
			l.Name, prefixList(n.Prefixes), p.Addr().Next(), p.Bits(), l.Name)
	}
}

// servers finds our addresses on the network's link, those in prefixes that are preferred first. The address that clients were
// told stays, whatever order the kernel lists, as long as its prefix does.
func (r *resolver) servers(n *Network) {
	var last []netip.Addr
	for _, a := range n.Link.Addrs {
		i := slices.IndexFunc(n.Prefixes, func(p Prefix) bool { return p.Contains(a.Addr()) && p.valid(r.now) })
		switch {
		case i < 0:
		case n.Prefixes[i].deprecated(r.now):
			last = append(last, a.Addr())
		default:
			n.Servers = append(n.Servers, a.Addr())
		}
	}
	if r.prev != nil {
		if old, ok := r.prev.Network(n.Name); ok {
			for _, all := range [][]netip.Addr{n.Servers, last} {
				if k := slices.Index(all, old.Own); k > 0 {
					copy(all[1:], all[:k])
					all[0] = old.Own
				}
			}
		}
	}
	n.Servers = append(n.Servers, last...)
}

func prefixList(ps []Prefix) string {
	all := make([]string, len(ps))
	for i, p := range ps {
		all[i] = p.Prefix.String()
	}
	return strings.Join(all, ", ")
}
