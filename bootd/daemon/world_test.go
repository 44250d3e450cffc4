package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"bootd.internal/bootd/ident"
	"bootd.internal/bootd/netif"
	"bootd.internal/bootd/site"
	"bootd.internal/bootd/site/sitetest"
	"bootd.internal/bootd/timeline"
)

// fakeKernel is a machine whose links a test sets.
type fakeKernel struct {
	mu    sync.Mutex
	state netif.State
	ch    chan struct{}
}

func (k *fakeKernel) State() netif.State {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.state
}

func (k *fakeKernel) Changed(context.Context) <-chan struct{} { return k.ch }

func (k *fakeKernel) set(links ...site.Link) {
	k.mu.Lock()
	k.state.Links = links
	k.mu.Unlock()
	k.ch <- struct{}{}
}

type kinds struct {
	mu sync.Mutex
	ks []string
}

func (r *kinds) Record(events ...timeline.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range events {
		r.ks = append(r.ks, string(e.Kind)+" "+e.Network+" "+e.Addr)
	}
}

func (r *kinds) take() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := r.ks
	r.ks = nil
	return out
}

func TestWorldFollowsTheKernel(t *testing.T) {
	k, rec, m := &fakeKernel{ch: make(chan struct{})}, &kinds{}, NewMetrics("v1")
	id := Identity{DUID: ident.NewDUIDLL(ident.MAC{2}), Secret: [32]byte{7}}
	w := NewWorld(sitetest.Inventory(t, sitetest.Small()), k, id, slog.New(slog.DiscardHandler), sitetest.Now, rec, m)
	ctx, cancel := context.WithCancel(t.Context())
	changed := w.Changed(ctx)
	done := make(chan error)
	go func() { done <- w.Run(ctx) }()
	<-w.Ready()
	<-changed
	first := w.Snapshot()
	if first.ServerDUID != id.DUID || first.Secret != id.Secret || len(first.Hosts) != 4 {
		t.Errorf("snapshot %+v", first)
	}
	if got := w.Links(); len(got) != 0 {
		t.Errorf("links of a machine without any: %v", got)
	}
	if got := w.Problems(); len(got) != 1 || got[0].Network != "rack1" {
		t.Errorf("problems %+v", got)
	}

	k.set(sitetest.Link(t, 2, "eth1", "2001:db8:1::1/64"), sitetest.Link(t, 3, "eth9"))
	<-changed
	if got := w.Links(); len(got) != 1 || got[0].Name != "eth1" {
		t.Errorf("links %v, want eth1 only", got)
	}
	if got := w.Problems(); len(got) != 0 {
		t.Errorf("problems %+v", got)
	}
	if len(first.Networks) != 1 || first.Networks[0].Link != nil {
		t.Error("the old snapshot changed")
	}
	k.set(sitetest.Link(t, 2, "eth1", "2001:db8:1::2/64"))
	<-changed
	k.set()
	<-changed
	want := []string{"link-up rack1 2001:db8:1::1", "link-up rack1 2001:db8:1::2", "link-down rack1 "}
	if d := cmp.Diff(want, rec.take()); d != "" {
		t.Errorf("events: -want +got:\n%s", d)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if _, open := <-changed; open {
		t.Error("the channel of changes is not closed at the end")
	}
}

func TestWorldKeepsWhatItServesOnARefusal(t *testing.T) {
	k, rec, m := &fakeKernel{}, &kinds{}, NewMetrics("v1")
	w := NewWorld(sitetest.Inventory(t, sitetest.Small()), k, Identity{}, slog.New(slog.DiscardHandler), sitetest.Now, rec, m)
	before := w.Snapshot()
	w.Refuse(errors.New("inventory.yaml:3:1: hosts: broken\nsecond line"))
	if w.Snapshot() != before || w.Stale() == nil || value(t, m, gaugeStale) != 1 {
		t.Errorf("stale %v, gauge %v", w.Stale(), value(t, m, gaugeStale))
	}
	if d := cmp.Diff([]string{"warning  "}, rec.take()); d != "" {
		t.Errorf("events: -want +got:\n%s", d)
	}
	w.Replace(sitetest.Inventory(t, sitetest.Small()+"  r1n09: 52:54:00:aa:01:09\n"))
	if len(w.Snapshot().Hosts) != 5 || w.Stale() != nil || value(t, m, gaugeStale) != 0 || value(t, m, gaugeHosts) != 5 {
		t.Errorf("%d hosts, stale %v, %v hosts on the gauge", len(w.Snapshot().Hosts), w.Stale(), value(t, m, gaugeHosts))
	}
}

// slowKernel answers late enough for others to queue up for the lock, which then goes from one to the next.
type slowKernel struct{ fakeKernel }

func (k *slowKernel) State() netif.State {
	time.Sleep(2 * time.Millisecond)
	return k.fakeKernel.State()
}

// TestReplaceOutlivesAChangeOfLinks: however a reload and a change of links meet, the new inventory stays.
func TestReplaceOutlivesAChangeOfLinks(t *testing.T) {
	k := &slowKernel{}
	old := sitetest.Inventory(t, sitetest.Small())
	next := sitetest.Inventory(t, sitetest.Small()+"  r1n09: 52:54:00:aa:01:09\n")
	w := NewWorld(old, k, Identity{}, slog.New(slog.DiscardHandler), sitetest.Now, &kinds{}, NewMetrics("v1"))
	for range 30 {
		w.Replace(old)
		var changes sync.WaitGroup
		for range 4 {
			changes.Go(w.refresh)
		}
		w.refresh() // lets the others begin
		w.Replace(next)
		changes.Wait()
		if _, ok := w.Snapshot().Host("r1n09"); !ok {
			t.Fatal("the old inventory is served again")
		}
	}
}

// TestWorldFollowsUpstreams: a delegated prefix makes a new snapshot, and so does its end, which nobody tells of.
func TestWorldFollowsUpstreams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := &fakeKernel{ch: make(chan struct{})}
		k.state.Links = []site.Link{sitetest.Link(t, 2, "eth1")}
		inv := sitetest.Inventory(t, "upstreams: {isp: {interface: eth0}}\nnetworks: {lan: {interface: eth1, prefix: {from: isp, subnet: 1}}}\n")
		w := NewWorld(inv, k, Identity{}, slog.New(slog.DiscardHandler), time.Now, &kinds{}, NewMetrics("v1"))
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		changed := w.Changed(ctx)
		done := make(chan error)
		go func() { done <- w.Run(ctx) }()
		<-w.Ready()
		<-changed
		lan := func() string { n := w.Snapshot().Networks[0]; return fmt.Sprint(n.Prefixes, n.Own) }
		if got := lan(); got != "[] invalid IP" || len(w.Problems()) != 1 {
			t.Errorf("before: %s, %v", got, w.Problems())
		}
		began := time.Now()
		given := []site.Prefix{{Prefix: netip.MustParsePrefix("2001:db8:a::/56"), PreferredUntil: began.Add(time.Hour), ValidUntil: began.Add(2 * time.Hour)}}
		w.SetDelegated("isp", given)
		<-changed
		if n := w.Snapshot().Networks[0]; n.Own != netip.MustParseAddr("2001:db8:a:1::1") || len(w.Problems()) != 0 {
			t.Errorf("after: %v, %v", n.Own, w.Problems())
		}
		before := w.Snapshot()
		w.SetDelegated("isp", slices.Clone(given))
		if w.Snapshot() != before {
			t.Error("the same prefix made a new snapshot")
		}
		<-changed
		if at := time.Since(began); at != time.Hour {
			t.Errorf("the end of the preferred lifetime is minded after %s", at)
		}
		<-changed
		if at := time.Since(began); at != 2*time.Hour || lan() != "[] invalid IP" {
			t.Errorf("after %s: %s", at, lan())
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
