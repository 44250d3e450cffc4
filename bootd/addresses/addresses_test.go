package addresses

import (
	"context"
	"fmt"
	"io/fs"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"bootd.internal/bootd/netif"
	"bootd.internal/bootd/site"
	"bootd.internal/bootd/site/sitetest"
	"bootd.internal/bootd/timeline"
)

const text = `upstreams: {isp: {interface: eth0}}
networks:
  lan: {interface: eth1, prefix: {from: isp, subnet: 0}}
  office: {interface: eth2, prefix: {from: isp, subnet: 1}, address: "::fe"}
`

// kernel is a table of addresses, ours and others'.
type kernel struct {
	mu     sync.Mutex
	all    []netif.Address
	refuse error
	writes int
}

func (k *kernel) List(time.Time) ([]netif.Address, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Clone(k.all), nil
}

func (k *kernel) Put(a netif.Address, replace bool, _ time.Time) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	i := slices.IndexFunc(k.all, func(o netif.Address) bool { return placeOf(o) == placeOf(a) })
	switch {
	case k.refuse != nil:
		return k.refuse
	case i >= 0 && (!replace || !k.all[i].Ours):
		return fs.ErrExist
	case i >= 0:
		k.all[i] = a
	default:
		k.all = append(k.all, a)
	}
	k.writes++
	return nil
}

func (k *kernel) Delete(a netif.Address) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.writes++
	k.all = slices.DeleteFunc(k.all, func(o netif.Address) bool { return placeOf(o) == placeOf(a) && o.Ours })
	return nil
}

// text lists addresses with link and lifetimes from a time.
func (k *kernel) text(now time.Time) string {
	k.mu.Lock()
	defer k.mu.Unlock()
	var out []string
	for _, a := range k.all {
		line := fmt.Sprintf("%d %s", a.Link, a.Prefix)
		if !a.ValidUntil.IsZero() {
			line += fmt.Sprintf(" %s/%s", max(a.PreferredUntil.Sub(now), 0), a.ValidUntil.Sub(now))
		}
		if !a.Ours {
			line += " not ours"
		}
		out = append(out, line)
	}
	slices.Sort(out)
	return strings.Join(out, "; ")
}

// seen gathers what an observer is told.
type seen struct {
	mu  sync.Mutex
	all []string
}

func (s *seen) Observe(o timeline.Observation) {
	s.mu.Lock()
	defer s.mu.Unlock()
	line := fmt.Sprint(o.Outcome.Reason, " ", o.Count)
	if o.Err != nil {
		line = o.Err.Error()
	}
	s.all = append(s.all, line)
}

func (s *seen) take() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer func() { s.all = nil }()
	return strings.Join(s.all, "; ")
}

// house is a task over a kernel, with an upstream that a test sets.
type house struct {
	t       *testing.T
	snap    atomic.Pointer[site.Snapshot]
	changed chan struct{}
	kernel  *kernel
	seen    *seen
	stale   []site.Advertised
}

func (h *house) upstream(all ...site.Prefix) {
	h.t.Helper()
	f := sitetest.Facts(sitetest.Link(h.t, 7, "eth1"), sitetest.Link(h.t, 8, "eth2"))
	f.Delegated, f.Advertised = map[string][]site.Prefix{"isp": all}, h.stale
	snap, _ := site.Resolve(sitetest.Inventory(h.t, text), f, h.snap.Load(), time.Now())
	h.snap.Store(snap)
	if h.changed != nil {
		h.changed <- struct{}{}
		synctest.Wait()
	}
}

func (h *house) want(what, said string) {
	h.t.Helper()
	if got := h.kernel.text(time.Now()); got != what {
		h.t.Errorf("addresses\n%s, want\n%s", got, what)
	}
	if got := h.seen.take(); got != said {
		h.t.Errorf("said %q, want %q", got, said)
	}
}

func lives(p string, preferred, valid time.Duration) site.Prefix {
	return site.Prefix{Prefix: netip.MustParsePrefix(p), PreferredUntil: time.Now().Add(preferred), ValidUntil: time.Now().Add(valid)}
}

