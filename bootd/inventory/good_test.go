package inventory

import (
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"bootd.internal/bootd/ident"
)

func comparers() []cmp.Option {
	return []cmp.Option{
		cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
		cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }),
		cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b }),
	}
}

func mustParse(t testing.TB, text string) *Inventory {
	t.Helper()
	inv, faults := Parse("inventory.yaml", []byte(text))
	for _, f := range faults {
		t.Error(f)
	}
	if len(faults) > 0 {
		t.FailNow()
	}
	return inv
}

// at makes a Value with its place.
func at[T any](x T, from string, line, col int) Value[T] {
	return Value[T]{V: x, Pos: Pos{line, col}, From: from}
}

// TestWhole compares everything that comes out of one file in which every kind of value stands.
func TestWhole(t *testing.T) {
	data, err := os.ReadFile("testdata/good/whole.yaml")
	if err != nil {
		t.Fatal(err)
	}
	got := mustParse(t, string(data))
	if len(got.Hash) != 64 {
		t.Errorf("hash %q is no SHA-256", got.Hash)
	}
	got.Hash = ""
	if diff := cmp.Diff(whole(), got, comparers()...); diff != "" {
		t.Errorf("inventory differs (-want +got):\n%s", diff)
	}
}

func whole() *Inventory {
	const d, n1, f1 = "defaults", "networks.rack1", "profiles.debian13"
	key := "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f alice@example.net"
	return &Inventory{
		File: "inventory.yaml",
		Serve: Serve{
			Files: at("files", "serve", 2, 10), Templates: at("/etc/bootd/templates", "serve", 3, 14),
			Loaders: map[string]Value[string]{"x86_64": at("efi/ipxe.efi", "serve", 4, 23)},
			Forward: at([]Upstream{
				{Transport: "udp", Addr: netip.MustParseAddrPort("[2001:db8::53]:53")},
				{Transport: "udp", Addr: netip.MustParseAddrPort("[2001:db8::54]:5353")},
			},
				"serve", 5, 12),
			HTTPPort: at(8080, "serve", 6, 14), Metrics: at(netip.AddrPort{}, "serve", 7, 12),
		},
		Defaults: Settings{
			Domain: at("example.net", d, 9, 11), Profile: at("debian13", d, 10, 12), Unknown: at("ignore", d, 11, 12),
			Nameservers: at([]netip.Addr{netip.MustParseAddr("2001:db8::53")}, d, 12, 16),
			Search:      at([]string{"example.net", "example.org"}, d, 13, 11),
			NTP:         at([]string{"ntp.example.net", "2001:db8::123"}, d, 14, 8),
			Preferred:   at(12*time.Hour, d, 15, 14), Valid: at(36*time.Hour, d, 16, 10),
			Locale: at("en_US.UTF-8", d, 17, 11), Language: at("en", d, 18, 13), Country: at("NO", d, 19, 12),
			Keyboard: at("no", d, 20, 13), Timezone: at("Europe/Oslo", d, 21, 13),
			Users: at([]User{
				{Name: "root", Password: "$6$abcdefgh$0123456789abcdefghijkl", SSHKeys: []string{key}},
				{Name: "admin", SSHKeys: []string{key}, Sudo: true},
			}, d, 23, 5),
			Packages:   at([]string{"openssh-server"}, d, 25, 13),
			Disk:       at(Disk{Model: "Samsung SSD 980", MinSize: 400_000_000_000, MaxSize: 2 << 40, Wipe: true}, d, 26, 9),
			Addressing: at("slaac", d, 27, 15), KernelArgs: at("quiet", d, 28, 16), Console: at("ttyS0,115200n8", d, 29, 12),
			Loader: at("ipxe-old.efi", d, 30, 11), Protected: at(true, d, 31, 14),
			Vars: map[string]Value[any]{
				"text": at[any]("a\nb\n", d, 33, 11), "number": at[any](5, d, 36, 13), "flag": at[any](false, d, 37, 11),
				"list": at[any]([]string{"x", "y"}, d, 38, 11),
			},
		},
		Networks: []Network{
			{
				Name: "rack1", Pos: Pos{40, 3}, Interface: at("eth1", n1, 41, 16),
				Prefixes: []Value[netip.Prefix]{
					at(netip.MustParsePrefix("2001:db8:1::/64"), n1, 42, 14), at(netip.MustParsePrefix("fd00:1::/64"), n1, 42, 33),
				},
				Router: at("self", n1, 43, 13),
				RA: RA{
					Managed: at(true, n1, 45, 16), Other: at(true, n1, 46, 14), Autonomous: at(true, n1, 47, 19),
					OnLink: at(true, n1, 48, 16), MinInterval: at(10*time.Second, n1, 49, 21),
					MaxInterval: at(30*time.Second, n1, 50, 21), Lifetime: at(90*time.Second, n1, 51, 17),
					MTU: at(1500, n1, 52, 12), HopLimit: at(64, n1, 53, 18), Preference: at("high", n1, 54, 19),
				},
				Settings: Settings{Domain: at("rack1.example.net", n1, 55, 13)},
			},
			{
				Name: "rack2", Pos: Pos{56, 3}, Interface: at("eth2", "networks.rack2", 56, 22),
				Prefixes: []Value[netip.Prefix]{at(netip.MustParsePrefix("2001:db8:2::/120"), "networks.rack2", 56, 36)},
				RA:       RA{Autonomous: at(false, "networks.rack2", 56, 73)},
			},
		},
		Profiles: []Profile{{
			Name: "debian13", Pos: Pos{58, 3}, Kernel: at("debian13/linux", f1, 59, 13),
			Initrd: at([]string{"debian13/initrd.gz"}, f1, 60, 13), Script: at("ipxe/debian.ipxe", f1, 61, 13),
			Answers: at("preseed/debian13.cfg", f1, 62, 14),
		}},
		Hosts: wholeHosts(),
	}
}

