package explain_test

import (
	"slices"
	"strings"
	"testing"

	"bootd.internal/bootd/explain"
	"bootd.internal/bootd/site/sitetest"
	"bootd.internal/bootd/store"
	"bootd.internal/bootd/store/memory"
)

// TestKeptPrefix: a prefix that the inventory delegates to a host, one inside or around it, and an address in it lead to the host.
func TestKeptPrefix(t *testing.T) {
	snap := sitetest.Snapshot(t, `networks: {rack1: {interface: eth1, prefix: "2001:db8:1::/64"}}
hosts: {a: {mac: "52:54:00:aa:01:01", address: "::5", delegate: "2001:db8:0:120::/60"}}
`, sitetest.SmallFacts(t))
	memory.New().Read(func(v store.View) {
		src := explain.Source{Snapshot: snap, View: v, Now: sitetest.Now()}
		for q, note := range map[string]string{
			"2001:db8:0:120::/60": "", "2001:db8:0:121::/64": "2001:db8:0:120::/60 is kept for a", "2001:db8::/48": "2001:db8:0:120::/60 is kept for a",
			"2001:db8:0:12f::9": "2001:db8:0:120::/60 is kept for a",
		} {
			r, err := explain.Explain(src, q)
			if err != nil || r.Host != "a" || note != "" && !slices.Contains(r.Notes, note) {
				t.Errorf("%s: host %q, %q, error %v", q, r.Host, r.Notes, err)
			}
			want := explain.Address{NIC: "prefix", Address: "2001:db8:0:120::/60", Lease: "none", Place: "inventory.yaml:2:65"}
			if !slices.Contains(r.Addresses, want) {
				t.Errorf("%s: %+v", q, r.Addresses)
			}
		}
		r, err := explain.Explain(src, "2001:db8:7::/48")
		if err != nil || r.Host != "" || !strings.Contains(strings.Join(r.Notes, "\n"), "keeps it for nobody") {
			t.Errorf("nobody's: %+v, error %v", r, err)
		}
	})
}
