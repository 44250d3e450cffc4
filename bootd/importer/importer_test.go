package importer

import (
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"bootd.internal/bootd/inventory"
)

var update = flag.Bool("update", false, "write the golden files anew; read each before committing")

// opener reads files of a directory, as the command does.
func opener(dir string) Open {
	return func(_, name string) ([]byte, error) { return fs.ReadFile(os.DirFS(dir), name) }
}

// read imports what lies in a directory: kea-dhcp6.conf, or dhcpd.conf, radvd.conf and unbound.conf.
func read(t *testing.T, dir string) (*Result, error) {
	t.Helper()
	file := func(name string) File {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if errors.Is(err, fs.ErrNotExist) {
			return File{}
		} else if err != nil {
			t.Fatal(err)
		}
		return File{name, data}
	}
	if k := file("kea-dhcp6.conf"); k.Name != "" {
		return Kea(k.Name, k.Data, Known{}, opener(dir))
	}
	return ISC{DHCPD: file("dhcpd.conf"), Radvd: file("radvd.conf"), Unbound: file("unbound.conf"), Open: opener(dir)}.Import()
}

func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), got); d != "" {
		t.Errorf("%s (-want +got):\n%s\nwhere the grammar grew, this is as it should be: go test ./bootd/importer -update, and read the difference", file, d)
	}
}

// TestGolden compares each inventory, and all that is said about it, with what was read once. test/script runs bootd check
// on the same inventories.
func TestGolden(t *testing.T) {
	dirs, err := filepath.Glob("testdata/*/*.conf")
	if err != nil {
		t.Fatal(err)
	}
	done := map[string]bool{}
	for _, f := range dirs {
		dir := filepath.Dir(f)
		if done[dir] {
			continue
		}
		done[dir] = true
		t.Run(filepath.Base(dir), func(t *testing.T) {
			r, err := read(t, dir)
			if err != nil {
				t.Fatal(err)
			}
			if _, faults := inventory.Parse("inventory.yaml", r.Inventory); len(faults) > 0 {
				t.Errorf("the inventory has faults: %v", faults)
			}
			golden(t, filepath.Join(dir, "inventory.yaml"), string(r.Inventory))
			var b strings.Builder
			for _, n := range r.Notes {
				if n.Kind != Itself {
					fmt.Fprintln(&b, n)
				}
			}
			golden(t, filepath.Join(dir, "notes.txt"), b.String())
		})
	}
	if len(done) < 6 {
		t.Errorf("only %d configurations were found", len(done))
	}
}

// TestBad has a file for each way to break one, with the exact error.
func TestBad(t *testing.T) {
	files, err := filepath.Glob("testdata/bad/*.*")
	if err != nil {
		t.Fatal(err)
	}
	count := 0
	for _, f := range files {
		kind := filepath.Ext(f)[1:]
		if kind == "txt" {
			continue
		}
		count++
		t.Run(filepath.Base(f), func(t *testing.T) {
			data, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			if _, err = importAs(kind, filepath.Base(f), data, opener("testdata/bad")); err == nil {
				t.Fatal("it was imported")
			}
			golden(t, f+".txt", err.Error()+"\n")
		})
	}
	if count < 20 {
		t.Errorf("only %d broken files were found", count)
	}
}

// importAs reads one file alone.
func importAs(kind, name string, data []byte, open Open) (*Result, error) {
	f := File{name, data}
	switch kind {
	case "kea":
		return Kea(name, data, Known{}, open)
	case "dhcpd":
		return ISC{DHCPD: f, Open: open}.Import()
	case "radvd":
		return ISC{Radvd: f, Open: open}.Import()
	default:
		lan := File{"dhcpd.conf", []byte("subnet6 2001:db8:1::/64 { }")}
		return ISC{DHCPD: lan, Unbound: f, Open: open}.Import()
	}
}

// TestMigratingIsTrue holds docs/migrating.md against what is printed.
func TestMigratingIsTrue(t *testing.T) {
	doc, err := os.ReadFile("../../docs/migrating.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{"case1/dhcpd.conf", "case1/radvd.conf", "case1/unbound.conf", "case1/inventory.yaml", "case1/notes.txt"} {
		text, err := os.ReadFile(filepath.Join("testdata", file))
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(doc), "\n"+string(text)+"```\n") {
			t.Errorf("docs/migrating.md does not show %s as it is", file)
		}
	}
	if n := len(boots()); n != 11 {
		t.Errorf("docs/migrating.md speaks of eleven boot clients, there are %d", n)
	}
}

