package memory

import "bootd.internal/bootd/store"

// Tx is the View of one run of a transaction: it reads one State and remembers what it read.
type Tx struct {
	state *State
	reads []read
	need  uint64
}

// read is one precondition: the key still has this very record, or none if nil.
type read struct {
	key store.Key
	rec *Record
}

// Begin starts a transaction over s.
func Begin(s *State) *Tx { return &Tx{state: s} }

// Get returns a record and makes it a precondition.
func (t *Tx) Get(k store.Key) ([]byte, bool) {
	rec := t.state.Get(k)
	t.reads = append(t.reads, read{k, rec})
	if rec != nil {
		t.need = max(t.need, rec.Seq)
		return rec.Value, true
	}
	if k.Table.Valid() {
		t.need = max(t.need, t.state.tables[k.Table].deleted)
	}
	return nil, false
}

// Peek returns a record and promises nothing.
func (t *Tx) Peek(k store.Key) ([]byte, bool) { return peek(t.state, k) }

// Need is the last transaction whose outcome Get has shown: once it is durable, all that Get showed is.
func (t *Tx) Need() uint64 { return t.need }

// Holds reports whether everything that Get showed is the same in s.
func (t *Tx) Holds(s *State) bool {
	if s == t.state {
		return true
	}
	for _, r := range t.reads {
		if s.Get(r.key) != r.rec {
			return false
		}
	}
	return true
}

// Reader is the View of a read without a transaction.
type Reader struct{ State *State }

// Get returns a record.
func (r Reader) Get(k store.Key) ([]byte, bool) { return peek(r.State, k) }

// Peek returns a record.
func (r Reader) Peek(k store.Key) ([]byte, bool) { return peek(r.State, k) }

func peek(s *State, k store.Key) ([]byte, bool) {
	if rec := s.Get(k); rec != nil {
		return rec.Value, true
	}
	return nil, false
}
