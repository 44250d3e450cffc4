package dns

import (
	"context"
	"sync"
	"time"

	"bootd.internal/bootd/ingress"
	"bootd.internal/bootd/reason"
)

// staleAfter is how long clients wait for an upstream when there is an old answer (RFC 8767 section 5).
const staleAfter = 1800 * time.Millisecond

// forwarder asks upstreams for clients. Questions that are the same share one flight; a flight is an attempt or a
// goroutine, and the flights and everybody who waits for one are counted and bounded.
type forwarder struct {
	ask func(context.Context, string, *query) (*answer, reason.Reason, error)
	// attempt, which may be nil, takes off without a goroutine; false: it cannot. It calls land, and then talks.Done.
	attempt                func(context.Context, string, *query, *flight) bool
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

// waiter is a client that waits for a flight. done is called once and must not block; its answer may leave with those of a batch,
// which may be nil.
type waiter struct {
	peer machine
	done func(*ingress.Batch, *answer, reason.Reason, error)
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
		w.done(nil, fl.stale, reason.Stale, nil)
		return reason.None
	}
	switch {
	case f.perPeer[w.peer] >= limit:
		f.mu.Unlock()
		return reason.RateLimited
	case f.waiting >= f.maxWaiting, !running && len(f.flights) >= f.maxFlights:
		f.mu.Unlock()
		return reason.Overload
	}
	if !running {
		fl = f.add(k, stale)
	}
	f.perPeer[w.peer]++
	f.waiting++
	fl.waiters = append(fl.waiters, w)
	f.mu.Unlock()
	if !running {
		f.start(ctx, k, q, fl)
	}
	return reason.None
}

// refresh fetches an answer anew that nobody waits for; clients come first.
func (f *forwarder) refresh(ctx context.Context, k string, q *query) {
	f.mu.Lock()
	if f.flights[k] != nil || len(f.flights) >= f.maxFlights/2 {
		f.mu.Unlock()
		return
	}
	fl := f.add(k, nil)
	f.mu.Unlock()
	f.start(ctx, k, q, fl)
}

// add makes a flight, which has to start then; f.mu is held.
func (f *forwarder) add(k string, stale *answer) *flight {
	fl := &flight{stale: stale, after: f.staleAfter}
	f.flights[k] = fl
	f.talks.Add(1)
	return fl
}

// start takes off.
func (f *forwarder) start(ctx context.Context, k string, q *query, fl *flight) {
	if f.attempt != nil && f.attempt(ctx, k, q, fl) {
		return
	}
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
	f.land(k, fl, nil, a, why, err)
}

// land ends a flight.
func (f *forwarder) land(k string, fl *flight, out *ingress.Batch, a *answer, why reason.Reason, err error) {
	f.mu.Lock()
	delete(f.flights, k)
	ws := f.leave(fl, true)
	f.mu.Unlock()
	finish(ws, out, a, why, err)
}

// fallBack gives the old answer to everybody who waits when the flight takes long.
func (f *forwarder) fallBack(fl *flight, landed <-chan struct{}) {
	t := time.NewTimer(fl.after)
	defer t.Stop()
	select {
	case <-t.C:
		f.mu.Lock()
		ws := f.leave(fl, false)
		f.mu.Unlock()
		finish(ws, nil, fl.stale, reason.Stale, nil)
	case <-landed:
	}
}

// leave takes everybody out of a flight; one that has not landed gives its old answer from then on. f.mu is held.
func (f *forwarder) leave(fl *flight, landed bool) []waiter {
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

func finish(ws []waiter, out *ingress.Batch, a *answer, why reason.Reason, err error) {
	for i, w := range ws {
		if i > 0 {
			err = nil // one fault, one line in the log
		}
		w.done(out, a, why, err)
	}
}
