// Package follow keeps files and programs in step with a prefix: it writes a file that holds it, out of a template or into a
// daemon.json, and runs a command when that changed. Docker is one that follows, a web server may be another.
//
// The package never decides what a prefix is, and never gives a shell anything.
package follow

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"bootd.internal/bootd/reason"
	"bootd.internal/bootd/site"
	"bootd.internal/bootd/store"
	"bootd.internal/bootd/timeline"
)

// Observer is told of what changed, and of what could not be done.
type Observer interface{ Observe(timeline.Observation) }

// Config is what a Task needs.
type Config struct {
	Snapshot func() *site.Snapshot
	// Changed gets a value after each new snapshot and is closed when ctx ends.
	Changed func(ctx context.Context) <-chan struct{}
	// Render gives the content of a file out of a template.
	Render   func(*site.Snapshot, site.Follower) ([]byte, error)
	Store    store.Store
	Observer Observer
	Now      func() time.Time
}

const (
	// retryMin and retryMax are the waits after a failure; each is twice the one before.
	retryMin = 30 * time.Second
	retryMax = 30 * time.Minute
)

// Status is how one follower does.
type Status struct {
	Name, Wanted string
	// Prefix is what it should have, invalid: none yet; Done is what it was last told with success.
	Prefix, Done netip.Prefix
	Since        time.Time
	// Fault is what is wrong and what to do, empty: nothing.
	Fault string
}

// Task makes followers follow.
type Task struct {
	cfg   Config
	ready chan struct{}
	runs  map[string]*run

	mu     sync.Mutex
	status []Status
}

// run is what is known of one follower.
type run struct {
	// was is what it was when it failed: something else is tried at once.
	was    site.Follower
	made   any
	fault  string
	wait   time.Duration
	again  time.Time
	status Status
}

// record is what the store keeps of a follower, so that a crash between the file and the command is made good.
type record struct {
	Prefix string `json:"prefix"`
	// Old is what it was last told with success, while Pending; else Prefix is.
	Old string `json:"old,omitempty"`
	// Pending: the file may have been written, and the command has not ended well since.
	Pending bool `json:"pending,omitempty"`
	// Fresh: there was no file before.
	Fresh bool `json:"fresh,omitempty"`
}

// told is the prefix that the follower's command was last run for with success, empty: none.
func (r record) told() string {
	if r.Pending {
		return r.Old
	}
	return r.Prefix
}

// New makes the task.
func New(cfg Config) *Task {
	return &Task{cfg: cfg, ready: make(chan struct{}), runs: map[string]*run{}}
}

// String names the task.
func (t *Task) String() string { return "follow" }

// Ready is closed at once: commands take their time, and nobody waits for them.
func (t *Task) Ready() <-chan struct{} { return t.ready }

// Status tells of each follower in the order of the inventory.
func (t *Task) Status() []Status {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.status)
}

// Run follows snapshots until ctx ends; a command that runs then is killed, and run again at the next start.
func (t *Task) Run(ctx context.Context) error {
	changed := t.cfg.Changed(ctx)
	close(t.ready)
	again := time.NewTimer(retryMax)
	defer again.Stop()
	for {
		wait := retryMax
		if next := t.all(ctx); !next.IsZero() {
			wait = max(next.Sub(t.cfg.Now()), time.Millisecond)
		}
		again.Reset(wait)
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		case <-again.C:
		}
	}
}

// all looks at every follower, one after another, and says when the first one is to be tried again; zero: at a change.
func (t *Task) all(ctx context.Context) (next time.Time) {
	snap := t.cfg.Snapshot()
	seen := map[string]bool{}
	for _, f := range snap.Followers {
		if ctx.Err() != nil {
			return time.Time{}
		}
		seen[f.Name] = true
		r := t.runs[f.Name]
		if r == nil {
			r = &run{}
			t.runs[f.Name] = r
		}
		t.one(ctx, snap, f, r)
		if !r.again.IsZero() && (next.IsZero() || r.again.Before(next)) {
			next = r.again
		}
		t.show(snap)
	}
	for name := range t.runs {
		if !seen[name] {
			delete(t.runs, name)
		}
	}
	t.show(snap)
	return next
}

// show makes the status what is known.
func (t *Task) show(snap *site.Snapshot) {
	var out []Status
	for _, f := range snap.Followers {
		if r := t.runs[f.Name]; r != nil {
			out = append(out, r.status)
		}
	}
	t.mu.Lock()
	t.status = out
	t.mu.Unlock()
}

