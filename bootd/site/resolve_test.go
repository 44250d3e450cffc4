package site_test

import (
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"bootd.internal/bootd/ident"
	"bootd.internal/bootd/inventory"
	"bootd.internal/bootd/site"
	"bootd.internal/bootd/site/sitetest"
)

func equal(t *testing.T, what string, want, got any) {
	t.Helper()
	diff := cmp.Diff(want, got,
		cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
		cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }),
		cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b }))
	if diff != "" {
		t.Errorf("%s differs (-want +got):\n%s", what, diff)
	}
}

func addrs(s ...string) []netip.Addr {
	out := make([]netip.Addr, len(s))
	for i := range s {
		out[i] = netip.MustParseAddr(s[i])
	}
	return out
}

func messages(ps []site.Problem) []string {
	out := []string{}
	for _, p := range ps {
		out = append(out, fmt.Sprintf("%d:%d %s%s: %s", p.Pos.Line, p.Pos.Col, p.Network, p.Host, p.Msg))
	}
	return out
}

const two = `networks:
  rack1: {interface: eth1, prefix: "2001:db8:1::/64"}
  rack2: {interface: eth2, prefix: ["2001:db8:2::/64", "fd00:2::/64"]}
`

func network(t *testing.T, s *site.Snapshot, name string) *site.Network {
	t.Helper()
	n, ok := s.Network(name)
	if !ok {
		t.Fatalf("no network %s", name)
	}
	return n
}

func host(t *testing.T, s *site.Snapshot, name string) *site.Host {
	t.Helper()
	h, ok := s.Host(name)
	if !ok {
		t.Fatalf("no host %s", name)
	}
	return h
}

func TestNetworkBuiltIn(t *testing.T) {
	s := sitetest.Snapshot(t, "networks:\n  rack1: {interface: eth1, prefix: \"2001:db8:1::/64\"}\n", sitetest.SmallFacts(t))
	link := sitetest.Link(t, 2, "eth1", "2001:db8:1::1/64")
	equal(t, "network", &site.Network{
		Origins: map[string]site.Origin{"preferred": {From: "built in"}, "valid": {From: "built in"}},
		Name:    "rack1", Interface: "eth1", Link: &link,
		Prefixes: []site.Prefix{{Prefix: netip.MustParsePrefix("2001:db8:1::/64")}},
		Own:      addrs("2001:db8:1::1")[0], Servers: addrs("2001:db8:1::1"), Nameservers: addrs("2001:db8:1::1"),
		Domain: "internal", Search: []string{"internal"}, Unknown: "ignore",
		Preferred: 12 * time.Hour, Valid: 24 * time.Hour, RouterSelf: true,
		RA: site.RA{
			Managed: true, Other: true, Autonomous: true, OnLink: true,
			MinInterval: 20 * time.Second, MaxInterval: time.Minute, HopLimit: 64, Preference: "medium",
			RDNSSLifetime: 3 * time.Minute, DNSSLLifetime: 3 * time.Minute,
		},
	}, network(t, s, "rack1"))
	equal(t, "loaders", map[string]string{"x86_64": "ipxe.efi", "arm64": "ipxe-arm64.efi", "x86": "ipxe-i386.efi"}, s.Loaders)
	equal(t, "directories", []string{"files", "templates"}, []string{s.Files, s.Templates})
	if s.HTTPPort != 80 || s.Metrics != netip.MustParseAddrPort("[::1]:9547") || !s.Made.Equal(sitetest.Now()) {
		t.Errorf("port %d, metrics %s, made %s", s.HTTPPort, s.Metrics, s.Made)
	}
}

