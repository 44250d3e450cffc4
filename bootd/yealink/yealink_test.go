package yealink

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"bootd.internal/bootd/ident"
)

var desk = ident.MAC{0x80, 0x5e, 0xc0, 0, 0, 0x12}

func TestParseFile(t *testing.T) {
	for name, want := range map[string]File{
		"805ec0000012.cfg":         {Kind: Own, MAC: desk},
		"805EC0000012.cfg":         {Kind: Own, MAC: desk},
		"80:5E:c0:00:00:12.cfg":    {Kind: Own, MAC: desk},
		"80-5e-c0-00-00-12.cfg":    {Kind: Own, MAC: desk},
		"80-5e:c0-00-00-12.cfg":    {Kind: Other},
		"805ec0000012.boot":        {Kind: OwnBoot, MAC: desk},
		"805ec0000012-local.cfg":   {Kind: Local, MAC: desk},
		"805ec0000012-local.boot":  {Kind: Other},
		"805ec00000122.cfg":        {Kind: Other},
		"805ec000001.cfg":          {Kind: Other},
		"805ec000001g.cfg":         {Kind: Other},
		"+05ec0000012.cfg":         {Kind: Other},
		"000000000000.cfg":         {Kind: Other},
		"y000000000000.boot":       {Kind: CommonBoot},
		"y000000000068.boot":       {Kind: Other},
		"y000000000068.cfg":        {Kind: Common, Number: 68},
		"y000000000000.cfg":        {Kind: Common},
		"y00000000068.cfg":         {Kind: Other},
		"y-00000000068.cfg":        {Kind: Other},
		"y999999999999.cfg":        {Kind: Other},
		"ca.crt":                   {Kind: Authority},
		"805ec0000012-contact.xml": {Kind: Other},
		"":                         {Kind: Other},
		".cfg":                     {Kind: Other},
	} {
		if got := ParseFile(name); got != want {
			t.Errorf("%q is %+v, want %+v", name, got, want)
		}
	}
}

func TestParseAgent(t *testing.T) {
	for s, want := range map[string]Agent{
		"Yealink SIP-T41S 66.86.0.15 80:5e:c0:00:00:12": {"T41S", "66.86.0.15", desk},
		"Yealink SIP-T41S 66.86.0.15 805ec0000012":      {"T41S", "66.86.0.15", desk},
		"Yealink SIP-T20P 9.73.0.50":                    {"T20P", "9.73.0.50", ident.MAC{}},
		"yealink SIP-T21P_E2 52.84.0.15":                {"T21P_E2", "52.84.0.15", ident.MAC{}},
		"yealink-T58 58.85.0.5":                         {"T58", "58.85.0.5", ident.MAC{}},
	} {
		if got, ok := ParseAgent(s); !ok || got != want {
			t.Errorf("%q is %+v, %t", s, got, ok)
		}
	}
	for _, s := range []string{
		"", "curl/8.0", "Yealink", "Yealink SIP-T41S", "Yealink SIP-T41S beta", "Yealink SIP- 1.2", "Yealink SIP-T41S 1.2 3 4", "Yealink SIP-T41S 1.2 zz",
		"Yealink SIP-T41S 1.2\x1b[2J", "Yealink " + strings.Repeat("a", 300) + " 1.2", "yealink- 1.2",
	} {
		if got, ok := ParseAgent(s); ok {
			t.Errorf("%q was taken: %+v", s, got)
		}
	}
}

func TestFits(t *testing.T) {
	for _, tc := range []struct {
		said, model string
		want        bool
	}{
		{"T41S", "T41S", true},
		{"T58", "T58A", true},
		{"T41P", "T41S", false},
		{"T58", "T58_TEAMS", false},
		{"T4", "T41S", false},
	} {
		if got := Fits(tc.said, tc.model); got != tc.want {
			t.Errorf("%s, %s: %t", tc.said, tc.model, got)
		}
	}
}

// TestModels: names are unique, and each model is found by what it is called.
func TestModels(t *testing.T) {
	seen := map[string]bool{}
	for _, m := range Models() {
		if seen[m.Name] {
			t.Errorf("%s is there twice", m.Name)
		}
		seen[m.Name] = true
		for _, name := range []string{m.Name, "sip-" + strings.ToLower(m.Name), "Yealink SIP-" + m.Name} {
			if got, ok := ByName(name); !ok || got != m {
				t.Errorf("%s is %+v, %t", name, got, ok)
			}
		}
		if got, ok := ByNumber(m.Number); !ok || got.Common() != m.Common() {
			t.Errorf("%s: number %d is %+v", m.Name, m.Number, got)
		}
	}
	if _, ok := ByNumber(999); ok {
		t.Error("999 is a model")
	}
	m, _ := ByName("T41S")
	if got := m.Common(); got != "y000000000068.cfg" {
		t.Error(got)
	}
	if !Listed(desk) || Listed(ident.MAC{0x52, 0x54, 0, 0, 0, 1}) {
		t.Error("MAC prefixes")
	}
}

