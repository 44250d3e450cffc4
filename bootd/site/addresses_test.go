package site_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"bootd.internal/bootd/site"
	"bootd.internal/bootd/site/sitetest"
)

func TestAddresses(t *testing.T) {
	s, problems := sitetest.Resolve(t, two+`hosts:
  everywhere: 52:54:00:aa:01:01
  suffix: {mac: 52:54:00:aa:01:02, address: "::102"}
  absolute: {mac: 52:54:00:aa:01:03, network: rack2, address: "fd00:2::103"}
  several: {mac: 52:54:00:aa:01:04, network: rack2, address: ["2001:db8:2::1:104", "::104"]}
  ours: {mac: 52:54:00:aa:01:05, network: rack1, address: "::1"}
`, sitetest.Facts(sitetest.Link(t, 2, "eth1", "2001:db8:1::1/64"), sitetest.Link(t, 3, "eth2", "2001:db8:2::1/64")))
	got := map[string][]netip.Addr{}
	for _, h := range s.Hosts {
		for _, n := range s.Networks {
			if a := h.NICs[0].Addresses(n.Name); len(a) > 0 {
				got[h.Name+" "+n.Name] = a
			}
		}
	}
	// The hashes were computed by another program from RFC 7943's formula as stable documents it.
	equal(t, "addresses", map[string][]netip.Addr{
		"everywhere rack1": addrs("2001:db8:1:0:a022:d46e:c30f:7c6f"),
		"everywhere rack2": addrs("2001:db8:2:0:d262:87fa:bc2:e90d", "fd00:2::e55:1246:c64a:f2be"),
		"suffix rack1":     addrs("2001:db8:1::102"),
		"suffix rack2":     addrs("2001:db8:2::102", "fd00:2::102"),
		"absolute rack2":   addrs("fd00:2::103", "2001:db8:2:0:133e:cdf7:2a8e:b85c"),
		"several rack2":    addrs("2001:db8:2::1:104", "2001:db8:2::104", "fd00:2::104"),
		"ours rack1":       addrs("2001:db8:1:0:1d64:9d15:c488:1b81"),
	}, got)
	equal(t, "problems", []string{"9:59 rack1ours: 2001:db8:1::1 is our own address on eth1: give the host another one"}, messages(problems))
	for key, all := range got {
		name, _, _ := strings.Cut(key, " ")
		for _, a := range all {
			if n, ok := s.Holder(a); !ok || n.Host.Name != name {
				t.Errorf("%s is not found as an address of %s", a, name)
			}
		}
	}
}

// TestAddressesDoNotDependOnOrder turns the file around.
func TestAddressesDoNotDependOnOrder(t *testing.T) {
	lines := []string{}
	for i := range 120 {
		lines = append(lines, fmt.Sprintf("  h%d: 52:54:00:aa:01:%02x\n", i, i))
	}
	head := "networks:\n  rack1: {interface: eth1, prefix: \"2001:db8:1::/120\", ra: {autonomous: false}}\nhosts:\n"
	all := func(s *site.Snapshot) map[string]netip.Addr {
		out := map[string]netip.Addr{}
		for _, h := range s.Hosts {
			out[h.Name] = h.NICs[0].Addresses("rack1")[0]
		}
		return out
	}
	f := sitetest.SmallFacts(t)
	first := all(sitetest.Snapshot(t, head+strings.Join(lines, ""), f))
	slices.Reverse(lines)
	equal(t, "addresses", first, all(sitetest.Snapshot(t, head+strings.Join(lines, ""), f)))
	seen := map[netip.Addr]bool{}
	for name, a := range first {
		if seen[a] || a == netip.MustParseAddr("2001:db8:1::") || a == netip.MustParseAddr("2001:db8:1::1") {
			t.Errorf("%s has %s, which is taken", name, a)
		}
		seen[a] = true
	}
}

// TestAddressesStayWhenHostsCome adds hosts to a dense prefix while the daemon runs: nobody's address moves.
func TestAddressesStayWhenHostsCome(t *testing.T) {
	head := "networks:\n  rack1: {interface: eth1, prefix: \"2001:db8:1::/120\", ra: {autonomous: false}}\nhosts:\n"
	text := func(from int) string {
		var b strings.Builder
		for i := from; i < 200; i++ {
			fmt.Fprintf(&b, "  h%d: 52:54:00:aa:01:%02x\n", i, i)
		}
		return head + b.String()
	}
	f := sitetest.SmallFacts(t)
	prev := sitetest.Snapshot(t, text(100), f)
	next, problems := site.Resolve(sitetest.Inventory(t, text(0)), f, prev, sitetest.Now())
	equal(t, "problems", []string{}, messages(problems))
	for _, h := range prev.Hosts {
		equal(t, h.Name, h.NICs[0].Addresses("rack1"), host(t, next, h.Name).NICs[0].Addresses("rack1"))
	}
	fresh := sitetest.Snapshot(t, text(0), f)
	moved := 0
	for _, h := range prev.Hosts {
		if !slices.Equal(h.NICs[0].Addresses("rack1"), host(t, fresh, h.Name).NICs[0].Addresses("rack1")) {
			moved++
		}
	}
	if moved == 0 {
		t.Error("without prev nothing moves either: this test proves nothing")
	}
}

