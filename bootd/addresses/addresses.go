// Package addresses puts bootd's own addresses on the links of networks whose prefixes are out of an upstream's, and keeps them in
// step when the upstream gives another: the new one at once, the old one deprecated (RFC 4862 section 5.5.4) for as long as hosts may
// use what they have of its prefix, and then removed.
//
// The package never decides which prefix a network has, and never touches an address that another program or a person put there.
package addresses

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"slices"
	"syscall"
	"time"

	"bootd.internal/bootd/netif"
	"bootd.internal/bootd/reason"
	"bootd.internal/bootd/site"
	"bootd.internal/bootd/timeline"
)

// Kernel is where addresses are kept; netif.Addresses is one.
type Kernel interface {
	List(now time.Time) ([]netif.Address, error)
	Put(a netif.Address, replace bool, now time.Time) error
	Delete(netif.Address) error
}

// Observer is told of what changed, and of what could not be done.
type Observer interface{ Observe(timeline.Observation) }

// Config is what a Task needs.
type Config struct {
	Snapshot func() *site.Snapshot
	// Changed gets a value after each new snapshot and is closed when ctx ends.
	Changed  func(ctx context.Context) <-chan struct{}
	Kernel   Kernel
	Observer Observer
	Now      func() time.Time
}

// lookEvery is how often the kernel is looked at without a reason.
const lookEvery = 30 * time.Second

// near is how far two deadlines may lie apart that are the same: the kernel counts whole seconds.
const near = 2 * time.Second

// Task keeps the addresses.
type Task struct {
	cfg   Config
	ready chan struct{}
	// any: some address of ours may be in the kernel.
	any bool
	// failed is what was complained of last.
	failed string
}

// New makes the task.
func New(cfg Config) *Task { return &Task{cfg: cfg, ready: make(chan struct{}), any: true} }

// String names the task.
func (t *Task) String() string { return "addresses" }

// Ready is closed once the addresses are what the snapshot says, or it was said why not.
func (t *Task) Ready() <-chan struct{} { return t.ready }

// Run follows snapshots until ctx ends. The addresses stay then, until their deadlines: hosts go on using this router.
func (t *Task) Run(ctx context.Context) error {
	changed := t.cfg.Changed(ctx)
	t.reconcile()
	close(t.ready)
	again := time.NewTicker(lookEvery)
	defer again.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		case <-again.C:
		}
		t.reconcile()
	}
}

// place is where an address is.
type place struct {
	link int
	addr netip.Addr
}

func placeOf(a netif.Address) place { return place{a.Link, a.Prefix.Addr()} }

// Want is the addresses that there should be, given those that there are: of ours that no prefix has any more, those stay,
// deprecated, whose prefix hosts still have addresses in.
func Want(snap *site.Snapshot, have []netif.Address, now time.Time) []netif.Address {
	var want []netif.Address
	at := map[place]bool{}
	stale := map[int][]site.Stale{}
	for _, n := range snap.Networks {
		if n.Link == nil {
			continue
		}
		stale[n.Link.Index] = append(stale[n.Link.Index], n.Stale...)
		for _, p := range n.Ours {
			a := netif.Address{Link: n.Link.Index, Prefix: p.Prefix, PreferredUntil: p.PreferredUntil, ValidUntil: p.ValidUntil, Ours: true}
			at[placeOf(a)] = true
			want = append(want, a)
		}
	}
	for _, a := range have {
		if !a.Ours || at[placeOf(a)] {
			continue
		}
		i := slices.IndexFunc(stale[a.Link], func(s site.Stale) bool {
			return !s.Moved && s.Prefix.Contains(a.Prefix.Addr()) && s.ValidUntil.After(now)
		})
		if i < 0 {
			continue
		}
		until := stale[a.Link][i].ValidUntil
		if !a.ValidUntil.IsZero() && a.ValidUntil.Before(until) {
			until = a.ValidUntil
		}
		want = append(want, netif.Address{Link: a.Link, Prefix: a.Prefix, PreferredUntil: now, ValidUntil: until, Ours: true})
	}
	return want
}

// reconcile makes the kernel's addresses what they should be.
func (t *Task) reconcile() {
	snap, now := t.cfg.Snapshot(), t.cfg.Now()
	wanted := slices.ContainsFunc(snap.Networks, func(n *site.Network) bool { return n.Link != nil && len(n.Ours) > 0 })
	if !wanted && !t.any {
		return
	}
	changed, err := t.write(snap, now)
	t.tell(changed, err)
}

// write changes what differs: what is new before what goes. One address that cannot be written does not stop the others.
func (t *Task) write(snap *site.Snapshot, now time.Time) (changed int, err error) {
	have, err := t.cfg.Kernel.List(now)
	if err != nil {
		return 0, err
	}
	is := make(map[place]netif.Address, len(have))
	for _, a := range have {
		is[placeOf(a)] = a
	}
	want := Want(snap, have, now)
	keep := make(map[place]bool, len(want))
	var errs []error
	done := func(err error) {
		if err != nil {
			errs = append(errs, err)
			return
		}
		changed++
	}
	for _, a := range want {
		keep[placeOf(a)] = true
		old, there := is[placeOf(a)]
		switch {
		case !there:
			done(t.cfg.Kernel.Put(a, false, now))
		case !old.Ours || same(a, old, now): // one that somebody else put there does as well
		default:
			done(t.cfg.Kernel.Put(a, true, now))
		}
	}
	for _, a := range have {
		if a.Ours && !keep[placeOf(a)] {
			done(t.cfg.Kernel.Delete(a))
		}
	}
	t.any = len(want) > 0 || len(errs) > 0
	return changed, errors.Join(errs...)
}

// same reports whether an address ends when it should. All times that have passed are the same.
func same(a, b netif.Address, now time.Time) bool {
	equal := func(x, y time.Time) bool {
		if x.IsZero() || y.IsZero() {
			return x.IsZero() && y.IsZero()
		}
		return x.Sub(y).Abs() <= near || !x.After(now) && !y.After(now)
	}
	gone := func(t time.Time) bool { return !t.IsZero() && !t.After(now) }
	return gone(a.PreferredUntil) == gone(b.PreferredUntil) && equal(a.PreferredUntil, b.PreferredUntil) && equal(a.ValidUntil, b.ValidUntil)
}

// tell tells of changes, and once of what cannot be done.
func (t *Task) tell(changed int, err error) {
	o := timeline.Observation{Adapter: t.String(), Message: "Addresses", Outcome: reason.Outcome{Reason: reason.Changed}, Count: changed}
	failed := ""
	if err != nil {
		failed = err.Error()
	}
	switch {
	case err != nil && failed != t.failed:
		switch {
		case errors.Is(err, syscall.EPERM):
			err = fmt.Errorf("%w: give bootd CAP_NET_ADMIN (docs/modules/upstream.md)", err)
		case errors.Is(err, fs.ErrExist):
			err = fmt.Errorf("%w: somebody put it there meanwhile", err)
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
