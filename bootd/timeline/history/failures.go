package history

import (
	"cmp"
	"slices"
	"time"

	"bootd.internal/bootd/timeline"
)

const (
	// maxFailure bounds the events that are kept of one failure.
	maxFailure = 64
	// failureShare is how many events of failures are kept, as a share of the ring.
	failureShare = 2
)

// retain keeps what the ring holds of the boot in which a host failed: a failure is looked for days later, when thousands
// of leases have pushed its events out of the ring. boot is when that boot began, zero: unknown.
func (h *History) retain(host string, boot time.Time) {
	var found []timeline.Event
	for i := len(h.ring) - 1; i >= 0 && len(found) < maxFailure; i-- {
		e := h.ring[(h.head+i)%len(h.ring)]
		if e.Time.Before(boot) && !boot.IsZero() && e.Host == host {
			break
		}
		if e.Host == host {
			found = append(found, e)
		}
	}
	slices.Reverse(found)
	for _, e := range found {
		h.keepFailure(e)
	}
}

func (h *History) keepFailure(e timeline.Event) {
	i, known := slices.BinarySearchFunc(h.failures, e.Seq, func(a timeline.Event, seq uint64) int { return cmp.Compare(a.Seq, seq) })
	if known {
		return
	}
	h.failures = slices.Insert(h.failures, i, e)
	if most := max(h.cfg.Ring/failureShare, 1); len(h.failures) > most {
		h.failures = slices.Delete(h.failures, 0, len(h.failures)-most)
	}
	if h.cfg.Dir != "" && len(h.pendingFailure) < h.cfg.Ring {
		h.pendingFailure = append(h.pendingFailure, e)
	}
}

// reloadFailure takes an event from disk.
func (h *History) reloadFailure(e timeline.Event) {
	if e.Seq < maxSeq && e.Host != "" {
		h.keepFailure(e)
		h.last = max(h.last, e.Seq)
	}
}
