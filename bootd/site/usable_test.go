package site

import (
	"net/netip"
	"slices"
	"testing"
	"time"
)

// TestUsable follows a prefix from preferred over deprecated to gone (RFC 4862 section 5.5.4).
func TestUsable(t *testing.T) {
	start := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	old := Prefix{
		Prefix:         netip.MustParsePrefix("2001:db8:1::/64"),
		PreferredUntil: start.Add(time.Hour), ValidUntil: start.Add(2 * time.Hour),
	}
	static := Prefix{Prefix: netip.MustParsePrefix("fd00:1::/64")}
	n := &Network{Prefixes: []Prefix{old, static}}
	for _, c := range []struct {
		after time.Duration
		want  []Prefix
	}{
		{0, []Prefix{old, static}},
		{time.Hour - 1, []Prefix{old, static}},
		{time.Hour, []Prefix{static, old}},
		{2*time.Hour - 1, []Prefix{static, old}},
		{2 * time.Hour, []Prefix{static}},
	} {
		r := &resolver{now: start.Add(c.after)}
		if got := r.usable(n); !slices.Equal(got, c.want) {
			t.Errorf("after %s: got %v, want %v", c.after, got, c.want)
		}
	}
}
