package dhcp6

import (
	"bytes"
	"fmt"
	"sync"
	"time"

	"bootd.internal/bootd/decide/address"
	"bootd.internal/bootd/ident"
	"bootd.internal/bootd/timeline"
)

// maxTwins bounds the pairs that were told of; a flood of invented ones is not told of, and twinLasts is how long one is
// remembered when there are as many.
const (
	maxTwins  = 256
	twinLasts = 24 * time.Hour
)

// twins are the pairs of cards that were told of because they share a lease.
type twins struct {
	mu   sync.Mutex
	told map[[2]ident.MAC]time.Time
}

// tell adds two warnings to a decision, one for each card, the first time that a pair is seen: to the protocol they are one client
// (RFC 8415 section 12), so that both get one address, and each takes the lease of the other.
func (w *twins) tell(d *address.Decision, client ident.DUID, now time.Time) {
	if d.Heard == nil {
		return
	}
	pair := [2]ident.MAC{d.Heard.MAC, d.Twin}
	if bytes.Compare(pair[0][:], pair[1][:]) > 0 {
		pair[0], pair[1] = pair[1], pair[0]
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, known := w.told[pair]; known {
		return
	}
	if len(w.told) >= maxTwins {
		for p, at := range w.told {
			if now.Sub(at) > twinLasts {
				delete(w.told, p)
			}
		}
		if len(w.told) >= maxTwins {
			return
		}
	}
	if w.told == nil {
		w.told = map[[2]ident.MAC]time.Time{}
	}
	w.told[pair] = now
	for i, m := range pair {
		d.Events = append(d.Events, timeline.Event{
			Kind: timeline.Warning, Network: d.Network, MAC: m, Detail: fmt.Sprintf(
				"%s and %s say the same DUID and IAID: one client, one address; if they are two machines, give one another DUID than %s",
				m, pair[1-i], client), // the DUID last: what is too long is cut
		})
	}
}