func TestNetworkWritten(t *testing.T) {
	f := sitetest.SmallFacts(t)
	f.Forwarding, f.DefaultRoute = true, true
	s := sitetest.Snapshot(t, `
serve: {files: /srv/files, templates: tt, loaders: {x86_64: snponly.efi, bios: undionly.kpxe}, forward: "2001:db8::53", http_port: 8080, metrics: off}
defaults: {domain: example.net, nameservers: ["2001:db8::54"], ntp: ntp.example.net, preferred: 1h, valid: 2h}
networks:
  rack1:
    interface: eth1
    prefix: "2001:db8:1::/64"
    domain: rack1.example.net
    search: [a.example, b.example]
    preferred: 30m
    ra: {managed: false, other: false, autonomous: false, on_link: false, max_interval: 90s, mtu: 1400, hop_limit: 0, preference: low}
`, f)
	n := network(t, s, "rack1")
	n.Link, n.Options = nil, nil // TestOptionsCascade has those
	equal(t, "network", &site.Network{
		Origins: map[string]site.Origin{
			"nameservers": {From: "defaults", Pos: inventory.Pos{Line: 3, Col: 46}}, "valid": {From: "defaults", Pos: inventory.Pos{Line: 3, Col: 108}},
			"preferred": {From: "networks.rack1", Pos: inventory.Pos{Line: 10, Col: 16}}, "search": {From: "networks.rack1", Pos: inventory.Pos{Line: 9, Col: 13}},
		},
		Name: "rack1", Interface: "eth1", Prefixes: []site.Prefix{{Prefix: netip.MustParsePrefix("2001:db8:1::/64")}},
		Own: addrs("2001:db8:1::1")[0], Servers: addrs("2001:db8:1::1"), Nameservers: addrs("2001:db8::54"),
		Domain: "rack1.example.net", Search: []string{"a.example", "b.example"}, NTP: []string{"ntp.example.net"}, Unknown: "ignore",
		Preferred: 30 * time.Minute, Valid: 2 * time.Hour, RouterSelf: true,
		RA: site.RA{
			MinInterval: 30 * time.Second, MaxInterval: 90 * time.Second, Lifetime: 270 * time.Second,
			MTU: 1400, Preference: "low", RDNSSLifetime: 270 * time.Second, DNSSLLifetime: 270 * time.Second,
		},
	}, n)
	equal(t, "loaders", map[string]string{
		"x86_64": "snponly.efi", "bios": "undionly.kpxe", "arm64": "ipxe-arm64.efi", "x86": "ipxe-i386.efi",
	}, s.Loaders)
	equal(t, "upstreams", []site.Upstream{{Transport: "udp", Addr: netip.MustParseAddrPort("[2001:db8::53]:53")}}, s.DNS.Upstreams)
	if s.Files != "/srv/files" || s.Templates != "tt" || s.HTTPPort != 8080 || s.Metrics.IsValid() {
		t.Errorf("files %s, templates %s, port %d, metrics %s", s.Files, s.Templates, s.HTTPPort, s.Metrics)
	}
}

func TestRALifetime(t *testing.T) {
	for _, c := range []struct {
		ra                string
		forwarding, route bool
		want              time.Duration
		problems          []string
	}{
		{"{}", true, true, 180 * time.Second, []string{}},
		{"{}", true, false, 0, []string{}},
		{"{}", false, true, 0, []string{}},
		{"{max_interval: 10s}", true, true, 30 * time.Second, []string{}},
		{"{lifetime: 0s}", true, true, 0, []string{}},
		{"{lifetime: 300s}", true, true, 300 * time.Second, []string{}},
		{"{lifetime: 300s}", false, true, 0, []string{"2:74 rack1: ra.lifetime makes this machine a default router, but it does not forward: " +
			"`sysctl -w net.ipv6.conf.all.forwarding=1` (and accept_ra=2 on the upstream interface); until then it advertises 0"}},
		{"{lifetime: 300s}", true, false, 0, []string{"2:74 rack1: ra.lifetime makes this machine a default router, but it has no default " +
			"route itself: `ip -6 route show default`; until then it advertises 0"}},
	} {
		f := sitetest.SmallFacts(t)
		f.Forwarding, f.DefaultRoute = c.forwarding, c.route
		s, problems := sitetest.Resolve(t, "networks:\n  rack1: {interface: eth1, prefix: \"2001:db8:1::/64\", router: self, ra: "+c.ra+"}\n", f)
		if got := network(t, s, "rack1").RA.Lifetime; got != c.want {
			t.Errorf("%s forwarding %t route %t: lifetime %s, want %s", c.ra, c.forwarding, c.route, got, c.want)
		}
		// The column depends on what stands before.
		got := messages(problems)
		for i := range got {
			_, got[i], _ = strings.Cut(got[i], " ")
		}
		for i := range c.problems {
			_, c.problems[i], _ = strings.Cut(c.problems[i], " ")
		}
		equal(t, c.ra, c.problems, got)
	}
}

