// Package upstream gets prefixes from delegating routers, as a DHCPv6 client (RFC 8415 section 6.3): it carries the messages of
// decide/uplink, keeps what it is given in the store before it is used, publishes it, and runs hooks.
//
// The package never decides when to ask or what an answer means, never says what a prefix is used for, and passes nothing that
// came from the wire through a shell.
package upstream

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"sync"
	"time"

	"bootd.internal/bootd/ident"
	"bootd.internal/bootd/site"
	"bootd.internal/bootd/store"
	"bootd.internal/bootd/timeline"
)

// Observer learns of every message and change, once.
type Observer interface{ Observe(timeline.Observation) }

// Socket carries messages on one link.
type Socket interface {
	Send(b []byte) error
	Read(b []byte) (n int, from netip.Addr, err error)
	Close() error
}

// Kernel is what is written on the link itself.
type Kernel struct {
	// Address sets an address with its lifetimes (zero: for ever), NoAddress takes it away.
	Address   func(l site.Link, a netip.Addr, preferred, valid time.Duration) error
	NoAddress func(l site.Link, a netip.Addr) error
	// KeepDefaultRoute makes the link heed router advertisements although it forwards.
	KeepDefaultRoute func(link string) (changed bool, err error)
}

// Config is what a Module needs.
type Config struct {
	Snapshot func() *site.Snapshot
	Changed  func(context.Context) <-chan struct{}
	Store    store.Store
	Observer Observer
	// Publish is told what an upstream has given, whenever that changes; nil: nothing any more.
	Publish func(upstream string, p []site.Prefix)
	Open    func(site.Link) (Socket, error)
	Kernel  Kernel
	// Client is this machine's DUID. It never changes.
	Client ident.DUID
	Now    func() time.Time
	// Rand makes transaction ids and jitter.
	Rand *rand.Rand
	// Final reports whether the daemon ends for good, not to be started again at once.
	Final func() bool
}

// Module runs all upstreams. It is one task; Link makes those of the links.
type Module struct {
	cfg    Config
	ready  chan struct{}
	ended  chan struct{}
	events chan event

	// clients belong to Run.
	clients map[string]*client
	// hooks are all that run or are to run.
	hooks sync.WaitGroup
	// links are those whose tasks run, by name.
	links map[string]*linkTask

	mu     sync.Mutex
	status []Status
}

// event is one thing that Run hears of.
type event struct {
	// link came (attach), went (detach) or has a packet.
	link   *linkTask
	attach bool
	detach chan struct{}
	packet []byte
	from   netip.Addr
	// order is a person's.
	order *order
}

type order struct {
	name    string
	release bool
	done    chan error
}

// New makes a Module.
func New(cfg Config) *Module {
	return &Module{
		cfg: cfg, ready: make(chan struct{}), ended: make(chan struct{}), events: make(chan event, 16),
		clients: map[string]*client{}, links: map[string]*linkTask{},
	}
}

// String names the task.
func (m *Module) String() string { return adapter }

// adapter names this package in observations.
const adapter = "upstream"

// Ready is closed when what was held before has been published.
func (m *Module) Ready() <-chan struct{} { return m.ready }

// releaseWithin is how long the servers are waited for when the daemon ends for good, hooksWithin how long the hooks are then.
const (
	releaseWithin = 2 * time.Second
	hooksWithin   = 4 * time.Second
)

// Run works until ctx ends. Where the daemon ends for good, upstreams that are to give back do so then.
func (m *Module) Run(ctx context.Context) error {
	defer close(m.ended)
	changed := m.cfg.Changed(ctx)
	hookCtx, killHooks := context.WithCancel(context.WithoutCancel(ctx))
	defer killHooks()
	m.follow(hookCtx)
	close(m.ready)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for ctx.Err() == nil {
		m.report()
		if d := m.wait(); d >= 0 {
			timer.Reset(d)
		} else {
			timer.Stop()
		}
		select {
		case <-ctx.Done():
		case _, open := <-changed:
			if open {
				m.follow(hookCtx)
			}
		case <-timer.C:
			m.tick()
		case e := <-m.events:
			if ctx.Err() != nil && e.detach != nil {
				continue // the daemon ends: the link is needed for giving back, and its task waits for ended
			}
			if e.detach != nil {
				m.follow(hookCtx) // an upstream that left its link may give back while there is a socket
			}
			m.take(e)
		}
	}
	m.stop(killHooks)
	return nil
}

// wait is the time to the next deadline of any client, negative: there is none.
func (m *Module) wait() time.Duration {
	var due time.Time
	for _, c := range m.clients {
		if d := c.machine.Deadline(); !d.IsZero() && (due.IsZero() || d.Before(due)) {
			due = d
		}
	}
	if due.IsZero() {
		return -1
	}
	return max(due.Sub(m.cfg.Now()), 0)
}

func (m *Module) tick() {
	now := m.cfg.Now()
	for _, c := range m.clients {
		if d := c.machine.Deadline(); !d.IsZero() && !now.Before(d) {
			c.do(now, c.machine.Tick(now, m.cfg.Rand))
		}
		c.silence(now)
	}
}

