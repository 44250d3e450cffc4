package ra

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"strings"
	"sync"
	"syscall"
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

func TestMain(m *testing.M) { netiftest.Main(m) }

const rack = `
defaults: {domain: example.net}
networks:
  rack1: {interface: eth1, prefix: "2001:db8:1::/64"}
hosts:
  r1n01: 52:54:00:00:01:00
`

func insisting() string {
	return strings.Replace(rack, "interface: eth1", "interface: eth1, router: self", 1)
}

func elsewhere() string {
	return strings.Replace(rack, "interface: eth1", "interface: eth1, router: other", 1)
}

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
	fail  error
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
	f.Forwarding, f.DefaultRoute = true, true
	s := sitetest.Snapshot(b.t, inventory, f)
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
		Observer: b,
		Rand:     func() *rand.Rand { return rand.New(rand.NewPCG(1, 2)) },
		Final:    func() bool { return b.final },
		Listen:   func(site.Link) (Conn, error) { return b.conn(), nil },
	}
}

func (b *bench) conn() Conn {
	closed := make(chan struct{})
	return netiftest.Discovery{
		ReadFunc: func(p []byte) (int, ident.MAC, error) {
			select {
			case f := <-b.in:
				return copy(p, f.b), f.from, nil
			case err := <-b.broken:
				return 0, ident.MAC{}, err
			case <-closed:
				return 0, ident.MAC{}, net.ErrClosed
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

const (
	multicastRA = "> RA to ff02::1 (33:33:00:00:00:01) lifetime 3m0s M=1"
	finalRA     = "> RA to ff02::1 (33:33:00:00:00:01) lifetime 0s M=1"
	periodic    = "Periodic answered rack1"
	soliciting  = "> RS to 33:33:00:00:00:02"
)

var foreignMAC = ident.MAC{0x52, 0x54, 0, 0, 0xee, 1}

func TestListenThenAdvertise(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, rack)
		b.run()
		b.pass(33 * time.Second)
		b.expect("0s "+soliciting, "400ms "+soliciting,
			"1s "+multicastRA, "1s "+periodic, "17s "+multicastRA, "17s "+periodic, "33s "+multicastRA, "33s "+periodic)
		b.pass(10 * time.Minute)
		b.mu.Lock()
		if n := len(b.lines) / 2; n < 10 || n > 30 { // 20 to 60 s apart
			t.Errorf("%d advertisements in ten minutes", n)
		}
		b.mu.Unlock()
		b.stop(nil)
	})
}

func TestInsistingStartsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, insisting())
		b.final = true
		b.run()
		b.pass(10 * time.Second)
		b.expect("0s "+multicastRA, "0s "+periodic)
		b.stop(nil)
		b.expect("10s "+finalRA, "10s Final answered")
	})
}

// A restart says nothing at its end: the next start repairs what is to be repaired.
func TestNoFinalAtRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, insisting())
		b.run()
		b.expect("0s "+multicastRA, "0s "+periodic)
		b.stop(nil)
		b.expect()
	})
}

func TestSolicited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, insisting())
		b.run()
		b.pass(5 * time.Second)
		b.expect("0s "+multicastRA, "0s "+periodic)
		b.hear(clientMAC, unhex(rsOVMF))
		b.hear(clientMAC, unhex(rsOVMF))
		b.pass(100 * time.Millisecond)
		stranger := ident.MAC{0x52, 0x54, 0, 0, 1, 3}
		b.hear(stranger, unhex(rsInstaller))
		b.pass(60 * time.Millisecond)
		b.expect(`5s RouterSolicitation retransmit rack1 "::"`,
			"5s > RA to ff02::1 (52:54:00:00:01:00) lifetime 3m0s M=1",
			`5s RouterSolicitation answered rack1 r1n01 "::" [router-solicit 52:54:00:00:01:00 :: ]`,
			"5.1s > RA to fe80::5054:ff:fe00:103 (52:54:00:00:01:03) lifetime 3m0s M=1",
			`5.1s RouterSolicitation answered rack1 "fe80::5054:ff:fe00:103" [router-solicit 52:54:00:00:01:03 fe80::5054:ff:fe00:103 ]`)
		b.stop(nil)
	})
}

// Hundreds at once get theirs within 50 ms, and no multicast is sent for it.
func TestSolicitedByARack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, insisting())
		b.run()
		b.expect("0s "+multicastRA, "0s "+periodic)
		for i := range 600 {
			b.hear(ident.MAC{0x52, 0x54, 0, 1, byte(i >> 8), byte(i)}, unhex(rsOVMF))
		}
		b.pass(50 * time.Millisecond)
		b.mu.Lock()
		defer b.mu.Unlock()
		answered := 0
		for _, l := range b.lines {
			if strings.HasPrefix(l, "0s > RA to ff02::1 (52:54:00:01:") {
				answered++
			}
		}
		if answered != 600 || len(b.lines) != 1200 {
			t.Errorf("%d answers in %d lines", answered, len(b.lines))
		}
		b.cancel()
	})
}

