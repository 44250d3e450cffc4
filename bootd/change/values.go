package change

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"bootd.internal/bootd/site"
)

// values are what is said of a host or network, in the order of a report.
type values []Value

func (v *values) add(key string, text string) { *v = append(*v, Value{Key: key, New: text}) }

// differences of two lists of values by key.
func differences(before, after values) []Value {
	var out []Value
	old := map[string]string{}
	for _, v := range before {
		old[v.Key] = v.New
	}
	for _, v := range after {
		if was := old[v.Key]; was != v.New {
			out = append(out, Value{v.Key, was, v.New})
		}
		delete(old, v.Key)
	}
	for _, v := range before {
		if was, gone := old[v.Key]; gone && was != "" {
			out = append(out, Value{v.Key, was, ""})
		}
	}
	return out
}

// host lists what the wire says to and of a host; what only its texts hold is seen in them.
func host(w written, h *site.Host) values {
	var v values
	v.add("name", h.FQDN)
	if h.Profile != nil {
		v.add("profile", h.Profile.Name)
	}
	for _, n := range h.NICs {
		at := "nics." + n.Name + "."
		if n.MAC.Valid() {
			v.add(at+"mac", n.MAC.String())
		}
		if n.Network != nil {
			v.add(at+"network", n.Network.Name)
		}
		v.add(at+"address", w.text(n))
	}
	if h.UUID.Identifies() {
		v.add("uuid", h.UUID.String())
	}
	duids := make([]string, len(h.DUIDs))
	for i, d := range h.DUIDs {
		duids[i] = d.String()
	}
	v.add("duid", strings.Join(duids, " "))
	if h.Port.Relay.IsValid() {
		v.add("port", h.Port.String())
	}
	v.add("serial", h.Serial)
	v.add("preferred", brief(h.Preferred))
	v.add("valid", brief(h.Valid))
	v.add("loader", h.Loader)
	if h.HasDisk {
		v.add("disk", h.Disk.String())
	}
	v.add("protected", strconv.FormatBool(h.Protected))
	v.add("delegate", list(h.Delegated))
	v.options(h.Options)
	for _, name := range w.names[h.Name] {
		v.add("dns."+name, records(w.snap.DNS.Names[name]))
	}
	return v
}

// general lists what belongs to no network and no host.
func general(snap *site.Snapshot) values {
	var v values
	d := snap.DNS
	upstreams := make([]string, len(d.Upstreams))
	for i, u := range d.Upstreams {
		upstreams[i] = u.String()
	}
	v.add("dns.upstreams", strings.Join(upstreams, ", "))
	v.add("dns.access", list(d.Access))
	v.add("dns.cache", strconv.Itoa(d.Cache))
	v.add("dns.stale", brief(d.Stale))
	v.add("dns.client_limit", strconv.Itoa(d.ClientLimit))
	v.add("dns.upstream_limit", strconv.Itoa(d.UpstreamLimit))
	for _, name := range slices.Sorted(maps.Keys(d.Names)) {
		if n := d.Names[name]; n.Host == "" {
			v.add("dns.records."+name, records(n))
		}
	}
	v.upstreams(snap)
	v.machine(snap)
	v.phones(snap.Phones)
	v.add("serve.files", snap.Files)
	v.add("serve.http_port", strconv.Itoa(snap.HTTPPort))
	if snap.Metrics.IsValid() {
		v.add("serve.metrics", snap.Metrics.String())
	}
	v.add("serve.transit", strings.Join(snap.Transit, " "))
	var nowhere []netip.Prefix
	for _, p := range snap.Inventory.Serve.Unreachable {
		nowhere = append(nowhere, p.V)
	}
	v.add("serve.unreachable", list(nowhere))
	for _, arch := range slices.Sorted(maps.Keys(snap.Loaders)) {
		v.add("serve.loaders."+arch, snap.Loaders[arch])
	}
	return v
}

