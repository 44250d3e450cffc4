package render_test

import (
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"bootd.internal/bootd/render"
	"bootd.internal/bootd/site"
	"bootd.internal/bootd/site/sitetest"
	"bootd.internal/templates"
	"github.com/google/go-cmp/cmp"
)

func builtin() fs.FS { return templates.FS() }

// tree makes templates of name and text.
func tree(pairs ...string) fstest.MapFS {
	m := fstest.MapFS{}
	for i := 0; i+1 < len(pairs); i += 2 {
		m[pairs[i]] = &fstest.MapFile{Data: []byte(pairs[i+1])}
	}
	return m
}

func TestErrors(t *testing.T) {
	const remedy = " (set it in defaults, the network, the profile or the host)"
	for _, tc := range []struct{ name, text, want string }{
		{"missing variable", "a\n\n{{.Vars.nosuch}}", "x:3: vars.nosuch is not set for r1n01" + remedy},
		{"missing variable in a condition", "{{if .Vars.nosuch}}{{end}}", "x:1: vars.nosuch is not set for r1n01" + remedy},
		{"missing variable in a range", "\n{{range .Vars.nosuch}}{{end}}", "x:2: vars.nosuch is not set for r1n01" + remedy},
		{"missing variable after with", "{{with .Host}}{{$.Vars.nosuch}}{{end}}", "x:1: vars.nosuch is not set for r1n01" + remedy},
		{"missing variable by index", `{{index .Vars "nosuch"}}`, ""},
		{"missing variable in an argument", "\n{{urlhost .Vars.nosuch}}", "x:2: vars.nosuch is not set for r1n01" + remedy},
		{"missing key, said by the template", "\n\n{{missing \"disk\"}}", "x:3: disk is not set for r1n01" + remedy},
		{"missing in an included template", `{{include "in" .}}`, "in:2: vars.deep is not set for r1n01" + remedy},
		{"missing in a named template", `{{template "in" .}}`, "in:2: vars.deep is not set for r1n01" + remedy},
		{"failure, said by the template", `{{fail "cannot be"}}`, "x:1: cannot be for r1n01"},
		{"field that does not exist", "{{.Hots}}", "x:1: can't evaluate field Hots in type render.Data for r1n01"},
		{"grammar", "a\n{{if}}", "x:2: missing value for if for r1n01"},
		{"function that does not exist", "{{env \"HOME\"}}", `x:1: function "env" not defined for r1n01`},
		{"named template that does not exist", "\n{{template \"nosuch\" .}}", "x:2: names the template nosuch, which does not exist for r1n01"},
		{"included template that does not exist", "{{include \"nosuch\" .}}", "x:1: names the template nosuch, which does not exist for r1n01"},
		{"include of a name that is not fixed", "{{include .Host .}}", "x:1: include wants the name of a template in quotes for r1n01"},
		{"include of itself", `{{include "x" .}}`, "x: includes x, which includes it for r1n01"},
		{"include in a circle", `{{include "circle" .}}`, "circle: includes x, which includes it for r1n01"},
		{"recursion", `{{define "r"}}aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa{{template "r" .}}{{end}}{{template "r" .}}`, "x: renders to more than 1 MiB for r1n01"},
		{"too much", `{{range $i := .Vars.list}}{{$.Vars.long}}{{end}}`, "x: renders to more than 1 MiB for r1n01"},
		{"https mirror", `{{urlhost "https://mirror.example.net/debian"}}`, `x:1: "https://mirror.example.net/debian": Debian's installer speaks no https here, use http (packages are signed) for r1n01`},
		{"no URL", `{{urlpath "mirror.example.net"}}`, `x:1: "mirror.example.net" is not a URL such as http://mirror.example.net/debian for r1n01`},
		{"line break in a value", `{{debconf "a\nd-i x/y string z"}}`, `x:1: "a\nd-i x/y string z" holds a control character for r1n01`},
		{"backslash at the end", `{{debconf "a\\"}}`, `x:1: "a\\" ends in a backslash, which joins lines of a preseed for r1n01`},
		{"setting of iPXE in a value", `{{words "a${net0/mac}"}}`, `x:1: "a${net0/mac}" holds ${, which iPXE would expand for r1n01`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			d := sample()
			d.Vars = map[string]any{"list": make([]string, 2000), "long": strings.Repeat("x", 1000)}
			_, err := render.New(tree("x", tc.text, "in", "\n{{.Vars.deep}}", "circle", `{{include "x" .}}`)).Render("x", d)
			got := ""
			if err != nil {
				got = err.Error()
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestNoSuchTemplate(t *testing.T) {
	_, err := render.New(tree()).Render("preseed/x.cfg", sample())
	if err == nil || err.Error() != "preseed/x.cfg: no such template for r1n01" {
		t.Error(err)
	}
}

func TestFunctions(t *testing.T) {
	d := sample()
	d.Vars = map[string]any{"n": 5, "b": true, "list": []string{"a", "b"}}
	text := `{{urlhost "http://[2001:db8::5]:8080/debian/"}} {{urlpath "http://[2001:db8::5]:8080/debian/"}} {{urlpath "http://x"}}
{{shell "it's"}} {{shell 5}} {{join "," .Vars.list}} {{upper "a"}} {{lower "A"}} {{trim " a "}} {{has .Vars.list "b"}} {{json .Vars}}
{{.Var "nosuch" "def"}} {{.Var "n" 7}} {{echo "a${b}||c&&d\né"}} {{range split "a,b" ","}}<{{.}}>{{end}}
{{script "name" "a\n\tb\n"}}
`
	want := `[2001:db8::5]:8080 /debian /
'it'\''s' '5' a,b A a a true {"b":true,"list":["a","b"],"n":5}
def 5 a$ {b}| |c& &d ? <a><b>
#= name
#|a
#|	b
#=
`
	got, err := render.New(tree("x", text)).Render("x", d)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Error(diff)
	}
}

func TestControlCharactersInData(t *testing.T) {
	d := sample()
	d.KernelArgs = "quiet\nboot"
	if _, err := render.New(tree("x", "fixed")).Render("x", d); err == nil || err.Error() != `x: "quiet\nboot" holds a control character for r1n01` {
		t.Error(err)
	}
}

func TestLayers(t *testing.T) {
	set := render.New(render.Layer(nil, tree("preseed/lib.sh", "# mine\n"), builtin()))
	got, err := set.Render("preseed/debian13.cfg", sample())
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(got), "#= lib\n#|# mine\n#=\n") || !strings.Contains(string(got), "#= guard\n#|# The disk guard") {
		t.Errorf("%s", got)
	}
}

func TestReveal(t *testing.T) {
	text := render.PlaceholderAnswers + " " + render.PlaceholderInstalled + " " + render.PlaceholderFirstBoot
	if got := string(render.Reveal([]byte(text), "a", "i", "f")); got != "a i f" {
		t.Error(got)
	}
	for _, p := range strings.Fields(text) {
		if len(p) != 32 {
			t.Errorf("%s has %d characters, a token 32", p, len(p))
		}
	}
}

func TestConcurrent(t *testing.T) {
	set := render.New(builtin())
	want := answers(t, sample())
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 20 {
				got, err := set.Render("preseed/debian13.cfg", sample())
				if err != nil || !slices.Equal(got, want) {
					t.Error("rendered something else", err)
				}
			}
		})
	}
	wg.Wait()
}