func (m *Module) take(e event) {
	switch {
	case e.order != nil:
		e.order.done <- m.obey(*e.order)
	case e.attach:
		m.links[e.link.link.Name] = e.link
		for _, c := range m.clients {
			if c.conf.Interface.V == e.link.link.Name {
				c.attach(e.link)
			}
		}
	case e.detach != nil:
		if m.links[e.link.link.Name] == e.link {
			delete(m.links, e.link.link.Name)
		}
		for _, c := range m.clients {
			if c.link == e.link {
				c.detach()
			}
		}
		close(e.detach)
	default:
		for _, c := range m.clients {
			if c.link == e.link {
				c.receive(e.packet, e.from)
			}
		}
	}
}

// follow makes the clients those of the inventory.
func (m *Module) follow(ctx context.Context) {
	wanted := map[string]bool{}
	for _, u := range m.cfg.Snapshot().Inventory.Upstreams {
		wanted[u.Name] = true
		c := m.clients[u.Name]
		switch {
		case c == nil:
			c = m.newClient(u)
		case c.same(u):
			c.keepRoute()
			continue
		default:
			c = c.reconfigured(u)
		}
		m.clients[u.Name] = c
		m.hooks.Go(func() { c.hooks.run(ctx) })
		c.publish()
		if l := m.links[u.Interface.V]; l != nil {
			c.attach(l)
		}
	}
	for name, c := range m.clients {
		if !wanted[name] {
			c.gone()
			delete(m.clients, name)
		}
	}
}

// stop gives back what is to be given back, and waits for hooks.
func (m *Module) stop(killHooks func()) {
	late := time.NewTimer(releaseWithin)
	defer late.Stop()
	for _, c := range m.clients {
		if m.cfg.Final() && c.conf.Release.V {
			now := m.cfg.Now()
			c.do(now, c.machine.Release(now, m.cfg.Rand))
		}
	}
	for over := false; !over && m.releasing(); {
		wait := time.NewTimer(max(m.wait(), 0))
		select {
		case <-late.C:
			over = true
		case <-wait.C:
			m.tick()
		case e := <-m.events:
			if e.packet != nil {
				m.take(e)
			}
		}
		wait.Stop()
	}
	stopped := time.AfterFunc(hooksWithin, killHooks)
	defer stopped.Stop()
	for _, c := range m.clients {
		c.end(m.cfg.Final())
	}
	m.hooks.Wait()
}

func (m *Module) releasing() bool {
	for _, c := range m.clients {
		if c.releasing() {
			return true
		}
	}
	return false
}

// Errors of Renew and Release.
var (
	ErrUnknown = errors.New("no such upstream")
	ErrEnding  = errors.New("the daemon is ending")
)

// Renew asks an upstream at once, Release gives back what it gave until Renew is called; an empty name: all of them.
func (m *Module) Renew(ctx context.Context, name string) error { return m.order(ctx, name, false) }

// Release gives back what an upstream gave.
func (m *Module) Release(ctx context.Context, name string) error { return m.order(ctx, name, true) }

func (m *Module) order(ctx context.Context, name string, release bool) error {
	o := &order{name: name, release: release, done: make(chan error, 1)}
	select {
	case m.events <- event{order: o}:
	case <-ctx.Done():
		return ctx.Err()
	case <-m.ended:
		return ErrEnding
	}
	select {
	case err := <-o.done:
		return err
	case <-m.ended:
		return ErrEnding
	}
}

func (m *Module) obey(o order) error {
	found := false
	for name, c := range m.clients {
		if o.name != "" && o.name != name {
			continue
		}
		found = true
		if err := c.order(o.release); err != nil {
			return err
		}
	}
	if !found {
		return fmt.Errorf("%w: %q", ErrUnknown, o.name)
	}
	return nil
}

// linkTask is the socket of one link.
type linkTask struct {
	module *Module
	link   site.Link
	socket Socket
}

// Link opens the socket of a link; it is then bound to the task.
func (m *Module) Link(l site.Link) (*linkTask, error) {
	s, err := m.cfg.Open(l)
	if err != nil {
		return nil, err
	}
	return &linkTask{module: m, link: l, socket: s}, nil
}

// String names the task.
func (t *linkTask) String() string { return adapter + " on " + t.link.Name }

// Ready is closed at once.
func (t *linkTask) Ready() <-chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}

// Run hands what comes in to the module until ctx ends or the socket fails; the module has let go of the socket then.
func (t *linkTask) Run(ctx context.Context) error {
	if !t.tell(ctx, event{link: t, attach: true}) {
		return t.socket.Close()
	}
	failed := make(chan error, 1)
	go t.read(failed)
	var err error
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	gone := make(chan struct{})
	select {
	case t.module.events <- event{link: t, detach: gone}:
		select {
		case <-gone:
		case <-t.module.ended:
		}
	case <-t.module.ended:
	}
	return errors.Join(err, t.socket.Close())
}

func (t *linkTask) tell(ctx context.Context, e event) bool {
	select {
	case t.module.events <- e:
		return true
	case <-ctx.Done():
		return false
	case <-t.module.ended:
		return false
	}
}

// read ends with the socket.
func (t *linkTask) read(failed chan<- error) {
	b := make([]byte, maxDatagram+1)
	for {
		n, from, err := t.socket.Read(b)
		if err != nil {
			failed <- err
			return
		}
		if !t.tell(context.Background(), event{link: t, packet: append(make([]byte, 0, n+1), b[:n]...), from: from}) {
			return
		}
	}
}
