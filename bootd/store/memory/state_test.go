package memory

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"bootd.internal/bootd/store"
)

func key(id string) store.Key { return store.Key{Table: store.TableLease, ID: id} }

// checkTree wants search order and heap order, and returns the depth.
func checkTree(t *testing.T, n *node) int {
	t.Helper()
	if n == nil {
		return 0
	}
	for _, child := range []*node{n.left, n.right} {
		if child != nil && child.prio > n.prio {
			t.Errorf("%s has priority %d above its parent's %d", child.id, child.prio, n.prio)
		}
	}
	return 1 + max(checkTree(t, n.left), checkTree(t, n.right))
}

// TestOldStatesStay changes a state many times and looks at all that it once was.
func TestOldStatesStay(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	model := map[string]string{}
	s := &State{}
	var states []*State
	var models []map[string]string
	for seq := uint64(1); seq <= 2000; seq++ {
		id := fmt.Sprint(r.IntN(300))
		op := store.Op{Key: key(id)}
		if r.IntN(3) == 0 {
			delete(model, id)
		} else {
			op.Value = fmt.Append(nil, seq)
			model[id] = string(op.Value)
		}
		s = s.Apply(seq, []store.Op{op})
		if seq%100 == 0 {
			states, models = append(states, s), append(models, maps.Clone(model))
		}
	}
	for i, s := range states {
		got, ids, octets := map[string]string{}, []string(nil), 0
		for k, v := range s.All() {
			got[k.ID] = string(v)
			ids = append(ids, k.ID)
			octets += len(k.ID) + len(v)
		}
		if d := cmp.Diff(models[i], got); d != "" {
			t.Errorf("state %d (-want +got):\n%s", s.Seq(), d)
		}
		if !slices.IsSorted(ids) || s.Len() != len(ids) || s.Octets() != int64(octets) {
			t.Errorf("state %d: sorted %v, %d records counted as %d, %d octets as %d",
				s.Seq(), slices.IsSorted(ids), len(ids), s.Len(), octets, s.Octets())
		}
		checkTree(t, s.tables[store.TableLease].root)
	}
}

// TestLoader wants a loaded state to be one that Apply could have made.
func TestLoader(t *testing.T) {
	var l Loader
	s := &State{}
	for i := range 5000 {
		op := store.Op{Key: key(fmt.Sprint(i * 7919 % 5000)), Value: []byte("v")}
		if i%5 == 4 {
			op.Value = nil
		}
		l.Apply(op)
		s = s.Apply(1, []store.Op{op})
	}
	loaded := l.State(1)
	if d := cmp.Diff(maps.Collect(s.All()), maps.Collect(loaded.All())); d != "" {
		t.Errorf("loaded state (-want +got):\n%s", d)
	}
	if loaded.Len() != s.Len() || loaded.Octets() != s.Octets() {
		t.Errorf("loaded %d records, %d octets, want %d, %d", loaded.Len(), loaded.Octets(), s.Len(), s.Octets())
	}
	if depth := checkTree(t, loaded.tables[store.TableLease].root); depth > 60 {
		t.Errorf("tree of %d records is %d deep", loaded.Len(), depth)
	}
}

// TestSlowWatcher stands still for more commits than a watcher is kept: it must be brought to the present.
func TestSlowWatcher(t *testing.T) {
	e := New()
	update := func(ops ...store.Op) {
		t.Helper()
		if err := e.Update(t.Context(), func(store.View) []store.Op { return ops }); err != nil {
			t.Fatal(err)
		}
	}
	for _, id := range []string{"b", "d", "f", "h"} {
		update(store.Op{Key: key(id), Value: []byte("0")})
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var got []string
	for c := range e.Watch(ctx, store.TableLease) {
		got = append(got, fmt.Sprintf("%s=%s %v", c.Key.ID, c.Value, c.Value == nil))
		switch {
		case c.Synced:
			update(store.Op{Key: key("b")}, store.Op{Key: key("a"), Value: []byte("1")}, store.Op{Key: key("z"), Value: []byte("1")})
			for i := range MaxLag + 1 {
				update(store.Op{Key: key("d"), Value: fmt.Append(nil, i)})
			}
			update(store.Op{Key: key("h")}, store.Op{Key: key("g"), Value: []byte("1")})
		case c.Key.ID == "z":
			update(store.Op{Key: key("end"), Value: []byte("1")})
		case c.Key.ID == "end":
			cancel()
		}
	}
	want := []string{
		"b=0 false", "d=0 false", "f=0 false", "h=0 false", "= true",
		"a=1 false", "b= true", fmt.Sprintf("d=%d false", MaxLag), "g=1 false", "h= true", "z=1 false", "end=1 false",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("watch (-want +got):\n%s", d)
	}
}

// TestLosesOnlySoOften makes a transaction lose each of its first runs: the one after them must run alone.
func TestLosesOnlySoOften(t *testing.T) {
	e := New()
	runs := 0
	err := e.Update(t.Context(), func(v store.View) []store.Op {
		v.Get(key("a"))
		if runs++; runs <= OptimisticRuns {
			rival := func(store.View) []store.Op { return []store.Op{{Key: key("a"), Value: []byte("r")}} }
			if err := e.Update(t.Context(), rival); err != nil {
				t.Error(err)
			}
		} else if e.mu.TryLock() {
			e.mu.Unlock()
			t.Error("others can commit during the last run")
		}
		return []store.Op{{Key: key("a"), Value: []byte("x")}}
	})
	if err != nil || runs != OptimisticRuns+1 {
		t.Errorf("update after %d runs: %v, want %d runs", runs, err, OptimisticRuns+1)
	}
}
