package site_test

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"bootd.internal/bootd/inventory"
	"bootd.internal/bootd/site"
	"bootd.internal/bootd/site/sitetest"
)

func from(subnet, length int) inventory.From {
	return inventory.From{
		Upstream: inventory.Value[string]{V: "isp", From: "x"}, Subnet: inventory.Value[int]{V: subnet, From: "x"}, Length: inventory.Value[int]{V: length, From: "x"},
	}
}

// given is a delegated prefix: for ever, or preferred and valid for some time from Now.
func given(p string, lives ...time.Duration) site.Prefix {
	out := site.Prefix{Prefix: netip.MustParsePrefix(p)}
	if len(lives) == 2 {
		out.PreferredUntil, out.ValidUntil = sitetest.Now().Add(lives[0]), sitetest.Now().Add(lives[1])
	}
	return out
}

func TestDerive(t *testing.T) {
	h := time.Hour
	for _, c := range []struct {
		name           string
		subnet, length int
		delegated      []site.Prefix
		want, missing  string
	}{
		{"first", 0, 64, []site.Prefix{given("2001:db8::/56")}, "2001:db8::/64", ""},
		{"last", 255, 64, []site.Prefix{given("2001:db8::/56")}, "2001:db8:0:ff::/64", ""},
		{"the whole", 0, 56, []site.Prefix{given("2001:db8::/56")}, "2001:db8::/56", ""},
		{"inside a /64", 3, 80, []site.Prefix{given("2001:db8::/64")}, "2001:db8:0:0:3::/80", ""},
		{"one address", 0x1234567, 128, []site.Prefix{given("2001:db8::/64")}, "2001:db8::123:4567/128", ""},
		{"host bits", 1, 64, []site.Prefix{given("2001:db8::5/56")}, "2001:db8:0:1::/64", ""},
		{"none yet", 0, 64, nil, "", "isp has delegated no prefix yet"},
		{"ended", 0, 64, []site.Prefix{given("2001:db8::/56", -2*h, -h)}, "", "isp has delegated no prefix yet"},
		{"too small", 16, 64, []site.Prefix{given("2001:db8::/61"), given("2001:db8:1::/60")}, "", "isp delegated a /60, which has 16 /64 (subnets 0 to 15), not subnet 16: ask for a shorter prefix, or take a lower subnet"},
		{"only one", 1, 64, []site.Prefix{given("2001:db8::/64")}, "", "isp delegated a /64, which has one /64 (subnet 0), not subnet 1: ask for a shorter prefix, or take a lower subnet"},
		{"longer than asked", 0, 60, []site.Prefix{given("2001:db8::/64")}, "", "isp delegated a /64, which has no /60: ask for a shorter prefix, or take a lower subnet"},
		{"first that has it", 5, 64, []site.Prefix{given("2001:db8::/64"), given("2001:db8:1::/60"), given("2001:db8:2::/56")}, "2001:db8:1:5::/64", ""},
		{"the old one gives way", 1, 64, []site.Prefix{given("2001:db8::/56", -h, h), given("2001:db8:1::/56", h, 2*h)}, "2001:db8:1:1::/64", ""},
		{"only the old one", 1, 64, []site.Prefix{given("2001:db8::/56", -h, h)}, "2001:db8:0:1::/64", ""},
		{"overlapping", 1, 64, []site.Prefix{given("2001:db8::/56", -h, h), given("2001:db8::/48")}, "2001:db8:0:1::/64", ""},
		{"no IPv6", 0, 64, []site.Prefix{given("192.0.2.0/24"), {}}, "", "isp has delegated no prefix yet"},
	} {
		got, missing := site.Derive(from(c.subnet, c.length), c.delegated, sitetest.Now())
		want := cmp.Or(c.want, "invalid Prefix")
		if got.Prefix.String() != want || missing != c.missing {
			t.Errorf("%s: %s, %q", c.name, got.Prefix, missing)
		}
	}
}

