package name

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"bootd.internal/bootd/site"
)

// TestHashed: names that have an address in a prefix that is this machine's as a whole, of each family where there is one.
func TestHashed(t *testing.T) {
	snap := small(t)
	six, four := netip.MustParsePrefix("2001:db8:100::/64"), netip.MustParsePrefix("192.0.2.0/28")
	snap.DNS.Names = map[string]*site.Name{
		"*.hosts.example.net": {Within: []netip.Prefix{six, four}},
		"shop.example.net":    {Within: []netip.Prefix{six}},
		"later.example.net":   {},
	}
	www := netip.MustParseAddr("2001:db8:100:0:e83c:44ee:b468:1068")
	for _, x := range []struct {
		name string
		kind Type
		want Answer
	}{
		{"www.Hosts.example.net.", TypeAAAA, found("", aaaa("www.Hosts.example.net.", www)...)},
		{"www.hosts.example.net.", TypeA, found("", Record{Name: "www.hosts.example.net.", Type: TypeA, TTL: 60, Addr: netip.MustParseAddr("192.0.2.8")})},
		{"www.hosts.example.net.", TypeTXT, empty("", "www.hosts.example.net.", NoError)},
		{"shop.example.net.", TypeA, empty("", "shop.example.net.", NoError)},
		{"later.example.net.", TypeAAAA, empty("", "later.example.net.", NoError)},
	} {
		got := Decide(snap, nil, Question{Name: x.name, Type: x.kind, Class: ClassIN})
		if diff := cmp.Diff(x.want, got, sameAddr); diff != "" {
			t.Errorf("%s %d (-want +got):\n%s", x.name, x.kind, diff)
		}
	}
}
