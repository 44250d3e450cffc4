package render_test

import (
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"bootd.internal/bootd/render"
	"bootd.internal/bootd/site/sitetest"
)

// TestFindingsNameTheLineOfTheTemplate: whatever stands between a rendered line and where it came from.
func TestFindingsNameTheLineOfTheTemplate(t *testing.T) {
	set := render.New(fstest.MapFS{
		"own.ipxe":         {Data: []byte("#!ipxe\n{{- range .NICs}}\nBAD {{.MAC}}\n{{- end}}\n{{template \"part\" .}}\n{{with .Domain}}\n  BAD here\n{{end}}BAD last")},
		"part":             {Data: []byte("fine\n{{/* nothing\nhere */ -}}\nBAD part\n{{.Host}} BAD")},
		"own.cfg":          {Data: []byte("{{include \"part\" . | script \"part\"}}\nBAD after\n{{\"one\\nBAD two\\n\"}}BAD three\n{{define \"x\"}}\nBAD defined{{end}}{{template \"x\"}}")},
		render.LocalScript: {Data: []byte("\n")}, render.ErrorScript: {Data: []byte("\n")}, render.AutoexecScript: {Data: []byte("\n")}, render.DiscoverScript: {Data: []byte("\n")},
	})
	text := strings.NewReplacer("ipxe/debian.ipxe", "own.ipxe", "preseed/debian13.cfg", "own.cfg").Replace(sitetest.Small())
	snap := sitetest.Snapshot(t, text, sitetest.SmallFacts(t))
	var got []string
	for _, p := range render.Check(snap, set, func(script, answers render.Text, _ []render.Text) []render.Finding {
		var out []render.Finding
		for _, x := range []render.Text{script, answers} {
			for i, line := range strings.Split(string(x.Body), "\n") {
				if _, what, ok := strings.Cut(line, "BAD"); ok {
					out = append(out, render.Finding{Name: x.Name, Line: i + 1, Msg: "bad" + strings.SplitN(what, ":", 2)[0][:min(len(what), 3)]})
				}
			}
		}
		return out
	}) {
		got = append(got, p.Error())
	}
	many := " for r1n01, r1n02, r1n03 and 1 more"
	want := []string{
		"own.cfg:2: bad af" + many, "own.cfg:3: bad tw" + many, "own.cfg:3: bad th" + many, "own.cfg:5: bad de" + many,
		"own.ipxe:3: bad 52" + many, "own.ipxe:7: bad he" + many, "own.ipxe:8: bad la" + many,
		"part:4: bad pa (it is part of own.ipxe)" + many, "part:4: bad pa (it is part of own.cfg)" + many,
		"part:5: bad (it is part of own.ipxe)" + many, "part:5: bad (it is part of own.cfg)" + many,
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
}

func TestSecretsAreInAnswersOnly(t *testing.T) {
	text := strings.NewReplacer("ipxe/debian.ipxe", "own.ipxe", "preseed/debian13.cfg", "own.cfg").Replace(sitetest.Small())
	text = strings.Replace(text, "defaults: {", "secrets: {root: {file: x}}\ndefaults: {users: {root: {password: {secret: root}}}, ", 1)
	snap := sitetest.Snapshot(t, text, sitetest.SmallFacts(t))
	h, _ := snap.Host("r1n01")
	d := render.Preview(snap, h)
	fsys := fstest.MapFS{
		"own.ipxe":   {Data: []byte("{{.Secret \"root\"}}")},
		"users.ipxe": {Data: []byte("{{range .Users}}[{{.Password}}]{{end}}")},
		"own.cfg":    {Data: []byte("{{range .Users}}{{$.Secret .Secret}} {{.Password}}{{end}} {{include \"part\" .}}")},
		"part":       {Data: []byte("{{.Secret \"root\"}}")},
	}
	set := render.New(fsys).WithSecrets(map[string]string{"root": "$6$salt$hash"})
	render1 := func(set *render.Set, name string) string {
		b, err := set.Render(name, d)
		if err != nil {
			return err.Error()
		}
		return string(b)
	}
	for _, c := range []struct {
		set        *render.Set
		name, want string
	}{
		{set, "own.cfg", "$6$salt$hash $6$salt$hash $6$salt$hash"},
		{set.Mask(), "own.cfg", "******** ******** ********"},
		{set, "own.ipxe", "own.ipxe:1: a secret may stand in answers only: a boot script is served without a token for r1n01"},
		{set, "users.ipxe", "[]"},
		{render.New(fsys), "own.cfg", "own.cfg: the password of user root: no secret is named root: list it in the section secrets for r1n01"},
	} {
		if got := render1(c.set, c.name); got != c.want {
			t.Errorf("%s:\ngot  %s\nwant %s", c.name, got, c.want)
		}
	}
	fsys["own.cfg"].Data = []byte("{{.Secret \"root\" | fail}}")
	if got, want := render1(set, "own.cfg"), "own.cfg:1: ******** for r1n01"; got == want {
		t.Error("a set reads its templates once")
	}
	set = render.New(fsys).WithSecrets(map[string]string{"root": "two\nlines"})
	for body, want := range map[string]string{
		"{{.Secret \"root\" | fail}}":    "own.cfg:1: ******** for r1n01",
		"{{.Secret \"root\" | debconf}}": "own.cfg:1: \"********\" holds a control character for r1n01",
		"{{.Secret \"rot\"}}":            "own.cfg:1: no secret is named rot: list it in the section secrets for r1n01",
	} {
		fsys["own.cfg"].Data = []byte(body)
		if got := render1(set.WithSecrets(map[string]string{"root": "two\nlines"}), "own.cfg"); got != want {
			t.Errorf("%s:\ngot  %s\nwant %s", body, got, want)
		}
	}
}

// TestTooMuch: a template that loops, one of 100 MB, and one that includes itself end with an error that names them.
func TestTooMuch(t *testing.T) {
	snap := sitetest.Snapshot(t, sitetest.Small(), sitetest.SmallFacts(t))
	h, _ := snap.Host("r1n01")
	d := render.Preview(snap, h)
	set := render.New(fstest.MapFS{
		"loop":    {Data: []byte("{{range 1000000000}}a line\n{{end}}")},
		"silent":  {Data: []byte("{{range 1000000000000}}{{end}}")},
		"huge":    {Data: make([]byte, 100<<20)},
		"itself":  {Data: []byte("{{template \"itself\" .}}")},
		"include": {Data: []byte("\n{{include \"include\" .}}")},
		"print":   {Data: []byte("\n{{$x := `aaaaaaaaaa`}}{{range 60}}{{$x = print $x $x}}{{end}}")},
		"printf":  {Data: []byte("{{$x := `aaaaaaaaaa`}}{{range 60}}{{$x = printf `%s%[1]s` $x}}{{end}}")},
		"verbs":   {Data: []byte("{{$x := printf `" + strings.Repeat("%[1]999d", 100_000) + "` 1}}")},
		"width":   {Data: []byte("{{printf `%1000000d` 1}}")},
		"star":    {Data: []byte("{{printf `%*d` 1000000 1}}")},
		"js":      {Data: []byte("{{$x := `aaaaaaaaaa`}}{{range 60}}{{$x = js $x $x}}{{end}}")},
		"shell":   {Data: []byte("{{$x := `'`}}{{range 60}}{{$x = shell $x}}{{end}}")},
		"json":    {Data: []byte("{{$x := `'`}}{{range 60}}{{$x = json $x}}{{end}}")},
		"join":    {Data: []byte("{{$x := `aaaaaaaaaa`}}{{range 60}}{{$x = join $x (split $x ``)}}{{end}}")},
	})
	for name, want := range map[string]string{
		"loop":    "loop: renders to more than 1 MiB for r1n01",
		"huge":    "huge: is longer than 1 MiB for r1n01",
		"itself":  "itself:1: exceeded maximum template depth (100000) for r1n01",
		"include": "include: includes include, which includes it for r1n01",
		"print":   "print:2: makes a text of more than 1 MiB for r1n01",
		"printf":  "printf:1: makes a text of more than 1 MiB for r1n01",
		"verbs":   "verbs:1: makes a text of more than 1 MiB for r1n01",
		"width":   "width:1: printf wants widths and precisions of at most three digits, and no * for r1n01",
		"star":    "star:1: printf wants widths and precisions of at most three digits, and no * for r1n01",
		"js":      "js:1: makes a text of more than 1 MiB for r1n01",
		"shell":   "shell:1: makes a text of more than 1 MiB for r1n01",
		"json":    "json:1: makes a text of more than 1 MiB for r1n01",
		"join":    "join:1: makes a text of more than 1 MiB for r1n01",
		"silent":  "silent: goes on for ever: a range or a template has no end for r1n01",
	} {
		if _, err := set.Render(name, d); err == nil || err.Error() != want {
			t.Errorf("%s:\ngot  %v\nwant %s", name, err, want)
		}
	}
}
