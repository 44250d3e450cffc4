package render

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"bootd.internal/bootd/site"
)

// Problem is one template fault and the hosts that suffer.
type Problem struct {
	Err *Error
	// Hosts in the order of the inventory; empty: every host.
	Hosts []string
}

// Error names the first hosts and counts the rest.
func (p Problem) Error() string {
	const most = 3
	names := strings.Join(p.Hosts[:min(most, len(p.Hosts))], ", ")
	if more := len(p.Hosts) - most; more > 0 {
		names += fmt.Sprintf(" and %d more", more)
	}
	return p.Err.text(names)
}

// Text is one text as a host would be served it.
type Text struct {
	// Name is the template that it came from.
	Name string
	// Body must not be kept.
	Body []byte
}

// Finding is a fault of a rendered text.
type Finding struct {
	// Name is the template that the text came from, Line counts from 1 in the text; 0: the text as a whole.
	Name string
	Line int
	Msg  string
}

// Inspect looks at a host's rendered texts. What it is given for installing is empty where the host has no profile, or
// where one of the two did not render.
type Inspect func(script, answers Text, others []Text) []Finding

// Check renders every template of every host, with placeholders for tokens, and reports what fails and what inspect finds
// (nil: nothing is looked for), one Problem for each fault whatever the number of hosts. An address of ours that is not
// there yet is no fault.
func Check(snap *site.Snapshot, s *Set, inspect Inspect) []Problem {
	faults := make([][]*Error, len(snap.Hosts))
	bulk := NewBulk(snap, s)
	c := checker{snap: snap, set: s, traced: s.traced(), inspect: inspect}
	Each(len(snap.Hosts), func(i int) {
		h := snap.Hosts[i]
		faults[i] = c.host(h, func(name string, take func([]byte)) error { return bulk.Render(h, name, take) })
	})
	return gather(snap.Hosts, faults)
}

// CheckHost is Check for one host.
func CheckHost(snap *site.Snapshot, s *Set, h *site.Host, inspect Inspect) []Problem {
	c := checker{snap: snap, set: s, traced: s.traced(), inspect: inspect}
	d := Preview(snap, h)
	return gather([]*site.Host{h}, [][]*Error{c.host(h, func(name string, take func([]byte)) error { return s.render(name, d, take) })})
}

type checker struct {
	snap        *site.Snapshot
	set, traced *Set
	inspect     Inspect
}

// host renders and inspects what a host may be given.
func (c checker) host(h *site.Host, render func(string, func([]byte)) error) []*Error {
	if h.Phone != nil {
		return c.phone(h)
	}
	var errs []*Error
	try := func(name string, take func([]byte)) {
		if err := render(name, take); err != nil {
			errs = append(errs, located(err, name, h.Name))
		}
	}
	look := func(script, answers Text, others []Text) {
		if c.inspect != nil {
			errs = append(errs, c.located(h, c.inspect(script, answers, others))...)
		}
	}
	for _, name := range []string{LocalScript, ErrorScript, AutoexecScript, DiscoverScript} {
		try(name, func(b []byte) { look(Text{}, Text{}, []Text{{name, b}}) })
	}
	p := h.Profile
	switch {
	case p == nil || p.Script == "":
	case p.Answers == "":
		try(p.Script, func(b []byte) { look(Text{p.Script, b}, Text{}, nil) })
	default: // both texts are looked at together, while both are there: none is copied
		answers := false
		try(p.Script, func(script []byte) {
			answers = true
			try(p.Answers, func(b []byte) { look(Text{p.Script, script}, Text{p.Answers, b}, nil) })
		})
		if !answers {
			try(p.Answers, func([]byte) {})
		}
	}
	return errs
}

// located turns lines of rendered texts into lines of templates.
func (c checker) located(h *site.Host, found []Finding) []*Error {
	if len(found) == 0 {
		return nil
	}
	d := Preview(c.snap, h)
	var errs []*Error
	places := map[string][]Place{}
	for _, f := range found {
		e := &Error{Template: f.Name, Host: d.Host, Msg: c.set.mask(f.Msg)}
		if f.Line > 0 {
			if _, ok := places[f.Name]; !ok {
				places[f.Name] = c.traced.places(f.Name, d, c.set)
			}
			if all := places[f.Name]; f.Line <= len(all) && all[f.Line-1].Line > 0 {
				e.Template, e.Line = all[f.Line-1].Template, all[f.Line-1].Line
				if e.Template != f.Name {
					e.Msg += fmt.Sprintf(" (it is part of %s)", f.Name)
				}
			} else {
				e.Msg = fmt.Sprintf("line %d, as rendered: %s", f.Line, e.Msg)
			}
		}
		errs = append(errs, e)
	}
	return errs
}

// Preview is what the templates of a host would see on its own network; where we have no address yet, one that nobody has
// stands for ours.
func Preview(snap *site.Snapshot, h *site.Host) Data {
	var nic *site.NIC
	var n *site.Network
	if len(h.NICs) > 0 {
		nic = h.NICs[0]
		n = nic.Network
	}
	if n == nil && len(snap.Networks) > 0 {
		n = snap.Networks[0]
	}
	if n == nil || !n.Own.IsValid() {
		var stand site.Network
		if n != nil {
			stand = *n
		}
		stand.Own = netip.MustParseAddr("2001:db8::1")
		if len(stand.Nameservers) == 0 {
			stand.Nameservers = []netip.Addr{stand.Own}
		}
		n = &stand
	}
	d := Of(snap, h, nic, n)
	if d.Phone != nil {
		d.Phone.URL = snap.PhoneURL(h, n, true)
	}
	d.Reason = "nothing, this is a preview"
	return d
}

func gather(hosts []*site.Host, faults [][]*Error) []Problem {
	type key struct {
		template string
		line     int
		what     string
	}
	found := map[key]*Problem{}
	var order []key
	for i, errs := range faults {
		for _, e := range errs {
			k := key{e.Template, e.Line, e.Key + "\x00" + e.Msg}
			if e.Key != "" {
				k.what = e.Key
			}
			p, ok := found[k]
			if !ok {
				p = &Problem{Err: e}
				found[k], order = p, append(order, k)
			}
			if name := hosts[i].Name; !slices.Contains(p.Hosts[max(0, len(p.Hosts)-1):], name) {
				p.Hosts = append(p.Hosts, name)
			}
		}
	}
	problems := make([]Problem, 0, len(order))
	for _, k := range order {
		problems = append(problems, *found[k])
	}
	slices.SortStableFunc(problems, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Err.Template, b.Err.Template), cmp.Compare(a.Err.Line, b.Err.Line))
	})
	return problems
}
