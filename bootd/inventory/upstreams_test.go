package inventory

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestUpstreams reads every form; an inventory needs no network beside them.
func TestUpstreams(t *testing.T) {
	got := mustParse(t, `upstreams:
  isp: {interface: eth0, request: 48}
  lte: {interface: wwan0}
  both: {interface: eth9, request: [56, "2001:db8:5::/48"]}
`).Upstreams
	prefix := netip.MustParsePrefix("2001:db8:5::/48")
	want := []Uplink{
		{
			Name: "isp", Pos: Pos{2, 3}, Interface: at("eth0", "upstreams.isp", 2, 20),
			Request: []Value[PrefixHint]{at(PrefixHint{Length: 48}, "upstreams.isp", 2, 35)},
		},
		{Name: "lte", Pos: Pos{3, 3}, Interface: at("wwan0", "upstreams.lte", 3, 20)},
		{
			Name: "both", Pos: Pos{4, 3}, Interface: at("eth9", "upstreams.both", 4, 21),
			Request: []Value[PrefixHint]{
				at(PrefixHint{Length: 56}, "upstreams.both", 4, 37), at(PrefixHint{Length: 48, Prefix: prefix}, "upstreams.both", 4, 41),
			},
		},
	}
	if diff := cmp.Diff(want, got, comparers()...); diff != "" {
		t.Errorf("upstreams differ (-want +got):\n%s", diff)
	}
}
