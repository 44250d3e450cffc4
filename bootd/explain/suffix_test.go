package explain_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"bootd.internal/bootd/explain"
	"bootd.internal/bootd/lease"
	"bootd.internal/bootd/site/sitetest"
	"bootd.internal/bootd/store"
	"bootd.internal/bootd/store/memory"
)

// TestSuffix: an address as inventories write it is looked up on each network.
func TestSuffix(t *testing.T) {
	two := explain.Source{Now: sitetest.Now(), Snapshot: sitetest.Snapshot(t, `networks:
  rack1: {interface: eth1, prefix: "2001:db8:1::/64", unknown: pool}
  rack2: {interface: eth2, prefix: "2001:db8:2::/64"}
  tiny: {interface: eth3, prefix: "2001:db8:3::/120", ra: {autonomous: false}}
hosts:
  a: {mac: "52:54:00:aa:01:01", address: "::101", network: rack1}
  b: {mac: "52:54:00:aa:01:02", address: "::102", network: rack1}
  c: {mac: "52:54:00:aa:01:03", address: "::102", network: rack2}
`, sitetest.Facts(sitetest.Link(t, 2, "eth1", "2001:db8:1::1/64"), sitetest.Link(t, 3, "eth2", "2001:db8:2::1/64"), sitetest.Link(t, 4, "eth3", "2001:db8:3::1/120")))}
	s := memory.New()
	b := lease.Binding{Holder: "duid 00", Network: "rack1", State: lease.Declined, ValidUntil: sitetest.Now().Add(time.Hour)}
	if err := s.Update(t.Context(), func(store.View) []store.Op {
		return []store.Op{{Key: lease.Key(netip.MustParseAddr("2001:db8:1::d:5")), Value: b.Encode()}}
	}); err != nil {
		t.Fatal(err)
	}
	one, _ := source(t)
	for _, c := range []struct {
		src   explain.Source
		q     string
		kind  explain.Kind
		host  string
		notes []string
	}{
		{one, "::102", explain.ByAddress, "r1n02", []string{"2001:db8:1::102 lies in network rack1 (eth1)"}},
		{two, "::101", explain.ByAddress, "a", []string{
			"::101 on rack1 is 2001:db8:1::101: kept for a/net0", "::101 on rack2 is 2001:db8:2::101: nobody's",
			"2001:db8:1::101 lies in network rack1 (eth1)",
		}},
		{two, "::102", explain.BySuffix, "", []string{
			"::102 on rack1 is 2001:db8:1::102: kept for b/net0", "::102 on rack2 is 2001:db8:2::102: kept for c/net0",
			"ask for a whole address to see more",
		}},
		{two, "::7", explain.BySuffix, "", []string{
			"::7 on rack1 is 2001:db8:1::7: nobody's", "::7 on rack2 is 2001:db8:2::7: nobody's",
			"::7 on tiny is 2001:db8:3::7: nobody's", "ask for a whole address to see more",
		}},
		{two, "::d:6", explain.BySuffix, "", []string{
			"::d:6 on rack1 is 2001:db8:1::d:6: nobody's, one of its pool", "::d:6 on rack2 is 2001:db8:2::d:6: nobody's",
			"ask for a whole address to see more",
		}},
		{two, "::1", explain.BySuffix, "", []string{
			"::1 on rack1 is 2001:db8:1::1: bootd's own address there", "::1 on rack2 is 2001:db8:2::1: bootd's own address there",
			"::1 on tiny is 2001:db8:3::1: bootd's own address there", "ask for a whole address to see more",
		}},
	} {
		r := ask(t, c.src, s, c.q)
		if d := cmp.Diff(c.notes, r.Notes); d != "" || r.Kind != c.kind || r.Host != c.host {
			t.Errorf("%s: a %s of %q: %s", c.q, r.Kind, r.Host, d)
		}
	}
	if r := ask(t, two, s, "::d:5"); r.Kind != explain.ByAddress || len(r.Notes) < 5 ||
		r.Notes[0] != "::d:5 on rack1 is 2001:db8:1::d:5: declined by duid 00 until 2026-01-02T04:04:05Z, 0 claims" {
		t.Errorf("a declined one: %+v", r)
	}
	s.Read(func(v store.View) {
		one.View = v
		one.Snapshot = sitetest.Snapshot(t, "networks:\n  tiny: {interface: eth3, prefix: \"2001:db8:3::/120\", ra: {autonomous: false}}\n", sitetest.Facts(sitetest.Link(t, 4, "eth3", "2001:db8:3::1/120")))
		want := "::101 is not a whole address, and fits into no prefix of a network: write the whole address"
		if _, err := explain.Explain(one, "::101"); err == nil || err.Error() != want {
			t.Errorf("got %v", err)
		}
	})
}
