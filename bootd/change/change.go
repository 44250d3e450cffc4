// Package change says what differs between two snapshots: which hosts and networks, in what, and how their rendered texts
// differ.
//
// The package is pure. It shows no secret: it is given templates that mask them.
package change

import (
	"bytes"

	"github.com/rogpeppe/go-internal/diff"

	"bootd.internal/bootd/render"
	"bootd.internal/bootd/site"
)

// Side is one of the two.
type Side struct {
	Snapshot *site.Snapshot
	// Templates mask secrets.
	Templates *render.Set
}

// Report is everything that differs, in the order of the new inventory; what is gone stands last.
type Report struct {
	// Site is what belongs to no network and no host, by key path.
	Site     []Value `json:"site"`
	Networks []Item  `json:"networks"`
	Hosts    []Item  `json:"hosts"`
	// Same is the number of hosts that do not change.
	Same int `json:"same"`
}

// Kind says what became of a host or network.
type Kind string

// The kinds of items.
const (
	Added   Kind = "added"
	Removed Kind = "removed"
	Changed Kind = "changed"
)

// Item is one host or network that differs.
type Item struct {
	Name   string  `json:"name"`
	Kind   Kind    `json:"kind"`
	Values []Value `json:"values,omitempty"`
	// Texts are the rendered texts that differ.
	Texts []Text `json:"texts,omitempty"`
}

// Value is one value before and after; empty: none.
type Value struct {
	Key string `json:"key"`
	Old string `json:"old"`
	New string `json:"new"`
}

// Text is a rendered text that differs.
type Text struct {
	What string `json:"what"`
	// Diff is unified, or empty where nobody asked for it; where a side does not render, its error stands for the text.
	Diff string `json:"diff"`
}

// Compare finds what differs; texts: in rendered texts line by line too, else only that they do. Both sides must have been
// resolved with the same facts.
func Compare(before, after Side, texts bool) Report {
	r := Report{Site: append([]Value{}, differences(general(before.Snapshot), general(after.Snapshot))...), Networks: []Item{}, Hosts: []Item{}}
	r.networks(before.Snapshot, after.Snapshot)
	c := comparison{
		byLine: texts, old: writtenIn(before.Snapshot), now: writtenIn(after.Snapshot),
		before: render.NewBulk(before.Snapshot, before.Templates), after: render.NewBulk(after.Snapshot, after.Templates),
		sides: [2]Side{before, after},
	}
	hosts := after.Snapshot.Hosts
	items := make([]Item, len(hosts))
	render.Each(len(hosts), func(i int) { items[i] = c.host(before.Snapshot, hosts[i]) })
	for _, i := range items {
		if i.Kind == "" {
			r.Same++
		} else {
			r.Hosts = append(r.Hosts, i)
		}
	}
	for _, h := range before.Snapshot.Hosts {
		if _, ok := after.Snapshot.Host(h.Name); !ok {
			r.Hosts = append(r.Hosts, Item{Name: h.Name, Kind: Removed, Values: differences(host(c.old, h), nil)})
		}
	}
	return r
}

func (r *Report) networks(before, after *site.Snapshot) {
	for _, n := range after.Networks {
		was, ok := before.Network(n.Name)
		if !ok {
			r.Networks = append(r.Networks, Item{Name: n.Name, Kind: Added, Values: differences(nil, network(n))})
		} else if v := differences(network(was), network(n)); len(v) > 0 {
			r.Networks = append(r.Networks, Item{Name: n.Name, Kind: Changed, Values: v})
		}
	}
	for _, n := range before.Networks {
		if _, ok := after.Network(n.Name); !ok {
			r.Networks = append(r.Networks, Item{Name: n.Name, Kind: Removed, Values: differences(network(n), nil)})
		}
	}
}

// comparison is both sides with what is asked of them host by host.
type comparison struct {
	byLine        bool
	old, now      written
	before, after *render.Bulk
	sides         [2]Side
}

// host compares one host of the new side with the old one; the Kind of one that does not change is empty.
func (c *comparison) host(before *site.Snapshot, h *site.Host) Item {
	was, ok := before.Host(h.Name)
	if !ok {
		return Item{Name: h.Name, Kind: Added, Values: differences(nil, host(c.now, h))}
	}
	i := Item{Name: h.Name, Values: differences(host(c.old, was), host(c.now, h)), Texts: c.texts(was, h)}
	if len(i.Values)+len(i.Texts) > 0 {
		i.Kind = Changed
	}
	return i
}

// texts renders what a host is installed with, on both sides, and compares.
func (c *comparison) texts(was, is *site.Host) []Text {
	if was.Phone != nil || is.Phone != nil {
		a, b := c.sides[0].phone(was), c.sides[1].phone(is)
		if bytes.Equal(a, b) {
			return nil
		}
		return []Text{c.text("phone", is.Name, a, b)}
	}
	var out []Text
	for _, what := range []struct {
		name string
		of   func(*site.Profile) string
	}{
		{"script", func(p *site.Profile) string { return p.Script }},
		{"answers", func(p *site.Profile) string { return p.Answers }},
	} {
		if is.Profile != nil && was.Profile != nil && what.of(is.Profile) == what.of(was.Profile) && c.after.Alike(is, c.before, was, what.of(is.Profile)) {
			continue
		}
		rendered(c.before, was, what.of, func(a []byte) {
			rendered(c.after, is, what.of, func(b []byte) {
				if bytes.Equal(a, b) {
					return
				}
				out = append(out, c.text(what.name, is.Name, a, b))
			})
		})
	}
	return out
}

// text is two texts that differ, line by line where that is wanted.
func (c *comparison) text(what, host string, a, b []byte) Text {
	var d []byte
	if c.byLine {
		d = diff.Diff("old/"+host+"/"+what, a, "new/"+host+"/"+what, b)
		_, d, _ = bytes.Cut(d, []byte("\n")) // its first line is a command's
	}
	return Text{what, string(d)}
}

// phone renders the file of a phone; nothing for a host that is none.
func (s Side) phone(h *site.Host) []byte {
	if h.Phone == nil {
		return nil
	}
	text, err := s.Templates.Phone(render.Preview(s.Snapshot, h), render.OwnText)
	if err != nil {
		return []byte(err.Error() + "\n")
	}
	return text
}

// rendered gives take a text, or the error that stands for it.
func rendered(all *render.Bulk, h *site.Host, of func(*site.Profile) string, take func([]byte)) {
	if h.Profile == nil || of(h.Profile) == "" {
		take(nil)
		return
	}
	if err := all.Render(h, of(h.Profile), take); err != nil {
		take([]byte(err.Error() + "\n"))
	}
}