// one makes a follower follow, unless it failed and its time has not come. What nobody has given is left as it was.
func (t *Task) one(ctx context.Context, snap *site.Snapshot, f site.Follower, r *run) {
	now := t.cfg.Now()
	r.status.Name, r.status.Wanted, r.status.Prefix = f.Name, f.Wanted, f.Prefix
	if r.status.Since.IsZero() {
		r.status.Since = now
	}
	if !f.Prefix.IsValid() {
		r.status.Fault, r.again = f.Fault, time.Time{}
		return
	}
	same := f.Equal(r.was) && r.made == any(snap.Inventory)
	if same && now.Before(r.again) {
		return
	}
	if !same {
		r.wait = 0
	}
	r.was, r.made = f, snap.Inventory
	changed, err := t.apply(ctx, snap, f)
	if ctx.Err() != nil {
		return
	}
	now = t.cfg.Now()
	if err != nil {
		r.wait = min(max(2*r.wait, retryMin), retryMax)
		r.again = now.Add(r.wait)
		r.status.Fault = fmt.Sprintf("%v; tried again after %s", err, r.wait)
		if r.fault != err.Error() {
			r.fault, r.status.Since = err.Error(), now
			t.observe(f, err)
		}
		return
	}
	r.wait, r.again, r.fault, r.status.Fault, r.status.Done = 0, time.Time{}, "", "", f.Prefix
	if changed {
		r.status.Since = now
		t.observe(f, nil)
	}
}

// apply writes the file and runs the command, if either is needed. A command that fails has the file put back and is run again, so
// that a service that does not start with the new file starts with the old one.
func (t *Task) apply(ctx context.Context, snap *site.Snapshot, f site.Follower) (changed bool, err error) {
	was, known := t.read(f.Name)
	file, err := prepare(f, func(f site.Follower) ([]byte, error) { return t.cfg.Render(snap, f) })
	if err != nil {
		return false, err
	}
	pending := known && was.Pending
	if file != nil && !file.differs() && !pending || file == nil && known && !pending && was.Prefix == f.Prefix.String() {
		if !known || was.Prefix != f.Prefix.String() {
			return false, t.write(ctx, f.Name, record{Prefix: f.Prefix.String()})
		}
		return false, nil
	}
	if len(f.Command) > 0 {
		if err := found(f.Command[0]); err != nil {
			return false, err
		}
	}
	next := record{Prefix: f.Prefix.String(), Old: was.told(), Pending: true}
	if file != nil {
		next.Fresh = file.fresh
		if pending && !file.differs() {
			next.Fresh = was.Fresh
		}
	}
	if err := t.write(ctx, f.Name, next); err != nil {
		return false, err
	}
	if file != nil && file.differs() {
		if err := file.replace(); err != nil {
			return false, errors.Join(err, t.write(ctx, f.Name, was))
		}
	}
	if err := execute(ctx, f, next.Old, f.Prefix.String()); err != nil {
		if ctx.Err() != nil || file == nil {
			return false, err
		}
		return false, t.back(ctx, f, file, next, err)
	}
	return true, t.write(ctx, f.Name, record{Prefix: f.Prefix.String()})
}

// back puts the old file in its place and runs the command for it.
func (t *Task) back(ctx context.Context, f site.Follower, file *target, next record, cause error) error {
	if err := file.restore(next.Fresh); err != nil {
		return fmt.Errorf("%w; %s could not be put back as it was: %w", cause, file.path, err)
	}
	cause = fmt.Errorf("%w; %s is as it was before", cause, file.path)
	if err := execute(ctx, f, f.Prefix.String(), next.Old); err != nil {
		cause = fmt.Errorf("%w, and that failed, too: %w", cause, err)
	}
	return errors.Join(cause, t.write(ctx, f.Name, record{Prefix: next.Old}))
}

func key(name string) store.Key { return store.Key{Table: store.TableNode, ID: "follow/" + name} }

func (t *Task) read(name string) (r record, known bool) {
	t.cfg.Store.Read(func(v store.View) {
		raw, ok := v.Get(key(name))
		known = ok && json.Unmarshal(raw, &r) == nil
	})
	return r, known
}

func (t *Task) write(ctx context.Context, name string, r record) error {
	raw, err := json.Marshal(r)
	if err == nil {
		err = t.cfg.Store.Update(ctx, func(store.View) []store.Op { return []store.Op{{Key: key(name), Value: raw}} })
	}
	if err != nil {
		return fmt.Errorf("keeping the state of %s: %w", name, err)
	}
	return nil
}

func (t *Task) observe(f site.Follower, err error) {
	o := timeline.Observation{Adapter: t.String(), Message: "Prefix", Outcome: reason.Outcome{Reason: reason.Changed}, Err: err}
	e := timeline.Event{Kind: timeline.Followed, Addr: f.Prefix.String(), Detail: f.Name}
	if err != nil {
		o.Outcome.Reason = reason.None
		e.Kind, e.Detail = timeline.Warning, f.Name+": "+err.Error()
	}
	o.Events = []timeline.Event{e}
	t.cfg.Observer.Observe(o)
}
