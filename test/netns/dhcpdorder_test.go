package netns_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"bootd.internal/bootd/importer"
	"bootd.internal/lab"
	"bootd.internal/lab/labtest"
)

// orderDefs are what a dhcpd.conf about booting begins with.
const orderDefs = `option dhcp6.user-class code 15 = string;
option dhcp6.vendor-class code 16 = string;
option dhcp6.bootfile-url code 59 = string;
option dhcp6.client-arch-type code 61 = array of unsigned integer 16;
`

// orderCase is a configuration in short: `boot x;` names the boot file x, UEFI is a test that x86-64 firmware passes, NET is the
// subnet's range, HOST what the listed machine is known by.
type orderCase struct {
	conf string
	// want is what dhcpd tells an unlisted machine and the listed one; none: "-".
	want string
	// lost is what bootd import says it does not take over, where the listed machine or the other is told another file.
	lost string
}

func orderCases() []orderCase {
	const net, listed = `subnet6 2001:db8::/64 { NET boot subnet; }`, `host a { HOST }`
	const one, two = `class "one" { match if UEFI; boot class-one; }`, `class "two" { match if UEFI; boot class-two; }`
	const values = `class "arch" { match option dhcp6.client-arch-type; %s }`
	return []orderCase{
		{`boot global; ` + net, "subnet subnet", ""},
		{net + ` boot global;`, "subnet subnet", ""},
		{`boot global; subnet6 2001:db8::/64 { NET }`, "global global", ""},
		{`boot global; shared-network s { boot shared; ` + net + ` }`, "subnet subnet", ""},
		{`shared-network s { ` + net + ` boot shared; }`, "subnet subnet", ""},
		{`boot global; shared-network s { boot shared; subnet6 2001:db8::/64 { NET } }`, "shared shared", ""},
		{`boot global; group { boot group; subnet6 2001:db8::/64 { NET } }`, "group group", ""},
		{`group { ` + net + ` boot group; }`, "subnet subnet", ""},
		{`group { boot outer; group { boot inner; subnet6 2001:db8::/64 { NET } } }`, "inner inner", ""},
		{`group { boot outer; shared-network s { boot shared; subnet6 2001:db8:9::/64 { } group { boot inner; subnet6 2001:db8::/64 { NET } } } }`, "inner inner", ""},
		{`boot global; subnet6 2001:db8::/64 { pool6 { range6 2001:db8::300 2001:db8::400; boot pool; } boot subnet; }`, "pool pool", "pool"},
		{net + ` host a { HOST boot host; }`, "subnet host", ""},
		{net + ` group { boot group; ` + listed + ` }`, "subnet group", ""},
		{net + ` group { host a { HOST boot host; } boot group; }`, "subnet host", ""},
		{net + ` group { boot outer; group { boot inner; ` + listed + ` } }`, "subnet inner", ""},
		{`boot global; subnet6 2001:db8::/64 { NET boot subnet; ` + listed + ` }`, "subnet subnet", ""},
		{`boot global; ` + net + one, "class-one class-one", ""},
		{one + net + two, "class-one class-one", ""},
		{two + net + one, "class-two class-two", ""},
		{one + net + ` host a { HOST boot host; }`, "class-one host", ""},
		{one + net + ` group { boot group; ` + listed + ` }`, "class-one group", ""},
		{net + fmt.Sprintf(values, "") + ` subclass "arch" 00:07 { boot subclass; }`, "subclass subclass", ""},
		{net + fmt.Sprintf(values, "boot class;") + ` subclass "arch" 00:07 { boot subclass; }`, "subclass subclass", ""},
		{net + fmt.Sprintf(values, "boot class;") + ` subclass "arch" 00:07;`, "class class", ""},
		{net + fmt.Sprintf(values, "boot class;") + ` subclass "arch" 00:08 { boot subclass; }`, "subnet subnet", ""},
		{net + fmt.Sprintf(values, "") + one + ` subclass "arch" 00:07 { boot subclass; }`, "subclass subclass", ""},
		{net + one + fmt.Sprintf(values, "") + ` subclass "arch" 00:07 { boot subclass; }`, "class-one class-one", ""},
		{net + `class "c" { match if UEFI; if exists dhcp6.user-class { boot ipxe; } else { boot firmware; } }`, "firmware firmware", ""},
		{`boot plain; if UEFI { boot if; } subnet6 2001:db8::/64 { NET }`, "if if", ""},
		{`if UEFI { boot if; } boot plain; subnet6 2001:db8::/64 { NET }`, "plain plain", ""},
		{`if UEFI { boot if; } elsif UEFI { boot elsif; } else { boot else; } subnet6 2001:db8::/64 { NET }`, "if if", ""},
		{`if exists dhcp6.user-class { boot if; } elsif UEFI { boot elsif; } else { boot else; } subnet6 2001:db8::/64 { NET }`, "elsif elsif", ""},
		{`if UEFI { boot if; } if exists dhcp6.client-arch-type { boot second; } subnet6 2001:db8::/64 { NET }`, "second second", ""},
		{`if UEFI { if exists dhcp6.user-class { boot inner; } else { boot other; } } subnet6 2001:db8::/64 { NET }`, "other other", ""},
		{`if UEFI { boot if; } ` + net, "subnet subnet", ""},
		{`boot global; subnet6 2001:db8::/64 { NET if UEFI { boot if; } }`, "if if", ""},
		{`boot global; subnet6 2001:db8::/64 { NET } host a { HOST if UEFI { boot if; } }`, "global if", "if"},
	}
}