func TestLinkProblems(t *testing.T) {
	text := "networks:\n  rack1: {interface: eth1, prefix: \"2001:db8:1::/64\", ra: {mtu: 9000}}\n"
	whole := sitetest.Link(t, 2, "eth1", "2001:db8:1::1/64")
	whole.MTU = 9000
	for name, c := range map[string]struct {
		change func(*site.Link)
		own    string
		want   []string
	}{
		"good": {func(*site.Link) {}, "2001:db8:1::1", []string{}},
		"other name": {
			func(l *site.Link) { l.Name = "eth9" }, "invalid IP",
			[]string{"2:22 rack1: there is no interface eth1: it is served when it comes; `ip link` lists those there are"},
		},
		"down": {func(l *site.Link) { l.Up = false }, "2001:db8:1::1", []string{"2:22 rack1: eth1 is down: `ip link set eth1 up`"}},
		"no link-local": {
			func(l *site.Link) { l.LinkLocal = netip.Addr{} }, "2001:db8:1::1",
			[]string{"2:22 rack1: eth1 has no link-local address yet: wait for duplicate address detection, or see " +
				"`sysctl net.ipv6.conf.eth1.disable_ipv6`"},
		},
		"no address": {
			func(l *site.Link) { l.Addrs = []netip.Prefix{netip.MustParsePrefix("2001:db8:9::1/64")} }, "invalid IP",
			[]string{"2:22 rack1: eth1 has no address inside 2001:db8:1::/64, so boot URLs have nowhere to point: " +
				"`ip address add 2001:db8:1::1/64 dev eth1`"},
		},
		"small MTU": {
			func(l *site.Link) { l.MTU = 1500 }, "2001:db8:1::1",
			[]string{"2:65 rack1: ra.mtu 9000 is more than the MTU 1500 of eth1"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			l := whole
			c.change(&l)
			s, problems := sitetest.Resolve(t, text, sitetest.Facts(l))
			equal(t, "problems", c.want, messages(problems))
			if got := network(t, s, "rack1").Own.String(); got != c.own {
				t.Errorf("own %s, want %s", got, c.own)
			}
			if _, ok := s.ServesLink("eth1"); !ok {
				t.Error("the network is not found by its interface")
			}
		})
	}
}

// TestLinkComesAndGoes resolves anew with each change of facts, as the daemon does.
func TestLinkComesAndGoes(t *testing.T) {
	inv := sitetest.Inventory(t, sitetest.Small())
	step := func(prev *site.Snapshot, links ...site.Link) (*site.Snapshot, *site.Network) {
		s, _ := site.Resolve(inv, sitetest.Facts(links...), prev, sitetest.Now())
		return s, network(t, s, "rack1")
	}
	s, n := step(nil)
	fixed := host(t, s, "r1n01").NICs[0].Addresses("rack1")
	if n.Link != nil || n.Own.IsValid() || len(n.Nameservers) != 0 || len(fixed) != 1 {
		t.Fatalf("without link: %+v, host %v", n, fixed)
	}
	s, n = step(s, sitetest.Link(t, 2, "eth1", "2001:db8:1::1/64"))
	equal(t, "servers", addrs("2001:db8:1::1"), n.Servers)

	// A second address before the first: boot URLs that are out there go on to work, so Own stays.
	s, n = step(s, sitetest.Link(t, 2, "eth1", "2001:db8:1::2/64", "2001:db8:1::1/64", "2001:db8:7::1/64"))
	equal(t, "servers with a second", addrs("2001:db8:1::1", "2001:db8:1::2"), n.Servers)
	equal(t, "own", addrs("2001:db8:1::1")[0], n.Own)

	s, n = step(s, sitetest.Link(t, 2, "eth1", "2001:db8:1::2/64"))
	equal(t, "own after its address went", addrs("2001:db8:1::2")[0], n.Own)
	equal(t, "nameservers follow", addrs("2001:db8:1::2"), n.Nameservers)

	s, n = step(s, sitetest.Link(t, 7, "eth1", "2001:db8:1::2/64"))
	if n.Link == nil || n.Link.Index != 7 {
		t.Errorf("a link made anew has index %+v", n.Link)
	}
	s, n = step(s)
	if n.Link != nil || n.Own.IsValid() {
		t.Errorf("after the link went: %+v", n)
	}
	equal(t, "address of the host", fixed, host(t, s, "r1n01").NICs[0].Addresses("rack1"))
}