// TestExcluded: what the upstream keeps for its own link (RFC 6603) is no network's, and no part of a pool is around it.
func TestExcluded(t *testing.T) {
	whole := given("2001:db8:a:100::/56")
	whole.Exclude = netip.MustParsePrefix("2001:db8:a:101::/64")
	inv := sitetest.Inventory(t, house)
	snap, problems := site.Resolve(inv, houseFacts(t, whole), nil, sitetest.Now())
	equal(t, "problems", []string{
		"office 6:29: {from: isp, subnet: 1, length: 64} is unresolved: isp keeps 2001:db8:a:101::/64 for its own link (RFC 6603): take another subnet",
	}, told(problems))
	if n := snap.Networks[0]; len(n.Prefixes) != 1 || n.Prefixes[0].Prefix != netip.MustParsePrefix("2001:db8:a:100::/64") {
		t.Errorf("the first /64 is %v", n.Prefixes)
	}
	whole.Exclude = netip.MustParsePrefix("2001:db8:a:111::/64")
	snap, problems = site.Resolve(inv, houseFacts(t, whole), nil, sitetest.Now())
	equal(t, "problems", []string(nil), told(problems))
	pool := snap.Networks[1].Delegate[0]
	if out, never := pool.Excluded(netip.MustParsePrefix("2001:db8:a:110::/62")); out != whole.Exclude || never {
		t.Errorf("the part around it leaves out %s, %t", out, never)
	}
	if out, _ := pool.Excluded(netip.MustParsePrefix("2001:db8:a:114::/62")); out.IsValid() {
		t.Errorf("another part leaves out %s", out)
	}
}

const house = `upstreams: {isp: {interface: eth0, request: 56}}
networks:
  lan: {interface: eth1, prefix: {from: isp, subnet: 0}, unknown: pool}
  office:
    interface: eth2
    prefix: ["fd00:2::/64", {from: isp, subnet: 1}]
    address: "::fe"
    delegate: {from: isp, subnet: 1, length: 60, each: 62}
hosts:
  desk: {mac: 52:54:00:aa:01:01, network: lan, address: "::102"}
`

func houseFacts(t testing.TB, delegated ...site.Prefix) site.Facts {
	f := sitetest.Facts(sitetest.Link(t, 2, "eth1"), sitetest.Link(t, 3, "eth2", "fd00:2::1/64"))
	f.Delegated = map[string][]site.Prefix{"isp": delegated}
	return f
}

// TestRenumbering follows a house whose upstream gives nothing, then a prefix, then another one.
func TestRenumbering(t *testing.T) {
	inv := sitetest.Inventory(t, house)
	none, problems := site.Resolve(inv, houseFacts(t), nil, sitetest.Now())
	want := []string{
		"lan 3:34: {from: isp, subnet: 0, length: 64} is unresolved: isp has delegated no prefix yet",
		"office 6:29: {from: isp, subnet: 1, length: 64} is unresolved: isp has delegated no prefix yet",
		"office 8:15: {from: isp, subnet: 1, length: 60} is unresolved: isp has delegated no prefix yet",
	}
	equal(t, "problems", want, told(problems))
	if n := none.Networks[0]; len(n.Prefixes) > 0 || n.Own.IsValid() || len(n.Pools) > 0 || len(none.Hosts[0].NICs[0].Addresses("lan")) > 0 {
		t.Errorf("without a prefix there is %+v", n)
	}

	h := time.Hour
	first := given("2001:db8:a:100::/56", 2*h, 4*h)
	one, problems := site.Resolve(inv, houseFacts(t, first), none, sitetest.Now())
	equal(t, "problems", []string(nil), told(problems))
	old := first
	old.PreferredUntil = sitetest.Now()
	both := houseFacts(t, old, given("2001:db8:b:200::/56", 2*h, 4*h))
	both.Advertised = []site.Advertised{{Link: "eth1", Prefix: one.Networks[0].Prefixes[0].Prefix, ValidUntil: sitetest.Now().Add(h)}}
	two, problems := site.Resolve(inv, both, one, sitetest.Now())
	equal(t, "problems", []string(nil), told(problems))
	if stale := two.Networks[0].Stale; len(stale) != 1 || stale[0].Prefix != one.Networks[0].Prefixes[0].Prefix || stale[0].Moved {
		t.Errorf("what hosts still have: %+v", stale)
	}
	for _, c := range []struct {
		name                                string
		snap                                *site.Snapshot
		prefixes, ours, own, host, delegate string
	}{
		{"first", one, "2001:db8:a:100::/64", "2001:db8:a:100::1/64", "2001:db8:a:100::1", "2001:db8:a:100::102", "2001:db8:a:110::/60"},
		{"second", two, "2001:db8:b:200::/64", "2001:db8:b:200::1/64", "2001:db8:b:200::1", "2001:db8:b:200::102", "2001:db8:b:210::/60"},
	} {
		n, office := c.snap.Networks[0], c.snap.Networks[1]
		equal(t, c.name+": prefixes", c.prefixes, prefixes(n.Prefixes))
		equal(t, c.name+": ours", c.ours, prefixes(n.Ours))
		equal(t, c.name+": own", c.own, n.Own.String())
		equal(t, c.name+": nameservers", []netip.Addr{n.Own}, n.Nameservers)
		var host []string
		for _, a := range c.snap.Hosts[0].NICs[0].Addresses("lan") {
			host = append(host, a.String())
		}
		equal(t, c.name+": host", c.host, strings.Join(host, " "))
		if len(office.Delegate) != 1 || office.Delegate[0].Pool.String() != c.delegate || office.Delegate[0].ValidUntil != sitetest.Now().Add(4*h) {
			t.Errorf("%s: delegates %+v", c.name, office.Delegate)
		}
		if len(n.Pools) != len(n.Prefixes) {
			t.Errorf("%s: %d pools in %d prefixes", c.name, len(n.Pools), len(n.Prefixes))
		}
		equal(t, c.name+": own of the office stays", "fd00:2::1", office.Own.String())
		if !slices.Contains(office.Servers, office.Ours[0].Addr()) || !strings.HasSuffix(office.Ours[0].Addr().String(), "::fe") {
			t.Errorf("%s: the office has %v of %v", c.name, office.Servers, office.Ours)
		}
	}
}