func TestLint(t *testing.T) {
	text := `#!version:1.0.0.1
# a comment
account.1.label = a = b
account.1.lable = x
account.7.lable = x
acount.1.label = x
account.1.label = again
nothing
= x
account.1.password = geheim
features.own_thing.enable = 1
static.security.user_password = admin:geheim
static.security.user_password = user:geheim
`
	var got []string
	for _, f := range Lint([]byte(text)) {
		got = append(got, fmt.Sprintf("%d %s", f.Line, f.Text))
	}
	want := []string{
		"4 account.1.lable: unknown key, did you mean account.1.label?",
		"5 account.7.lable: unknown key, did you mean account.7.label?",
		"6 acount.1.label: unknown key, did you mean account?",
		"7 account.1.label is there twice, first on line 3",
		"8 is no line of the form name = value",
		"9 : is not the name of a setting, such as account.1.label",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
	for text, want := range map[string]string{
		"account.1.label = x\n":               "1 the first line is not #!version:1.0.0.1, without which phones take no file",
		"#!version:1.0.0.1\nlang.gui = \xff":  "0 is not UTF-8",
		"#!version:1.0.0.1\nlang.gui = a\x07": "2 lang.gui: its value holds a control character",
	} {
		faults := Lint([]byte(text))
		if len(faults) != 1 || fmt.Sprintf("%d %s", faults[0].Line, faults[0].Text) != want {
			t.Errorf("%q: %v", text, faults)
		}
	}
}

// TestNothingWellKnownIsAFault: no name of the lists is taken for a mistake in another one.
func TestNothingWellKnownIsAFault(t *testing.T) {
	for _, name := range append(wellKnown(), "account.16.sip_server.2.port", "linekey.27.label", "network.ip_address_mode", "security.ca_cert", "firmware.url", "account.1.sip_server.1.retry_counts") {
		if fault := KeyFault(name); fault != "" {
			t.Errorf("%s: %s", name, fault)
		}
	}
}

func TestLintWhole(t *testing.T) {
	lines, _ := ParseConfig([]byte("#!version:1.0.0.1\naccount.1.enable = 1\naccount.1.user_name = a\naccount.2.enable = 0\naccount.1.sip_server.1.address = s\n"))
	want := []Fault{{0, "account 1 is on and has no account.1.password"}}
	if d := cmp.Diff(want, LintWhole(lines)); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
}

func TestMerge(t *testing.T) {
	read := func(s string) []Line {
		lines, faults := ParseConfig([]byte(Header + "\n" + s))
		if len(faults) > 0 {
			t.Fatal(faults)
		}
		return lines
	}
	got := string(Format(Merge(read("lang.gui = English\nlang.wui = English"), read("lang.gui ="), read("dnd.x = 1\nlang.wui = German"))))
	if want := Header + "\nlang.gui =\nlang.wui = German\ndnd.x = 1\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestSecret(t *testing.T) {
	for name, want := range map[string]bool{
		"account.1.password": true, "static.security.user_password": true, "static.auto_provision.aes_key_16.com": true,
		"static.wifi.1.psk": true, "account.1.label": false, "static.auto_provision.server.url": false,
	} {
		if Secret(name) != want {
			t.Errorf("%s: %t", name, !want)
		}
	}
}

func FuzzConfig(f *testing.F) {
	f.Add([]byte(Header + "\naccount.1.label = x\n"))
	f.Add([]byte("#\n=\n=="))
	f.Fuzz(func(t *testing.T, text []byte) {
		lines, faults := ParseConfig(text)
		Lint(text)
		LintWhole(lines)
		if len(faults) > 0 {
			return
		}
		again, faults := ParseConfig(Format(lines))
		if len(faults) > 0 {
			t.Fatalf("%q became %q: %v", text, Format(lines), faults)
		}
		for i := range again {
			again[i].Number, lines[i].Number = 0, 0
		}
		if d := cmp.Diff(lines, again); d != "" {
			t.Fatal(d)
		}
	})
}

func FuzzNames(f *testing.F) {
	f.Add("805ec0000012-local.cfg", "Yealink SIP-T41S 66.86.0.15 80:5e:c0:00:00:12")
	f.Fuzz(func(t *testing.T, name, agent string) {
		if got := ParseFile(name); got.Kind == Own || got.Kind == OwnBoot || got.Kind == Local {
			if !got.MAC.Valid() || !strings.Contains(strings.NewReplacer(":", "", "-", "").Replace(strings.ToLower(name)), Plain(got.MAC)) {
				t.Fatalf("%q is %+v", name, got)
			}
		}
		if a, ok := ParseAgent(agent); ok && (a.Model == "" || a.Firmware == "" || len(a.Model) > 40) {
			t.Fatalf("%q is %+v", agent, a)
		}
	})
}