func wholeHosts() []Host {
	return []Host{
		{Name: "r1n01", Pos: Pos{64, 3}, NICs: []NIC{
			{Name: "net0", MAC: at(ident.MAC{0x52, 0x54, 0, 0xaa, 1, 1}, "hosts.r1n01", 64, 10)},
		}},
		{
			Name: "r1n02", Pos: Pos{65, 3}, Network: at("rack1", "hosts.r1n02", 68, 14),
			UUID: at(ident.UUID{
				0, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff,
			}, "hosts.r1n02", 69, 11),
			Serial: at("CZ123", "hosts.r1n02", 70, 13),
			NICs: []NIC{{
				Name: "net0", MAC: at(ident.MAC{0x52, 0x54, 0, 0xaa, 1, 2}, "hosts.r1n02", 66, 10),
				Addresses: []Value[netip.Addr]{
					at(netip.MustParseAddr("::102"), "hosts.r1n02", 67, 15), at(netip.MustParseAddr("2001:db8:1::1:102"), "hosts.r1n02", 67, 24),
				},
			}},
			Settings: Settings{
				Profile: at("debian13", "hosts.r1n02", 71, 14),
				Disk:    at(Disk{Serial: "S6P1", ByID: "nvme-Samsung_S6P1"}, "hosts.r1n02", 72, 11),
			},
		},
		{Name: "r1n03", Pos: Pos{73, 3}, NICs: []NIC{
			{Name: "eth0", MAC: at(ident.MAC{0x52, 0x54, 0, 0xaa, 1, 3}, "hosts.r1n03", 75, 13)},
			{
				Name: "eth1", MAC: at(ident.MAC{0x52, 0x54, 0, 0xaa, 1, 4}, "hosts.r1n03", 76, 19),
				Network:   at("rack2", "hosts.r1n03", 76, 49),
				Addresses: []Value[netip.Addr]{at(netip.MustParseAddr("::12"), "hosts.r1n03", 76, 65)},
			},
		}},
	}
}