func TestHostBuiltIn(t *testing.T) {
	s := sitetest.Snapshot(t, sitetest.Small(), sitetest.SmallFacts(t))
	h := host(t, s, "r1n02")
	origins := h.Origins
	want := &site.Host{
		Name: "r1n02", FQDN: "r1n02.example.net", Domain: "example.net",
		UUID:    ident.UUID{0, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff},
		Profile: s.Profiles["debian13"],
		Locale:  "C.UTF-8", Language: "en", Country: "US", Keyboard: "us", Timezone: "Etc/UTC", Addressing: "static",
		Vars: map[string]any{"mirror": "http://mirror.example.net/debian"},
	}
	got := *h
	got.NICs, got.Origins = nil, nil
	equal(t, "host", want, &got)
	equal(t, "profile", &site.Profile{
		Name: "debian13", Kernel: "debian13/linux", Initrd: []string{"debian13/initrd.gz"},
		Script: "ipxe/debian.ipxe", Answers: "preseed/debian13.cfg",
	}, h.Profile)
	built := site.Origin{From: "built in"}
	equal(t, "origins", map[string]site.Origin{
		"domain":  {From: "defaults", Pos: inventory.Pos{Line: 1, Col: 20}},
		"profile": {From: "defaults", Pos: inventory.Pos{Line: 1, Col: 42}},
		"locale":  built, "language": built, "country": built, "keyboard": built, "timezone": built, "addressing": built, "protected": built,
		"vars.mirror":       {From: "profiles.debian13", Pos: inventory.Pos{Line: 10, Col: 20}},
		"uuid":              {From: "hosts.r1n02", Pos: inventory.Pos{Line: 13, Col: 59}},
		"nics.net0.mac":     {From: "hosts.r1n02", Pos: inventory.Pos{Line: 13, Col: 16}},
		"nics.net0.address": {From: "hosts.r1n02", Pos: inventory.Pos{Line: 13, Col: 44}},
	}, origins)
}

