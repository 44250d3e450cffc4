package dns

import (
	"context"
	"net/netip"
	"testing"
	"time"

	"bootd.internal/bootd/lease"
	"bootd.internal/bootd/site/sitetest"
	"bootd.internal/bootd/store"
	"bootd.internal/bootd/store/memory"
	"github.com/google/go-cmp/cmp"
)

// TestLeases: a lease is known once it is committed, and no longer than it is in force.
func TestLeases(t *testing.T) {
	s := memory.New()
	c := &clock{now: sitetest.Now()}
	l := NewLeases(s, c.Now)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	put := func(addr string, b *lease.Binding) {
		t.Helper()
		op := store.Op{Key: lease.Key(netip.MustParseAddr(addr))}
		if b != nil {
			op.Value = b.Encode()
		}
		if err := s.Update(ctx, func(store.View) []store.Op { return []store.Op{op} }); err != nil {
			t.Fatal(err)
		}
	}
	bound := func(until time.Duration) *lease.Binding {
		return &lease.Binding{Holder: "r1n01/net0", Network: "rack1", State: lease.Bound, ValidUntil: c.Now().Add(until)}
	}
	of := func(want ...string) {
		t.Helper()
		deadline := time.Now().Add(long)
		for {
			var got []string
			for _, a := range l.Of("r1n01/net0") {
				got = append(got, a.String())
				if !l.Held(a) || l.Holder(a) != "r1n01/net0" {
					t.Errorf("%v is not held by %s", a, "r1n01/net0")
				}
			}
			if cmp.Equal(want, got) {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("holds %v, want %v", got, want)
			}
			time.Sleep(time.Millisecond)
		}
	}
	put("2001:db8:1::a", bound(time.Hour))
	go func() { done <- l.Run(ctx) }()
	<-l.Ready()
	of("2001:db8:1::a")
	put("2001:db8:1::b", bound(time.Minute))
	of("2001:db8:1::a", "2001:db8:1::b")
	c.advance(2 * time.Minute)
	of("2001:db8:1::a")
	resting := bound(time.Hour)
	resting.State = lease.Resting
	put("2001:db8:1::a", resting)
	of()
	put("2001:db8:1::a", nil)
	put("2001:db8:1::b", nil)
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
