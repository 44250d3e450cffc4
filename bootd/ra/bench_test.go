package ra

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/mdlayher/ndp"

	"bootd.internal/bootd/ident"
	"bootd.internal/bootd/netif/netiftest"
	"bootd.internal/bootd/site"
	"bootd.internal/bootd/site/sitetest"
	"bootd.internal/bootd/timeline"
)

// bench is a task on a link made of channels, with a clock that synctest moves. What happens is written down as lines.
type bench struct {
	t       *testing.T
	link    site.Link
	start   time.Time
	in      chan frame
	broken  chan error
	changed chan struct{}
	cancel  context.CancelFunc
	ended   chan error
	final   bool

	mu    sync.Mutex
	snap  *site.Snapshot
	lines []string
	// foreign is what was told of other routers.
	foreign []timeline.Foreign
	fail    error
	// told and prefixes are what was promised before, and a store.
	told     []site.Advertised
	prefixes bool
	store    Store
	begun    *Begun
}

type frame struct {
	b    []byte
	from ident.MAC
}

func newBench(t *testing.T, inventory string) *bench {
	b := &bench{
		t: t, link: sitetest.Link(t, 3, "eth1", "2001:db8:1::1/64"), start: time.Now(), in: make(chan frame),
		broken: make(chan error, 1), changed: make(chan struct{}, 1), ended: make(chan error, 1),
	}
	b.swap(inventory)
	return b
}

// swap replaces the snapshot without telling.
func (b *bench) swap(inventory string) {
	f := sitetest.Facts(b.link)
	f.Forwarding, f.DefaultRoute, f.Advertised = true, true, b.told
	s, problems := site.Resolve(sitetest.Inventory(b.t, inventory), f, nil, time.Now())
	if len(problems) > 0 {
		b.t.Fatal(problems)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.snap = s
}

// swapNothing serves another interface only.
func (b *bench) swapNothing() {
	s, _ := sitetest.Resolve(b.t, `networks: {rack9: {interface: eth8, prefix: "2001:db8:9::/64"}}`, sitetest.Facts(b.link))
	b.mu.Lock()
	defer b.mu.Unlock()
	b.snap = s
}

func (b *bench) config() Config {
	return Config{
		Snapshot: func() *site.Snapshot {
			b.mu.Lock()
			defer b.mu.Unlock()
			return b.snap
		},
		Changed:  func(context.Context) <-chan struct{} { return b.changed },
		Observer: b, Store: b.store, Begun: b.begun,
		Rand:   func() *rand.Rand { return rand.New(rand.NewPCG(1, 2)) },
		Final:  func() bool { return b.final },
		Listen: func(site.Link) (Conn, error) { return b.conn(), nil },
	}
}

func (b *bench) conn() Conn {
	closed := make(chan struct{})
	return netiftest.Discovery{
		ReadFunc: func(p []byte, each func([]byte, ident.MAC)) error {
			select {
			case f := <-b.in:
				each(p[:copy(p, f.b)], f.from)
				return nil
			case err := <-b.broken:
				return err
			case <-closed:
				return net.ErrClosed
			}
		},
		WriteFunc: b.wrote,
		CloseFunc: sync.OnceValue(func() error { close(closed); return nil }),
	}
}

// note writes down a line with the time since the start, rounded so that random delays below 100 ms do not show.
func (b *bench) note(format string, args ...any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	at := time.Since(b.start).Truncate(100 * time.Millisecond)
	b.lines = append(b.lines, fmt.Sprintf("%v ", at)+fmt.Sprintf(format, args...))
}

// wrote decodes what the task sends, by other code than encodes it.
func (b *bench) wrote(p []byte, to ident.MAC) error {
	m, err := ndp.ParseMessage(p[40:])
	if err != nil {
		return err
	}
	if got, want := netip.AddrFrom16([16]byte(p[8:24])), b.link.LinkLocal; got != want {
		b.t.Errorf("sent from %v, want %v", got, want)
	}
	switch m := m.(type) {
	case *ndp.RouterSolicitation:
		b.note("> RS to %v", to)
	case *ndp.RouterAdvertisement:
		b.note("> RA to %v (%v) lifetime %v M=%d", netip.AddrFrom16([16]byte(p[24:40])), to, m.RouterLifetime, bit(m.ManagedConfiguration))
		for _, o := range m.Options {
			if p, ok := o.(*ndp.PrefixInformation); ok && b.prefixes {
				b.note("  %v/%d preferred %v valid %v", p.Prefix, p.PrefixLength, p.PreferredLifetime, p.ValidLifetime)
			}
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.fail
}

func (b *bench) Observe(o timeline.Observation) {
	s := fmt.Sprintf("%s %s", o.Message, o.Outcome.Reason)
	for _, v := range []string{o.Outcome.Network, o.Outcome.Host, o.Peer} {
		if v != "" {
			s += " " + v
		}
	}
	for _, e := range o.Events {
		s += fmt.Sprintf(" [%s %s %s %s]", e.Kind, e.MAC, e.Addr, e.Detail)
	}
	if o.Err != nil {
		s += " error: " + o.Err.Error()
	}
	b.note("%s", s)
	if o.Foreign != nil {
		b.mu.Lock()
		b.foreign = append(b.foreign, *o.Foreign)
		b.mu.Unlock()
	}
}

func (b *bench) run() {
	b.t.Helper()
	task, err := New(b.config(), b.link)
	if err != nil {
		b.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.t.Context())
	b.cancel = cancel
	go func() { b.ended <- task.Run(ctx) }()
	<-task.Ready()
	synctest.Wait() // what it sends at once is sent before anything else happens
}

// hear delivers a packet and waits until it is dealt with.
func (b *bench) hear(from ident.MAC, p []byte) {
	b.in <- frame{p, from}
	synctest.Wait()
}

// pass lets time go by.
func (b *bench) pass(d time.Duration) {
	time.Sleep(d) // of synctest's clock
	synctest.Wait()
}

// expect compares all that was written down since the last time.
func (b *bench) expect(want ...string) {
	b.t.Helper()
	synctest.Wait()
	b.mu.Lock()
	defer b.mu.Unlock()
	if diff := cmp.Diff(want, b.lines); diff != "" {
		b.t.Errorf("(-want +got):\n%s", diff)
	}
	b.lines = nil
}

func (b *bench) stop(want error) {
	b.t.Helper()
	b.cancel()
	if err := <-b.ended; fmt.Sprint(err) != fmt.Sprint(want) {
		b.t.Errorf("Run: %v, want %v", err, want)
	}
}