func TestCascade(t *testing.T) {
	s, _ := sitetest.Resolve(t, `
defaults: {domain: d.example, locale: de_DE.UTF-8, country: DE, keyboard: de, profile: one, vars: {a: d, b: d, c: d, e: d}}
networks:
  rack1: {interface: eth1, prefix: "2001:db8:1::/64", country: FR, keyboard: fr, profile: two, vars: {b: n, c: n, e: n}}
  rack2: {interface: eth2, prefix: "2001:db8:2::/64", domain: two.example}
profiles:
  one: {script: one.ipxe, timezone: Europe/Paris}
  two: {script: two.ipxe, keyboard: es, packages: [vim], disk: {serial: P}, vars: {c: p, e: p}}
hosts:
  a: {mac: 52:54:00:aa:01:01, network: rack1, packages: [nano], disk: {model: M}, protected: true, vars: {e: h}}
  b: {mac: 52:54:00:aa:01:02, address: "2001:db8:2::5"}
  c: 52:54:00:aa:01:03
  d: {network: rack2, nics: {x: {mac: 52:54:00:aa:01:04, network: rack1}}, profile: two}
`, sitetest.Facts())
	a := host(t, s, "a")
	equal(t, "a", []any{
		"a.d.example", "de_DE.UTF-8", "FR", "es", "two",
		[]string{"nano"},
		inventory.Disk{Model: "M"},
		true, true,
		map[string]any{"a": "d", "b": "n", "c": "p", "e": "h"},
	}, []any{a.FQDN, a.Locale, a.Country, a.Keyboard, a.Profile.Name, a.Packages, a.Disk, a.HasDisk, a.Protected, a.Vars})
	var from []string
	for _, k := range []string{"domain", "country", "keyboard", "packages", "language", "vars.a", "vars.b", "vars.c", "vars.e"} {
		from = append(from, k+" "+a.Origins[k].From)
	}
	equal(t, "origins", []string{
		"domain defaults", "country networks.rack1", "keyboard profiles.two", "packages hosts.a", "language built in",
		"vars.a defaults", "vars.b networks.rack1", "vars.c profiles.two", "vars.e hosts.a",
	}, from)
	b, c, d := host(t, s, "b"), host(t, s, "c"), host(t, s, "d")
	equal(t, "home networks", []string{"b.two.example one", "c.d.example one", "d.two.example two"}, []string{
		b.FQDN + " " + b.Profile.Name, c.FQDN + " " + c.Profile.Name, d.FQDN + " " + d.Profile.Name,
	})
	if got := d.NICs[0].Network; got == nil || got.Name != "rack1" {
		t.Errorf("the card's network is %v, want rack1", got)
	}
	if c.NICs[0].Network != nil || c.HasDisk {
		t.Errorf("c: network %v, disk %t", c.NICs[0].Network, c.HasDisk)
	}
}

func TestLookups(t *testing.T) {
	s := sitetest.Snapshot(t, sitetest.Small(), sitetest.SmallFacts(t))
	h := host(t, s, "r1n02")
	for _, u := range []ident.UUID{h.UUID, h.UUID.Swapped()} {
		if got, ok := s.HostByUUID(u); !ok || got != h {
			t.Errorf("UUID %s finds %v", u, got)
		}
	}
	if n, ok := s.NIC(ident.MAC{0x52, 0x54, 0, 0xaa, 1, 4}); !ok || n.Holder() != "r1n03/eth1" {
		t.Errorf("MAC finds %v", n)
	}
	if n, ok := s.NetworkOf(netip.MustParseAddr("2001:db8:1::77")); !ok || n.Name != "rack1" {
		t.Errorf("address finds %v", n)
	}
	if _, ok := s.NetworkOf(netip.MustParseAddr("2001:db8:2::77")); ok {
		t.Error("an address outside finds a network")
	}
	if n, ok := s.Serves(site.Arrival{Link: "eth1"}); !ok || n.Name != "rack1" {
		t.Errorf("arrival finds %v", n)
	}
	for _, at := range []site.Arrival{{Link: "eth0"}, {Link: "eth1", Relay: netip.MustParseAddr("2001:db8:2::1")}} {
		if n, ok := s.Serves(at); ok {
			t.Errorf("%+v is served by %v", at, n)
		}
	}
}

// TestPure resolves twice and changes the facts afterwards.
func TestPure(t *testing.T) {
	inv, f := sitetest.Inventory(t, sitetest.Small()), sitetest.SmallFacts(t)
	a, _ := site.Resolve(inv, f, nil, sitetest.Now())
	b, _ := site.Resolve(inv, f, a, sitetest.Now())
	if !reflect.DeepEqual(a, b) {
		t.Error("a second run with the first as prev differs")
	}
	f.Links[0].Addrs[0] = netip.MustParsePrefix("2001:db8:1::99/64")
	f.Links[0].Up = false
	if !reflect.DeepEqual(a, b) || !network(t, a, "rack1").Link.Up {
		t.Error("the snapshot shares memory with its facts")
	}
}
