// Package ra is the router discovery of one link: it sends router advertisements (RFC 4861, RFC 4191, RFC 8106), answers
// solicitations within 50 ms (a crowd's within 90 ms) by a frame to the asking machine alone, even when that has no address yet (RFC 6085), and
// watches for other routers.
//
// What an advertisement says is decided by decide/advert, and so is what another router's contradicts. The package never
// forwards a packet, never sets an address or a route, and never does what another router's advertisement says.
package ra

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"sync"
	"time"

	"bootd.internal/bootd/decide/advert"
	"bootd.internal/bootd/ident"
	"bootd.internal/bootd/netif"
	"bootd.internal/bootd/reason"
	"bootd.internal/bootd/site"
	"bootd.internal/bootd/store"
	"bootd.internal/bootd/timeline"
)

const (
	// listenTime is how long a link is listened to before the first advertisement. A router that is free to answer
	// does so within MAX_RA_DELAY_TIME, 500 ms; the solicitation is sent twice.
	listenTime = time.Second
	askAgain   = 400 * time.Millisecond
	// probation is how long after the start another router makes us yield although we advertise already: one that has
	// just multicast may stay silent for MIN_DELAY_BETWEEN_RAS before it answers. Machines that boot are not kept
	// waiting for that.
	probation = advert.MinDelayBetweenRAs + 2*advert.MaxRADelayTime
	// maxPending bounds the answers that wait for their moment, which is at most 50 ms away except while listening.
	maxPending = 1024
	// readBuffer holds the largest packet of a link with jumbo frames.
	readBuffer = 9216
)

// Conn carries packets of router discovery, from their IPv6 header on, with the MAC address of their frame.
// netif.Discovery is one. ReadAll waits and then gives all that are there, read into b, each until it has returned; an error
// comes after Close and when the link breaks.
type Conn interface {
	ReadAll(b []byte, each func(packet []byte, from ident.MAC)) error
	Write(packet []byte, to ident.MAC) error
	Close() error
}

// Observer is told of each packet and each advertisement.
type Observer interface{ Observe(timeline.Observation) }

// Store makes durable what an advertisement promises. store.Store is one.
type Store interface {
	Update(ctx context.Context, fn func(store.View) []store.Op) error
}

// Begun is a set of links. It is shared by the tasks.
type Begun struct {
	mu    sync.Mutex
	links map[string]bool
}

func (b *Begun) set(link string, begun bool) {
	if b == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.links == nil {
		b.links = map[string]bool{}
	}
	if begun {
		b.links[link] = true
	} else {
		delete(b.links, link)
	}
}

func (b *Begun) has(link string) bool {
	if b == nil {
		return false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.links[link]
}

// Config is what the tasks of all links share.
type Config struct {
	Snapshot func() *site.Snapshot
	// Changed gives a value after each swap of the snapshot; what changed is then advertised at once. Nil: never.
	Changed  func(context.Context) <-chan struct{}
	Observer Observer
	// Store keeps which prefixes hosts were told of; nil: nobody remembers.
	Store Store
	// Begun remembers on which links we advertised already: one that went and came back is not listened to first again. Nil:
	// nobody does.
	Begun *Begun
	// Now is the clock; nil: time.Now.
	Now func() time.Time
	// Rand gives each task a source of chance of its own; nil: a random one.
	Rand func() *rand.Rand
	// Final is asked when the task's context has ended: true sends an advertisement with lifetime 0, so that clients
	// take another router at once (RFC 4861 section 6.2.5). Not for restarts. Nil: never.
	Final func() bool
	// Listen opens the link; nil: netif.ListenDiscovery.
	Listen func(site.Link) (Conn, error)
}

// Task advertises on one link while Run runs. A link that went and came back needs a new one.
type Task struct {
	cfg   Config
	conn  Conn
	rand  *rand.Rand
	ready chan struct{}

	// All below belongs to the goroutine of Run.
	link    site.Link
	started time.Time
	// listenUntil is the end of the listening start, asks the solicitations that are still to be sent then.
	listenUntil time.Time
	asks        []time.Time
	// held: another router was here first; heldUntil is when hosts forget the last one that was heard.
	held      bool
	heldUntil time.Time
	// sent counts the multicasts since we began to advertise this; last is what we said, nil: nothing.
	sent int
	last *said
	// multicast is when the last one went out, next when the next one is due, zero: none is.
	multicast, next time.Time
	pending         []answer
	routers         map[netip.Addr]router
	// promised is what is durable of what we said; unkept is when that failed last.
	promised map[netip.Prefix]site.Advertised
	unkept   time.Time
}

// said is an advertisement with the address that it came from.
type said struct {
	ra  advert.RA
	src netip.Addr
}

// answer waits for its moment to go to one machine.
type answer struct {
	packet
	came, due time.Time
}

// New opens a link for router discovery. Errors: the link is down or has no usable link-local address yet, no
// CAP_NET_RAW; what follows links tries again when the link has changed.
func New(cfg Config, link site.Link) (*Task, error) {
	switch {
	case !link.MAC.Valid():
		return nil, fmt.Errorf("advertising on %s: it is no Ethernet link", link.Name)
	case !link.Up:
		return nil, fmt.Errorf("advertising on %s: the link is down", link.Name)
	case !link.LinkLocal.IsValid():
		return nil, fmt.Errorf("advertising on %s: it has no link-local address yet (duplicate address detection)", link.Name)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Rand == nil {
		cfg.Rand = func() *rand.Rand { return rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64())) }
	}
	if cfg.Listen == nil {
		cfg.Listen = func(l site.Link) (Conn, error) { return netif.ListenDiscovery(l) }
	}
	conn, err := cfg.Listen(link)
	if err != nil {
		return nil, fmt.Errorf("advertising on %s: %w", link.Name, err)
	}
	return &Task{
		cfg: cfg, conn: conn, rand: cfg.Rand(), ready: make(chan struct{}), link: link,
		routers: make(map[netip.Addr]router), promised: make(map[netip.Prefix]site.Advertised),
	}, nil
}

