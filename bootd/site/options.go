package site

import (
	"net/netip"
	"slices"

	"bootd.internal/bootd/inventory"
	"bootd.internal/bootd/option"
)

// Option is one DHCPv6 option that clients are told, and where it was set.
type Option struct {
	inventory.Option
	Origin Origin
}

// Codes of the options that other keys give a value, too.
const (
	codeSNTP     = 31
	codeTimezone = 42
	codeNTP      = 56
	codePortal   = 103
)

// Told is what a client on a network is told: the host's own options, which may be none, over the network's.
func Told(narrow, wide []Option) []Option {
	out := make([]Option, 0, len(narrow)+len(wide))
	for _, all := range [][]Option{narrow, wide} {
		for _, o := range all {
			if !slices.ContainsFunc(out, func(x Option) bool { return x.Code == o.Code }) {
				out = append(out, o)
			}
		}
	}
	return slices.DeleteFunc(out, func(o Option) bool { return o.Never })
}

// Find gives the option that a client is told under a code: the host's own, else the network's.
func Find(narrow, wide []Option, code uint16) (Option, bool) {
	for _, all := range [][]Option{narrow, wide} {
		for _, o := range all {
			if o.Code == code {
				return o, !o.Never
			}
		}
	}
	return Option{}, false
}

// own are the options that a host and its profile say. Hosts that say none themselves share their profile's.
func (r *resolver) own(h *Host, in *inventory.Host) []Option {
	sections := []*inventory.Settings{&in.Settings}
	if h.Profile != nil {
		sections = append(sections, &r.profiles[h.Profile.Name].Settings)
	}
	if len(in.Options) > 0 || in.NTP.Set() || in.Timezone.Set() {
		return r.options(sections...)
	}
	if h.Profile == nil {
		return nil
	}
	all, ok := r.told[h.Profile.Name]
	if !ok {
		all = r.options(sections[1])
		r.told[h.Profile.Name] = all
	}
	return all
}

// options are those of one section and of wider ones, the narrower winning, in order of code. What a section's ntp and
// timezone say is told as options, too, unless the same section writes the option itself.
func (r *resolver) options(layers ...*inventory.Settings) []Option {
	var out []Option
	add := func(o Option) {
		if !slices.ContainsFunc(out, func(x Option) bool { return x.Code == o.Code }) {
			out = append(out, o)
		}
	}
	for _, s := range layers {
		for _, o := range s.Options {
			add(Option{Option: o.V, Origin: Origin{o.From, o.Pos}})
		}
		if v := s.NTP; v.Set() {
			at := Origin{v.From, v.Pos}
			add(Option{derived(codeNTP, option.PutNTP(v.V)), at})
			add(Option{derived(codeSNTP, option.PutAddrs(addresses(v.V))), at})
		}
		if v := s.Timezone; v.Set() && v.From != inventory.BuiltinFrom {
			add(Option{derived(codeTimezone, []byte(v.V)), Origin{v.From, v.Pos}})
		}
	}
	slices.SortFunc(out, byCode)
	return out
}

// portal tells the captive portal of a network's router advertisements by DHCPv6, too (RFC 8910), unless the network writes
// the option itself.
func portal(all []Option, in *inventory.Network) []Option {
	v := in.RA.CaptivePortal
	if !v.Set() || slices.ContainsFunc(in.Options, func(o inventory.Value[inventory.Option]) bool { return o.V.Code == codePortal }) {
		return all
	}
	all = slices.DeleteFunc(all, func(o Option) bool { return o.Code == codePortal })
	all = append(all, Option{derived(codePortal, []byte(v.V)), Origin{v.From, v.Pos}})
	slices.SortFunc(all, byCode)
	return all
}

func byCode(a, b Option) int { return int(a.Code) - int(b.Code) }

// derived is an option that another key gives its value; without one it takes away what a wider section says.
func derived(code uint16, data []byte) inventory.Option {
	d, _ := option.ByCode(code)
	o := inventory.Option{Code: code, Name: d.Name, Never: len(data) == 0}
	if !o.Never {
		o.Data = [][]byte{data}
	}
	return o
}

// addresses are the servers that have no name: SNTP knows no other (RFC 4075).
func addresses(servers []string) []netip.Addr {
	var out []netip.Addr
	for _, s := range servers {
		if a, err := netip.ParseAddr(s); err == nil {
			out = append(out, a)
		}
	}
	return out
}