// TestAllowed are odd things that are no mistakes.
func TestAllowed(t *testing.T) {
	network := "networks:\n  rack1: {interface: eth1, prefix: \"2001:db8:1::/64\"}\n"
	two := network + "  rack2: {interface: eth2, prefix: \"2001:db8:2::/64\"}\n"
	for name, text := range map[string]string{
		"BOM":                   "\ufeff" + network,
		"CRLF":                  strings.ReplaceAll(network, "\n", "\r\n"),
		"document markers":      "---\n" + network + "...\n",
		"empty sections":        network + "hosts:\nprofiles:\ndefaults:\nserve:\n",
		"suffix, two networks":  two + "hosts:\n  a: {mac: 52:54:00:aa:01:01, address: \"::10\"}\n",
		"same suffix elsewhere": two + "hosts:\n  a: {mac: 52:54:00:aa:01:01, network: rack1, address: \"::10\"}\n  b: {mac: 52:54:00:aa:01:02, network: rack2, address: \"::10\"}\n",
		"MAC without colons":    network + "hosts:\n  a: 525400120101\n  b: 5254001201e2\n",
		"numeric name":          network + "hosts:\n  01: 52:54:00:aa:01:01\n",
		"alias":                 network + "defaults:\n  packages: &p [vim]\nhosts:\n  a: {mac: 52:54:00:aa:01:01, packages: *p}\n  b: {mac: 52:54:00:aa:01:02, packages: *p}\n",
		"nested alias":          network + "defaults:\n  ntp: [&n ntp.example.net]\n  search: &s [*n]\n  vars: {x: *s}\n",
		"other router, /80":     "networks:\n  rack1: {interface: eth1, router: other, prefix: \"2001:db8:1::/80\"}\n",
		"no hosts":              network,
		"plain suffix":          network + "hosts:\n  a:\n    mac: 52:54:00:aa:01:01\n    address: ::10\n",
		"empty lists":           network + "defaults: {nameservers: [], search: [], ntp: [], packages: []}\n",
	} {
		t.Run(name, func(t *testing.T) { mustParse(t, text) })
	}
}

// TestAdvertised compares all that the lists of `ra:` hold, and the word auto.
func TestAdvertised(t *testing.T) {
	got := mustParse(t, `networks:
  rack1:
    interface: eth1
    prefix: [auto, "fd00:1::/64"]
    ra:
      prefixes:
        - {prefix: "fd00:1::/64", autonomous: false, on_link: true, preferred: 0s, valid: 2h}
      routes: ["2001:db8:100::/48", {prefix: "::/0", lifetime: 0s, preference: low}]
      pref64: {prefix: "64:ff9b::/96", lifetime: 30m}
      reachable_time: 500ms
      retrans_timer: 1m
      rdnss_lifetime: 0s
      dnssl_lifetime: 1h
      captive_portal: "urn:ietf:params:capport:unrestricted"
`).Networks[0]
	const n = "networks.rack1"
	want := Network{
		Name: "rack1", Pos: Pos{2, 3}, Interface: at("eth1", n, 3, 16), Auto: at(true, n, 4, 14),
		Prefixes: []Value[netip.Prefix]{at(netip.MustParsePrefix("fd00:1::/64"), n, 4, 20)},
		RA: RA{
			Prefixes: []RAPrefix{{
				Prefix: at(netip.MustParsePrefix("fd00:1::/64"), n, 7, 20), Autonomous: at(false, n, 7, 47), OnLink: at(true, n, 7, 63),
				Preferred: at(time.Duration(0), n, 7, 80), Valid: at(2*time.Hour, n, 7, 91),
			}},
			Routes: []RARoute{
				{Prefix: at(netip.MustParsePrefix("2001:db8:100::/48"), n, 8, 16)},
				{Prefix: at(netip.MustParsePrefix("::/0"), n, 8, 46), Lifetime: at(time.Duration(0), n, 8, 64), Preference: at("low", n, 8, 80)},
			},
			Pref64:        []RAPref64{{Prefix: at(netip.MustParsePrefix("64:ff9b::/96"), n, 9, 24), Lifetime: at(30*time.Minute, n, 9, 50)}},
			ReachableTime: at(500*time.Millisecond, n, 10, 23), RetransTimer: at(time.Minute, n, 11, 22),
			RDNSSLifetime: at(time.Duration(0), n, 12, 23), DNSSLLifetime: at(time.Hour, n, 13, 23),
			CaptivePortal: at("urn:ietf:params:capport:unrestricted", n, 14, 23),
		},
	}
	if diff := cmp.Diff(want, got, comparers()...); diff != "" {
		t.Errorf("network differs (-want +got):\n%s", diff)
	}
}

