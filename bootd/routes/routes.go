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
	// touched are the leases that changed since the routes were last looked at.
	touched map[netip.Prefix]bool

	// has is what the kernel had when it was last looked at, and what was written since; nil: it was not looked at.
	has map[place]netif.Route
	// until is when the first of the leases ends.
	until time.Time
	// failed is what was complained of last.
	failed string
}

// New makes the task.
func New(cfg Config) *Task {
	return &Task{
		cfg: cfg, ready: make(chan struct{}), news: make(chan struct{}, 1),
		leases: map[netip.Prefix]lease.Binding{}, touched: map[netip.Prefix]bool{},
	}
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
		case <-t.news:
			again.Reset(t.follow())
			continue
		case <-changed:
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
	t.touched[p] = true
	t.mu.Unlock()
	select {
	case t.news <- struct{}{}:
	default:
	}
}

// place is where one route may be: there is one to a prefix of each kind, over somebody, or nowhere.
type place struct {
	prefix netip.Prefix
	leads  bool
}

func placeOf(r netif.Route) place { return place{r.Prefix, r.Via.IsValid()} }

// linksOf are the links that a prefix may be reached over, by name.
func linksOf(snap *site.Snapshot) map[string]*site.Link {
	links := map[string]*site.Link{}
	for i := range snap.TransitLinks {
		links[snap.TransitLinks[i].Name] = &snap.TransitLinks[i]
	}
	for _, n := range snap.Networks {
		if n.Link != nil && n.Link.Up {
			links[n.Link.Name] = n.Link
		}
	}
	return links
}

// over is the route to a lease's holder, if there should be one.
func over(links map[string]*site.Link, p netip.Prefix, b lease.Binding, now time.Time) (netif.Route, bool) {
	l := links[b.Link]
	if b.State != lease.Bound || !b.ValidUntil.After(now) || !b.Via.IsValid() || l == nil {
		return netif.Route{}, false
	}
	return netif.Route{Prefix: p, Via: b.Via, Link: l.Index}, true
}

// Want is the routes that there should be, and when the first of them ends; zero: none ends.
func Want(snap *site.Snapshot, leases map[netip.Prefix]lease.Binding, now time.Time) (want []netif.Route, until time.Time) {
	for _, p := range snap.Inventory.Serve.Unreachable {
		want = append(want, netif.Route{Prefix: p.V})
	}
	for _, n := range snap.Networks {
		if n.Link == nil || !n.Link.Up {
			continue
		}
		for _, d := range n.Delegate {
			want = append(want, netif.Route{Prefix: d.Pool})
		}
	}
	// What nothing is made of leads nowhere: over the default route it would come back.
	for _, all := range snap.Delegated {
		for _, p := range all {
			want = append(want, netif.Route{Prefix: p.Prefix})
		}
	}
	links := linksOf(snap)
	for p, b := range leases {
		r, ok := over(links, p, b, now)
		if !ok {
			continue
		}
		want = append(want, r)
		until = earlier(until, b.ValidUntil)
	}
	slices.SortFunc(want, netif.Route.Compare)
	return slices.Compact(want), until
}

// earlier is the first of two times of which the zero one is never.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || b.Before(a) {
		return b
	}
	return a
}

// reconcile makes the kernel's routes what they should be, and says how long that is good for.
func (t *Task) reconcile() time.Duration {
	now := t.cfg.Now()
	t.mu.Lock()
	want, until := Want(t.cfg.Snapshot(), t.leases, now)
	clear(t.touched)
	t.mu.Unlock()
	t.until = until
	if len(want) == 0 && t.has != nil && len(t.has) == 0 {
		return lookEvery
	}
	changed, err := t.write(want)
	t.tell(changed, err)
	if err == nil {
		t.failed = ""
	}
	return t.wait(now)
}

// follow does what changed leases ask for, without looking at what the kernel has: a rack that boots is hundreds of changes a
// second, beside thousands of routes that stay.
func (t *Task) follow() time.Duration {
	if t.has == nil {
		return t.reconcile()
	}
	now := t.cfg.Now()
	links := linksOf(t.cfg.Snapshot())
	var errs failures
	changed := 0
	t.mu.Lock()
	news := make(map[netip.Prefix]lease.Binding, len(t.touched))
	for p := range t.touched {
		news[p] = t.leases[p]
	}
	clear(t.touched)
	t.mu.Unlock()
	for p, b := range news {
		r, ok := over(links, p, b, now)
		was, had := t.has[place{p, true}]
		switch {
		case ok:
			t.until = earlier(t.until, b.ValidUntil)
			if had && was == r {
				continue
			}
			changed += errs.count(t.put(r))
		case had:
			changed += errs.count(t.remove(was))
		}
	}
	t.tell(changed, errs.err())
	return t.wait(now)
}

// wait is how long until a lease ends, or the kernel is looked at anyway.
func (t *Task) wait(now time.Time) time.Duration {
	if t.until.IsZero() {
		return lookEvery
	}
	return min(lookEvery, max(t.until.Sub(now), time.Millisecond))
}

// write changes what differs. One route that cannot be written does not stop the others.
func (t *Task) write(want []netif.Route) (changed int, err error) {
	have, err := t.cfg.Kernel.List()
	if err != nil {
		return 0, err
	}
	t.has = make(map[place]netif.Route, len(have))
	is := make(map[netif.Route]bool, len(have))
	for _, r := range have {
		t.has[placeOf(r)], is[r] = r, true
	}
	keep := make(map[place]bool, len(want))
	var errs failures
	for _, r := range want {
		keep[placeOf(r)] = true
		if !is[r] {
			changed += errs.count(t.put(r))
		}
	}
	for _, r := range have {
		if !keep[placeOf(r)] {
			changed += errs.count(t.remove(r))
		}
	}
	return changed, errs.err()
}

func (t *Task) put(r netif.Route) error {
	_, replace := t.has[placeOf(r)]
	err := t.cfg.Kernel.Put(r, replace)
	if err == nil {
		t.has[placeOf(r)] = r
	}
	return err
}

func (t *Task) remove(r netif.Route) error {
	err := t.cfg.Kernel.Delete(r)
	if err == nil {
		delete(t.has, placeOf(r))
	}
	return err
}

// failures are what could not be written.
type failures struct {
	first error
	more  int
}

// count is how many routes changed: one, or none where err says why.
func (f *failures) count(err error) int {
	switch {
	case err == nil:
		return 1
	case f.first == nil:
		f.first = err
	default:
		f.more++
	}
	return 0
}

func (f *failures) err() error {
	if f.more > 0 {
		return fmt.Errorf("%w (and %d more)", f.first, f.more)
	}
	return f.first
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
		return
	}
	if err != nil {
		t.failed = failed
	}
	t.cfg.Observer.Observe(o)
}