// upstreams lists whom this machine asks for prefixes, and for what: to one that is left out they are given back.
func (v *values) upstreams(snap *site.Snapshot) {
	for _, u := range snap.Inventory.Upstreams {
		text := "on " + u.Interface.V
		for _, h := range u.Request {
			switch {
			case h.V.Prefix.IsValid():
				text += ", " + h.V.Prefix.String()
			case h.V.Length > 0:
				text += fmt.Sprintf(", a /%d", h.V.Length)
			default:
				text += ", any prefix"
			}
		}
		for _, x := range []struct {
			is   bool
			text string
		}{
			{u.Address.V, "an address"},
			{u.RapidCommit.Set() && !u.RapidCommit.V, "no rapid commit"},
			{u.DUID.Set(), "DUID " + u.DUID.V.String()},
			{u.Release.V, "given back at the end"},
			{len(u.Hooks.V) > 0, "hooks " + strings.Join(u.Hooks.V, " ")},
		} {
			if x.is {
				text += ", " + x.text
			}
		}
		v.add("upstreams."+u.Name, text)
	}
}

// machine lists what this machine itself has of prefixes, and who is told of them.
func (v *values) machine(snap *site.Snapshot) {
	for _, a := range snap.AnyIP {
		text := "kept at the end"
		if !a.Keep {
			text = "while bootd runs"
		}
		for _, l := range a.Neighbours {
			text += ", neighbour " + l.Name
		}
		v.add("anyip."+a.Wanted, text)
	}
	for _, f := range snap.Followers {
		text := f.Wanted
		for _, part := range []string{f.File, f.Template, strings.Join(f.Command, " ")} {
			if part != "" {
				text += ", " + part
			}
		}
		v.add("follow."+f.Name, text)
	}
}

// records are what stands at a name, as the inventory writes it.
func records(n *site.Name) string {
	var out []string
	for _, a := range n.A {
		out = append(out, "a "+a.String())
	}
	for _, a := range n.AAAA {
		out = append(out, "aaaa "+a.String())
	}
	if n.CNAME != "" {
		out = append(out, "cname "+n.CNAME)
	}
	for _, s := range n.SRV {
		out = append(out, fmt.Sprintf("srv %d %d %d %s", s.Priority, s.Weight, s.Port, s.Target))
	}
	for _, p := range n.Within {
		out = append(out, "its hash in "+p.String())
	}
	for _, s := range n.TXT {
		out = append(out, "txt "+strconv.Quote(s))
	}
	return strings.Join(out, ", ")
}

func dns64(d *site.DNS64) string {
	text := d.Prefix.String() + ", exclude " + list(d.Exclude)
	if len(d.Skip) > 0 {
		text += ", skip " + list(d.Skip)
	}
	return text
}

// options lists DHCPv6 options.
func (v *values) options(all []site.Option) {
	for _, o := range all {
		v.add("options."+o.Name, o.String())
	}
}

// written are the addresses that somebody wrote down, by the holder of their card, and the names beside its own, by host.
type written struct {
	snap      *site.Snapshot
	addresses map[string][]netip.Addr
	names     map[string][]string
}

func writtenIn(snap *site.Snapshot) written {
	w := written{snap, map[string][]netip.Addr{}, map[string][]string{}}
	for _, name := range slices.Sorted(maps.Keys(snap.DNS.Names)) {
		host := snap.DNS.Names[name].Host
		w.names[host] = append(w.names[host], name)
	}
	for _, h := range snap.Inventory.Hosts {
		for _, c := range h.NICs {
			for _, a := range c.Addresses {
				holder := h.Name + "/" + c.Name
				w.addresses[holder] = append(w.addresses[holder], a.V)
			}
		}
	}
	return w
}

// text is the addresses of a card on every network that it is served on. Of those that are computed only the place is said: their value
// depends on a secret of the server's.
func (w written) text(n *site.NIC) string {
	mine := w.addresses[n.Holder()]
	var out []string
	for _, net := range w.snap.Networks {
		for _, a := range n.Addresses(net.Name) {
			if slices.Contains(mine, a) || slices.Contains(mine, suffix(a)) {
				out = append(out, a.String())
				continue
			}
			for _, p := range net.Prefixes {
				if p.Contains(a) {
					out = append(out, "computed in "+p.Prefix.String())
				}
			}
		}
	}
	slices.Sort(out)
	return strings.Join(out, ", ")
}