// TestImportedOrder: of several boot files that hold, Debian's dhcpd tells the one that bootd import takes: by how near it stands
// to the machine, by classes and subclasses in their order, and in chains of ifs.
func TestImportedOrder(t *testing.T) {
	l := labtest.New(t)
	link, err := l.Link("link")
	if err != nil {
		t.Fatal(err)
	}
	server, err := l.Node("server")
	if err != nil {
		t.Fatal(err)
	}
	r := &both{Lab: l}
	r.prefix = "2001:db8::1/64"
	if err := server.Attach(link, lab.Interface{Name: "eth1", Self: lab.NoAddress}); err != nil {
		t.Fatal(err)
	}
	for _, a := range []string{"fe80::1/64", "2001:db8::1/64"} {
		run(t, server, "ip", "-6", "address", "add", a, "dev", "eth1", "nodad")
	}
	client := r.client(t, "client", "dhcpd", "52:54:00:00:01:01", link)
	words := strings.NewReplacer(
		"UEFI", "option dhcp6.client-arch-type = 00:07", "NET", "range6 2001:db8::100 2001:db8::200;",
		"HOST", "hardware ethernet 52:54:00:00:01:01; fixed-address6 2001:db8::77;",
	)
	boot := regexp.MustCompile(`boot ([a-z-]+);`)
	for i, c := range orderCases() {
		conf := r.Path(fmt.Sprintf("case%d/dhcpd.conf", i))
		if err := os.MkdirAll(filepath.Dir(conf), 0o755); err != nil {
			t.Fatal(err)
		}
		text := boot.ReplaceAllString(words.Replace(c.conf), `option dhcp6.bootfile-url "tftp://[2001:db8::1]/$1.efi";`)
		text = orderDefs + strings.ReplaceAll(text, "; ", ";\n") + "\n"
		if err := os.WriteFile(conf, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			r.dhcpd(t, server, conf)
			var got []string
			for _, duid := range [][]byte{{0, 3, 0, 1, 2, 0, 0, 0, 0, 9}, {0, 3, 0, 1, 0x52, 0x54, 0, 0, 1, 1}} {
				q := question{kind: msgSolicit, duid: duid, oro: []uint16{59}, arch: []byte{0, 7}, ias: []ia{{code: codeIANA, id: 1}}}
				a := readReply(client.await(t, client.send(t, q), step{name: "a boot file"}), q)
				got = append(got, fileOf(a.words["option 59"]))
			}
			if told := strings.Join(got, " "); told != c.want {
				t.Errorf("%s\ndhcpd tells %s, want %s", c.conf, told, c.want)
			}
			made, err := importer.ISC{DHCPD: importer.File{Name: "dhcpd.conf", Data: []byte(text)}, Known: importer.Known{Interface: "eth1"}}.Import()
			if err != nil {
				t.Fatal(err)
			}
			out, notes := string(made.Inventory), fmt.Sprint(made.Notes)
			all := fileOf(valueOf(out, "x86_64: "))
			own := all
			if f := valueOf(out, "    loader: "); f != "" {
				own = fileOf(f)
			}
			same := all+" "+own == c.want
			if same != (c.lost == "") || !same && !strings.Contains(notes, "no equivalent: option dhcp6.bootfile-url \"tftp://[2001:db8::1]/"+c.lost+".efi\"") {
				t.Errorf("%s\nbootd import makes it %s %s, dhcpd tells %s\n%s%s", c.conf, all, own, c.want, out, notes)
			}
		})
	}
}

// fileOf is the name of a boot file without its directory and its .efi.
func fileOf(url string) string {
	if url == "" {
		return "-"
	}
	return strings.TrimSuffix(url[strings.LastIndex(url, "/")+1:], ".efi")
}

// valueOf is what follows a key on its line of an inventory.
func valueOf(inventory, key string) string {
	_, rest, ok := strings.Cut(inventory, key)
	if !ok {
		return ""
	}
	return strings.Fields(rest)[0]
}