// TestDerivedElsewhere: what an upstream gives may be a network's already.
func TestDerivedElsewhere(t *testing.T) {
	snap, problems := sitetest.Resolve(t, house, houseFacts(t, given("fd00:2::/56")))
	equal(t, "problems", []string{
		"lan 3:34: {from: isp, subnet: 0, length: 64} is fd00:2::/64, which overlaps the prefix of office, fd00:2::/64: it is not used",
	}, told(problems))
	equal(t, "prefixes", "", prefixes(snap.Networks[0].Prefixes))
}

func told(all []site.Problem) []string {
	var out []string
	for _, p := range all {
		if strings.Contains(p.Msg, "from:") {
			out = append(out, p.Network+" "+fmt.Sprintf("%d:%d", p.Pos.Line, p.Pos.Col)+": "+p.Msg)
		} else {
			out = append(out, p.Msg)
		}
	}
	return out
}

func prefixes(all []site.Prefix) string {
	out := make([]string, len(all))
	for i, p := range all {
		out[i] = p.Prefix.String()
	}
	return strings.Join(out, " ")
}

// TestTwoUpstreams: neither knows what the other gives.
func TestTwoUpstreams(t *testing.T) {
	const text = `upstreams: {isp: {interface: eth0}, spare: {interface: eth9}}
networks:
  lan: {interface: eth1, prefix: {from: isp, subnet: 17}, delegate: {from: spare, subnet: 1, length: 60, each: 62}}
  office: {interface: eth2, prefix: {from: spare, subnet: 0}, delegate: [{pool: "2001:db8:9::/60", length: 62}, {from: spare, subnet: 2, length: 60, each: 62}]}
hosts:
  a: {mac: 52:54:00:aa:01:01, delegate: ["2001:db8:8:11::/64", "2001:db8:a:22::/64", {from: spare, subnet: 35}]}
  b: {mac: 52:54:00:aa:01:02, delegate: {from: isp, subnet: 34}}
`
	f := sitetest.Facts(sitetest.Link(t, 2, "eth1"), sitetest.Link(t, 3, "eth2"))
	for _, c := range []struct {
		isp, spare string
		lan        string
		pools      int
		want       []string
	}{
		{"2001:db8:b::/56", "2001:db8:a::/56", "2001:db8:b:11::/64", 3, nil},
		{"2001:db8:a::/56", "2001:db8:a::/56", "2001:db8:a:11::/64", 2, []string{
			"lan 3:69: {from: spare, subnet: 1, length: 60} is 2001:db8:a:10::/60, which overlaps the prefix of lan, 2001:db8:a:11::/64: it is not used",
			" 7:41: {from: isp, subnet: 34, length: 64} is 2001:db8:a:22::/64, which overlaps the prefix of a, 2001:db8:a:22::/64: it is not used",
		}},
		{"2001:db8:8::/56", "2001:db8:9::/56", "", 3, []string{
			"lan 3:34: {from: isp, subnet: 17, length: 64} is 2001:db8:8:11::/64, which overlaps the prefix of a, 2001:db8:8:11::/64: it is not used",
			"office 4:37: {from: spare, subnet: 0, length: 64} is 2001:db8:9::/64, which overlaps a pool of office, 2001:db8:9::/60: it is not used",
		}},
	} {
		f.Delegated = map[string][]site.Prefix{"isp": {given(c.isp)}, "spare": {given(c.spare)}}
		snap, problems := sitetest.Resolve(t, text, f)
		var got []string
		for _, p := range told(problems) {
			if strings.Contains(p, "overlaps") {
				got = append(got, p)
			}
		}
		pools := 0
		for _, n := range snap.Networks {
			pools += len(n.Delegate)
		}
		equal(t, "problems", c.want, got)
		if lan := prefixes(snap.Networks[0].Prefixes); lan != c.lan || pools != c.pools {
			t.Errorf("%s and %s: the lan has %s, and there are %d pools; %v", c.isp, c.spare, lan, pools, got)
		}
	}
}

