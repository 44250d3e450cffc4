package dns

import (
	"context"
	"sync"
	"time"

	"bootd.internal/bootd/reason"
)

// staleAfter is how long clients wait for an upstream when there is an old answer (RFC 8767 section 5).
const staleAfter = 1800 * time.Millisecond

// forwarder asks upstreams for clients. Questions that are the same share one flight; a flight is a goroutine, and the
// flights and everybody who waits for one are counted and bounded.
type forwarder struct {
	ask                    func(context.Context, string, *query) (*answer, reason.Reason, error)
	maxFlights, maxWaiting int
	staleAfter             time.Duration
	crew                   *crew

	mu      sync.Mutex
	flights map[string]*flight
	waiting int
	perPeer map[machine]int
	talks   sync.WaitGroup
}

type flight struct {
	waiters []waiter
	// stale is the answer of old, given after some time; late: it is given at once to whoever still comes.
	stale *answer
	after time.Duration
	late  bool
}

// waiter is a client that waits for a flight. done is called once and must not block.
type waiter struct {
	peer machine
	done func(*answer, reason.Reason, error)
}

func newForwarder(maxFlights, maxWaiting int) *forwarder {
	return &forwarder{
		maxFlights: maxFlights, maxWaiting: maxWaiting, staleAfter: staleAfter,
		flights: map[string]*flight{}, perPeer: map[machine]int{},
	}
}

// join waits for the answer to a question; stale, which may be nil, is what there was before. Any reason but None: the client
// was turned away, done is never called.
func (f *forwarder) join(ctx context.Context, k string, q *query, w waiter, stale *answer, limit int) reason.Reason {
	f.mu.Lock()
	fl, running := f.flights[k]
	if running && fl.late {
		f.mu.Unlock()
		w.done(fl.stale, reason.Stale, nil)
		return reason.None
	}
	defer f.mu.Unlock()
	switch {
	case f.perPeer[w.peer] >= limit:
		return reason.RateLimited
	case f.waiting >= f.maxWaiting, !running && len(f.flights) >= f.maxFlights:
		return reason.Overload
	}
	if !running {
		fl = &flight{stale: stale}
		f.start(ctx, k, q, fl)
	}
	f.perPeer[w.peer]++
	f.waiting++
	fl.waiters = append(fl.waiters, w)
	return reason.None
}

// refresh fetches an answer anew that nobody waits for; clients come first.
func (f *forwarder) refresh(ctx context.Context, k string, q *query) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.flights[k] == nil && len(f.flights) < f.maxFlights/2 {
		f.start(ctx, k, q, &flight{})
	}
}

// start takes off; f.mu is held.
func (f *forwarder) start(ctx context.Context, k string, q *query, fl *flight) {
	f.flights[k], fl.after = fl, f.staleAfter
	f.talks.Add(1)
	f.crew.do(func() {
		defer f.talks.Done()
		f.fly(ctx, k, q, fl)
	})
}

func (f *forwarder) fly(ctx context.Context, k string, q *query, fl *flight) {
	if fl.stale != nil {
		landed := make(chan struct{})
		defer close(landed)
		f.talks.Go(func() { f.fallBack(fl, landed) })
	}
	a, why, err := f.ask(ctx, k, q)
	f.mu.Lock()
	delete(f.flights, k)
	f.mu.Unlock()
	finish(f.leave(fl, true), a, why, err)
}

// fallBack gives the old answer to everybody who waits when the flight takes long.
func (f *forwarder) fallBack(fl *flight, landed <-chan struct{}) {
	t := time.NewTimer(fl.after)
	defer t.Stop()
	select {
	case <-t.C:
		finish(f.leave(fl, false), fl.stale, reason.Stale, nil)
	case <-landed:
	}
}

// leave takes everybody out of a flight; one that has not landed gives its old answer from then on.
func (f *forwarder) leave(fl *flight, landed bool) []waiter {
	f.mu.Lock()
	defer f.mu.Unlock()
	ws := fl.waiters
	fl.waiters, fl.late = nil, !landed
	f.waiting -= len(ws)
	for _, w := range ws {
		if f.perPeer[w.peer]--; f.perPeer[w.peer] == 0 {
			delete(f.perPeer, w.peer)
		}
	}
	return ws
}

func finish(ws []waiter, a *answer, why reason.Reason, err error) {
	for i, w := range ws {
		if i > 0 {
			err = nil // one fault, one line in the log
		}
		w.done(a, why, err)
	}
}
