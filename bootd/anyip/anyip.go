// Package anyip makes whole prefixes this machine's own: every address of them is answered for by the kernel, as if it stood on
// an interface (AnyIP). It keeps the kernel's local routes in step with the snapshot, and answers neighbour solicitations for
// prefixes that nobody routes here (RFC 4861 section 7.2.8).
//
// The package never touches a route that another program wrote, and never hides one: where a prefix would, it says so.
package anyip

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"bootd.internal/bootd/netif"
	"bootd.internal/bootd/reason"
	"bootd.internal/bootd/site"
	"bootd.internal/bootd/timeline"
)

// Kernel is where prefixes are bound; netif.Locals is one.
type Kernel interface {
	List() ([]netip.Prefix, error)
	// Within finds routes of others that a prefix would hide.
	Within(prefixes []netip.Prefix) (map[netip.Prefix][]netif.Other, error)
	Set(p netip.Prefix, bound bool) error
}

// Observer is told of what changed, and of what could not be done.
type Observer interface{ Observe(timeline.Observation) }

// Config is what a Task needs.
type Config struct {
	Snapshot func() *site.Snapshot
	// Changed gets a value after each new snapshot and is closed when ctx ends.
	Changed func(ctx context.Context) <-chan struct{}
	// Known is closed when what upstreams gave in an earlier life is in the snapshot: before that, a prefix that is bound looks
	// like one that nobody wants.
	Known    <-chan struct{}
	Kernel   Kernel
	Observer Observer
	Now      func() time.Time
}

// lookEvery is how often the kernel is looked at without a reason: somebody may have removed what stood in the way, or a route.
const lookEvery = 30 * time.Second

// Status is how one entry of the inventory does.
type Status struct {
	// Prefix is invalid while the upstream that it comes from has given none; Wanted is what the inventory says.
	Prefix netip.Prefix
	Wanted string
	Since  time.Time
	Bound  bool
	// Fault is what is wrong and what to do, empty: nothing.
	Fault string
}

// Task keeps prefixes bound.
type Task struct {
	cfg   Config
	ready chan struct{}
	// stuck is what was said last of prefixes that could not be removed.
	stuck string

	mu     sync.Mutex
	status []Status
}

// New makes the task.
func New(cfg Config) *Task { return &Task{cfg: cfg, ready: make(chan struct{})} }

// String names the task.
func (t *Task) String() string { return "anyip" }

// Ready is closed once the prefixes are bound, or it was said why not.
func (t *Task) Ready() <-chan struct{} { return t.ready }

// Status tells of each entry in the order of the inventory.
func (t *Task) Status() []Status {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.status)
}

// Run follows snapshots until ctx ends, and then unbinds what is not to be kept.
func (t *Task) Run(ctx context.Context) error {
	changed := t.cfg.Changed(ctx)
	select {
	case <-t.cfg.Known:
	case <-ctx.Done():
		return nil
	}
	t.reconcile()
	close(t.ready)
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	for {
		select {
		case <-ctx.Done():
			t.leave()
			return nil
		case <-changed:
		case <-look.C:
		}
		if ctx.Err() == nil {
			t.reconcile()
		}
	}
}

// leave unbinds what the inventory says is bootd's only while it runs.
func (t *Task) leave() {
	var keep []netip.Prefix
	some := false
	for _, a := range t.cfg.Snapshot().AnyIP {
		if a.Keep {
			keep = append(keep, a.Prefix)
		}
		some = some || !a.Keep
	}
	if !some {
		return
	}
	have, err := t.cfg.Kernel.List()
	if err == nil {
		err = t.unbind(have, keep)
	}
	if err != nil {
		t.warn(err)
	}
}

// reconcile makes the kernel's prefixes those of the snapshot: the old ones go before new ones come, so that a prefix that
// moved is never in two places.
func (t *Task) reconcile() {
	entries := t.cfg.Snapshot().AnyIP
	t.mu.Lock()
	idle := len(entries) == 0 && len(t.status) == 0
	t.mu.Unlock()
	have, err := t.cfg.Kernel.List()
	if err != nil {
		t.all(entries, err)
		return
	}
	if idle && len(have) == 0 {
		return
	}
	var want []netip.Prefix
	for _, a := range entries {
		if a.Prefix.IsValid() {
			want = append(want, a.Prefix)
		}
	}
	t.complain(t.unbind(have, want))
	others, err := t.cfg.Kernel.Within(want)
	if err != nil {
		t.all(entries, err)
		return
	}
	now := make([]Status, 0, len(entries))
	for _, a := range entries {
		now = append(now, t.bind(a, slices.Contains(have, a.Prefix), others[a.Prefix]))
	}
	t.tell(now)
}

