package memory

import (
	"context"
	"iter"
	"sync/atomic"

	"bootd.internal/bootd/store"
)

// maxLag is how many transactions a slow watcher may be behind before it is shown the difference to the present
// instead of each commit: a consumer that stands still must not hold memory without bound.
const maxLag = 1 << 16

// Feed hands commits to watchers. It is a linked list that only watchers keep alive: without them each entry is
// garbage once the next one is there.
type Feed struct {
	tail atomic.Pointer[entry]
}

// entry is a state and the changes that led to it.
type entry struct {
	state *State
	ops   []store.Op
	next  *entry        // valid once ready is closed
	ready chan struct{} // closed when next is there
}

// NewFeed returns a feed whose watchers begin with s.
func NewFeed(s *State) *Feed {
	f := &Feed{}
	f.tail.Store(&entry{state: s, ready: make(chan struct{})})
	return f
}

// Publish tells the watchers of the changes that led to s. Calls must not overlap.
func (f *Feed) Publish(s *State, ops []store.Op) {
	last, next := f.tail.Load(), &entry{state: s, ops: ops, ready: make(chan struct{})}
	last.next = next
	f.tail.Store(next)
	close(last.ready)
}

// Watch is store.Store's Watch. It also ends when closed is closed; a nil closed never is.
func (f *Feed) Watch(ctx context.Context, closed <-chan struct{}, t store.Table) iter.Seq[store.Change] {
	return func(yield func(store.Change) bool) {
		at := f.tail.Load()
		for k, v := range at.state.Scan(t, "") {
			if ctx.Err() != nil || !yield(store.Change{Key: k, Value: v}) {
				return
			}
		}
		if !yield(store.Change{Synced: true}) {
			return
		}
		for {
			select {
			case <-at.ready:
			case <-ctx.Done():
				return
			case <-closed:
				return
			}
			var changes []store.Change
			at, changes = f.step(at, t)
			for _, c := range changes {
				if ctx.Err() != nil || !yield(c) {
					return
				}
			}
		}
	}
}

// step moves one commit on from at, or to the present when at is too far behind.
func (f *Feed) step(at *entry, t store.Table) (*entry, []store.Change) {
	if now := f.tail.Load(); now.state.seq-at.state.seq > maxLag {
		return now, at.state.diff(now.state, t)
	}
	var out []store.Change
	for _, op := range at.next.ops {
		if op.Key.Table == t {
			out = append(out, store.Change{Key: op.Key, Value: op.Value})
		}
	}
	return at.next, out
}