func TestReservationWins(t *testing.T) {
	base := "networks:\n  rack1: {interface: eth1, prefix: \"2001:db8:1::/64\"}\nhosts:\n  a: 52:54:00:aa:01:01\n"
	f := sitetest.SmallFacts(t)
	before := sitetest.Snapshot(t, base, f)
	hash := host(t, before, "a").NICs[0].Addresses("rack1")[0]
	after, _ := site.Resolve(sitetest.Inventory(t, base+"  b: {mac: 52:54:00:aa:01:02, address: \""+hash.String()+"\"}\n"), f, before, sitetest.Now())
	if got := host(t, after, "b").NICs[0].Addresses("rack1"); !slices.Equal(got, []netip.Addr{hash}) {
		t.Errorf("b got %v, want its reserved %s", got, hash)
	}
	if got := host(t, after, "a").NICs[0].Addresses("rack1"); len(got) != 1 || got[0] == hash {
		t.Errorf("a got %v, want another than %s", got, hash)
	}
	// Another secret is another site.
	f.Secret[0]++
	other, _ := site.Resolve(sitetest.Inventory(t, base), f, before, sitetest.Now())
	if got := host(t, other, "a").NICs[0].Addresses("rack1")[0]; got == hash {
		t.Errorf("a keeps %s under another secret", got)
	}
}

func TestPrefixFull(t *testing.T) {
	var b strings.Builder
	b.WriteString("networks:\n  rack1: {interface: eth1, prefix: \"2001:db8:1::/120\", ra: {autonomous: false}}\nhosts:\n")
	for i := range 300 {
		fmt.Fprintf(&b, "  h%d: 52:54:00:aa:%02x:%02x\n", i, i>>8, i&0xff)
	}
	s, problems := sitetest.Resolve(t, b.String(), sitetest.SmallFacts(t))
	given := 0
	for _, h := range s.Hosts {
		given += len(h.NICs[0].Addresses("rack1"))
	}
	// 256 less the anycast address and our own; hashing may miss the last few.
	if given > 254 || given < 250 || len(problems) != 300-given {
		t.Errorf("%d addresses given, %d problems", given, len(problems))
	}
	if want := "no address is left in 2001:db8:1::/120 for "; !strings.HasPrefix(problems[0].Msg, want) {
		t.Errorf("got %q, want %q...", problems[0].Msg, want)
	}
}

func rack(n int) string {
	var b strings.Builder
	b.WriteString("defaults: {domain: example.net, profile: debian13}\nnetworks:\n")
	for i := range 6 {
		fmt.Fprintf(&b, "  rack%d: {interface: eth%d, prefix: \"2001:db8:%d::/64\"}\n", i+1, i+1, i+1)
	}
	b.WriteString("profiles:\n  debian13: {script: ipxe/debian.ipxe}\nhosts:\n")
	for i := range n {
		fmt.Fprintf(&b, "  n%05d: {mac: 52:54:00:00:%02x:%02x, vars: {slot: %d}}\n", i, i>>8, i&0xff, i)
	}
	return b.String()
}

// TestManyHosts has hosts that may appear on any of six networks, the most work there is. Its bound is for a busy machine and
// the race detector; the benchmark has the figure.
func TestManyHosts(t *testing.T) {
	inv := sitetest.Inventory(t, rack(10_000))
	start := time.Now()
	s, _ := site.Resolve(inv, sitetest.Facts(), nil, sitetest.Now())
	if took := time.Since(start); took > time.Minute {
		t.Errorf("resolving 10,000 hosts took %s", took)
	}
	if len(s.Hosts) != 10_000 || len(s.Hosts[9_999].NICs[0].Addresses("rack6")) != 1 {
		t.Errorf("%d hosts", len(s.Hosts))
	}
}

func BenchmarkResolve10k(b *testing.B) {
	inv := sitetest.Inventory(b, rack(10_000))
	f := sitetest.Facts()
	prev, _ := site.Resolve(inv, f, nil, sitetest.Now())
	b.Run("first", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			site.Resolve(inv, f, nil, sitetest.Now())
		}
	})
	b.Run("again", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			site.Resolve(inv, f, prev, sitetest.Now())
		}
	})
}
