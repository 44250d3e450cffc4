// Package netiftest stands in for the kernel in tests: fakes of what netif offers, as structs of functions, and private
// network namespaces for the tests that want the real thing.
//
// The package never touches a link of the network namespace that the tests were started in.
package netiftest

import (
	"context"
	"net/netip"
	"slices"
	"sync"

	"bootd.internal/bootd/ident"
	"bootd.internal/bootd/netif"
	"bootd.internal/bootd/site"
)

// Watch is a netif.Watch made of functions; what is nil has nothing to say.
type Watch struct {
	StateFunc   func() netif.State
	ChangedFunc func(context.Context) <-chan struct{}
}

// State calls StateFunc.
func (w Watch) State() netif.State {
	if w.StateFunc == nil {
		return netif.State{}
	}
	return w.StateFunc()
}

// Links are those of State.
func (w Watch) Links() []site.Link { return w.State().Links }

// Changed calls ChangedFunc; without one nothing ever changes.
func (w Watch) Changed(ctx context.Context) <-chan struct{} {
	if w.ChangedFunc == nil {
		ch := make(chan struct{})
		context.AfterFunc(ctx, func() { close(ch) })
		return ch
	}
	return w.ChangedFunc(ctx)
}

// Links gives a Watch over a list of links and the function that replaces the list.
func Links(links ...site.Link) (Watch, func(...site.Link)) {
	var mu sync.Mutex
	current := links
	subscribers := make(map[chan struct{}]struct{})
	w := Watch{
		StateFunc: func() netif.State {
			mu.Lock()
			defer mu.Unlock()
			return netif.State{Links: slices.Clone(current)}
		},
		ChangedFunc: func(ctx context.Context) <-chan struct{} {
			ch := make(chan struct{}, 1)
			mu.Lock()
			defer mu.Unlock()
			subscribers[ch] = struct{}{}
			context.AfterFunc(ctx, func() {
				mu.Lock()
				defer mu.Unlock()
				delete(subscribers, ch)
				close(ch)
			})
			return ch
		},
	}
	return w, func(next ...site.Link) {
		mu.Lock()
		defer mu.Unlock()
		current = next
		for ch := range subscribers {
			select {
			case ch <- struct{}{}:
			default:
			}
		}
	}
}

// Neighbours is a netif.Neighbours made of a function; nil knows nobody.
type Neighbours struct {
	MACFunc func(ifindex int, a netip.Addr) (ident.MAC, bool)
}

// MAC calls MACFunc.
func (n Neighbours) MAC(ifindex int, a netip.Addr) (ident.MAC, bool) {
	if n.MACFunc == nil {
		return ident.MAC{}, false
	}
	return n.MACFunc(ifindex, a)
}

// Known is MAC.
func (n Neighbours) Known(ifindex int, a netip.Addr) (ident.MAC, bool) { return n.MAC(ifindex, a) }

// Table gives Neighbours that know the given addresses on every link.
func Table(known map[netip.Addr]ident.MAC) Neighbours {
	return Neighbours{MACFunc: func(_ int, a netip.Addr) (ident.MAC, bool) {
		m, ok := known[a.WithZone("")]
		return m, ok
	}}
}

// Discovery is a netif.Discovery made of functions, all needed.
type Discovery struct {
	ReadFunc  func([]byte, func([]byte, ident.MAC)) error
	WriteFunc func([]byte, ident.MAC) error
	CloseFunc func() error
}

// ReadAll calls ReadFunc.
func (d Discovery) ReadAll(b []byte, each func([]byte, ident.MAC)) error { return d.ReadFunc(b, each) }

// Write calls WriteFunc.
func (d Discovery) Write(b []byte, to ident.MAC) error { return d.WriteFunc(b, to) }

// Close calls CloseFunc.
func (d Discovery) Close() error { return d.CloseFunc() }
