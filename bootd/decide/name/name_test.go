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

// leases are holders by address.
type leases map[netip.Addr]string

func (l leases) Held(a netip.Addr) bool     { return l[a] != "" }
func (l leases) Holder(a netip.Addr) string { return l[a] }
func (l leases) Of(holder string) (all []netip.Addr) {
	for a, h := range l {
		if h == holder {
			all = append(all, a)
		}
	}
	return all
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
	held := leases{netip.MustParseAddr("2001:db8:2::101"): "roams/net0"}
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

// TestRecords: what the inventory writes beside its hosts.
func TestRecords(t *testing.T) {
	const text = `dns:
  records:
    mirror.example.net: {aaaa: ["2001:db8:9::1", "2001:db8:9::2"], a: 192.0.2.1}
    old.example.net: {a: [192.0.2.2, 192.0.2.3]}
    _ntp._udp.example.net: {srv: ["0 5 123 r1n01.example.net", "1 0 123 ntp.example.org"]}
    example.net: {txt: "v=spf1 -all"}
    far.example.net: {cname: www.example.org}
    loop.example.net: {cname: pool.example.net}
    pool.example.net: {cname: loop.example.net}
    "*.apps.example.net": {cname: r1n01.example.net}
    special.apps.example.net: {txt: not like the others}
    r1n02.example.net: {txt: also here}
defaults: {domain: example.net}
networks:
  rack1: {interface: eth1, prefix: "2001:db8:1::/64"}
hosts:
  r1n01:
    mac: 52:54:00:aa:01:01
    address: "::101"
    dns: {aliases: [www, git.example.org], wildcard: true, records: {_http._tcp: {srv: 0 0 80}, "@": {txt: rack 1}}}
  r1n02: {mac: 52:54:00:aa:01:02, address: "::102"}
  r1n03: {mac: 52:54:00:aa:01:03, address: "::103"}
`
	snap := sitetest.Snapshot(t, text, sitetest.SmallFacts(t))
	snap.DNS.Upstreams = []site.Upstream{{Transport: "udp"}}
	n1 := netip.MustParseAddr("2001:db8:1::101")
	v4 := func(name string, typ Type, addrs ...string) (all []Record) {
		for _, a := range addrs {
			all = append(all, Record{Name: name, Type: typ, TTL: 60, Addr: netip.MustParseAddr(a)})
		}
		return all
	}
	cname := func(name, target string) Record { return Record{Name: name, Type: TypeCNAME, TTL: 60, Target: target} }
	txt := func(name, text string) Record { return Record{Name: name, Type: TypeTXT, TTL: 60, Text: text} }
	d64 := &site.DNS64{Prefix: netip.MustParsePrefix("2001:db8:64::/96")}
	tests := []struct {
		name string
		typ  Type
		want Answer
	}{
		{"mirror.example.net.", TypeAAAA, found("", v4("mirror.example.net.", TypeAAAA, "2001:db8:9::1", "2001:db8:9::2")...)},
		{"mirror.example.net.", TypeA, found("", v4("mirror.example.net.", TypeA, "192.0.2.1")...)},
		{"mirror.example.net.", TypeTXT, empty("", "mirror.example.net.", NoError)},
		{"old.example.net.", TypeAAAA, found("", v4("old.example.net.", TypeAAAA, "2001:db8:64::c000:202", "2001:db8:64::c000:203")...)},
		{"_NTP._udp.example.net.", TypeSRV, found("",
			Record{Name: "_NTP._udp.example.net.", Type: TypeSRV, TTL: 60, Weight: 5, Port: 123, Target: "r1n01.example.net."},
			Record{Name: "_NTP._udp.example.net.", Type: TypeSRV, TTL: 60, Priority: 1, Port: 123, Target: "ntp.example.org."})},
		{"_http._tcp.r1n01.example.net.", TypeSRV, found("r1n01",
			Record{Name: "_http._tcp.r1n01.example.net.", Type: TypeSRV, TTL: 60, Port: 80, Target: "r1n01.example.net."})},
		{"example.net.", TypeTXT, found("", txt("example.net.", "v=spf1 -all"))},
		{"r1n01.example.net.", TypeTXT, found("r1n01", txt("r1n01.example.net.", "rack 1"))},
		{"r1n02.example.net.", TypeTXT, found("r1n02", txt("r1n02.example.net.", "also here"))},
		{"r1n03.example.net.", TypeAAAA, found("r1n03", v4("r1n03.example.net.", TypeAAAA, "2001:db8:1::103")...)},
		{"www.example.net.", TypeAAAA, found("r1n01", append([]Record{cname("www.example.net.", "r1n01.example.net.")}, aaaa("r1n01.example.net.", n1)...)...)},
		{"www.example.net.", TypeCNAME, found("r1n01", cname("www.example.net.", "r1n01.example.net."))},
		{"git.example.org.", TypeAAAA, found("r1n01", append([]Record{cname("git.example.org.", "r1n01.example.net.")}, aaaa("r1n01.example.net.", n1)...)...)},
		{"a.b.r1n01.example.net.", TypeAAAA, found("r1n01", append([]Record{cname("a.b.r1n01.example.net.", "r1n01.example.net.")}, aaaa("r1n01.example.net.", n1)...)...)},
		{"x.apps.example.net.", TypeAAAA, found("", append([]Record{cname("x.apps.example.net.", "r1n01.example.net.")}, aaaa("r1n01.example.net.", n1)...)...)},
		{"special.apps.example.net.", TypeAAAA, empty("", "special.apps.example.net.", NoError)},
		{"x.special.apps.example.net.", TypeAAAA, Answer{Forward: true}},
		{"far.example.net.", TypeAAAA, Answer{Forward: true, Alias: "www.example.org."}},
		{"other.example.net.", TypeAAAA, Answer{Forward: true}},
	}
	for _, tt := range tests {
		got := Decide(snap, nil, Question{Name: tt.name, Type: tt.typ, Class: ClassIN, DNS64: d64})
		if diff := cmp.Diff(tt.want, got, sameAddr); diff != "" {
			t.Errorf("%s %d: %s", tt.name, tt.typ, diff)
		}
	}
	if got := Decide(snap, nil, Question{Name: "loop.example.net.", Type: TypeAAAA, Class: ClassIN}); len(got.Records) != maxChain+1 {
		t.Errorf("a loop gives %d records", len(got.Records))
	}
}

// TestWildcardBesideHosts: a wildcard has the names that are not there, not those below a host.
func TestWildcardBesideHosts(t *testing.T) {
	snap := sitetest.Snapshot(t, sitetest.Small()+"dns: {records: {\"*.example.net\": {txt: any}, \"*.r1n02.example.net\": {txt: below}}}\n", sitetest.SmallFacts(t))
	for name, want := range map[string]string{"x.example.net.": "any", "x.y.example.net.": "any", "x.r1n02.example.net.": "below", "x.r1n01.example.net.": ""} {
		got := ""
		if a := Decide(snap, nil, Question{Name: name, Type: TypeTXT, Class: ClassIN}); len(a.Records) == 1 {
			got = a.Records[0].Text
		}
		if got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
}

// TestLeased: an address that a machine was given before the inventory named another leads to it until its lease is over, and
// back.
func TestLeased(t *testing.T) {
	snap := small(t)
	extra, taken, foreign := netip.MustParseAddr("2001:db8:1::beef"), netip.MustParseAddr("2001:db8:1::102"), netip.MustParseAddr("2001:db8:9::1")
	held := leases{extra: "r1n01/net0", taken: "r1n01/net0", foreign: "r1n01/net0"}
	got := Decide(snap, held, Question{Name: "r1n01.example.net.", Type: TypeAAAA, Class: ClassIN})
	want := found("r1n01", aaaa("r1n01.example.net.", fixed(t, snap, "r1n01", 0), extra)...)
	if diff := cmp.Diff(want, got, sameAddr); diff != "" {
		t.Error(diff)
	}
	for a, host := range map[netip.Addr]string{extra: "r1n01", taken: "r1n02"} {
		got = Decide(snap, held, Question{Name: arpa(a), Type: TypePTR, Class: ClassIN})
		want = found(host, Record{Name: arpa(a), Type: TypePTR, TTL: 60, Target: host + ".example.net."})
		if diff := cmp.Diff(want, got, sameAddr); diff != "" {
			t.Error(diff)
		}
	}
}

// TestEmbed has the examples of RFC 6052 section 2.4.
func TestEmbed(t *testing.T) {
	v4 := netip.MustParseAddr("192.0.2.33")
	for prefix, want := range map[string]string{
		"2001:db8::/32":         "2001:db8:c000:221::",
		"2001:db8:100::/40":     "2001:db8:1c0:2:21::",
		"2001:db8:122::/48":     "2001:db8:122:c000:2:2100::",
		"2001:db8:122:300::/56": "2001:db8:122:3c0:0:221::",
		"2001:db8:122:344::/64": "2001:db8:122:344:c0:2:2100::",
		"2001:db8:122:344::/96": "2001:db8:122:344::c000:221",
		"64:ff9b::/96":          "64:ff9b::c000:221",
	} {
		p := netip.MustParsePrefix(prefix)
		got := Embed(p, v4)
		if got != netip.MustParseAddr(want) {
			t.Errorf("%s: %v, want %s", prefix, got, want)
		}
		if back, ok := Extract(p, got); !ok || back != v4 {
			t.Errorf("%s: back %v, %v", prefix, back, ok)
		}
	}
	if _, ok := Extract(netip.MustParsePrefix("2001:db8:122:344::/64"), netip.MustParseAddr("2001:db8:122:344:c0:2:2100:1")); ok {
		t.Error("an address with a suffix is none of a NAT64")
	}
}
