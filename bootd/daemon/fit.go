package daemon

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"bootd.internal/bootd/dhcp6"
	"bootd.internal/bootd/option"
	"bootd.internal/bootd/site"
)

// checkOptions finds DHCPv6 options that do not fit into one reply together: the last ones would be left out of it.
func (p *Plan) checkOptions() []Fault {
	found := map[string]*Fault{}
	look := func(n *site.Network, h *site.Host, own []site.Option, host string) {
		left := dhcp6.LeftOut(p.Snapshot, n, h)
		if len(left) == 0 {
			return
		}
		names := make([]string, 0, len(left))
		for _, code := range left {
			name := fmt.Sprint(code)
			if d, ok := option.ByCode(code); ok {
				name = d.Name
			}
			if !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
		f := Fault{Text: fmt.Sprintf("a reply on %s holds 1024 octets of options: %s would be left out of it where a client asks for all", n.Name, strings.Join(names, ", "))}
		if o, ok := site.Find(own, n.Options, left[0]); ok { // the place to shorten
			f.File, f.Line, f.Column, f.Path = p.Inventory.File, o.Origin.Pos.Line, o.Origin.Pos.Col, o.Origin.From+".options."+o.Name
		} else {
			f.Text = "options: " + f.Text
		}
		key := f.Path + f.Text
		if found[key] == nil {
			found[key] = &f
		}
		if host != "" && !slices.Contains(found[key].Hosts, host) {
			found[key].Hosts = append(found[key].Hosts, host)
		}
	}
	for _, n := range p.Snapshot.Networks {
		if len(n.Options) > 0 {
			look(n, nil, nil, "")
		}
	}
	for _, h := range p.Snapshot.Hosts {
		if len(h.Options) == 0 {
			continue
		}
		for _, nic := range h.NICs {
			for _, n := range p.Snapshot.Networks {
				if nic.Network == nil || nic.Network == n {
					look(n, h, h.Options, h.Name)
				}
			}
		}
	}
	out := make([]Fault, 0, len(found))
	for _, f := range found {
		if len(f.Hosts) > 0 {
			f.Text += ", such as " + few(f.Hosts)
		}
		out = append(out, *f)
	}
	slices.SortFunc(out, func(a, b Fault) int { return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Text, b.Text)) })
	return out
}
