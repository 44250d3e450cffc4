package dhcp6

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/insomniacslk/dhcp/dhcpv6"

	"bootd.internal/bootd/decide/address"
	"bootd.internal/bootd/reason"
)

// TestPutPrefix compares the octets of a delegated prefix, with and without what is to be left out of it, with the example of
// RFC 6603 section 4.2 among them.
func TestPutPrefix(t *testing.T) {
	head := []byte{0, 26, 0, 25, 0, 0, 7, 8, 0, 0, 14, 16}
	for _, c := range []struct {
		prefix, exclude string
		want            []byte
	}{
		{"2001:db8:dead:beef::/64", "", append(append(append([]byte{}, head...), 64), netip.MustParseAddr("2001:db8:dead:beef::").AsSlice()...)},
		{"2001:db8:dead:bee0::/59", "2001:db8:dead:beef::/64", append(append(append(append([]byte{0, 26, 0, 31}, head[4:]...), 59), netip.MustParseAddr("2001:db8:dead:bee0::").AsSlice()...), 0, 67, 0, 2, 64, 0x78)},
		{"2001:db8::/56", "2001:db8:0:81:8000::/65", append(append(append(append([]byte{0, 26, 0, 32}, head[4:]...), 56), netip.MustParseAddr("2001:db8::").AsSlice()...), 0, 67, 0, 3, 65, 0x81, 0x80)},
	} {
		l := address.PrefixLease{Prefix: netip.MustParsePrefix(c.prefix), Preferred: 30 * time.Minute, Valid: time.Hour}
		if c.exclude != "" {
			l.Exclude = netip.MustParsePrefix(c.exclude)
		}
		b := putPrefix(nil, l)
		if diff := cmp.Diff(c.want, b); diff != "" {
			t.Errorf("%s without %q: %s", c.prefix, c.exclude, diff)
		}
		var s scan
		if r := s.message(ia(dhcpv6.OptionIAPD, b)); r != reason.None {
			t.Errorf("%s without %q is refused by the parser: %s", c.prefix, c.exclude, r)
		}
	}
}