// suffix is how the inventory may write an address: its last 64 bits.
func suffix(a netip.Addr) netip.Addr {
	b := a.As16()
	clear(b[:8])
	return netip.AddrFrom16(b)
}

// network lists what a link is told by router advertisements, DHCPv6 and DNS.
func network(n *site.Network) values {
	var v values
	v.add("interface", n.Interface)
	if len(n.Relays) > 0 {
		v.add("relay", list(n.Relays))
		v.add("relay_from", list(n.RelayFrom))
		if n.RelayHops > 0 {
			v.add("relay_hops", strconv.Itoa(n.RelayHops))
		}
	}
	prefixes := make([]netip.Prefix, len(n.Prefixes))
	for i, p := range n.Prefixes {
		prefixes[i] = p.Prefix
	}
	v.add("prefix", list(prefixes))
	for _, d := range n.Delegate {
		v.add("delegate."+d.Pool.String(), d.String())
	}
	if n.Auto {
		v.add("prefix.auto", "of the interface")
	}
	v.add("domain", n.Domain)
	v.add("nameservers", list(n.Nameservers))
	v.add("search", strings.Join(n.Search, " "))
	v.add("ntp", strings.Join(n.NTP, " "))
	v.add("unknown", n.Unknown)
	v.add("preferred", brief(n.Preferred))
	v.add("valid", brief(n.Valid))
	v.add("t1", brief(n.T1))
	v.add("t2", brief(n.T2))
	for _, o := range n.Pools {
		v.add("pool."+o.Prefix.String(), o.String())
	}
	v.add("information_refresh", brief(n.InformationRefresh))
	v.options(site.Told(nil, n.Options))
	if n.DNS64 != nil {
		v.add("dns64", dns64(n.DNS64))
	}
	v.add("router", map[bool]string{true: "self", false: "other"}[n.RouterSelf])
	ra := n.RA
	for _, f := range []struct {
		key string
		v   any
	}{
		{"managed", ra.Managed},
		{"other", ra.Other},
		{"autonomous", ra.Autonomous},
		{"on_link", ra.OnLink},
		{"min_interval", brief(ra.MinInterval)},
		{"max_interval", brief(ra.MaxInterval)},
		{"lifetime", brief(ra.Lifetime)},
		{"mtu", ra.MTU},
		{"hop_limit", ra.HopLimit},
		{"reachable_time", brief(ra.ReachableTime)},
		{"retrans_timer", brief(ra.RetransTimer)},
		{"preference", ra.Preference},
		{"rdnss_lifetime", brief(ra.RDNSSLifetime)},
		{"dnssl_lifetime", brief(ra.DNSSLLifetime)},
		{"captive_portal", ra.CaptivePortal},
	} {
		v.add("ra."+f.key, fmt.Sprint(f.v))
	}
	for _, p := range ra.Prefixes {
		v.add("ra.prefixes."+p.Prefix.String(), fmt.Sprintf("autonomous %v, on_link %v, preferred %s, valid %s", p.Autonomous, p.OnLink, brief(p.Preferred), brief(p.Valid)))
	}
	for _, r := range ra.Routes {
		v.add("ra.routes."+r.Prefix.String(), fmt.Sprintf("%s, lifetime %s", r.Preference, brief(r.Lifetime)))
	}
	for _, p := range ra.Pref64 {
		v.add("ra.pref64."+p.Prefix.String(), "lifetime "+brief(p.Lifetime))
	}
	return v
}

func list[T fmt.Stringer](all []T) string {
	out := make([]string, len(all))
	for i, x := range all {
		out[i] = x.String()
	}
	return strings.Join(out, " ")
}

func brief(d time.Duration) string {
	switch d {
	case 0:
		return ""
	case site.Infinite:
		return "infinite"
	}
	text := strings.TrimSuffix(d.String(), "m0s")
	if text != d.String() {
		text += "m"
	}
	return strings.Replace(text, "h0m", "h", 1)
}
