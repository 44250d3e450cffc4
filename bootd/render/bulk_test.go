package render_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/fstest"

	"bootd.internal/bootd/render"
	"bootd.internal/bootd/site"
	"bootd.internal/bootd/site/sitetest"
	"github.com/google/go-cmp/cmp"
)

// crowd is a site of so many hosts of two profiles; what they share, and in what they differ, is what the tests are about.
func crowd(t testing.TB, hosts int) *site.Snapshot {
	t.Helper()
	var b strings.Builder
	b.WriteString(`networks:
  rack1: {interface: eth1, prefix: "2001:db8:1::/64", ntp: "2001:db8:1::7"}
defaults:
  users: {root: {password: "$6$salt$hash"}, ops: {sudo: true, password: {secret: pw}}}
  packages: [vim, git]
  vars: {mirror: "http://mirror.example.net/debian", list: [a, b], word: same}
profiles:
  one: {kernel: k, initrd: [i, j], script: ipxe/debian.ipxe, answers: preseed/debian13.cfg}
  two: {kernel: k, initrd: i, script: x, answers: y}
secrets: {pw: {file: pw}}
hosts:
`)
	for i := range hosts {
		fmt.Fprintf(&b, "  n%03d: {mac: 52:54:00:00:01:%02x, profile: %s, disk: {serial: S%d, wipe: %t}, vars: {slot: %d", i, i, []string{"one", "two"}[i%2], i, i%5 == 0, i)
		if i%7 == 0 {
			b.WriteString(", word: other")
		}
		if i%11 == 0 {
			b.WriteString(", rare: set")
		}
		b.WriteString("}")
		if i%3 == 0 {
			b.WriteString(", console: ttyS0")
		}
		b.WriteString("}\n")
	}
	return sitetest.Snapshot(t, b.String(), sitetest.SmallFacts(t))
}

// same renders templates of all hosts one by one and in bulk, and compares texts and errors.
func same(t *testing.T, snap *site.Snapshot, set *render.Set, names ...string) {
	t.Helper()
	bulk := render.NewBulk(snap, set)
	for _, h := range snap.Hosts {
		for _, name := range names {
			want, wrong := set.Render(name, render.Preview(snap, h))
			var got []byte
			err := bulk.Render(h, name, func(b []byte) { got = append(got, b...) })
			if fmt.Sprint(err) != fmt.Sprint(wrong) {
				t.Fatalf("%s of %s: in bulk %v, alone %v", name, h.Name, err, wrong)
			}
			if d := cmp.Diff(string(want), string(got)); d != "" {
				t.Fatalf("%s of %s: -alone +in bulk:\n%s", name, h.Name, d)
			}
		}
	}
}

func TestBulkOfBuiltInTemplates(t *testing.T) {
	set := render.New(builtin()).WithSecrets(map[string]string{"pw": "$6$hidden$hidden"})
	for _, s := range []*render.Set{set, set.Mask(), render.New(builtin())} {
		same(t, crowd(t, 100), s, render.LocalScript, render.ErrorScript, render.AutoexecScript, render.DiscoverScript,
			"ipxe/debian.ipxe", "preseed/debian13.cfg", "preseed/debian12.cfg", "preseed/late.sh")
	}
}

// TestBulkOfAnyTemplate puts parts together that look at the host, at what hosts share, or at both, in every nesting.
func TestBulkOfAnyTemplate(t *testing.T) {
	snap := crowd(t, 80)
	fine := 0
	for seed := range uint64(150) {
		g := generator{rand.New(rand.NewPCG(seed, 1)), 0}
		files := fstest.MapFS{}
		for _, name := range []string{"x", "y"} {
			files[name] = &fstest.MapFile{Data: []byte(g.list(3, true) +
				`{{define "whole"}}` + g.list(2, true) + `{{end}}{{define "part"}}` + g.list(2, false) + `{{end}}`)}
		}
		files["inc"] = &fstest.MapFile{Data: []byte(g.parts(2, true))}
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			defer func() {
				if t.Failed() {
					t.Logf("x:\n%s\ny:\n%s\ninc:\n%s", files["x"].Data, files["y"].Data, files["inc"].Data)
				}
			}()
			set := render.New(files).Mask()
			same(t, snap, set, "x", "y", "inc")
			if _, err := set.Render("x", render.Preview(snap, snap.Hosts[1])); err == nil {
				fine++
			}
		})
	}
	if fine < 30 {
		t.Errorf("only %d templates of 150 render: the others show little", fine)
	}
}

// generator writes templates.
type generator struct {
	*rand.Rand
	vars int
}

func (g *generator) pick(all ...string) string { return all[g.IntN(len(all))] }

func (g *generator) value(whole bool) string {
	if !whole {
		return g.pick(".", "$", "len .", `print . "x"`)
	}
	return g.pick(".Host", ".Domain", ".Vars.slot", ".Vars.word", ".Vars.mirror", ".Vars.rare", ".Vars.none", `.Var "rare" "none"`, `.Var "word" ""`, "index .Vars \"slot\"",
		".Disk.Serial", ".Disk.Wipe", ".Disk", "$.Profile", "$.Host", ".Secret \"pw\"", "$.Var \"slot\" 0", "len .Packages", "json .NTP",
		"shell .Console", "printf \"%v %v\" .Locale .MAC", ".URL.Answers", "json .NICs", "(index .Users 0).Name", "print .Vars", "missing \"x\"", "script \"s\" \"a\\nb\\n\"")
}

