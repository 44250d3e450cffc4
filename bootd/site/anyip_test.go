package site_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"bootd.internal/bootd/inventory"
	"bootd.internal/bootd/site"
)

// TestAnyIP: what an upstream gave is bound, the replaced one beside the new one while it is valid; names are in the new one.
func TestAnyIP(t *testing.T) {
	inv, faults := inventory.Parse("inventory.yaml", []byte(`
upstreams: {isp: {interface: eth0, request: 60}}
networks: {lan: {interface: eth1, prefix: "2001:db8:5:3::/64"}}
anyip:
  - {from: isp, subnet: 2, keep: false, names: ["*.hosts.example.net"]}
  - {from: isp, subnet: 3}
  - "192.0.2.0/28"
`))
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	now := time.Unix(1_000_000, 0)
	from := func(n string) string { return "{from: isp, subnet: " + n + ", length: 64}" }
	p := netip.MustParsePrefix
	four := site.AnyIP{Prefix: p("192.0.2.0/28"), Wanted: "192.0.2.0/28", Keep: true}
	for _, x := range []struct {
		name      string
		delegated []site.Prefix
		want      []site.AnyIP
		within    []netip.Prefix
	}{
		{"none yet", nil, []site.AnyIP{
			{Wanted: from("2"), Fault: "isp has delegated no prefix yet"}, {Wanted: from("3"), Fault: "isp has delegated no prefix yet", Keep: true}, four,
		}, nil},
		{"one, whose subnet 3 is a network's", []site.Prefix{{Prefix: p("2001:db8:5::/60")}}, []site.AnyIP{
			{Prefix: p("2001:db8:5:2::/64"), Wanted: from("2")},
			{Wanted: from("3"), Fault: "2001:db8:5:3::/64 overlaps a prefix of lan", Keep: true},
			four,
		}, []netip.Prefix{p("2001:db8:5:2::/64")}},
		{"renumbered", []site.Prefix{
			{Prefix: p("2001:db8:6::/60"), PreferredUntil: now.Add(-time.Second), ValidUntil: now.Add(time.Hour)}, {Prefix: p("2001:db8:7::/60")},
		}, []site.AnyIP{
			{Prefix: p("2001:db8:7:2::/64"), Wanted: from("2")},
			{Prefix: p("2001:db8:6:2::/64"), Wanted: from("2")},
			{Prefix: p("2001:db8:7:3::/64"), Wanted: from("3"), Keep: true},
			{Prefix: p("2001:db8:6:3::/64"), Wanted: from("3"), Keep: true},
			four,
		}, []netip.Prefix{p("2001:db8:7:2::/64")}},
	} {
		snap, _ := site.Resolve(inv, site.Facts{Delegated: map[string][]site.Prefix{"isp": x.delegated}}, nil, now)
		same := cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })
		if diff := cmp.Diff(x.want, snap.AnyIP, same); diff != "" {
			t.Errorf("%s (-want +got):\n%s", x.name, diff)
		}
		if diff := cmp.Diff(x.within, snap.DNS.Names["*.hosts.example.net"].Within, same); diff != "" {
			t.Errorf("%s: names (-want +got):\n%s", x.name, diff)
		}
	}
}