// String names the task.
func (t *Task) String() string { return "router advertisements on " + t.link.Name }

// Ready is closed when solicitations are heard; the listening start is not waited for.
func (t *Task) Ready() <-chan struct{} { return t.ready }

// Close ends a Task that was not run; Run does it by itself.
func (t *Task) Close() error { return t.conn.Close() }

// arrived is what the reader hands to the loop.
type arrived struct {
	packet
	reason reason.Reason
}

// Run advertises until ctx ends, and gives nil then; an error means that the link broke. It runs once.
func (t *Task) Run(ctx context.Context) error {
	var changed <-chan struct{}
	if t.cfg.Changed != nil {
		changed = t.cfg.Changed(ctx)
	}
	packets, broken, stop := make(chan []arrived, 1), make(chan error, 1), make(chan struct{})
	readerEnded := make(chan struct{})
	go func() {
		defer close(readerEnded)
		broken <- t.read(packets, stop)
	}()
	t.begin()
	close(t.ready)
	err := t.loop(ctx, packets, broken, changed)
	if _, served := t.serves(); ctx.Err() != nil && (!served || t.cfg.Final != nil && t.cfg.Final()) {
		t.cease()
	}
	close(stop)
	err = errors.Join(err, t.conn.Close())
	<-readerEnded
	return err
}

// read hands packets to the loop, all that came together at once, until the connection ends.
func (t *Task) read(packets chan<- []arrived, stop <-chan struct{}) error {
	b := make([]byte, readBuffer)
	for {
		var all []arrived
		err := t.conn.ReadAll(b, func(b []byte, from ident.MAC) {
			p, r := parse(b, from)
			all = append(all, arrived{p, r})
		})
		if err != nil {
			return err
		}
		select {
		case packets <- all:
		case <-stop:
			return nil
		}
	}
}

func (t *Task) loop(ctx context.Context, packets <-chan []arrived, broken <-chan error, changed <-chan struct{}) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-broken:
			return err
		case all := <-packets:
			t.receive(all)
		case _, ok := <-changed:
			if !ok {
				changed = nil
				continue
			}
			t.renew()
		case <-timer.C:
			t.tick()
		}
		if due := t.due(); due.IsZero() {
			timer.Stop()
		} else {
			timer.Reset(due.Sub(t.cfg.Now()))
		}
	}
}

// due is when tick has something to do, zero: not before something else happens.
func (t *Task) due() time.Time {
	due := t.next
	sooner := func(at time.Time) {
		if due.IsZero() || at.Before(due) {
			due = at
		}
	}
	if len(t.asks) > 0 {
		sooner(t.asks[0])
	}
	if t.held {
		sooner(t.heldUntil)
	}
	for i := range t.pending {
		sooner(t.pending[i].due)
	}
	return due
}

// decide asks decide/advert, and adds what only this link knows: another router was first.
func (t *Task) decide() advert.Decision {
	d := advert.Decide(t.cfg.Snapshot(), t.link.Name, t.cfg.Now())
	if d.RA != nil && t.held && !d.Insist {
		d.RA, d.Reason = nil, reason.RouterElsewhere
	}
	return d
}