func TestFaultError(t *testing.T) {
	f := Fault{File: "inventory.yaml", Pos: Pos{3, 22}, Path: "networks.rack1.prefix", Msg: "has host bits set"}
	if got, want := f.Error(), "inventory.yaml:3:22: networks.rack1.prefix: has host bits set"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	f.Path = ""
	if got, want := f.Error(), "inventory.yaml:3:22: has host bits set"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestDuration(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"30s": 30 * time.Second, "30m": 30 * time.Minute, "12h": 12 * time.Hour, "7d": 7 * 24 * time.Hour, "1d12h": 36 * time.Hour,
		"": -1, "s": -1, "1": -1, "-1s": -1, "1.5h": -1, "1 h": -1, "1w": -1, "1h1": -1, "99999999s": -1,
	} {
		got, ok := parseDuration(text)
		if !ok {
			got = -1
		}
		if got != want {
			t.Errorf("%q: got %s, want %s", text, got, want)
		}
		if ok {
			if back, ok := parseDuration(brief(got)); !ok || back != got {
				t.Errorf("%q: brief writes %s, which reads as %s", text, brief(got), back)
			}
		}
	}
}

func TestSize(t *testing.T) {
	for text, want := range map[string]uint64{
		"400G": 400_000_000_000, "400GB": 400_000_000_000, "512GiB": 512 << 30, "1.92T": 1_920_000_000_000, "4 T": 4_000_000_000_000,
		"": 0, "G": 0, "400": 0, "0G": 0, "1X": 0, "1.2.3G": 0, "-1G": 0, "99999999999P": 0, "1iB": 0,
	} {
		got, ok := parseSize(text)
		if !ok {
			got = 0
		}
		if got != want {
			t.Errorf("%q: got %d, want %d", text, got, want)
		}
	}
}

func TestDiskString(t *testing.T) {
	for want, d := range map[string]Disk{
		"{}":                                {},
		"{serial: S6P1, wipe: true}":        {Serial: "S6P1", Wipe: true},
		"{by_id: nvme-A, model: B 1}":       {ByID: "nvme-A", Model: "B 1"},
		"{min_size: 400G, max_size: 1920G}": {MinSize: 400_000_000_000, MaxSize: 1_920_000_000_000},
		"{min_size: 512GiB, max_size: 1P}":  {MinSize: 512 << 30, MaxSize: 1_000_000_000_000_000},
		"{min_size: 1001}":                  {MinSize: 1001},
	} {
		if got := d.String(); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

// Rack writes an inventory of n hosts in the long form, for figures.
func rack(n int) []byte {
	var b strings.Builder
	b.WriteString("defaults: {domain: example.net, profile: debian13}\nnetworks:\n")
	for i := range 6 {
		fmt.Fprintf(&b, "  rack%d: {interface: eth%d, prefix: \"2001:db8:%d::/64\"}\n", i+1, i+1, i+1)
	}
	b.WriteString("profiles:\n  debian13: {script: ipxe/debian.ipxe, kernel: debian13/linux, initrd: debian13/initrd.gz}\nhosts:\n")
	for i := range n {
		fmt.Fprintf(&b, "  r%dn%05d: {mac: 52:54:00:%02x:%02x:%02x, network: rack%d, address: \"::%x\", disk: {serial: S6P%06d}, vars: {slot: %d}}\n",
			i%6+1, i, i>>16, i>>8&0xff, i&0xff, i%6+1, i+0x100, i, i)
	}
	return []byte(b.String())
}

// TestManyHosts has a bound that a busy machine keeps even with the race detector; the benchmark has the figure.
func TestManyHosts(t *testing.T) {
	data := rack(10_000)
	start := time.Now()
	inv, faults := Parse("inventory.yaml", data)
	if took := time.Since(start); took > time.Minute {
		t.Errorf("10,000 hosts took %s", took)
	}
	if len(faults) > 0 || len(inv.Hosts) != 10_000 {
		t.Fatal(faults[0])
	}
}

func BenchmarkParse10k(b *testing.B) {
	data := rack(10_000)
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		if _, faults := Parse("inventory.yaml", data); len(faults) > 0 {
			b.Fatal(faults[0])
		}
	}
}