// bind makes one entry what it should be. What stands in the way is never hidden; what came after the prefix was bound is said.
func (t *Task) bind(a site.AnyIP, bound bool, others []netif.Other) Status {
	s := Status{Prefix: a.Prefix, Wanted: a.Wanted, Bound: bound}
	switch {
	case !a.Prefix.IsValid():
		s.Fault = a.Fault
	case len(others) > 0:
		s.Fault = conflict(a.Prefix, others, bound)
	case !bound:
		err := t.cfg.Kernel.Set(a.Prefix, true)
		s.Bound = err == nil
		switch {
		case errors.Is(err, syscall.EPERM):
			s.Fault = fmt.Sprintf("%v: give bootd CAP_NET_ADMIN (docs/modules/anyip.md)", err)
		case errors.Is(err, fs.ErrExist):
			s.Fault = fmt.Sprintf("%s is bound already, by somebody else: `ip route show table local %[1]s`, or leave it out of anyip", a.Prefix)
		case err != nil:
			s.Fault = err.Error()
		}
	}
	return s
}

// conflict says what stands where, who set it and what to do.
func conflict(p netip.Prefix, others []netif.Other, bound bool) string {
	o := others[0]
	command := "ip route del "
	if p.Addr().Is6() {
		command = "ip -6 route del "
	}
	var text string
	switch {
	case o.Connected:
		text = fmt.Sprintf("an address on %s has the prefix %s: machines there could not be reached any more; bind another prefix, or take the address off %[1]s", o.Link, o.Prefix)
	case o.Type == "local":
		text = fmt.Sprintf("the local route %s is there already, set by %s: `%slocal %[1]s table local`, or leave it out of anyip", o.Prefix, o.Setter, command)
	default:
		on := ""
		if o.Link != "" {
			on = " over " + o.Link
		}
		text = fmt.Sprintf("the route %s%s is there, set by %s, and would not be used any more: `%s%[1]s`, or bind another prefix", o.Prefix, on, o.Setter, command)
	}
	if more := len(others) - 1; more > 0 {
		text += fmt.Sprintf(" (and %d more)", more)
	}
	if bound {
		return "hides what came after it: " + text
	}
	return text
}

// unbind removes those of have that are not wanted, one that cannot be removed apart.
func (t *Task) unbind(have, want []netip.Prefix) error {
	var errs []error
	var gone []timeline.Event
	for _, p := range have {
		if slices.Contains(want, p) {
			continue
		}
		if err := t.cfg.Kernel.Set(p, false); err != nil {
			errs = append(errs, err)
			continue
		}
		gone = append(gone, timeline.Event{Kind: timeline.PrefixUnbound, Addr: p.String()})
	}
	t.observe(gone)
	return errors.Join(errs...)
}

// complain tells once of prefixes that cannot be removed, which have no status.
func (t *Task) complain(err error) {
	stuck := ""
	if err != nil {
		stuck = err.Error()
	}
	if err != nil && stuck != t.stuck {
		t.warn(err)
	}
	t.stuck = stuck
}

// all says of every entry that nothing can be done. What was bound is taken to be so still: its neighbours go on being answered.
func (t *Task) all(entries []site.AnyIP, err error) {
	now := make([]Status, 0, len(entries))
	for _, a := range entries {
		now = append(now, Status{Prefix: a.Prefix, Wanted: a.Wanted, Bound: t.isBound(a.Prefix), Fault: err.Error()})
	}
	t.tell(now)
}

// tell keeps the status and tells of what changed in it, of each fault once.
func (t *Task) tell(now []Status) {
	at := t.cfg.Now()
	t.mu.Lock()
	was := t.status
	var bound []timeline.Event
	var faults []string
	for i := range now {
		n := &now[i]
		n.Since = at
		k := slices.IndexFunc(was, func(s Status) bool { return s.Wanted == n.Wanted && s.Prefix == n.Prefix })
		if k >= 0 && was[k].Bound == n.Bound && was[k].Fault == n.Fault {
			n.Since = was[k].Since
			continue
		}
		if n.Bound && (k < 0 || !was[k].Bound) {
			bound = append(bound, timeline.Event{Kind: timeline.PrefixBound, Addr: n.Prefix.String()})
		}
		if n.Fault != "" && n.Prefix.IsValid() {
			faults = append(faults, n.Prefix.String()+": "+n.Fault)
		}
	}
	t.status = now
	t.mu.Unlock()
	t.observe(bound)
	if len(faults) > 0 {
		t.warn(errors.New(strings.Join(faults, "; ")))
	}
}

func (t *Task) observe(events []timeline.Event) {
	if len(events) > 0 {
		t.cfg.Observer.Observe(timeline.Observation{
			Adapter: t.String(), Message: "Prefix", Outcome: reason.Outcome{Reason: reason.Changed}, Count: len(events), Events: events,
		})
	}
}

func (t *Task) warn(err error) {
	t.cfg.Observer.Observe(timeline.Observation{
		Adapter: t.String(), Message: "Prefix", Err: err, Events: []timeline.Event{{Kind: timeline.Warning, Detail: "anyip: " + err.Error()}},
	})
}
