// Package history keeps what happened: a bounded ring of events in memory, folded into a state per host, and append-only
// segments of NDJSON on disk that are flushed each second and never synced.
//
// The package never stops anybody: a disk that is full or gone is a warning, a reader that is slow is dropped. Deleting
// its files changes no decision.
package history

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"bootd.internal/bootd/timeline"
)

// Config is what a History needs. Zero sizes take the defaults.
type Config struct {
	// Dir holds the segments; empty: memory only.
	Dir string
	Now func() time.Time
	Log *slog.Logger
	// Ring is how many events are kept in memory, default 8192.
	Ring int
	// SegmentSize is how many octets a segment takes before the next is begun, default 4 MiB.
	SegmentSize int64
	// Segments is how many are kept, default 8.
	Segments int
	// FlushEvery is the time between two writes, default 1 s.
	FlushEvery time.Duration
	// Hosts bounds the states that are kept, default 65536: names come from the inventory, but old ones stay.
	Hosts int
}

// History records events. It is safe for concurrent use.
type History struct {
	cfg   Config
	ready chan struct{}

	mu      sync.Mutex
	ring    []timeline.Event // oldest at head once full
	head    int
	last    uint64
	states  map[string]timeline.HostState
	readers map[*Reader]struct{}
	pending []timeline.Event // not yet written
	skipped int              // never to be written: too many came in one second

	// failures is what hosts did before they failed or got stuck, by number: it stays when the ring has forgotten it.
	failures       []timeline.Event
	pendingFailure []timeline.Event

	disk, failed segments
}

// Open reloads what the segments hold. It never fails: what cannot be read is logged and left.
func Open(cfg Config) *History {
	if cfg.Ring <= 0 {
		cfg.Ring = 8192
	}
	if cfg.SegmentSize <= 0 {
		cfg.SegmentSize = 4 << 20
	}
	if cfg.Segments <= 0 {
		cfg.Segments = 8
	}
	if cfg.FlushEvery <= 0 {
		cfg.FlushEvery = time.Second
	}
	if cfg.Hosts <= 0 {
		cfg.Hosts = 1 << 16
	}
	h := &History{
		cfg: cfg, ready: make(chan struct{}), states: map[string]timeline.HostState{}, readers: map[*Reader]struct{}{},
		disk:   segments{dir: cfg.Dir, kind: "events", max: cfg.SegmentSize, keep: cfg.Segments},
		failed: segments{dir: cfg.Dir, kind: "failures", max: cfg.SegmentSize / 4, keep: cfg.Segments},
	}
	if cfg.Dir != "" {
		if err := errors.Join(h.disk.load(h.reload), h.failed.load(h.reloadFailure)); err != nil {
			cfg.Log.Warn("reading old events failed", "error", err)
		}
		h.pendingFailure = nil
	}
	return h
}

