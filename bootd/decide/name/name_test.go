package name

import (
	"net/netip"
	"strings"
	"testing"

	"bootd.internal/bootd/reason"
	"bootd.internal/bootd/site"
	"bootd.internal/bootd/site/sitetest"
	"github.com/google/go-cmp/cmp"
)

var sameAddr = cmp.Comparer(func(a, b netip.Addr) bool { return a == b })

func small(t testing.TB) *site.Snapshot {
	return sitetest.Snapshot(t, sitetest.Small(), sitetest.SmallFacts(t))
}

// fixed is the address of a card on rack1.
func fixed(t testing.TB, snap *site.Snapshot, host string, card int) netip.Addr {
	t.Helper()
	h, ok := snap.Host(host)
	if !ok || len(h.NICs[card].Addresses("rack1")) != 1 {
		t.Fatalf("%s has no address", host)
	}
	return h.NICs[card].Addresses("rack1")[0]
}

func arpa(a netip.Addr) string {
	var b strings.Builder
	raw := a.As16()
	for i := 15; i >= 0; i-- {
		const hex = "0123456789abcdef"
		b.WriteByte(hex[raw[i]&15])
		b.WriteByte('.')
		b.WriteByte(hex[raw[i]>>4])
		b.WriteByte('.')
	}
	return b.String() + "ip6.arpa."
}

func aaaa(name string, addrs ...netip.Addr) []Record {
	var all []Record
	for _, a := range addrs {
		all = append(all, Record{Name: name, Type: TypeAAAA, TTL: 60, Addr: a})
	}
	return all
}

func soa(zone string) []Record {
	return []Record{{Name: zone, Type: TypeSOA, TTL: 60, Serial: uint32(sitetest.Now().Unix())}}
}

func found(host string, records ...Record) Answer {
	return Answer{Outcome: reason.Outcome{Reason: reason.LocalName, Host: host}, Records: records}
}

func empty(host, zone string, code RCode) Answer {
	return Answer{Outcome: reason.Outcome{Reason: reason.LocalName, Host: host}, RCode: code, Authority: soa(zone)}
}

