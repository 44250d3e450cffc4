package http

import (
	"net/netip"
	"testing"

	"bootd.internal/bootd/decide/who"
	"bootd.internal/bootd/ident"
	"bootd.internal/bootd/site"
	"bootd.internal/bootd/site/sitetest"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// macs is a neighbour table.
type macs map[netip.Addr]ident.MAC

func (m macs) MAC(_ int, a netip.Addr) (ident.MAC, bool) {
	mac, ok := m[a]
	return mac, ok
}

// TestEvidence: a machine on the link that takes a listed host's address and then leaves solicitations unanswered has no
// MAC in the neighbour table, and must not become that host.
func TestEvidence(t *testing.T) {
	snap := sitetest.Snapshot(t, inventory, sitetest.Facts(sitetest.Link(t, 2, "eth1", "2001:db8:1::1/64")))
	computed := mac1.EUI64(netip.MustParsePrefix("2001:db8:1::/64"))
	local := mac1.EUI64(netip.MustParsePrefix("fe80::/64"))
	routed := mac1.EUI64(netip.MustParsePrefix("2001:db8:77::/64"))
	stranger := ident.MAC{0x52, 0x54, 0, 0xff, 0xff, 1}
	for _, tc := range []struct {
		name   string
		source netip.Addr
		table  macs
		want   []who.Evidence
	}{
		{"on the link, card unknown", computed, nil, nil},
		{"link-local, card unknown", local, nil, nil},
		{"on the link, card known", computed, macs{computed: stranger}, append(who.Frame(stranger), who.Source(computed)...)},
		{"behind a router", routed, nil, who.Source(routed)},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := &Server{cfg: Config{Neighbours: tc.table}}
			got := s.evidence(snap, site.Arrival{Link: "eth1", Index: 2, Source: tc.source})
			if d := cmp.Diff(tc.want, got, cmpopts.EquateComparable(netip.Addr{})); d != "" {
				t.Errorf("evidence (-want +got):\n%s", d)
			}
		})
	}
}