func TestSolicitedFlood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, rack)
		b.run()
		b.pass(500 * time.Millisecond)
		for i := range maxPending + 2 {
			b.hear(ident.MAC{0x52, 0x54, 0, 1, byte(i >> 8), byte(i)}, unhex(rsOVMF))
		}
		b.expect("0s "+soliciting, "400ms "+soliciting,
			`500ms RouterSolicitation overload rack1 "::"`, `500ms RouterSolicitation overload rack1 "::"`)
		b.pass(550 * time.Millisecond)
		b.mu.Lock()
		if n := len(b.lines); n != 2+2*maxPending || b.lines[0] != "1s "+multicastRA {
			t.Errorf("%d lines, the first: %s", n, b.lines[0])
		}
		b.mu.Unlock()
		b.stop(nil)
	})
}

func TestYieldsWhileListening(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, rack)
		b.final = true
		b.run()
		b.hear(clientMAC, unhex(rsIPXE))
		b.pass(300 * time.Millisecond)
		b.hear(foreignMAC, ip(routerLL, advertisement(1800)...))
		b.hear(foreignMAC, ip(routerLL, advertisement(1800)...))
		b.pass(time.Hour)
		b.hear(clientMAC, unhex(rsIPXE))
		held := "another router advertises here (lifetime 1800s, M=1 O=0): bootd sends no advertisements until the network " +
			"says `router: self` (or `router: other`)"
		b.expect("0s "+soliciting,
			`300ms RouterAdvertisement router-elsewhere rack1 "fe80::1" [foreign-router 52:54:00:00:ee:01 fe80::1 `+held+`]`,
			`300ms RouterSolicitation router-elsewhere rack1 "fe80::5054:ff:fe00:100"`,
			`300ms RouterAdvertisement router-elsewhere rack1 "fe80::1"`,
			`1h0m0.3s RouterSolicitation router-elsewhere rack1 "fe80::5054:ff:fe00:100"`)

		b.swap(insisting())
		b.changed <- struct{}{}
		b.pass(16 * time.Second)
		b.expect("1h0m0.3s "+multicastRA, "1h0m0.3s "+periodic, "1h0m16.3s "+multicastRA, "1h0m16.3s "+periodic)
		b.stop(nil)
		b.expect("1h0m16.3s "+finalRA, "1h0m16.3s Final answered")
	})
}

// A router that could not answer in the first second, because it had just multicast, is yielded to as well, and what we
// said is taken back.
func TestYieldsInProbation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, rack)
		b.run()
		b.pass(3 * time.Second)
		b.hear(foreignMAC, ip(routerLL, with(advertisement(1800), 5, 0)...))
		b.pass(time.Hour)
		b.expect("0s "+soliciting, "400ms "+soliciting, "1s "+multicastRA, "1s "+periodic,
			"3s RouterAdvertisement router-elsewhere rack1 \"fe80::1\" [foreign-router 52:54:00:00:ee:01 fe80::1 another router "+
				"advertises here (lifetime 1800s, M=0 O=0): bootd sends no advertisements until the network says `router: self` (or `router: other`)]",
			"3s "+finalRA, "3s Final answered")
		b.stop(nil)
	})
}

// After the start, or from a router that is no default router, an advertisement is an event and no more.
func TestForeignRoutersLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, rack)
		b.run()
		b.pass(500 * time.Millisecond)
		b.hear(foreignMAC, ip(routerLL, advertisement(0)...))
		b.pass(9500 * time.Millisecond)
		b.hear(foreignMAC, ip(routerLL, advertisement(600)...))
		b.pass(7 * time.Second)
		b.expect("0s "+soliciting, "400ms "+soliciting,
			`500ms RouterAdvertisement router-elsewhere rack1 "fe80::1" [foreign-router 52:54:00:00:ee:01 fe80::1 another router advertises beside bootd (lifetime 0s, M=1 O=0)]`,
			"1s "+multicastRA, "1s "+periodic,
			`10s RouterAdvertisement router-elsewhere rack1 "fe80::1" [foreign-router 52:54:00:00:ee:01 fe80::1 another router advertises beside bootd (lifetime 600s, M=1 O=0)]`,
			"17s "+multicastRA, "17s "+periodic)
		for i := range 100 {
			b.hear(foreignMAC, ip(netip.MustParseAddr(fmt.Sprintf("fe80::9:%x", i)), advertisement(600)...))
		}
		b.mu.Lock()
		if n := strings.Count(strings.Join(b.lines, "\n"), "[foreign-router"); n != maxRouters-1 {
			t.Errorf("%d events for a hundred invented routers, want %d", n, maxRouters-1)
		}
		b.mu.Unlock()
		b.stop(nil)
	})
}

func TestRouterElsewhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, elsewhere())
		b.final = true
		b.run()
		b.hear(foreignMAC, ip(routerLL, with(advertisement(1800), 5, 0)...))
		b.hear(clientMAC, unhex(rsIPXE))
		b.pass(time.Hour)
		b.expect("0s "+soliciting,
			`0s RouterAdvertisement router-elsewhere rack1 "fe80::1" [foreign-router 52:54:00:00:ee:01 fe80::1 the router of this link (lifetime 1800s, M=0 O=0) must set M, or iPXE and firmware ask for no address]`,
			`0s RouterSolicitation router-elsewhere rack1 "fe80::5054:ff:fe00:100"`,
			"400ms "+soliciting, "1s Periodic router-elsewhere rack1")
		b.stop(nil)
		b.expect()
	})
}

