package memory

import (
	"context"
	"iter"
	"sync"

	"bootd.internal/bootd/store"
)

// MaxLag is how many changes are kept for a watcher that does not take them. One that is further behind is shown the
// difference to the present instead of each commit: a consumer that stands still must not hold memory without bound.
const MaxLag = 1 << 14

// Feed hands commits to watchers. NewFeed makes one.
type Feed struct {
	mu       sync.Mutex
	state    *State
	watchers map[*watcher]struct{}
}

// watcher is what waits for one consumer. The feed's mu guards it.
type watcher struct {
	table store.Table
	base  *State // the state before queue
	queue []store.Change
	lost  bool          // the queue was too long and is gone
	wake  chan struct{} // something waits
}

// NewFeed returns a feed whose watchers begin with s.
func NewFeed(s *State) *Feed {
	return &Feed{state: s, watchers: make(map[*watcher]struct{})}
}

// Publish tells the watchers of the changes that led to s. Calls must come in the order of commits.
func (f *Feed) Publish(s *State, ops []store.Op) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.state = s
	for w := range f.watchers {
		if w.add(ops) {
			select {
			case w.wake <- struct{}{}:
			default:
			}
		}
	}
}

// add queues what ops change in the watcher's table and reports whether they do.
func (w *watcher) add(ops []store.Op) bool {
	found := false
	for _, op := range ops {
		if op.Key.Table != w.table {
			continue
		}
		found = true
		switch {
		case w.lost:
		case len(w.queue) == MaxLag:
			w.queue, w.lost = nil, true
		default:
			w.queue = append(w.queue, store.Change{Key: op.Key, Value: op.Value})
		}
	}
	return found
}

// Watch is store.Store's Watch. It also ends when closed is closed; a nil closed never is.
func (f *Feed) Watch(ctx context.Context, closed <-chan struct{}, t store.Table) iter.Seq[store.Change] {
	return func(yield func(store.Change) bool) {
		w := &watcher{table: t, wake: make(chan struct{}, 1)}
		f.mu.Lock()
		w.base = f.state
		f.watchers[w] = struct{}{}
		f.mu.Unlock()
		defer func() {
			f.mu.Lock()
			defer f.mu.Unlock()
			delete(f.watchers, w)
		}()
		for k, v := range w.base.Scan(t, "") {
			if ctx.Err() != nil || !yield(store.Change{Key: k, Value: v}) {
				return
			}
		}
		if ctx.Err() != nil || !yield(store.Change{Synced: true}) {
			return
		}
		var queue []store.Change
		for {
			select {
			case <-w.wake:
			case <-ctx.Done():
				return
			case <-closed:
				return
			}
			clear(queue)
			queue = f.take(w, queue[:0])
			for _, c := range queue {
				if ctx.Err() != nil || !yield(c) {
					return
				}
			}
		}
	}
}

// take empties the watcher's queue, which goes on with an empty one.
func (f *Feed) take(w *watcher, empty []store.Change) []store.Change {
	f.mu.Lock()
	base, queue, lost := w.base, w.queue, w.lost
	w.base, w.queue, w.lost = f.state, empty, false
	present := f.state
	f.mu.Unlock()
	if lost {
		return base.diff(present, w.table)
	}
	return queue
}
