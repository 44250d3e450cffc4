package daemon

import (
	"cmp"
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"bootd.internal/bootd/ident"
	"bootd.internal/bootd/site"
)

// LinkWatch tells which links are wanted and when that changes.
type LinkWatch interface {
	// Links are the links that networks name and that exist.
	Links() []site.Link
	// Changed gets a value after a change and is closed when ctx ends.
	Changed(ctx context.Context) <-chan struct{}
}

// The waits between two tries of a per-link task; one that lived for backoffReset begins anew.
const (
	backoffMin   = time.Second
	backoffMax   = 30 * time.Second
	backoffReset = time.Minute
)

// LinkStatus is how one per-link task does.
type LinkStatus struct {
	Task  string    `json:"task"`
	Link  string    `json:"link"`
	Since time.Time `json:"since"`
	// Running is true while the task serves; else Error says why not, and it is tried again.
	Running bool   `json:"running"`
	Error   string `json:"error,omitempty"`
}

// PerLink runs one task per link. A failure of one is a line of its status, never an exit.
type PerLink struct {
	name  string
	watch LinkWatch
	start func(site.Link) (Task, error)
	log   *slog.Logger
	now   func() time.Time
	ready chan struct{}

	mu     sync.Mutex
	status map[string]LinkStatus
}

// EachLink makes a task that runs start's task on every link that is up and has a link-local address, stops it when the
// link goes, and starts it anew when the link changes its index, MAC or link-local address, or when the task failed.
func EachLink(name string, w LinkWatch, log *slog.Logger, now func() time.Time, start func(site.Link) (Task, error)) *PerLink {
	return &PerLink{
		name: name, watch: w, start: start, log: log, now: now, ready: make(chan struct{}), status: map[string]LinkStatus{},
	}
}

// linkKey is what a per-link task is bound to.
type linkKey struct {
	name      string
	index     int
	mac       ident.MAC
	linkLocal string
}

func keyOf(l site.Link) linkKey { return linkKey{l.Name, l.Index, l.MAC, l.LinkLocal.String()} }

type linkRun struct {
	key    linkKey
	cancel context.CancelFunc
	done   chan struct{}
	// again ends the wait after a failure: something changed, so it may work now.
	again chan struct{}
}

// String is the name of the tasks.
func (p *PerLink) String() string { return p.name }

// Ready is closed at once: nobody waits for a link that is absent.
func (p *PerLink) Ready() <-chan struct{} { return p.ready }

// Status lists the tasks in the order of their links.
func (p *PerLink) Status() []LinkStatus {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := make([]LinkStatus, 0, len(p.status))
	for _, s := range p.status {
		out = append(out, s)
	}
	slices.SortFunc(out, func(a, b LinkStatus) int { return cmp.Compare(a.Link, b.Link) })
	return out
}

// Run follows the links until ctx ends and every task has ended.
func (p *PerLink) Run(ctx context.Context) error {
	changed := p.watch.Changed(ctx)
	running := map[string]*linkRun{}
	close(p.ready)
	for {
		p.follow(ctx, running)
		select {
		case <-ctx.Done():
			for _, r := range running {
				<-r.done
			}
			return nil
		case <-changed:
		}
	}
}

// follow makes the running tasks those of the links that are there now.
func (p *PerLink) follow(ctx context.Context, running map[string]*linkRun) {
	wanted := map[string]site.Link{}
	for _, l := range p.watch.Links() {
		if l.Up && l.LinkLocal.IsValid() {
			wanted[l.Name] = l
		}
	}
	for name, r := range running {
		if l, ok := wanted[name]; !ok || keyOf(l) != r.key {
			r.cancel()
			if !ok {
				<-r.done
				delete(running, name)
				p.forget(name)
			}
		}
	}
	for name, l := range wanted {
		old := running[name]
		if old != nil && old.key == keyOf(l) {
			select {
			case old.again <- struct{}{}:
			default:
			}
			continue
		}
		runCtx, cancel := context.WithCancel(ctx)
		r := &linkRun{key: keyOf(l), cancel: cancel, done: make(chan struct{}), again: make(chan struct{}, 1)}
		running[name] = r
		go func() {
			defer close(r.done)
			defer cancel()
			if old != nil {
				<-old.done
			}
			p.supervise(runCtx, l, r.again)
		}()
	}
}

// supervise runs one link's task again and again until ctx ends. A link that blinks ends its task and is as it was when anybody
// looks: the change that this was begins the next try, not the clock.
func (p *PerLink) supervise(ctx context.Context, l site.Link, again <-chan struct{}) {
	wait := backoffMin
	for ctx.Err() == nil {
		began := p.now()
		task, err := p.start(l)
		if err == nil {
			p.report(LinkStatus{Task: p.name, Link: l.Name, Since: began, Running: true})
			err = task.Run(ctx)
		}
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			err = errEnded
		}
		if p.now().Sub(began) > backoffReset {
			wait = backoffMin
		}
		p.log.Warn("link task failed", "task", p.name, "link", l.Name, "error", err, "again_in", wait)
		p.report(LinkStatus{Task: p.name, Link: l.Name, Since: p.now(), Error: err.Error()})
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-again:
			timer.Stop()
		case <-timer.C:
		}
		wait = min(2*wait, backoffMax)
	}
}

func (p *PerLink) report(s LinkStatus) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.status[s.Link] = s
}

func (p *PerLink) forget(link string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.status, link)
}
