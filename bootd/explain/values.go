package explain

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"bootd.internal/bootd/inventory"
	"bootd.internal/bootd/site"
)

// values lists what the cascade gave a host, by key.
func values(file string, h *site.Host) []Value {
	keys := make([]string, 0, len(h.Origins))
	for k := range h.Origins {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	out := make([]Value, 0, len(keys))
	for _, k := range keys {
		text, ok := valueOf(h, k)
		if !ok {
			continue
		}
		o := h.Origins[k]
		v := Value{Key: k, Value: text, From: o.From}
		if o.Pos.Line > 0 {
			v.Place = linePlace(file, o.Pos)
		}
		out = append(out, v)
	}
	return out
}

// valueOf writes one value for people; password hashes are not shown.
func valueOf(h *site.Host, key string) (string, bool) {
	if name, ok := strings.CutPrefix(key, "vars."); ok {
		v, ok := h.Vars[name]
		return fmt.Sprint(v), ok
	}
	switch key {
	case "profile":
		if h.Profile == nil {
			return "", false
		}
		return h.Profile.Name, true
	case "disk":
		return h.Disk.String(), h.HasDisk
	case "users":
		names := make([]string, len(h.Users))
		for i, u := range h.Users {
			names[i] = u.Name
		}
		return strings.Join(names, ", "), true
	case "packages":
		return strings.Join(h.Packages, ", "), true
	case "ntp":
		return strings.Join(h.NTP, ", "), true
	case "protected":
		return strconv.FormatBool(h.Protected), true
	case "uuid":
		return h.UUID.String(), h.UUID.Identifies()
	case "duid":
		all := make([]string, len(h.DUIDs))
		for i, d := range h.DUIDs {
			all[i] = d.String()
		}
		return strings.Join(all, ", "), true
	case "port":
		return h.Port.String(), true
	case "preferred":
		return lasting(h.Preferred), true
	case "valid":
		return lasting(h.Valid), true
	}
	text, ok := map[string]string{
		"domain": h.Domain, "locale": h.Locale, "language": h.Language, "country": h.Country, "keyboard": h.Keyboard,
		"timezone": h.Timezone, "addressing": h.Addressing, "kernel_args": h.KernelArgs, "console": h.Console,
		"loader": h.Loader, "serial": h.Serial,
	}[key]
	return text, ok
}

func lasting(d time.Duration) string {
	if d == inventory.Infinite {
		return "infinite"
	}
	return d.String()
}

func linePlace(file string, at inventory.Pos) string {
	return fmt.Sprintf("%s:%d:%d", file, at.Line, at.Col)
}

// network lists what a network gives a host that says nothing of it itself, each with where that comes from; named: the network
// is one of several.
func (x explainer) network(h *site.Host, n *site.Network, named bool) {
	all := map[string]string{"nameservers": joined(n.Nameservers), "search": strings.Join(n.Search, ", ")}
	for key, d := range map[string]time.Duration{"preferred": n.Preferred, "valid": n.Valid, "t1": n.T1, "t2": n.T2} {
		if _, own := h.Origins[key]; d > 0 && !own {
			all[key] = lasting(d)
		}
	}
	for key, text := range all {
		o, written := n.Origins[key]
		v := Value{Key: key, Value: text, From: o.From}
		if !written {
			v.From = map[string]string{"nameservers": "bootd itself", "search": "domain"}[key]
		}
		if named {
			v.Key += " on " + n.Name
		}
		if o.Pos.Line > 0 {
			v.Place = linePlace(x.Snapshot.Inventory.File, o.Pos)
		}
		x.r.Values = append(x.r.Values, v)
	}
}

func joined(addrs []netip.Addr) string {
	all := make([]string, len(addrs))
	for i, a := range addrs {
		all[i] = a.String()
	}
	return strings.Join(all, ", ")
}

// options lists what DHCPv6 clients on the networks of a host are told besides what bootd makes itself. Where it may appear on
// several, each is named.
func (x explainer) options(h *site.Host, only *site.NIC) {
	var nets []*site.Network
	for _, nic := range h.NICs {
		if only != nil && nic != only {
			continue
		}
		for _, n := range x.networks(nic) {
			if !slices.Contains(nets, n) {
				nets = append(nets, n)
			}
		}
	}
	for _, n := range nets {
		x.network(h, n, len(nets) > 1)
		for _, o := range site.Told(h.Options, n.Options) {
			v := Value{Key: "options." + o.Name, Value: o.String(), From: o.Origin.From}
			if len(nets) > 1 {
				v.Key += " on " + n.Name
			}
			if o.Origin.Pos.Line > 0 {
				v.Place = linePlace(x.Snapshot.Inventory.File, o.Origin.Pos)
			}
			x.r.Values = append(x.r.Values, v)
		}
	}
	slices.SortStableFunc(x.r.Values, func(a, b Value) int { return strings.Compare(a.Key, b.Key) })
}