func TestCheck(t *testing.T) {
	snap := sitetest.Snapshot(t, `defaults: {profile: p}
networks:
  rack1: {interface: eth1, prefix: "2001:db8:1::/64"}
profiles:
  p: {kernel: linux, initrd: initrd.gz, script: ipxe/debian.ipxe, answers: preseed/debian13.cfg, disk: {serial: X}}
  q: {kernel: linux, initrd: initrd.gz, script: ipxe/nosuch.ipxe, disk: {serial: X}}
hosts:
  h1: 52:54:00:aa:01:01
  h2: {mac: 52:54:00:aa:01:02, vars: {mirror: http://mirror.example.net/debian}}
  h3: 52:54:00:aa:01:03
  h4: 52:54:00:aa:01:04
  h5: 52:54:00:aa:01:05
  h6: {mac: 52:54:00:aa:01:06, profile: q}
`, sitetest.Facts(sitetest.Link(t, 2, "eth1", "2001:db8:1::1/64")))
	var got []string
	for _, p := range render.Check(snap, render.New(builtin()), nil) {
		got = append(got, p.Error()+" | "+strings.Join(p.Hosts, " "))
	}
	want := []string{
		"ipxe/nosuch.ipxe: no such template for h6 | h6",
		"preseed/debian.cfg:31: vars.mirror is not set for h1, h3, h4 and 1 more (set it in defaults, the network, the profile or the host) | h1 h3 h4 h5",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestCheckWithoutAddresses(t *testing.T) {
	snap, _ := sitetest.Resolve(t, golden, site.Facts{})
	if got := render.Check(snap, render.New(builtin()), nil); len(got) > 0 {
		t.Error(got)
	}
}

// tenThousand is a site of 10,000 hosts.
func tenThousand(t testing.TB) *site.Snapshot {
	var b strings.Builder
	b.WriteString(golden)
	for i := range 10_000 {
		fmt.Fprintf(&b, "  n%05d: 52:54:00:bb:%02x:%02x\n", i, i>>8, i&0xff)
	}
	return sitetest.Snapshot(t, b.String(), sitetest.Facts(sitetest.Link(t, 2, "eth1", "2001:db8:1::1/64")))
}

func TestCheckIsFast(t *testing.T) {
	if testing.Short() {
		t.Skip("a measurement")
	}
	snap, set := tenThousand(t), render.New(builtin())
	started := time.Now()
	if got := render.Check(snap, set, nil); len(got) > 0 {
		t.Fatal(got)
	}
	t.Logf("checked %d hosts in %s", len(snap.Hosts), time.Since(started))
	if took := time.Since(started); took > 2*time.Minute { // a second alone; half a minute with the race detector on a busy machine
		t.Errorf("checking 10,000 hosts took %s", took)
	}
}

func BenchmarkCheck10000(b *testing.B) {
	snap := tenThousand(b)
	for b.Loop() {
		if got := render.Check(snap, render.New(builtin()), nil); len(got) > 0 {
			b.Fatal(got)
		}
	}
}
