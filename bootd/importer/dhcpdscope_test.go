package importer

import (
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	"bootd.internal/bootd/inventory"
)

// imported is what a dhcpd.conf becomes: the inventory without comments, and what has no equivalent.
func imported(t *testing.T, conf string, relays ...string) (text string, lost []string) {
	t.Helper()
	in := ISC{DHCPD: File{"dhcpd.conf", []byte(conf)}}
	for _, a := range relays {
		in.Relays = append(in.Relays, netip.MustParseAddr(a))
	}
	r, err := in.Import()
	if err != nil {
		t.Fatal(err)
	}
	if _, faults := inventory.Parse("inventory.yaml", r.Inventory); len(faults) > 0 {
		t.Fatalf("%v\n%s", faults, r.Inventory)
	}
	for _, n := range r.Notes {
		if n.Kind == Lost {
			lost = append(lost, n.String())
		}
	}
	for line := range strings.Lines(string(r.Inventory)) {
		line, _, _ = strings.Cut(line, "#")
		if line = strings.TrimRight(line, " \n"); line != "" {
			text += line + "\n"
		}
	}
	return text, lost
}

const twoNets = `subnet6 2001:db8:1::/64 { range6 2001:db8:1::10 2001:db8:1::20; %1 }
subnet6 2001:db8:2::/64 { range6 2001:db8:2::10 2001:db8:2::20; %2 }
`

// TestBootFilesByPlace: which loader comes out of boot files for all, for a network, a group or a class.
func TestBootFilesByPlace(t *testing.T) {
	const one, two = `option dhcp6.bootfile-url "tftp://[2001:db8:1::1]/one.efi";`, `option dhcp6.bootfile-url "tftp://[2001:db8:2::1]/two.efi";`
	const ipxe = `if exists dhcp6.user-class { option dhcp6.bootfile-url "http://[2001:db8:1::1]/a.ipxe"; } else { ` + one + ` }`
	for _, c := range []struct {
		name, before, in1, in2 string
		loader, lost           string
	}{
		{"for all", one, "", "", "one.efi", ""},
		{"one network's", "", one, "", "one.efi", ""},
		{"two networks', the same", "", one, one, "one.efi", ""},
		{"two networks'", "", one, two, "one.efi", "dhcpd.conf:3: no equivalent: x86-64 firmware (PXE) gets tftp://[2001:db8:2::1]/two.efi here, but tftp://[2001:db8:1::1]/one.efi elsewhere (dhcpd.conf:2)"},
		{"for all, and another in a network", one, "", two, "one.efi", "gets tftp://[2001:db8:2::1]/two.efi here"},
		{"under an if of a group", "group { " + ipxe + " host a { hardware ethernet 52:54:00:00:00:01; } }", "", "", "one.efi", ""},
		{"a class", `class "pxe" { match if substring(option dhcp6.vendor-class, 6, 9) = "PXEClient"; ` + two + " }", "", "", "two.efi", ""},
		{"a class goes before a network", `class "pxe" { match if option dhcp6.client-arch-type = 00:07; ` + two + " }", one, one, "two.efi", "x86-64 firmware of type 9 (PXE) gets tftp://[2001:db8:1::1]/one.efi, but"},
		{"the first class counts", `class "a" { match if option dhcp6.client-arch-type = 00:07; ` + one + ` } class "b" { match if option dhcp6.client-arch-type = 00:07; ` + two + " }", "", "", "one.efi", ""},
		{"a subclass", `class "arch" { match option dhcp6.client-arch-type; } subclass "arch" 00:07 { ` + one + " }", "", "", "one.efi", ""},
		{"a class about something else", `class "x" { match if known; ` + one + " }", "", "", "", `dhcpd.conf:1: no equivalent: class "x": bootd has no classes`},
		{"a subclass by machine", `class "m" { match hardware; } subclass "m" 1:52:54:00:00:00:01 { ` + one + " }", "", "", "", `no equivalent: subclass "m"`},
	} {
		text, lost := imported(t, c.before+"\n"+strings.NewReplacer("%1", c.in1, "%2", c.in2).Replace(twoNets))
		if has := strings.Contains(text, "x86_64: "+c.loader+"\n"); has != (c.loader != "") || strings.Contains(text, "    loader:") {
			t.Errorf("%s: want %q\n%s", c.name, c.loader, text)
		}
		found := slices.ContainsFunc(lost, func(s string) bool { return strings.Contains(s, c.lost) })
		if c.lost == "" && len(lost) > 0 || c.lost != "" && !found {
			t.Errorf("%s: lost %q, want %q", c.name, lost, c.lost)
		}
	}
}

