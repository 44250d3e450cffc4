package dns

import (
	"context"
	"net/netip"
	"sync"

	"bootd.internal/bootd/reason"
)

// forwarder asks upstreams for clients. Questions that are the same share one flight; a flight is a goroutine with one
// socket, and the flights and everybody who waits for one are counted and bounded.
type forwarder struct {
	ask                                func(context.Context, *query) (*answer, reason.Reason, error)
	maxFlights, maxWaiting, maxPerPeer int

	mu      sync.Mutex
	flights map[key][]waiter
	waiting int
	perPeer map[netip.Addr]int
	talks   sync.WaitGroup
}

// waiter is a client that waits for a flight. done is called once and must not block.
type waiter struct {
	peer netip.Addr
	done func(*answer, reason.Reason, error)
}

func newForwarder(maxFlights, maxWaiting, maxPerPeer int) *forwarder {
	return &forwarder{
		maxFlights: maxFlights, maxWaiting: maxWaiting, maxPerPeer: maxPerPeer,
		flights: map[key][]waiter{}, perPeer: map[netip.Addr]int{},
	}
}

// join waits for the answer to a question. Any reason but None: it was turned away, done is never called.
func (f *forwarder) join(ctx context.Context, k key, q *query, w waiter) reason.Reason {
	f.mu.Lock()
	defer f.mu.Unlock()
	ws, running := f.flights[k]
	switch {
	case f.perPeer[w.peer] >= f.maxPerPeer:
		return reason.RateLimited
	case f.waiting >= f.maxWaiting, !running && len(f.flights) >= f.maxFlights:
		return reason.Overload
	}
	f.perPeer[w.peer]++
	f.waiting++
	f.flights[k] = append(ws, w)
	if !running {
		f.talks.Add(1)
		go f.fly(ctx, k, q)
	}
	return reason.None
}

func (f *forwarder) fly(ctx context.Context, k key, q *query) {
	defer f.talks.Done()
	a, why, err := f.ask(ctx, q)
	f.mu.Lock()
	ws := f.flights[k]
	delete(f.flights, k)
	f.waiting -= len(ws)
	for _, w := range ws {
		if f.perPeer[w.peer]--; f.perPeer[w.peer] == 0 {
			delete(f.perPeer, w.peer)
		}
	}
	f.mu.Unlock()
	for i, w := range ws {
		if i > 0 {
			err = nil // one fault, one line in the log
		}
		w.done(a, why, err)
	}
}