func (g *generator) list(deep int, whole bool) string {
	text := g.parts(deep, whole)
	if whole && g.IntN(3) == 0 {
		text += fmt.Sprintf("{{include \"inc\" %s}}", g.pick(".", "$", ".Disk"))
	}
	if whole && g.IntN(3) == 0 {
		text += `{{with .Vars}}{{range .list}}{{.}}{{end}}{{end}}`
	}
	return text
}

// parts uses $v, which is set before, in some of them.
func (g *generator) parts(deep int, whole bool) string {
	g.vars++
	v := fmt.Sprintf("$v%d", g.vars)
	var b strings.Builder
	set := g.IntN(2) == 0
	if set {
		fmt.Fprintf(&b, "{{%s := %s}}", v, strings.Replace(g.value(whole), "missing", "print", 1))
	}
	for range 1 + g.IntN(4) {
		b.WriteString(g.pick("", "text\n", "|"))
		cond := strings.Replace(g.value(whole), "missing", "print", 1)
		switch n := g.IntN(10); {
		case n == 0 && set:
			fmt.Fprintf(&b, "{{%s}}", v)
		case n == 1 && set:
			fmt.Fprintf(&b, "{{%s = %s}}", v, g.pick("1", cond))
		case n == 2 && deep > 0:
			fmt.Fprintf(&b, "{{if %s}}%s{{else}}%s{{end}}", cond, g.parts(deep-1, whole), g.parts(deep-1, whole))
		case n == 3 && deep > 0 && whole:
			fmt.Fprintf(&b, "{{with %s}}%s{{else}}%s{{end}}", cond, g.parts(deep-1, false), g.parts(deep-1, whole))
		case n == 4 && deep > 0 && whole:
			fmt.Fprintf(&b, "{{range $i, $w := %s}}%s{{$w}}%s{{end}}", g.pick(".Packages", ".NICs", ".Vars.list", ".Vars"), g.parts(deep-1, false), g.pick("", "{{break}}", "{{$.Host}}", v[:0]))
		case n == 5 && deep == 3:
			fmt.Fprintf(&b, "{{template %q %s}}", "whole", g.pick(".", "$", ".", "$", "$.Disk"))
		case n == 6 && deep == 3:
			fmt.Fprintf(&b, "{{template %q %s}}", "part", g.pick(".Host", ".Packages", ""))
		default:
			fmt.Fprintf(&b, "{{%s}}", g.value(whole))
		}
	}
	return b.String()
}

// TestBulkOfShadowedVariable: what an if declares is another variable than the one of the same name inside it.
func TestBulkOfShadowedVariable(t *testing.T) {
	snap := crowd(t, 80)
	for _, text := range []string{
		`{{if $x := .Host}}{{.Host}} {{$x := "b"}}{{.Host}} {{$x}}{{end}}`,
		`{{if $x := .Host}}{{.Host}} {{$x := .Domain}}{{$x = .Locale}}{{.Host}} {{$x}}{{else}}{{$x := "c"}}{{.Host}}{{$x}}{{end}}`,
		`{{if $x := .Host}}{{if .Host}}{{$x := "b"}}{{.Host}} {{$x}}{{end}}{{end}}`,
	} {
		same(t, snap, render.New(fstest.MapFS{"x": {Data: []byte(text)}}).Mask(), "x")
	}
}

// TestBulkOfMethods: what a method says follows from all fields.
func TestBulkOfMethods(t *testing.T) {
	snap := crowd(t, 80)
	for _, text := range []string{`{{.Disk.String}}`, `{{$.Disk.String}}`, `{{with .Disk}}{{.String}}{{end}}`, `{{(.Disk).String}}`, `{{.Disk}}`} {
		same(t, snap, render.New(fstest.MapFS{"x": {Data: []byte(text)}}).Mask(), "x")
	}
}

// TestBulkGoesOnForEver: a part that was executed once counts as often as it is written.
func TestBulkGoesOnForEver(t *testing.T) {
	files := fstest.MapFS{"x": {Data: []byte(`{{define "e"}}.` + strings.Repeat("{{.KernelArgs}}", 30) +
		`{{end}}{{$l := split (printf "%299s%s" "" .Host) ""}}{{range $l}}{{range $l}}{{template "e" $}}{{end}}{{end}}`)}}
	snap := crowd(t, 70)
	set := render.New(files).Mask()
	if _, err := set.Render("x", render.Preview(snap, snap.Hosts[1])); err == nil || !strings.Contains(err.Error(), "goes on for ever") {
		t.Fatalf("the template is to go on for ever: %v", err)
	}
	bulk := render.NewBulk(snap, set)
	if err := bulk.Render(snap.Hosts[1], "x", func([]byte) {}); err == nil {
		t.Error("in bulk the template has an end")
	}
}

// BenchmarkBulk is the answers of one host, in bulk and alone.
func BenchmarkBulk(b *testing.B) {
	snap := crowd(b, 200)
	set := render.New(builtin()).Mask()
	bulk := render.NewBulk(snap, set)
	h := snap.Hosts[2]
	b.Run("in bulk", func(b *testing.B) {
		for b.Loop() {
			if err := bulk.Render(h, "preseed/debian13.cfg", func([]byte) {}); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("alone", func(b *testing.B) {
		for b.Loop() {
			if _, err := set.Render("preseed/debian13.cfg", render.Preview(snap, h)); err != nil {
				b.Fatal(err)
			}
		}
	})
}
