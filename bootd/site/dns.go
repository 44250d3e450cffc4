package site

import (
	"fmt"
	"net/netip"
	"slices"

	"bootd.internal/bootd/inventory"
)

// dns takes what the section dns says over what is built in.
func (r *resolver) dns() {
	d, b := &r.inv.DNS, inventory.BuiltinDNS()
	r.snap.DNS = DNS{
		Upstreams: slices.Clone(d.Upstreams.Or(r.inv.Serve.Forward).V),
		Cache:     int(d.Cache.Or(b.Cache).V), Stale: d.Stale.Or(b.Stale).V,
		ClientLimit: d.ClientLimit.Or(b.ClientLimit).V, UpstreamLimit: d.UpstreamLimit.Or(b.UpstreamLimit).V,
		Names: map[string]*Name{},
	}
	for _, p := range d.Access {
		r.snap.DNS.Access = append(r.snap.DNS.Access, p.V)
	}
}

// notGlobal are IPv4 addresses that the well-known prefix must not stand for (RFC 6052 section 3.1, RFC 5735 section 3).
func notGlobal() []netip.Prefix {
	var out []netip.Prefix
	for _, s := range []string{
		"0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24",
		"192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/3",
	} {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

// dns64 is what the inventory says, else the NAT64 that the network advertises.
func (r *resolver) dns64(n *Network, v inventory.Value[inventory.DNS64]) {
	d := DNS64{Prefix: v.V.Prefix, Exclude: slices.Clone(v.V.Exclude), Skip: slices.Clone(v.V.Skip)}
	if !v.Set() && len(n.RA.Pref64) > 0 {
		d.Prefix = n.RA.Pref64[0].Prefix
	}
	if !d.Prefix.IsValid() {
		return
	}
	if len(n.RA.Pref64) > 0 && !slices.ContainsFunc(n.RA.Pref64, func(p Pref64) bool { return p.Prefix == d.Prefix }) {
		r.problem(n.Name, "", v.Pos, "dns64 says %s, ra.pref64 says %s: machines would be told two ways to IPv4, one of which leads nowhere",
			d.Prefix, n.RA.Pref64[0].Prefix)
	}
	// Addresses of IPv4 written in IPv6 are of no use to anybody (RFC 6147 section 5.1.4).
	d.Exclude = append(d.Exclude, netip.MustParsePrefix("::ffff:0:0/96"))
	if d.Prefix == netip.MustParsePrefix("64:ff9b::/96") {
		d.Skip = append(d.Skip, notGlobal()...)
	}
	d.ID = fmt.Sprint(d.Prefix, d.Exclude, d.Skip)
	n.DNS64 = &d
}

// names gathers what the inventory names beside hosts. A name that is a host's own already is left out.
func (r *resolver) names() {
	own := make(map[string]*Host, len(r.snap.Hosts))
	for _, h := range r.snap.Hosts {
		own[h.FQDN] = h
	}
	add := func(host, name string, n Name, at inventory.Pos) {
		first, dup := r.snap.DNS.Names[name]
		switch h, is := own[name]; {
		case is && n.CNAME != "":
			r.problem("", host, at, "%s is the name of %s already: the alias is left out", name, h.Name)
			return
		case dup && (n.CNAME != "" || first.CNAME != ""):
			r.problem("", host, at, "%s is there twice, and one is an alias: this one is left out", name)
			return
		case dup:
			first.A, first.AAAA = append(first.A, n.A...), append(first.AAAA, n.AAAA...)
			first.TXT, first.SRV = append(first.TXT, n.TXT...), append(first.SRV, n.SRV...)
			first.Within = append(first.Within, n.Within...)
			return
		}
		n.Host = host
		r.snap.DNS.Names[name] = &n
	}
	for _, x := range r.inv.DNS.Records {
		add("", x.Name, nameOf(x, ""), x.Pos)
	}
	r.hash(add)
	for i := range r.inv.Hosts {
		in, h := &r.inv.Hosts[i], r.snap.Hosts[i]
		for _, x := range in.DNS.Records {
			name := x.Name + "." + h.FQDN
			if x.Name == "@" {
				name = h.FQDN
			}
			add(h.Name, name, nameOf(x, h.FQDN), x.Pos)
		}
		for _, a := range in.DNS.Aliases {
			name := a.V
			if !containsDot(name) {
				name += "." + h.Domain
			}
			add(h.Name, name, Name{CNAME: h.FQDN}, a.Pos)
		}
		if in.DNS.Wildcard.V {
			add(h.Name, "*."+h.FQDN, Name{CNAME: h.FQDN}, in.DNS.Wildcard.Pos)
		}
	}
}

func containsDot(s string) bool { return slices.Contains([]byte(s), '.') }

// nameOf copies; what has no target leads to the host.
func nameOf(x inventory.Names, fqdn string) Name {
	n := Name{A: slices.Clone(x.A), AAAA: slices.Clone(x.AAAA), TXT: slices.Clone(x.TXT), SRV: slices.Clone(x.SRV), CNAME: x.CNAME}
	for i := range n.SRV {
		if n.SRV[i].Target == "" {
			n.SRV[i].Target = fqdn
		}
	}
	return n
}
