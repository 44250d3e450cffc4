package memory

import (
	"bytes"
	"iter"
	"maps"
	"slices"

	"bootd.internal/bootd/store"
)

// tables is the size of an array indexed by store.Table.
const tables = int(store.TablePhone) + 1

// table is one table of a State.
type table struct {
	root *node
	// deleted is the last transaction that removed a record. A miss may be owed to it, so who relies on a miss
	// waits for that transaction.
	deleted uint64
	count   int
	octets  int64
}

// State is all records at one moment. It never changes; the zero State is empty.
type State struct {
	seq    uint64
	tables [tables]table
}

// Seq is the number of the last transaction that the state holds.
func (s *State) Seq() uint64 { return s.seq }

// Get returns the record of k, nil when there is none.
func (s *State) Get(k store.Key) *Record {
	if !k.Table.Valid() {
		return nil
	}
	return s.tables[k.Table].root.find(k.ID)
}

// Len counts the records of all tables.
func (s *State) Len() int {
	n := 0
	for i := range s.tables {
		n += s.tables[i].count
	}
	return n
}

// Octets is the size of all IDs and values together.
func (s *State) Octets() int64 {
	var n int64
	for i := range s.tables {
		n += s.tables[i].octets
	}
	return n
}

// Scan walks one table as store.Store's Scan does. The walk sees this state whatever is committed meanwhile.
func (s *State) Scan(t store.Table, prefix string) iter.Seq2[store.Key, []byte] {
	return func(yield func(store.Key, []byte) bool) {
		if !t.Valid() {
			return
		}
		s.tables[t].root.walk(prefix, func(id string, r *Record) bool {
			return yield(store.Key{Table: t, ID: id}, r.Value)
		})
	}
}

// All walks every record, table by table, in ascending order of ID.
func (s *State) All() iter.Seq2[store.Key, []byte] {
	return func(yield func(store.Key, []byte) bool) {
		for t := range store.Table(tables) {
			for k, v := range s.Scan(t, "") {
				if !yield(k, v) {
					return
				}
			}
		}
	}
}

// Apply returns the state after transaction seq made the changes of ops, which Own must have passed.
func (s *State) Apply(seq uint64, ops []store.Op) *State {
	next := *s
	next.seq = seq
	for _, op := range ops {
		t := &next.tables[op.Key.Table]
		old := t.root.find(op.Key.ID)
		if old != nil {
			t.count--
			t.octets -= int64(len(op.Key.ID) + len(old.Value))
		}
		if op.Value == nil {
			if old != nil {
				t.root, t.deleted = t.root.without(op.Key.ID), seq
			}
			continue
		}
		t.root = t.root.with(op.Key.ID, &Record{Value: op.Value, Seq: seq})
		t.count++
		t.octets += int64(len(op.Key.ID) + len(op.Value))
	}
	return &next
}

// Own checks ops and copies their values, so that a caller who uses its buffers again cannot change a record.
func Own(ops []store.Op) ([]store.Op, error) {
	own := make([]store.Op, len(ops))
	for i, op := range ops {
		if err := op.Check(); err != nil {
			return nil, err
		}
		own[i] = store.Op{Key: op.Key, Value: bytes.Clone(op.Value)}
	}
	return own, nil
}

// diff lists what turns table t of s into that of next.
func (s *State) diff(next *State, t store.Table) []store.Change {
	var out []store.Change
	after, stop := iter.Pull2(next.Scan(t, ""))
	defer stop()
	k, v, ok := after()
	for old := range s.Scan(t, "") {
		for ok && k.ID < old.ID {
			out = append(out, store.Change{Key: k, Value: v})
			k, v, ok = after()
		}
		if !ok || k != old {
			out = append(out, store.Change{Key: old})
			continue
		}
		if s.Get(k) != next.Get(k) {
			out = append(out, store.Change{Key: k, Value: v})
		}
		k, v, ok = after()
	}
	for ; ok; k, v, ok = after() {
		out = append(out, store.Change{Key: k, Value: v})
	}
	return out
}

// Loader gathers records one by one and makes a State of them; an engine fills it from its disk. The zero Loader is
// empty.
type Loader struct {
	tables [tables]map[string][]byte
}

// Apply makes the change of op, which must be one that Op.Check accepts. It copies the value.
func (l *Loader) Apply(op store.Op) {
	m := l.tables[op.Key.Table]
	if op.Value == nil {
		delete(m, op.Key.ID)
		return
	}
	if m == nil {
		m = make(map[string][]byte)
		l.tables[op.Key.Table] = m
	}
	m[op.Key.ID] = bytes.Clone(op.Value)
}

// State returns what was gathered, as the outcome of transaction seq.
func (l *Loader) State(seq uint64) *State {
	s := &State{seq: seq}
	for i, m := range l.tables {
		t := &s.tables[i]
		t.root = build(slices.Sorted(maps.Keys(m)), func(id string) *Record {
			t.octets += int64(len(id) + len(m[id]))
			return &Record{Value: m[id], Seq: seq}
		})
		t.count = len(m)
	}
	return s
}