// Record gives each event its number and, where it has none, its time. It never blocks on a disk or a reader.
func (h *History) Record(events ...timeline.Event) {
	if len(events) == 0 {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, e := range events {
		e.Seq = h.last + 1
		if e.Time.IsZero() {
			e.Time = h.cfg.Now()
		}
		if len(e.Detail) > maxDetail {
			e.Detail = e.Detail[:maxDetail]
		}
		h.keep(e)
		switch {
		case h.cfg.Dir == "":
		case len(h.pending) < h.cfg.Ring:
			h.pending = append(h.pending, e)
		default:
			h.skipped++
		}
		for r := range h.readers {
			h.offer(r, e)
		}
	}
}

// reload takes an event from disk; one that does not follow those before it is damage.
func (h *History) reload(e timeline.Event) {
	if e.Seq > h.last && e.Seq < maxSeq {
		h.keep(e)
	}
}

// maxSeq is more events than there will ever be.
const maxSeq = 1 << 62

// maxDetail is the longest Detail in octets.
const maxDetail = 200

// keep puts one numbered event into the ring and the states.
func (h *History) keep(e timeline.Event) {
	h.last = max(h.last, e.Seq)
	if len(h.ring) < h.cfg.Ring {
		h.ring = append(h.ring, e)
	} else {
		h.ring[h.head] = e
		h.head = (h.head + 1) % len(h.ring)
	}
	if e.Host == "" {
		return
	}
	if before, known := h.states[e.Host]; known || len(h.states) < h.cfg.Hosts {
		after := before.Next(e)
		h.states[e.Host] = after
		if e.Kind == timeline.Stuck || after.Phase == timeline.PhaseFailed && before.Phase != timeline.PhaseFailed {
			h.retain(e.Host, before.Boot)
		}
	}
}

// Hosts gives the state of each host that was heard of, as of now.
func (h *History) Hosts() map[string]timeline.HostState {
	now := h.cfg.Now()
	h.mu.Lock()
	out := maps.Clone(h.states)
	h.mu.Unlock()
	for name, s := range out {
		out[name] = s.At(now)
	}
	return out
}

// Query selects events. Zero values select all.
type Query struct {
	// After is the number of the last event that the reader has.
	After uint64
	// Since is the earliest time.
	Since time.Time
	Host  string
	// Only tells the events that are wanted, besides; nil: all of them.
	Only func(timeline.Event) bool
	// Limit keeps the newest so many.
	Limit int
}

func (q Query) matches(e timeline.Event) bool {
	return e.Seq > q.After && !e.Time.Before(q.Since) && (q.Host == "" || q.Host == e.Host) && (q.Only == nil || q.Only(e))
}

// Events gives what the ring still holds of a query, and before it what is kept of failures, oldest first.
func (h *History) Events(q Query) []timeline.Event {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.events(q)
}

// events looks from the newest on and stops at the limit: whoever records waits meanwhile.
func (h *History) events(q Query) []timeline.Event {
	var out []timeline.Event
	more := func() bool { return q.Limit <= 0 || len(out) < q.Limit }
	for i := len(h.ring) - 1; i >= 0 && more(); i-- {
		if e := h.ring[(h.head+i)%len(h.ring)]; q.matches(e) {
			out = append(out, e)
		}
	}
	for i := len(h.failures) - 1; i >= 0 && more(); i-- {
		e := h.failures[i]
		if (len(h.ring) == 0 || e.Seq < h.ring[h.head].Seq) && q.matches(e) {
			out = append(out, e)
		}
	}
	slices.Reverse(out)
	return out
}

// String names the task.
func (h *History) String() string { return "history" }

// Ready is closed at once: events are taken from Open on.
func (h *History) Ready() <-chan struct{} { return h.ready }

// Run flushes until ctx ends, and then once more.
func (h *History) Run(ctx context.Context) error {
	close(h.ready)
	tick := time.NewTicker(h.cfg.FlushEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			h.Flush()
		}
	}
}

// Flush writes what is waiting. A failure is logged once until a write works again.
func (h *History) Flush() {
	h.mu.Lock()
	pending, failures, skipped := h.pending, h.pendingFailure, h.skipped
	h.pending, h.pendingFailure, h.skipped = nil, nil, 0
	h.mu.Unlock()
	if skipped > 0 {
		h.cfg.Log.Warn("events not written: too many at once", "count", skipped)
	}
	if len(pending) == 0 {
		return
	}
	was := h.disk.failed()
	err := h.disk.write(pending)
	if len(failures) > 0 && h.cfg.Dir != "" {
		err = errors.Join(err, h.failed.write(failures))
	}
	switch {
	case err != nil && !was:
		h.cfg.Log.Warn("writing events failed", "dir", h.cfg.Dir, "error", err)
	case err == nil && was:
		h.cfg.Log.Info("writing events works again", "dir", h.cfg.Dir)
	}
}

// Close flushes and closes the segment. Record after it keeps events in memory only.
func (h *History) Close() {
	h.Flush()
	h.disk.close()
	h.failed.close()
}
