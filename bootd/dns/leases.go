package dns

import (
	"context"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"

	"bootd.internal/bootd/lease"
	"bootd.internal/bootd/store"
)

// Leases follows the leases of the store, so that a question for a name costs no walk over all of them. It is a daemon.Task
// and a name.Leases.
type Leases struct {
	store store.Store
	now   func() time.Time
	ready chan struct{}

	mu sync.Mutex
	// byAddr are the bindings in force or once in force, bounded by the store's.
	byAddr   map[netip.Addr]held
	byHolder map[string]map[netip.Addr]bool
}

type held struct {
	holder string
	until  time.Time
}

// NewLeases knows nothing until it runs.
func NewLeases(s store.Store, now func() time.Time) *Leases {
	return &Leases{
		store: s, now: now, ready: make(chan struct{}),
		byAddr: map[netip.Addr]held{}, byHolder: map[string]map[netip.Addr]bool{},
	}
}

// String names the task.
func (l *Leases) String() string { return "names of leases" }

// Ready is closed once all leases are known.
func (l *Leases) Ready() <-chan struct{} { return l.ready }

// Run follows the store until ctx ends.
func (l *Leases) Run(ctx context.Context) error {
	for c := range l.store.Watch(ctx, store.TableLease) {
		if c.Synced {
			close(l.ready)
			continue
		}
		l.take(c)
	}
	return nil
}

func (l *Leases) take(c store.Change) {
	p, err := lease.Prefix(c.Key)
	if err != nil || !p.IsSingleIP() {
		return
	}
	var b lease.Binding
	if c.Value != nil {
		if b, err = lease.Decode(c.Value); err != nil {
			b = lease.Binding{}
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	a := p.Addr()
	if old, ok := l.byAddr[a]; ok && b.State == lease.Bound && b.Holder == old.holder { // renewed, as nearly all are
		l.byAddr[a] = held{old.holder, b.ValidUntil}
		return
	} else if ok {
		delete(l.byAddr, a)
		delete(l.byHolder[old.holder], a)
		if len(l.byHolder[old.holder]) == 0 {
			delete(l.byHolder, old.holder)
		}
	}
	if b.State != lease.Bound {
		return
	}
	l.byAddr[a] = held{b.Holder, b.ValidUntil}
	if l.byHolder[b.Holder] == nil {
		l.byHolder[b.Holder] = map[netip.Addr]bool{}
	}
	l.byHolder[b.Holder][a] = true
}

// Held reports whether a lease of the address is in force.
func (l *Leases) Held(a netip.Addr) bool { return l.Holder(a) != "" }

// Holder is who holds an address, empty: nobody.
func (l *Leases) Holder(a netip.Addr) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	h, ok := l.byAddr[a]
	if !ok || !l.now().Before(h.until) {
		return ""
	}
	return h.holder
}

// Of are the addresses of a holder, in order.
func (l *Leases) Of(holder string) []netip.Addr {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.byHolder[holder]) == 0 {
		return nil
	}
	now := l.now()
	all := slices.SortedFunc(maps.Keys(l.byHolder[holder]), netip.Addr.Compare)
	return slices.DeleteFunc(all, func(a netip.Addr) bool { return !now.Before(l.byAddr[a].until) })
}
