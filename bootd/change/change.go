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
	Networks []Item `json:"networks"`
	Hosts    []Item `json:"hosts"`
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
	// Diff is unified; where a side does not render, its error stands for the text.
	Diff string `json:"diff"`
}

// Compare finds what differs. Both sides must have been resolved with the same facts.
func Compare(before, after Side) Report {
	r := Report{Networks: []Item{}, Hosts: []Item{}}
	old, now := writtenIn(before.Snapshot), writtenIn(after.Snapshot)
	for _, n := range after.Snapshot.Networks {
		was, ok := before.Snapshot.Network(n.Name)
		if !ok {
			r.Networks = append(r.Networks, Item{Name: n.Name, Kind: Added, Values: differences(nil, network(n))})
		} else if v := differences(network(was), network(n)); len(v) > 0 {
			r.Networks = append(r.Networks, Item{Name: n.Name, Kind: Changed, Values: v})
		}
	}
	for _, n := range before.Snapshot.Networks {
		if _, ok := after.Snapshot.Network(n.Name); !ok {
			r.Networks = append(r.Networks, Item{Name: n.Name, Kind: Removed, Values: differences(network(n), nil)})
		}
	}
	for _, h := range after.Snapshot.Hosts {
		was, ok := before.Snapshot.Host(h.Name)
		if !ok {
			r.Hosts = append(r.Hosts, Item{Name: h.Name, Kind: Added, Values: differences(nil, host(now, h))})
			continue
		}
		i := Item{Name: h.Name, Kind: Changed, Values: differences(host(old, was), host(now, h)), Texts: texts(before, after, was, h)}
		if len(i.Values)+len(i.Texts) > 0 {
			r.Hosts = append(r.Hosts, i)
		} else {
			r.Same++
		}
	}
	for _, h := range before.Snapshot.Hosts {
		if _, ok := after.Snapshot.Host(h.Name); !ok {
			r.Hosts = append(r.Hosts, Item{Name: h.Name, Kind: Removed, Values: differences(host(old, h), nil)})
		}
	}
	return r
}

// texts renders what a host is installed with, on both sides, and compares.
func texts(before, after Side, was, is *site.Host) []Text {
	var out []Text
	for _, what := range []struct {
		name string
		of   func(*site.Profile) string
	}{
		{"script", func(p *site.Profile) string { return p.Script }},
		{"answers", func(p *site.Profile) string { return p.Answers }},
	} {
		a, b := rendered(before, was, what.of), rendered(after, is, what.of)
		if d := diff.Diff("old/"+is.Name+"/"+what.name, a, "new/"+is.Name+"/"+what.name, b); len(d) > 0 {
			_, d, _ = bytes.Cut(d, []byte("\n")) // its first line is a command's
			out = append(out, Text{what.name, string(d)})
		}
	}
	return out
}

func rendered(s Side, h *site.Host, of func(*site.Profile) string) []byte {
	if h.Profile == nil || of(h.Profile) == "" {
		return nil
	}
	text, err := s.Templates.Render(of(h.Profile), render.Preview(s.Snapshot, h))
	if err != nil {
		return []byte(err.Error() + "\n")
	}
	return text
}
