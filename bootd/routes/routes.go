// Package routes leads the prefixes that bootd delegated to the machines that have them: it keeps the kernel's routes in step
// with the leases (RFC 8415 section 6.3; RFC 8987 where relays route), and what is left of a pool unreachable, so that packets to it
// do not go back and forth over the default route.
//
// The package never decides who gets a prefix, and never touches a route that another program wrote.
package routes

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"slices"
	"sync"
	"syscall"
	"time"

	"bootd.internal/bootd/lease"
	"bootd.internal/bootd/netif"
	"bootd.internal/bootd/reason"
	"bootd.internal/bootd/site"
	"bootd.internal/bootd/store"
	"bootd.internal/bootd/timeline"
)

// Kernel is where routes are kept; netif.Routes is one.
type Kernel interface {
	List() ([]netif.Route, error)
	Put(r netif.Route, replace bool) error
	Delete(netif.Route) error
}

// Observer is told of what changed, and of what could not be done.
type Observer interface{ Observe(timeline.Observation) }

// Config is what a Task needs.
type Config struct {
	Snapshot func() *site.Snapshot
	// Changed gets a value after each new snapshot and is closed when ctx ends.
	Changed  func(ctx context.Context) <-chan struct{}
	Store    store.Store
	Kernel   Kernel
	Observer Observer
	Now      func() time.Time
}

// lookEvery is how often the kernel is looked at without a reason: a link that was down for a moment has lost its routes.
const lookEvery = 30 * time.Second

// Task keeps the routes.
type Task struct {
	cfg   Config
	ready chan struct{}
	// news gets a value when a lease changed.
	news chan struct{}

	mu     sync.Mutex
	leases map[netip.Prefix]lease.Binding

	// any: some route of ours may be in the kernel.
	any bool
	// failed is what was complained of last.
	failed string
}

// New makes the task.
func New(cfg Config) *Task {
	return &Task{cfg: cfg, ready: make(chan struct{}), news: make(chan struct{}, 1), leases: map[netip.Prefix]lease.Binding{}, any: true}
}

// String names the task.
func (t *Task) String() string { return "routes" }

// Ready is closed once the routes are what the leases say, or it was said why not.
func (t *Task) Ready() <-chan struct{} { return t.ready }

// Run follows leases and snapshots until ctx ends. The routes stay then: their holders go on using them.
func (t *Task) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	var follow sync.WaitGroup
	defer follow.Wait()
	defer cancel()
	known := make(chan struct{})
	follow.Go(func() {
		for c := range t.cfg.Store.Watch(ctx, store.TableLease) {
			if c.Synced {
				close(known)
				continue
			}
			t.take(c)
		}
	})
	changed := t.cfg.Changed(ctx)
	select {
	case <-known:
	case <-ctx.Done():
		return nil
	}
	again := time.NewTimer(t.reconcile())
	defer again.Stop()
	close(t.ready)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		case <-t.news:
		case <-again.C:
		}
		again.Reset(t.reconcile())
	}
}

// take notes a lease of a prefix.
func (t *Task) take(c store.Change) {
	p, err := lease.Prefix(c.Key)
	if err != nil || p.IsSingleIP() {
		return
	}
	b, err := lease.Decode(c.Value)
	t.mu.Lock()
	if c.Value == nil || err != nil {
		delete(t.leases, p)
	} else {
		t.leases[p] = b
	}
	t.mu.Unlock()
	select {
	case t.news <- struct{}{}:
	default:
	}
}

// Want is the routes that there should be, and when the first of them ends; zero: none ends.
func Want(snap *site.Snapshot, leases map[netip.Prefix]lease.Binding, now time.Time) (want []netif.Route, until time.Time) {
	links := map[string]*site.Link{}
	for i := range snap.TransitLinks {
		links[snap.TransitLinks[i].Name] = &snap.TransitLinks[i]
	}
	for _, n := range snap.Networks {
		if n.Link == nil || !n.Link.Up {
			continue
		}
		links[n.Link.Name] = n.Link
		for _, d := range n.Delegate {
			want = append(want, netif.Route{Prefix: d.Pool})
		}
	}
	for p, b := range leases {
		l := links[b.Link]
		if b.State != lease.Bound || !b.ValidUntil.After(now) || !b.Via.IsValid() || l == nil {
			continue
		}
		want = append(want, netif.Route{Prefix: p, Via: b.Via, Link: l.Index})
		if until.IsZero() || b.ValidUntil.Before(until) {
			until = b.ValidUntil
		}
	}
	slices.SortFunc(want, netif.Route.Compare)
	return slices.Compact(want), until
}

// reconcile makes the kernel's routes what they should be, and says how long that is good for.
func (t *Task) reconcile() time.Duration {
	now := t.cfg.Now()
	t.mu.Lock()
	want, until := Want(t.cfg.Snapshot(), t.leases, now)
	t.mu.Unlock()
	wait := lookEvery
	if !until.IsZero() {
		wait = min(wait, max(until.Sub(now), time.Millisecond))
	}
	if len(want) == 0 && !t.any {
		return lookEvery
	}
	changed, err := t.write(want)
	t.any = len(want) > 0 || err != nil
	t.tell(changed, err)
	return wait
}

// write changes what differs. One route that cannot be written does not stop the others.
func (t *Task) write(want []netif.Route) (changed int, err error) {
	have, err := t.cfg.Kernel.List()
	if err != nil {
		return 0, err
	}
	is := make(map[netif.Route]bool, len(have))
	// There is one route to a prefix of each kind: over somebody, or nowhere.
	type place struct {
		prefix netip.Prefix
		leads  bool
	}
	ours := make(map[place]bool, len(have))
	for _, r := range have {
		is[r], ours[place{r.Prefix, r.Via.IsValid()}] = true, true
	}
	keep := make(map[place]bool, len(want))
	var errs []error
	for _, r := range want {
		at := place{r.Prefix, r.Via.IsValid()}
		keep[at] = true
		if is[r] {
			continue
		}
		if err := t.cfg.Kernel.Put(r, ours[at]); err != nil {
			errs = append(errs, err)
			continue
		}
		changed++
	}
	for _, r := range have {
		if keep[place{r.Prefix, r.Via.IsValid()}] {
			continue
		}
		if err := t.cfg.Kernel.Delete(r); err != nil {
			errs = append(errs, err)
			continue
		}
		changed++
	}
	if len(errs) > 1 {
		return changed, fmt.Errorf("%w (and %d more)", errs[0], len(errs)-1)
	}
	return changed, errors.Join(errs...)
}

// tell tells of changes, and once of what cannot be done.
func (t *Task) tell(changed int, err error) {
	o := timeline.Observation{Adapter: t.String(), Message: "Routes", Outcome: reason.Outcome{Reason: reason.Changed}, Count: changed}
	failed := ""
	if err != nil {
		failed = err.Error()
	}
	switch {
	case err != nil && failed != t.failed:
		switch {
		case errors.Is(err, syscall.EPERM):
			err = fmt.Errorf("%w: give bootd CAP_NET_ADMIN (docs/modules/prefix-delegation.md), or let the router of the link do it", err)
		case errors.Is(err, fs.ErrExist):
			err = fmt.Errorf("%w: another program's route is there: remove it, or delegate another pool", err)
		}
		o.Outcome.Reason, o.Err = reason.None, err
		o.Events = []timeline.Event{{Kind: timeline.Warning, Detail: err.Error()}}
	case changed == 0:
		t.failed = failed
		return
	}
	t.failed = failed
	t.cfg.Observer.Observe(o)
}