// FuzzDelegated: whatever upstreams delegate, nothing panics, no two networks share addresses, and ours lie inside.
func FuzzDelegated(f *testing.F) {
	f.Add([]byte{0x20, 1, 0xd, 0xb8, 56, 10, 20}, []byte{0x20, 1, 0xd, 0xb8, 48, 0, 5})
	f.Add([]byte{}, []byte{0xff})
	inv, faults := inventory.Parse("f.yaml", []byte(house))
	if len(faults) > 0 {
		f.Fatal(faults)
	}
	read := func(b []byte) site.Prefix {
		if len(b) < 7 {
			return site.Prefix{}
		}
		a := [16]byte{}
		copy(a[:], b[7:])
		copy(a[:4], b)
		p := site.Prefix{Prefix: netip.PrefixFrom(netip.AddrFrom16(a), int(b[4]))}
		if b[5] > 0 {
			p.PreferredUntil = sitetest.Now().Add(time.Duration(int8(b[5])) * time.Second)
		}
		if b[6] > 0 {
			p.ValidUntil = sitetest.Now().Add(time.Duration(int8(b[6])) * time.Second)
		}
		return p
	}
	f.Fuzz(func(t *testing.T, one, two []byte) {
		s, _ := site.Resolve(inv, houseFacts(t, read(one), read(two)), nil, sitetest.Now())
		var all []netip.Prefix
		for _, n := range s.Networks {
			for _, p := range n.Prefixes {
				if p != site.Prefix(given("fd00:2::/64")) && slices.ContainsFunc(all, p.Overlaps) {
					t.Errorf("%s is in two places: %v", p, all)
				}
				all = append(all, p.Prefix)
			}
			for _, d := range n.Delegate {
				if slices.ContainsFunc(all, d.Pool.Overlaps) {
					t.Errorf("the pool %s is in two places: %v", d.Pool, all)
				}
				all = append(all, d.Pool)
			}
			for _, a := range n.Ours {
				if !slices.ContainsFunc(n.Prefixes, func(p site.Prefix) bool { return p.Prefix == a.Masked() }) {
					t.Errorf("%s lies in none of %v", a, n.Prefixes)
				}
			}
		}
	})
}

// TestNextEnd is the next time at which something changes by itself.
func TestNextEnd(t *testing.T) {
	h := time.Hour
	all := map[string][]site.Prefix{"a": {given("2001:db8::/56", -h, 3*h), given("2001:db8:1::/56")}, "b": {given("2001:db8:2::/56", 2*h, 4*h)}}
	for at, want := range map[time.Duration]time.Duration{0: 2 * h, 2 * h: 3 * h, 3 * h: 4 * h} {
		if got := site.NextEnd(all, sitetest.Now().Add(at)); !got.Equal(sitetest.Now().Add(want)) {
			t.Errorf("after %s: %s", at, got.Sub(sitetest.Now()))
		}
	}
	if d := gocmp.Diff(time.Time{}, site.NextEnd(all, sitetest.Now().Add(4*h))); d != "" {
		t.Error(d)
	}
}