func TestRenumbering(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		other := netif.Address{Link: 7, Prefix: netip.MustParsePrefix("2001:db8:9::1/64")}
		left := netif.Address{Link: 8, Prefix: netip.MustParsePrefix("2001:db8:8::1/64"), Ours: true}
		h := &house{t: t, kernel: &kernel{all: []netif.Address{other, left}}, seen: &seen{}}
		h.upstream()
		h.changed = make(chan struct{})
		task := New(Config{
			Snapshot: h.snap.Load, Changed: func(context.Context) <-chan struct{} { return h.changed },
			Kernel: h.kernel, Observer: h.seen, Now: time.Now,
		})
		done := make(chan error)
		go func() { done <- task.Run(ctx) }()
		<-task.Ready()
		const others = "7 2001:db8:9::1/64 not ours"
		h.want(others, "changed 1") // what a life before this one left is gone

		h.upstream(lives("2001:db8:a::/56", time.Hour, 2*time.Hour))
		h.want("7 2001:db8:9::1/64 not ours; 7 2001:db8:a::1/64 1h0m0s/2h0m0s; 8 2001:db8:a:1::fe/64 1h0m0s/2h0m0s", "changed 2")
		before := h.kernel.writes
		h.upstream(lives("2001:db8:a::/56", time.Hour+time.Second, 2*time.Hour))
		if h.kernel.writes != before {
			t.Error("a second more is written")
		}
		time.Sleep(30 * time.Minute)
		h.upstream(lives("2001:db8:a::/56", time.Hour, 2*time.Hour))
		h.want("7 2001:db8:9::1/64 not ours; 7 2001:db8:a::1/64 1h0m0s/2h0m0s; 8 2001:db8:a:1::fe/64 1h0m0s/2h0m0s", "changed 2")

		// Hosts of the lan were told of the old prefix, those of the office not yet.
		h.stale = []site.Advertised{{Link: "eth1", Prefix: netip.MustParsePrefix("2001:db8:a::/64"), ValidUntil: time.Now().Add(90 * time.Minute)}}
		h.upstream(lives("2001:db8:b::/56", time.Hour, 2*time.Hour))
		h.want("7 2001:db8:9::1/64 not ours; 7 2001:db8:a::1/64 0s/1h30m0s; 7 2001:db8:b::1/64 1h0m0s/2h0m0s; 8 2001:db8:b:1::fe/64 1h0m0s/2h0m0s", "changed 4")
		time.Sleep(5 * time.Minute)
		h.want("7 2001:db8:9::1/64 not ours; 7 2001:db8:a::1/64 0s/1h25m0s; 7 2001:db8:b::1/64 55m0s/1h55m0s; 8 2001:db8:b:1::fe/64 55m0s/1h55m0s", "")
		time.Sleep(86 * time.Minute)
		h.upstream(lives("2001:db8:b::/56", time.Hour, 2*time.Hour))
		h.want("7 2001:db8:9::1/64 not ours; 7 2001:db8:b::1/64 1h0m0s/2h0m0s; 8 2001:db8:b:1::fe/64 1h0m0s/2h0m0s", "changed 1; changed 2")

		h.upstream()
		h.want(others, "changed 2")
		h.kernel.mu.Lock()
		h.kernel.all = append(h.kernel.all, netif.Address{Link: 7, Prefix: netip.MustParsePrefix("2001:db8:c::1/128")})
		h.kernel.mu.Unlock()
		h.upstream(lives("2001:db8:c::/56", time.Hour, 2*time.Hour))
		h.want("7 2001:db8:9::1/64 not ours; 7 2001:db8:c::1/128 not ours; 8 2001:db8:c:1::fe/64 1h0m0s/2h0m0s", "changed 1")
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// TestRefused: what the kernel refuses is said once, with what to do.
func TestRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &house{t: t, kernel: &kernel{refuse: syscall.EPERM}, seen: &seen{}}
		h.upstream(lives("2001:db8:a::/56", time.Hour, 2*time.Hour))
		task := New(Config{Snapshot: h.snap.Load, Kernel: h.kernel, Observer: h.seen, Now: time.Now})
		task.reconcile()
		h.want("", "operation not permitted\noperation not permitted: give bootd CAP_NET_ADMIN (docs/modules/upstream.md)")
		task.reconcile()
		h.want("", "")
		h.kernel.refuse = nil
		task.reconcile()
		h.want("7 2001:db8:a::1/64 1h0m0s/2h0m0s; 8 2001:db8:a:1::fe/64 1h0m0s/2h0m0s", "changed 2")
	})
}

// TestAnyCrash: whatever of a change was done before a crash, and whatever others did meanwhile, the addresses become the same.
func TestAnyCrash(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		at := func(p string, link int, preferred, valid time.Duration) netif.Address {
			x := lives(p, preferred, valid)
			return netif.Address{Link: link, Prefix: x.Prefix, PreferredUntil: x.PreferredUntil, ValidUntil: x.ValidUntil, Ours: true}
		}
		left := []netif.Address{
			at("2001:db8:a::1/64", 7, time.Hour, 2*time.Hour), at("2001:db8:a:1::fe/64", 8, 0, time.Minute), at("2001:db8:b::1/64", 7, time.Minute, time.Hour),
			at("2001:db8:b:1::fe/64", 7, time.Hour, 2*time.Hour), at("2001:db8:b:1::fe/64", 8, time.Hour, 2*time.Hour), at("2001:db8:c::1/64", 9, time.Hour, 2*time.Hour),
		}
		const want = "7 2001:db8:b::1/64 1h0m0s/2h0m0s; 8 2001:db8:b:1::fe/64 1h0m0s/2h0m0s"
		for which := range 1 << len(left) {
			k := &kernel{}
			for i, a := range left {
				if which>>i&1 == 1 {
					k.all = append(k.all, a)
				}
			}
			h := &house{t: t, kernel: k, seen: &seen{}}
			h.upstream(lives("2001:db8:b::/56", time.Hour, 2*time.Hour))
			task := New(Config{Snapshot: h.snap.Load, Kernel: k, Observer: h.seen, Now: time.Now})
			task.reconcile()
			if got := k.text(time.Now()); got != want {
				t.Errorf("after a crash that left %b: %s", which, got)
			}
			writes := k.writes
			if task.reconcile(); k.writes != writes {
				t.Errorf("after a crash that left %b: written twice", which)
			}
		}
	})
}
