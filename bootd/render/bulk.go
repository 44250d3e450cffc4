package render

import (
	"maps"
	"reflect"
	"runtime"
	"sync"

	"bootd.internal/bootd/site"
)

// Bulk renders what all hosts of a snapshot would be served (Preview). It gives octet for octet what Set.Render gives, and
// much sooner: where hosts share a profile and a network, the parts of a template that look only at values which all of
// them share are executed once. It is safe for concurrent use.
type Bulk struct {
	set   *Set
	data  []Data
	index map[*site.Host]int
	group []*group // by host
}

// group is hosts that are much alike.
type group struct {
	// open and closed are the templates with what is shared filled in, for texts without secrets and for answers; nil: the
	// group is too small, or a secret is missing.
	open, closed *Set
}

// worthwhile is the least number of hosts for which filling in costs less than it saves.
const worthwhile = 32

// NewBulk looks at all hosts of a snapshot.
func NewBulk(snap *site.Snapshot, s *Set) *Bulk {
	b := &Bulk{
		set: s, data: make([]Data, len(snap.Hosts)), index: make(map[*site.Host]int, len(snap.Hosts)),
		group: make([]*group, len(snap.Hosts)),
	}
	Each(len(snap.Hosts), func(i int) { b.data[i] = Preview(snap, snap.Hosts[i]) })
	type key struct {
		profile *site.Profile
		network string
	}
	members := map[key][]int{}
	for i, h := range snap.Hosts {
		b.index[h] = i
		k := key{h.Profile, b.data[i].Network}
		members[k] = append(members[k], i)
	}
	for _, m := range members {
		g := &group{}
		if len(m) >= worthwhile {
			g = b.alike(m)
		}
		for _, i := range m {
			b.group[i] = g
		}
	}
	return b
}

// alike fills in what some hosts share.
func (b *Bulk) alike(members []int) *group {
	first := b.data[members[0]]
	v := varying{}
	for _, i := range members[1:] {
		v.look(&first, &b.data[i])
	}
	g := &group{}
	if d, err := b.set.reveal("", first); err == nil {
		g.open = b.set.filled(d, v)
	}
	if d, err := b.set.reveal(first.Answers, first); err == nil && first.Answers != "" {
		g.closed = b.set.filled(d, v)
	}
	return g
}

// Render gives the text of a template for a host to take, which must not keep it. The error is an *Error.
func (b *Bulk) Render(h *site.Host, name string, take func([]byte)) error {
	i := b.index[h]
	d := b.data[i]
	s := b.group[i].open
	switch {
	case d.Answers != "" && name == d.Answers:
		s = b.group[i].closed
	case mayHoldSecrets(name):
		s = nil
	}
	if s != nil && s.render(name, d, take) == nil {
		return nil
	}
	return b.set.render(name, d, take) // and what it says about a fault is told by the template as it was written
}

// Alike reports whether a template is known to give the same text for a host as for a host of another Bulk: both are given
// the same Data, and both Sets were made of the same files. It may say no where it would. Secrets must be masked.
func (b *Bulk) Alike(h *site.Host, o *Bulk, other *site.Host, name string) bool {
	if !b.set.masked || !o.set.masked || !reflect.DeepEqual(b.data[b.index[h]], o.data[o.index[other]]) {
		return false
	}
	return maps.Equal(b.set.files(name), o.set.files(name))
}

// files are all that were read so far, those of a template among them. Nobody may change them.
func (s *Set) files(name string) map[string]string {
	_, _ = s.load(name, nil) // why it cannot be read or parsed is one of them, or follows from them
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.known) != len(s.sources) {
		s.known = maps.Clone(s.sources)
	}
	return s.known
}

// Each calls do for the numbers below n, on all processors at once.
func Each(n int, do func(i int)) {
	workers := min(runtime.GOMAXPROCS(0), 8, n)
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := w; i < n; i += workers {
				do(i)
			}
		})
	}
	wg.Wait()
}

// varying are the values of Data that are not the same for all hosts of a group, as templates name them: a field, one of
// the free values (Vars.NAME), or a part of the disk (Disk.NAME).
type varying map[string]bool

// look notes in what another host differs from the first.
func (v varying) look(first, other *Data) {
	v.fields("", reflect.ValueOf(first).Elem(), reflect.ValueOf(other).Elem())
	if first.Disk != other.Disk {
		v.fields("Disk.", reflect.ValueOf(first.Disk), reflect.ValueOf(other.Disk))
	}
	v.vars(first.Vars, other.Vars)
	v.vars(other.Vars, first.Vars)
}

// fields compares two structures field by field; prefix stands before their names.
func (v varying) fields(prefix string, a, b reflect.Value) {
	for i := range a.NumField() {
		f := a.Type().Field(i)
		if !f.IsExported() || v[prefix+f.Name] {
			continue
		}
		x, y := a.Field(i), b.Field(i)
		if f.Type.Kind() == reflect.String { // most are, and this is much faster
			if x.String() != y.String() {
				v[prefix+f.Name] = true
			}
		} else if !reflect.DeepEqual(x.Interface(), y.Interface()) {
			v[prefix+f.Name] = true
		}
	}
}

func (v varying) vars(a, b map[string]any) {
	for k, x := range a {
		if at := "Vars." + k; !v[at] {
			if y, ok := b[k]; !ok || !reflect.DeepEqual(x, y) {
				v[at] = true
			}
		}
	}
}