// TestPoolGoesWhole: where the grammar refuses a pool, no other one is given out in its place.
func TestPoolGoesWhole(t *testing.T) {
	const conf = `{ "Dhcp6": { "subnet6": [ { "subnet": "2001:db8:1::/64", "interface": "eth1",
		"pools": [ { "pool": "2001:db8:2::1-2001:db8:2::9" } ] } ] } }`
	r, err := Kea("kea.conf", []byte(conf), Known{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	inv, faults := inventory.Parse("inventory.yaml", r.Inventory)
	if len(faults) > 0 || inv.Networks[0].Unknown.Set() || r.Complete() {
		t.Errorf("faults %v, complete %v, of\n%s", faults, r.Complete(), r.Inventory)
	}
}

// TestLongStatement: a statement is shortened between two letters, whatever alphabet they are of.
func TestLongStatement(t *testing.T) {
	for _, letter := range []string{"a", "ä", "€", "😀", "a€", "ab€"} {
		s := &statement{words: []word{{text: strings.Repeat(letter, 101)}}}
		got, ok := strings.CutSuffix(s.String(), "...")
		if !ok || len(got) < 90 || len(got) > 98 || !utf8.ValidString(got) {
			t.Errorf("%q is shortened to %q", letter, got)
		}
	}
}

// TestUnboundAccess: whoever unbound let ask may ask, in whatever words; the others may not.
func TestUnboundAccess(t *testing.T) {
	in := ISC{
		Known: Known{Interface: "eth1"}, DHCPD: File{Name: "dhcpd.conf", Data: []byte("subnet6 2001:db8:1::/64 { }\n")},
		Unbound: File{Name: "unbound.conf", Data: []byte("server:\n" +
			" access-control: 2001:db8:8000::/48 allow_snoop\n access-control: 2001:db8:9000::/48 allow\n access-control: 2001:db8:a000::/48 refuse\n")},
	}
	r, err := in.Import()
	if err != nil {
		t.Fatal(err)
	}
	for prefix, want := range map[string]bool{"8000": true, "9000": true, "a000": false} {
		if got := strings.Contains(string(r.Inventory), `- "2001:db8:`+prefix+`::/48"`); got != want {
			t.Errorf("%s may ask: %v\n%s", prefix, got, r.Inventory)
		}
	}
}

// TestDenyUnknown: a pool is for everybody, which is said where dhcpd was told to give strangers nothing.
func TestDenyUnknown(t *testing.T) {
	const deny = "deny unknown-clients;\n"
	for text, want := range map[string]Kind{
		deny + "subnet6 2001:db8:1::/64 { }\n":                                               Itself,
		deny + "subnet6 2001:db8:1::/64 { range6 2001:db8:1::100 2001:db8:1::1ff; }\n":       Review,
		"subnet6 2001:db8:1::/64 { range6 2001:db8:1::100 2001:db8:1::1ff;\n" + deny + "}\n": Review,
	} {
		r, err := ISC{Known: Known{Interface: "eth1"}, DHCPD: File{Name: "dhcpd.conf", Data: []byte(text)}}.Import()
		if err != nil {
			t.Fatal(err)
		}
		said := func(n Note) bool { return n.Kind == want && strings.HasPrefix(n.Text, "deny unknown-clients: ") }
		if !slices.ContainsFunc(r.Notes, said) {
			t.Errorf("%s\n%v", text, r.Notes)
		}
	}
}

// TestNestedIncludes: a relative name is relative to the file that it stands in, at every depth; Debian's unbound.conf names
// its files by a pattern, which is said.
func TestNestedIncludes(t *testing.T) {
	files := map[string]string{
		"etc/dhcpd.conf": "include \"sub/one.conf\";\n", "etc/sub/one.conf": "include \"two.conf\";\n", "etc/sub/two.conf": "subnet6 2001:db8:1::/64 { }\n",
		"etc/kea.conf": "{\"Dhcp6\": <?include \"sub/one.json\"?>}", "etc/sub/one.json": "{\"subnet6\": <?include \"two.json\"?>}",
		"etc/sub/two.json": "[{\"subnet\": \"2001:db8:1::/64\", \"interface\": \"eth1\"}]",
		"etc/unbound.conf": "include: sub/one.unbound\ninclude-toplevel: \"/etc/unbound/unbound.conf.d/*.conf\"\n", "etc/sub/one.unbound": "include: two.unbound\n",
		"etc/sub/two.unbound": "server:\n access-control: 2001:db8:9000::/48 allow\n",
	}
	open := func(from, name string) ([]byte, error) {
		text, ok := files[filepath.Join(filepath.Dir(from), name)]
		if !ok {
			return nil, fs.ErrNotExist
		}
		return []byte(text), nil
	}
	file := func(name string) File { return File{Name: name, Data: []byte(files[name])} }
	r, err := ISC{Known: Known{Interface: "eth1"}, DHCPD: file("etc/dhcpd.conf"), Unbound: file("etc/unbound.conf"), Open: open}.Import()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"2001:db8:1::/64", "2001:db8:9000::/48", "# etc/sub/two.conf:1"} {
		if !strings.Contains(string(r.Inventory), want) {
			t.Errorf("no %s in\n%s", want, r.Inventory)
		}
	}
	if !slices.ContainsFunc(r.Notes, func(n Note) bool { return n.Kind == Lost && strings.Contains(n.Text, "by a pattern") }) {
		t.Errorf("%v", r.Notes)
	}
	if r, err = Kea("etc/kea.conf", []byte(files["etc/kea.conf"]), Known{}, open); err != nil || !strings.Contains(string(r.Inventory), "2001:db8:1::/64") {
		t.Errorf("%v, %v", r, err)
	}
	files["etc/sub/two.conf"] = "include \"../dhcpd.conf\";\n"
	if _, err := (ISC{DHCPD: file("etc/dhcpd.conf"), Open: open}).Import(); err == nil || err.Error() != "etc/sub/two.conf:1: ../dhcpd.conf includes itself" {
		t.Errorf("got %v", err)
	}
}

// TestFlexID: an expression is about a port of the relay next to the client, or about something else.
func TestFlexID(t *testing.T) {
	for text, want := range map[string]flexID{
		"relay6[0].option[18].hex":                             {key: "interface_id"},
		"relay6[-1].option[18].hex":                            {key: "interface_id"},
		" relay6[0] . option[37] . hex ":                       {key: "remote_id", enterprise: true},
		"substring(relay6[0].option[37].hex, 4, all)":          {key: "remote_id"},
		"substring(relay6[0].option[18].hex, 4, all)":          {},
		"substring(relay6[0].option[37].hex, 0, 8)":            {},
		"relay6[1].option[18].hex":                             {},
		"relay6[0].option[18].hex, 4, all)":                    {},
		"option[16].hex":                                       {},
		"concat(relay6[0].peeraddr, relay6[0].option[18].hex)": {},
	} {
		if got, ok := readFlexID(text); got != want || ok != (want.key != "") {
			t.Errorf("%s: %+v, %v", text, got, ok)
		}
	}
}

// TestRenewals: times of renewal of all stay those of all, although one network's addresses are preferred for less.
func TestRenewals(t *testing.T) {
	for _, c := range []struct{ subnet, want, note string }{
		{`"preferred-lifetime": 900, "valid-lifetime": 1800`, "t2: 12m, t1: 450s", "t1 1000s comes too late for subnet2, which is preferred for 15m: there it is 450s"},
		{`"preferred-lifetime": 1200, "valid-lifetime": 1800`, "t2: 16m, t1: 10m", "t2 2000s comes too late for subnet2, which is preferred for 20m: there it is 16m"},
		{`"preferred-lifetime": 1900, "valid-lifetime": 4000`, "t2: 1520s", "t2 2000s comes too late for subnet2, which is preferred for 1900s: there it is 1520s"},
		{`"preferred-lifetime": 3600, "rebind-timer": 900`, "t1: 15m", "t1 1000s comes too late for subnet2, which is preferred for 1h: there it is 15m"},
		{`"preferred-lifetime": 2, "valid-lifetime": 2`, "t2: 1s, t1: 1s", "t2 2000s comes too late for subnet2, which is preferred for 2s: there it is 1s"},
		{`"preferred-lifetime": 1000, "renew-timer": 900`, "t1: 15m, t2: 15m", "t2 2000s comes too late for subnet2, which is preferred for 1000s: there it is 15m"},
		{`"preferred-lifetime": 600, "rebind-timer": 700`, "t2: 8m, t1: 5m", "t2 700s comes too late for subnet2, which is preferred for 10m: there it is 8m"},
		{`"preferred-lifetime": 3600, "renew-timer": 2500`, "t1: 30m", "t1 2500s comes too late for subnet2, which is preferred for 1h: there it is 30m"},
		{`"preferred-lifetime": 3600`, "", ""},
	} {
		r, err := Kea("kea.conf", []byte(`{ "Dhcp6": { "preferred-lifetime": 3000, "valid-lifetime": 4000, "renew-timer": 1000, "rebind-timer": 2000, "subnet6": [
  { "id": 1, "subnet": "2001:db8:1::/64", "interface": "eth1" },
  { "id": 2, "subnet": "2001:db8:2::/64", "interface": "eth2", `+c.subnet+` } ] } }`), Known{}, nil)
		if err != nil {
			t.Fatal(err)
		}
		inv, faults := inventory.Parse("inventory.yaml", r.Inventory)
		if len(faults) > 0 {
			t.Fatal(faults)
		}
		var own []string
		for line := range strings.Lines(string(r.Inventory)[strings.Index(string(r.Inventory), "subnet2:"):]) {
			text, _, _ := strings.Cut(line, "#")
			if text = strings.TrimSpace(text); strings.HasPrefix(text, "t") && (text != "t2: 15m" || c.want != "t1: 15m") {
				own = append(own, text)
			}
		}
		if d := inv.Defaults; d.T1.V != 1000*time.Second || d.T2.V != 2000*time.Second || strings.Join(own, ", ") != c.want {
			t.Errorf("%s: of all %s and %s, of the subnet %q, want %q", c.subnet, d.T1.V, d.T2.V, own, c.want)
		}
		told := slices.ContainsFunc(r.Notes, func(n Note) bool { return n.Kind == Corrected && n.Text == c.note })
		if lost := slices.ContainsFunc(r.Notes, func(n Note) bool { return n.Kind == Lost }); told != (c.note != "") || lost {
			t.Errorf("%s: %v", c.subnet, r.Notes)
		}
	}
}
