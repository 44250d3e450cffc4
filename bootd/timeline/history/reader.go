package history

import (
	"sync"

	"bootd.internal/bootd/timeline"
)

// readerBuffer is how many events a reader may be behind.
const readerBuffer = 512

// Reader follows the history. A reader that falls behind by more than its buffer is dropped: its channel is closed and
// Dropped says so.
type Reader struct {
	h *History
	q Query
	c chan timeline.Event

	mu      sync.Mutex
	dropped bool
	closed  bool
}

// Follow gives the events that match so far, and a reader for those to come; none is lost or doubled in between.
func (h *History) Follow(q Query) ([]timeline.Event, *Reader) {
	h.mu.Lock()
	defer h.mu.Unlock()
	past := h.events(q)
	q.Limit = 0
	r := &Reader{h: h, q: q, c: make(chan timeline.Event, readerBuffer)}
	h.readers[r] = struct{}{}
	return past, r
}

// Events is closed when the reader is closed or was dropped.
func (r *Reader) Events() <-chan timeline.Event { return r.c }

// Dropped reports whether the reader was too slow.
func (r *Reader) Dropped() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.dropped
}

// Close ends the reader; it may be called twice.
func (r *Reader) Close() {
	r.h.mu.Lock()
	defer r.h.mu.Unlock()
	r.h.end(r, false)
}

// offer hands one event to a reader without waiting for it.
func (h *History) offer(r *Reader, e timeline.Event) {
	if !r.q.matches(e) {
		return
	}
	select {
	case r.c <- e:
	default:
		h.end(r, true)
	}
}

// end is called with the history locked, so nobody sends meanwhile.
func (h *History) end(r *Reader, dropped bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return
	}
	r.closed, r.dropped = true, dropped
	delete(h.readers, r)
	close(r.c)
}
