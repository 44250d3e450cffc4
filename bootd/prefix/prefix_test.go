package prefix

import (
	"net/netip"
	"slices"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParse(t *testing.T) {
	for in, want := range map[string]string{
		"2001:db8::/48":      "",
		"::/0":               "",
		"2001:db8::5/48":     "2001:db8::5/48 has host bits set, did you mean 2001:db8::/48?",
		"2001:db8::":         `"2001:db8::" has no length: write it as 2001:db8::/48`,
		"192.0.2.0/24":       "192.0.2.0/24 is an IPv4 prefix: bootd knows IPv6 only",
		"::ffff:1.2.3.0/120": "::ffff:1.2.3.0/120 is an IPv4 prefix: bootd knows IPv6 only",
		"2001:db8::/129":     `"2001:db8::/129" is not an IPv6 prefix, such as 2001:db8::/48`,
		"fe80::%eth0/64":     `"fe80::%eth0/64" is not an IPv6 prefix, such as 2001:db8::/48`,
	} {
		got := ""
		if _, err := Parse(in); err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%s: %q, want %q", in, got, want)
		}
	}
}

func TestSplit(t *testing.T) {
	for _, c := range []struct {
		prefix string
		length int
		want   []string
	}{
		{"2001:db8::/47", 48, []string{"2001:db8::/48", "2001:db8:1::/48"}},
		{"2001:db8:0:fffc::/62", 64, []string{"2001:db8:0:fffc::/64", "2001:db8:0:fffd::/64", "2001:db8:0:fffe::/64", "2001:db8:0:ffff::/64"}},
		{"2001:db8:0:ff80::/57", 59, []string{"2001:db8:0:ff80::/59", "2001:db8:0:ffa0::/59", "2001:db8:0:ffc0::/59", "2001:db8:0:ffe0::/59"}},
		{"2001:db8::/64", 64, []string{"2001:db8::/64"}},
		{"::/0", 0, []string{"::/0"}},
		{"::/0", 1, []string{"::/1", "8000::/1"}},
		{"ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe/127", 128, []string{"ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe/128", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/128"}},
	} {
		p := netip.MustParsePrefix(c.prefix)
		var got []string
		for s := range Split(p, c.length) {
			got = append(got, s.String())
		}
		if d := cmp.Diff(c.want, got); d != "" {
			t.Errorf("%s in /%d (-want +got):\n%s", c.prefix, c.length, d)
		}
		if n, err := Count(p, c.length); err != nil || n.Int64() != int64(len(c.want)) {
			t.Errorf("%s in /%d: counted %v, %v, want %d", c.prefix, c.length, n, err, len(c.want))
		}
	}
}

func TestCount(t *testing.T) {
	n, err := Count(netip.MustParsePrefix("::/0"), 128)
	if err != nil || n.String() != "340282366920938463463374607431768211456" {
		t.Errorf("%v, %v", n, err)
	}
	for _, length := range []int{47, 129, -1} {
		if _, err := Count(netip.MustParsePrefix("2001:db8::/48"), length); err == nil {
			t.Errorf("/%d was counted", length)
		}
	}
}

func TestAddress(t *testing.T) {
	ones := netip.MustParseAddr("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff")
	for _, c := range []struct{ prefix, chance, want string }{
		{"2001:db8:100::/64", ones.String(), "2001:db8:100:0:ffff:ffff:ffff:ffff"},
		{"2001:db8:100::/60", ones.String(), "2001:db8:100:f:ffff:ffff:ffff:ffff"},
		{"2001:db8:100::/64", "::", "2001:db8:100::1"},
		{"2001:db8::4/127", "::", "2001:db8::4"},
		{"2001:db8::4/128", ones.String(), "2001:db8::4"},
		{"::/0", ones.String(), ones.String()},
	} {
		if got := Address(netip.MustParsePrefix(c.prefix), netip.MustParseAddr(c.chance)); got.String() != c.want {
			t.Errorf("%s with %s: %s, want %s", c.prefix, c.chance, got, c.want)
		}
	}
}

func FuzzSplit(f *testing.F) {
	f.Add("2001:db8::/48", 56)
	f.Add("::/0", 128)
	f.Add("ffff::/16", 17)
	f.Fuzz(func(t *testing.T, s string, length int) {
		p, err := Parse(s)
		if err != nil {
			return
		}
		if _, err := Count(p, length); err != nil {
			return
		}
		var some []netip.Prefix
		for sub := range Split(p, length) {
			if some = append(some, sub); len(some) == 20 {
				break
			}
		}
		for i, sub := range some {
			if sub != sub.Masked() || !p.Overlaps(sub) || sub.Bits() != length || i > 0 && !some[i-1].Addr().Less(sub.Addr()) {
				t.Fatalf("%s in /%d: %v", p, length, some)
			}
		}
		if !slices.Contains(some, netip.PrefixFrom(p.Addr(), length)) {
			t.Fatalf("%s in /%d begins with %v", p, length, some[0])
		}
	})
}

// TestNamed: addresses of names never change, whatever case they are asked in; sha256sum says the same.
func TestNamed(t *testing.T) {
	for _, x := range []struct{ prefix, name, want string }{
		{"2001:db8:100::/64", "www.example.net", "2001:db8:100:0:8c16:31ff:865d:d739"},
		{"2001:db8:100::/64", "WWW.Example.net", "2001:db8:100:0:8c16:31ff:865d:d739"},
		{"2001:db8:100::1/128", "www.example.net", "2001:db8:100::1"},
		{"192.0.2.0/28", "www.example.net", "192.0.2.9"},
		{"192.0.2.4/32", "www.example.net", "192.0.2.4"},
	} {
		if got := Named(netip.MustParsePrefix(x.prefix), x.name); got.String() != x.want {
			t.Errorf("%s in %s: %s, want %s", x.name, x.prefix, got, x.want)
		}
	}
	small := netip.MustParsePrefix("192.0.2.0/31")
	for i := range 100 {
		if got := Named(small, strconv.Itoa(i)); got != small.Addr().Next() {
			t.Errorf("%d: %s is the prefix's first", i, got)
		}
	}
}