// TestGroups: a host or network has what the groups around it set, the nearest first; nobody else has it.
func TestGroups(t *testing.T) {
	text, lost := imported(t, `group {
	option dhcp6.name-servers 2001:db8::a;
	option dhcp6.bootfile-url "tftp://[2001:db8:1::1]/special.efi";
	default-lease-time 7200;
	group {
		option dhcp6.name-servers 2001:db8::b;
		host a { hardware ethernet 52:54:00:00:00:01; option dhcp6.sip-servers-addresses 2001:db8::5; }
	}
	host b { hardware ethernet 52:54:00:00:00:02; option dhcp6.name-servers 2001:db8::c; }
}
group { option dhcp6.name-servers 2001:db8::d; subnet6 2001:db8:1::/64 { } }
host c { hardware ethernet 52:54:00:00:00:03; }
`)
	for _, want := range []string{
		"  a:\n    mac: 52:54:00:00:00:01\n    options:\n      sip-server-addr: \"2001:db8::5\"\n      dns-servers: \"2001:db8::b\"\n    loader: special.efi\n    valid: 2h\n    preferred: 75m\n",
		"  b:\n    mac: 52:54:00:00:00:02\n    options:\n      dns-servers: \"2001:db8::c\"\n    loader: special.efi\n    valid: 2h\n    preferred: 75m\n",
		"  c:\n    mac: 52:54:00:00:00:03\n", "    nameservers: \"2001:db8::d\"\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no\n%sin\n%s", want, text)
		}
	}
	if len(lost) > 0 || strings.Contains(text, "loaders:") || !strings.HasSuffix(text, "  c:\n    mac: 52:54:00:00:00:03\n") {
		t.Errorf("lost %q\n%s", lost, text)
	}
}

// TestGroupInSharedNetwork: what a group sets for one subnet of a shared network is not lost unseen.
func TestGroupInSharedNetwork(t *testing.T) {
	_, lost := imported(t, `shared-network s {
	option dhcp6.domain-search "shared.example";
	option dhcp6.sip-servers-addresses 2001:db8::5;
	group {
		option dhcp6.domain-search "group.example";
		option dhcp6.sip-servers-addresses 2001:db8::6;
		option dhcp6.name-servers 2001:db8::a;
		subnet6 2001:db8:1::/64 { option dhcp6.name-servers 2001:db8::b; }
	}
	subnet6 2001:db8:2::/64 { }
}
`)
	want := []string{
		"dhcpd.conf:5: no equivalent: search differs from dhcpd.conf:2, and s has only one",
		"dhcpd.conf:6: no equivalent: sip-server-addr differs from dhcpd.conf:3, and options has only one",
	}
	if !slices.Equal(lost, want) {
		t.Errorf("lost %q, want %q", lost, want)
	}
}

// TestRelayNamed: a network that a relay of the command line is in is behind that relay, and hosts by its ports are known.
func TestRelayNamed(t *testing.T) {
	conf := strings.NewReplacer("%1", "", "%2", `host q { host-identifier v6relopt 1 dhcp6.remote-id 00:00:00:09:70:37; }`).Replace(twoNets) + `
host p { host-identifier v6relopt 1 dhcp6.interface-id "swp7"; fixed-address6 2001:db8:2::7; }
host far { host-identifier v6relopt 2 dhcp6.interface-id "swp7"; fixed-address6 2001:db8:2::8; }
host bare { host-identifier v6relopt 1 dhcp6.remote-id 00:00:09; fixed-address6 2001:db8:2::9; }
host elsewhere { host-identifier v6relopt 1 dhcp6.interface-id "swp7"; fixed-address6 2001:db8:1::7; }
`
	text, lost := imported(t, conf, "2001:db8:2::1")
	for _, want := range []string{
		"  net2:\n    relay: \"2001:db8:2::1\"\n    prefix: \"2001:db8:2::/64\"\n", "  net1:\n    interface: eth1\n",
		"  q:\n    port: {relay: \"2001:db8:2::1\", remote_id: p7}\n",
		"  p:\n    port: {relay: \"2001:db8:2::1\", interface_id: swp7}\n    address: \"2001:db8:2::7\"\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no\n%sin\n%s", want, text)
		}
	}
	for _, want := range []string{"dhcpd.conf:5: ", "dhcpd.conf:6: ", "dhcpd.conf:7: "} {
		if !slices.ContainsFunc(lost, func(s string) bool { return strings.HasPrefix(s, want+"no equivalent: host-identifier v6relopt") }) {
			t.Errorf("lost %q, want %s", lost, want)
		}
	}
	if text, _ := imported(t, conf, "2001:db8:2::1", "2001:db8:1::1"); !strings.HasPrefix(text, "serve:\n  transit: eth0\n") {
		t.Errorf("no interface for relays:\n%s", text)
	}
	in := ISC{DHCPD: File{"dhcpd.conf", []byte(conf)}, Known: Known{Relays: []netip.Addr{netip.MustParseAddr("2001:db8:9::1")}}}
	if _, err := in.Import(); err == nil || !strings.HasPrefix(err.Error(), "the relay 2001:db8:9::1 is inside no subnet") {
		t.Errorf("a relay of nobody: %v", err)
	}
	const twice = `{"Dhcp6":{"interfaces-config":{"interfaces":["eth0"]},"subnet6":[{"id":1,"subnet":"2001:db8:1::/64","relay":{"ip-addresses":["2001:db8:1:0::1"]}}]}}`
	if r, err := Kea("kea.conf", []byte(twice), Known{Relays: []netip.Addr{netip.MustParseAddr("2001:db8:1::1")}}, nil); err != nil || !r.Complete() {
		t.Errorf("a relay that stands in the file, too: %v: %+v", err, r)
	}
	const subnets = `{"Dhcp6":{"interfaces-config":{"interfaces":["eth0"]},"subnet6":[{"id":1,"subnet":"2001:db8:1::/64","interface-id":"p1"}]}}`
	r, err := Kea("kea.conf", []byte(subnets), Known{Relays: []netip.Addr{netip.MustParseAddr("2001:db8:1::1")}}, nil)
	if err != nil || !r.Complete() || !strings.Contains(string(r.Inventory), "    relay: \"2001:db8:1::1\"") || !strings.Contains(string(r.Inventory), "  transit:") {
		t.Errorf("%v: %+v", err, r)
	}
}