func TestDecide(t *testing.T) {
	snap := small(t)
	forwarding := *snap
	forwarding.DNS.Upstreams = []site.Upstream{{Transport: "udp", Addr: netip.MustParseAddrPort("[2001:db8:53::1]:53")}}
	n1, n3a, n3b := fixed(t, snap, "r1n01", 0), fixed(t, snap, "r1n03", 0), fixed(t, snap, "r1n03", 1)
	n2, self := netip.MustParseAddr("2001:db8:1::102"), netip.MustParseAddr("2001:db8:1::1")
	stranger := netip.MustParseAddr("2001:db8:1::dead")
	refused := Answer{Outcome: reason.Outcome{Reason: reason.Refused}, RCode: Refused}
	forward := Answer{Forward: true}
	tests := []struct {
		name string
		typ  Type
		want Answer
		// with is the answer when there is a forwarder; nil: the same.
		with *Answer
	}{
		{"r1n01.example.net.", TypeAAAA, found("r1n01", aaaa("r1n01.example.net.", n1)...), nil},
		{"R1N01.Example.NET.", TypeAAAA, found("r1n01", aaaa("R1N01.Example.NET.", n1)...), nil},
		{"r1n02.", TypeAAAA, found("r1n02", aaaa("r1n02.", n2)...), nil},
		{"r1n03.example.net.", TypeAAAA, found("r1n03", aaaa("r1n03.example.net.", n3a, n3b)...), nil},
		{"eth1.r1n03.example.net.", TypeAAAA, found("r1n03", aaaa("eth1.r1n03.example.net.", n3b)...), nil},
		{"ETH0.r1n03.example.net.", TypeAAAA, found("r1n03", aaaa("ETH0.r1n03.example.net.", n3a)...), nil},
		{"bootd.example.net.", TypeAAAA, found("", aaaa("bootd.example.net.", self)...), nil},
		{"r1n01.example.net.", TypeA, empty("r1n01", "r1n01.example.net.", NoError), nil},
		{"r1n01.example.net.", 16, empty("r1n01", "r1n01.example.net.", NoError), nil},
		{"r1n01.example.net.", TypeSOA, found("r1n01", soa("r1n01.example.net.")...), nil},
		{"r1n01.example.net.", TypeANY, found("", Record{Name: "r1n01.example.net.", Type: TypeHINFO, TTL: 3600}), nil},
		{"www.example.org.", TypeANY, found("", Record{Name: "www.example.org.", Type: TypeHINFO, TTL: 3600}), nil},
		{"r1n01.example.net.", typeAXFR, refused, nil},
		{"r1n01.example.net.", 250, refused, nil},

		{"eth0.r1n01.example.net.", TypeAAAA, empty("", "example.net.", NXDomain), &forward},
		{"r1n99.example.net.", TypeAAAA, empty("", "example.net.", NXDomain), &forward},
		{"r1n01.example.org.", TypeAAAA, forward, nil},
		{"example.net.", TypeAAAA, empty("", "example.net.", NoError), &forward},
		{"example.net.", TypeSOA, found("", soa("example.net.")...), &forward},
		{"www.example.org.", TypeAAAA, forward, nil},
		{".", TypeNS, forward, nil},

		{arpa(n1), TypePTR, found("r1n01", Record{Name: arpa(n1), Type: TypePTR, TTL: 60, Target: "r1n01.example.net."}), nil},
		{arpa(n3b), TypePTR, found("r1n03", Record{Name: arpa(n3b), Type: TypePTR, TTL: 60, Target: "r1n03.example.net."}), nil},
		{arpa(self), TypePTR, found("", Record{Name: arpa(self), Type: TypePTR, TTL: 60, Target: "bootd.example.net."}), nil},
		{arpa(n1), TypeAAAA, empty("r1n01", arpa(n1), NoError), nil},
		{arpa(n1), TypeSOA, found("r1n01", soa(arpa(n1))...), nil},
		{arpa(stranger), TypePTR, empty("", "8.b.d.0.1.0.0.2.ip6.arpa.", NXDomain), nil},
		{arpa(netip.MustParseAddr("fd12::1")), TypePTR, empty("", "d.f.ip6.arpa.", NXDomain), nil},
		{arpa(netip.MustParseAddr("fe80::1")), TypePTR, empty("", "8.e.f.ip6.arpa.", NXDomain), nil},
		{arpa(netip.MustParseAddr("2001:500::1")), TypePTR, forward, nil},
		{"d.f.ip6.arpa.", TypeSOA, found("", soa("d.f.ip6.arpa.")...), nil},
		{"1.0.0.10.in-addr.arpa.", TypePTR, empty("", "10.in-addr.arpa.", NXDomain), nil},
		{"1.0.16.172.in-addr.arpa.", TypePTR, empty("", "16.172.in-addr.arpa.", NXDomain), nil},
		{"1.0.32.172.in-addr.arpa.", TypePTR, forward, nil},
		{"1.0.64.100.in-addr.arpa.", TypePTR, empty("", "64.100.in-addr.arpa.", NXDomain), nil},
		{"8.8.8.8.in-addr.arpa.", TypePTR, forward, nil},

		{"localhost.", TypeAAAA, found("", aaaa("localhost.", netip.IPv6Loopback())...), nil},
		{"localhost.", TypeA, empty("", "localhost.", NoError), nil},
		{"x.internal.", TypeAAAA, empty("", "internal.", NXDomain), nil},
		{"x.local.", TypeAAAA, empty("", "local.", NXDomain), nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			q := Question{Name: tt.name, Type: tt.typ, Class: ClassIN}
			if diff := cmp.Diff(tt.want, Decide(snap, nil, q), sameAddr); diff != "" {
				t.Errorf("without a forwarder: %s", diff)
			}
			if tt.with == nil {
				tt.with = &tt.want
			}
			if diff := cmp.Diff(*tt.with, Decide(&forwarding, nil, q), sameAddr); diff != "" {
				t.Errorf("with a forwarder: %s", diff)
			}
		})
	}
	chaos := Decide(snap, nil, Question{Name: "version.bind.", Type: 16, Class: 3})
	if diff := cmp.Diff(refused, chaos, sameAddr); diff != "" {
		t.Errorf("class CHAOS: %s", diff)
	}
}

