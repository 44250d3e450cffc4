package lease

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"bootd.internal/bootd/ident"
)

func start() time.Time { return time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC) }

func claims(iaids ...ident.IAID) []Claim {
	var out []Claim
	for _, i := range iaids {
		out = append(out, Claim{DUID: "\x00\x03\x00\x01abcdef", IAID: i})
	}
	return out
}

func TestRules(t *testing.T) {
	hour := func(n int) time.Time { return start().Add(time.Duration(n) * time.Hour) }
	bound := Binding{Holder: "a/net0", State: Bound, Claims: claims(1, 2), PreferredUntil: hour(6), ValidUntil: hour(12)}
	change := func(f func(*Binding)) Binding {
		b := bound
		f(&b)
		return b
	}
	for _, c := range []struct {
		name string
		do   func() (Binding, bool)
		want Binding
		ok   bool
	}{
		{
			"a new claim goes last", func() (Binding, bool) { return bound.Grant(claims(3)[0], hour(7), hour(13)), true },
			change(func(b *Binding) { b.Claims, b.PreferredUntil, b.ValidUntil = claims(1, 2, 3), hour(7), hour(13) }), true,
		},
		{
			"a claim again becomes the newest", func() (Binding, bool) { return bound.Grant(claims(1)[0], hour(7), hour(13)), true },
			change(func(b *Binding) { b.Claims, b.PreferredUntil, b.ValidUntil = claims(2, 1), hour(7), hour(13) }), true,
		},
		{
			"no deadline comes nearer while others count on it", func() (Binding, bool) { return bound.Grant(claims(3)[0], hour(1), hour(2)), true },
			change(func(b *Binding) { b.Claims = claims(1, 2, 3) }), true,
		},
		{"alone, it may", func() (Binding, bool) {
			b := bound
			b.Claims = claims(3)
			return b.Grant(claims(3)[0], hour(1), hour(2)), true
		}, change(func(b *Binding) { b.Claims, b.PreferredUntil, b.ValidUntil = claims(3), hour(1), hour(2) }), true},
		{"a ninth claim drives out the first", func() (Binding, bool) {
			b := bound
			b.Claims = claims(1, 2, 3, 4, 5, 6, 7, 8)
			return b.Grant(claims(9)[0], hour(6), hour(12)), true
		}, change(func(b *Binding) { b.Claims = claims(2, 3, 4, 5, 6, 7, 8, 9) }), true},
		{
			"one of two claims released", func() (Binding, bool) { return bound.Release(claims(1)[0], start()) },
			change(func(b *Binding) { b.Claims = claims(2) }), true,
		},
		{"the last claim released", func() (Binding, bool) {
			b, _ := bound.Release(claims(1)[0], start())
			return b.Release(claims(2)[0], start())
		}, change(func(b *Binding) { b.Claims, b.State, b.PreferredUntil, b.ValidUntil = nil, Resting, start(), hour(1) }), true},
		{"a claim that is not there released", func() (Binding, bool) { return bound.Release(claims(3)[0], start()) }, bound, false},
		{
			"declined", func() (Binding, bool) { return bound.Decline(claims(1)[0], start(), DeclineFor) },
			change(func(b *Binding) { b.State, b.PreferredUntil, b.ValidUntil = Declined, start(), start().Add(DeclineFor) }), true,
		},
		{"declined without a claim", func() (Binding, bool) { return bound.Decline(claims(3)[0], start(), DeclineFor) }, bound, false},
		{"declined while it rests", func() (Binding, bool) {
			b := bound
			b.State = Resting
			return b.Decline(claims(1)[0], start(), DeclineFor)
		}, change(func(b *Binding) { b.State = Resting }), false},
	} {
		got, ok := c.do()
		if diff := cmp.Diff(c.want, got, cmpopts.EquateComparable(netip.Addr{})); diff != "" || ok != c.ok {
			t.Errorf("%s: %t %s", c.name, ok, diff)
		}
	}
	if diff := cmp.Diff(claims(1, 2), bound.Claims); diff != "" {
		t.Errorf("a rule changed the binding that it was asked of: %s", diff)
	}
}

func TestInForceAndOwner(t *testing.T) {
	m := ident.MAC{2, 0, 0, 0, 0, 1}
	b := Binding{Holder: "a/net0", MAC: m, State: Bound, ValidUntil: start(), PreferredUntil: start(), Claims: claims(1)}
	type answers struct{ Before, At, Holder, MAC, NoMAC, Stranger, Covers, CoversLess bool }
	got := answers{
		Before: b.InForce(start().Add(-1)), At: b.InForce(start()),
		Holder: b.BelongsTo("a/net0", ident.MAC{}), MAC: b.BelongsTo("renamed/net0", m),
		NoMAC:    Binding{Holder: "x"}.BelongsTo("a/net0", ident.MAC{}),
		Stranger: b.BelongsTo("b/net0", ident.MAC{2, 0, 0, 0, 0, 2}),
		Covers:   b.Covers(claims(1)[0], start(), start()), CoversLess: b.Covers(claims(1)[0], start(), start().Add(1)),
	}
	if diff := cmp.Diff(answers{Before: true, Holder: true, MAC: true, Covers: true}, got); diff != "" {
		t.Error(diff)
	}
}