// TestCutEverywhere: a file that is cut off at any octet is read or refused with the line of the cut; it never ends a program.
func TestCutEverywhere(t *testing.T) {
	for kind, name := range map[string]string{
		"dhcpd": "testdata/dhcpd-all/dhcpd.conf", "kea": "testdata/kea-all/kea-dhcp6.conf", "radvd": "testdata/radvd-all/radvd.conf", "unbound": "testdata/dhcpd-all/unbound.conf",
	} {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		refused := 0
		for n := range data {
			tryImport(t, kind, data[:n])
			if _, err := importAs(kind, "cut.conf", data[:n], opener("testdata/"+kind+"-all")); err != nil {
				refused++
			}
		}
		if kind != "unbound" && refused < len(data)/4 {
			t.Errorf("%s: only %d of %d cuts are refused", kind, refused, len(data))
		}
	}
}

// TestLostWhole: each line of a block that is not taken over is listed.
func TestLostWhole(t *testing.T) {
	_, lost := imported(t, `subnet6 2001:db8::/64 { }
host a {
	hardware ethernet 52:54:00:00:00:01;
	if substring(option dhcp6.user-class, 2, 4) = "iPXE" {
		option dhcp6.bootfile-url "http://[2001:db8::1]/a.ipxe";
	} else {
		if known {
			option dhcp6.bootfile-url "tftp://[2001:db8::1]/a.efi";
		}
	}
}
if exists dhcp6.user-class {
	subnet6 2001:db8:9::/64 {
		range6 2001:db8:9::1 2001:db8:9::9;
	}
}
`)
	var got []string
	for _, l := range lost {
		place, _, _ := strings.Cut(l, ": ")
		got = append(got, strings.TrimPrefix(place, "dhcpd.conf:"))
	}
	if want := "4 5 6 7 8 13 14"; strings.Join(got, " ") != want {
		t.Errorf("lines %s are listed, want %s:\n%s", got, want, strings.Join(lost, "\n"))
	}
}

// TestOriginal: a fault that names a line of the page names that of the original instead; what is quoted stays.
func TestOriginal(t *testing.T) {
	wrote := &node{key: "a", from: Place{"dhcpd.conf", 12}}
	p := page{nodes: map[int]*node{3: wrote, 4: {key: "b"}}, above: map[*node]*node{}}
	p.above[p.nodes[4]] = wrote
	for msg, want := range map[string]string{
		"is already the relay of rack2 (line 3): which": "is already the relay of rack2 (dhcpd.conf:12): which",
		"overlaps fd00::/64 (line 4)":                   "overlaps fd00::/64 (dhcpd.conf:12)",
		"is there twice, first on line 3":               "is there twice, first in dhcpd.conf:12",
		`"on line 3" is not an address`:                 `"on line 3" is not an address`,
		"overlaps fd00::/64 (line 99)":                  "overlaps fd00::/64 (line 99)",
	} {
		if got := p.original(msg); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