// TestListedServerName: a host that is called bootd has its own name.
func TestListedServerName(t *testing.T) {
	snap := sitetest.Snapshot(t, `defaults: {domain: example.net}
networks:
  rack1: {interface: eth1, prefix: "2001:db8:1::/64"}
hosts:
  bootd: {mac: 52:54:00:aa:01:01, address: "::77"}
`, sitetest.SmallFacts(t))
	got := Decide(snap, nil, Question{Name: "bootd.example.net.", Type: TypeAAAA, Class: ClassIN})
	want := found("bootd", aaaa("bootd.example.net.", netip.MustParseAddr("2001:db8:1::77"))...)
	if diff := cmp.Diff(want, got, sameAddr); diff != "" {
		t.Error(diff)
	}
}

// FuzzDecide: no panic, and no answer that is neither forwarded nor has a reason.
func FuzzDecide(f *testing.F) {
	snap := small(f)
	for _, s := range []string{"", ".", "r1n01.example.net.", "..", "eth0.r1n03.", "1.0.0.10.in-addr.arpa.", "172.in-addr.arpa."} {
		f.Add(s, uint16(28), uint16(1))
	}
	f.Add(arpa(netip.MustParseAddr("2001:db8:1::102")), uint16(12), uint16(1))
	f.Fuzz(func(t *testing.T, name string, typ, class uint16) {
		a := Decide(snap, nil, Question{Name: name, Type: Type(typ), Class: class})
		if a.Forward == (a.Outcome.Reason != reason.None) {
			t.Errorf("%q: %+v", name, a)
		}
		for _, r := range a.Records {
			if r.Type == TypeAAAA && r.Addr != netip.IPv6Loopback() && !snap.Networks[0].Contains(r.Addr) {
				t.Errorf("%q has the address %v", name, r.Addr)
			}
		}
	})
}

// TestRoaming: a card that names no network has an address on each; its name leads to the one that it holds.
func TestRoaming(t *testing.T) {
	text := `networks:
  rack1: {interface: eth1, prefix: "2001:db8:1::/64"}
  rack2: {interface: eth2, prefix: "2001:db8:2::/64"}
defaults: {domain: example.net}
hosts:
  roams: {mac: 52:54:00:aa:01:01, address: "::101"}
  stays: {mac: 52:54:00:aa:01:02, address: "::102", network: rack2}
`
	snap := sitetest.Snapshot(t, text, sitetest.Facts(sitetest.Link(t, 2, "eth1", "2001:db8:1::1/64"), sitetest.Link(t, 3, "eth2", "2001:db8:2::1/64")))
	held := func(a netip.Addr) bool { return a == netip.MustParseAddr("2001:db8:2::101") }
	for host, want := range map[string]string{"roams": "2001:db8:2::101", "stays": "2001:db8:2::102"} {
		got := Decide(snap, held, Question{Name: host + ".example.net.", Type: TypeAAAA, Class: ClassIN})
		if len(got.Records) != 1 || got.Records[0].Addr.String() != want {
			t.Errorf("%s: %+v, want %s alone", host, got.Records, want)
		}
	}
	if got := Decide(snap, nil, Question{Name: "roams.example.net.", Type: TypeAAAA, Class: ClassIN}); len(got.Records) != 2 {
		t.Errorf("where nobody knows who holds what: %+v, want both addresses", got.Records)
	}
}