// What changed is said at once, but never sooner than three seconds after the last multicast; what did not is not.
func TestReload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, insisting())
		b.run()
		b.pass(time.Second)
		b.changed <- struct{}{}
		b.pass(time.Second)
		b.swap(strings.Replace(insisting(), "router: self", "router: self, ra: {managed: false}", 1))
		b.changed <- struct{}{}
		b.pass(18 * time.Second)
		b.expect("0s "+multicastRA, "0s "+periodic,
			"3s "+strings.Replace(multicastRA, "M=1", "M=0", 1), "3s "+periodic,
			"19s "+strings.Replace(multicastRA, "M=1", "M=0", 1), "19s "+periodic)
		b.swap(elsewhere())
		b.changed <- struct{}{}
		b.pass(time.Hour)
		b.expect("20s "+strings.Replace(finalRA, "M=1", "M=0", 1), "20s Final answered")
		b.stop(nil)
	})
}

// An address that the link got anew is the source from then on.
func TestAddressChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, insisting())
		b.run()
		b.pass(10 * time.Second)
		b.link.LinkLocal = netip.MustParseAddr("fe80::77")
		b.swap(insisting())
		b.changed <- struct{}{}
		b.pass(time.Second)
		b.expect("0s "+multicastRA, "0s "+periodic, "10s "+multicastRA, "10s "+periodic)
		b.stop(nil)
	})
}

func TestBadPacketsAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, insisting())
		b.run()
		b.expect("0s "+multicastRA, "0s "+periodic)
		own := b.link.LinkLocal
		b.hear(clientMAC, with(unhex(rsOVMF), 7, 64))
		b.hear(clientMAC, ip(clientLL, rs(1, 0)...))
		b.hear(clientMAC, ip(netip.IPv6Unspecified(), rs(1, 1, 0, 0, 0, 0, 0, 0)...))
		b.hear(clientMAC, []byte("junk"))
		b.hear(b.link.MAC, ip(own, advertisement(180)...))
		b.hear(foreignMAC, ip(own, advertisement(180)...))
		b.hear(b.link.MAC, ip(own, rs()...))
		b.expect(`0s RouterSolicitation bad-hop-limit rack1 "::"`,
			`0s RouterSolicitation malformed rack1 "fe80::5054:ff:fe00:100"`,
			`0s RouterSolicitation bad-source rack1 "::"`, `0s Unknown malformed rack1`,
			`0s RouterAdvertisement looped rack1 "fe80::5054:ff:fe00:ff03"`,
			`0s RouterAdvertisement looped rack1 "fe80::5054:ff:fe00:ff03"`,
			`0s RouterSolicitation looped rack1 "fe80::5054:ff:fe00:ff03"`)
		b.stop(nil)
	})
}

func TestFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, insisting())
		b.fail = syscall.ENOBUFS
		b.run()
		b.hear(clientMAC, unhex(rsIPXE))
		b.pass(100 * time.Millisecond)
		b.expect("0s "+multicastRA, "0s Periodic none rack1 error: no buffer space available",
			"0s > RA to fe80::5054:ff:fe00:100 (52:54:00:00:01:00) lifetime 3m0s M=1",
			`0s RouterSolicitation none rack1 r1n01 "fe80::5054:ff:fe00:100" [router-solicit 52:54:00:00:01:00 fe80::5054:ff:fe00:100 ] error: no buffer space available`)
		b.broken <- syscall.ENETDOWN
		if err := <-b.ended; err == nil || err.Error() != "network is down" {
			t.Errorf("Run: %v", err)
		}
		b.cancel()
	})
}

func TestNewRefuses(t *testing.T) {
	good := sitetest.Link(t, 3, "eth1")
	change := func(f func(*site.Link)) site.Link {
		l := good
		f(&l)
		return l
	}
	b := newBench(t, rack)
	for _, tt := range []struct {
		link site.Link
		want string
	}{
		{change(func(l *site.Link) { l.Up = false }), "advertising on eth1: the link is down"},
		{change(func(l *site.Link) { l.LinkLocal = netip.Addr{} }), "advertising on eth1: it has no link-local address yet (duplicate address detection)"},
		{change(func(l *site.Link) { l.MAC = ident.MAC{} }), "advertising on eth1: it is no Ethernet link"},
	} {
		if _, err := New(b.config(), tt.link); err == nil || err.Error() != tt.want {
			t.Errorf("error %v, want %s", err, tt.want)
		}
	}
	cfg := b.config()
	cfg.Listen = func(site.Link) (Conn, error) { return nil, syscall.EPERM }
	if _, err := New(cfg, good); err == nil || err.Error() != "advertising on eth1: operation not permitted" {
		t.Errorf("error %v", err)
	}
	task, err := New(b.config(), good)
	if err != nil || task.String() != "router advertisements on eth1" || task.Close() != nil {
		t.Errorf("New: %v, %v", task, err)
	}
}
