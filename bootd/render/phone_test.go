package render_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"bootd.internal/bootd/render"
	"bootd.internal/bootd/site"
	"bootd.internal/bootd/site/sitetest"
	"bootd.internal/bootd/yealink"
	"bootd.internal/templates"
)

const phonesText = `defaults: {domain: example.net, timezone: Europe/Amsterdam, language: de, ntp: ["2001:db8:40::1", "2001:db8:40::2", "2001:db8:40::3"]}
networks:
  phones: {interface: eth1, prefix: "2001:db8:40::/64"}
yealink:
  server: sip.example.net
  repeat: 4h
  firmware: {T58: "http://[2001:db8:40::1]/T58.rom"}
  settings: {call_waiting.enable: 0, phone_setting.backlight_time: 30}%s
phones:
  lobby: {mac: 00:15:65:00:00:20, model: T20P, account: {user: "1020", password: {secret: a}}}
  desk12:
    mac: 80:5e:c0:00:00:12
    model: T41S
    account: {user: "1012", label: Desk 12, display: "Ada = Lovelace #1", password: {secret: b}}
    keys: [{type: line}, {type: blf, value: "1020", label: Lobby}]
    settings: {phone_setting.backlight_time: 60}
  board:
    mac: 80:5e:c0:00:00:58
    model: T58
    accounts:
      - {user: "1058", auth: a1058, password: {secret: a}}
      - {user: "2058", password: {secret: b}, server: "2001:db8:40::5", transport: tcp}
      - {user: "3058", password: {secret: b}, port: 5071, transport: udp}
secrets: {a: {file: a}, b: {file: b}}
`

func phoneSnapshot(t *testing.T, more string) *site.Snapshot {
	t.Helper()
	return sitetest.Snapshot(t, fmt.Sprintf(phonesText, more), sitetest.Facts(sitetest.Link(t, 2, "eth1", "2001:db8:40::1/64")))
}

func phoneSet(own fstest.MapFS) *render.Set {
	return render.New(render.Layer(own, templates.FS())).WithSecrets(map[string]string{"a": `S3cret = "1"#`, "b": "b secret"})
}

// TestGoldenPhones compares what three phones are given with testdata/phones; -update writes it anew.
func TestGoldenPhones(t *testing.T) {
	snap := phoneSnapshot(t, "")
	set := phoneSet(nil)
	for _, name := range []string{"lobby", "desk12", "board"} {
		h, _ := snap.Host(name)
		d := render.Of(snap, h, h.NICs[0], snap.Networks[0])
		for what, kind := range map[string]render.PhoneText{"common": render.CommonText, "own": render.OwnText} {
			got, err := set.Phone(d, kind)
			if err != nil {
				t.Fatal(err)
			}
			file := filepath.Join("testdata", "phones", name+"."+what+".cfg")
			if *update {
				if err := os.WriteFile(file, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), string(got)); diff != "" {
				t.Errorf("%s: -want +got:\n%s", file, diff)
			}
			if faults := yealink.Lint(got); len(faults) > 0 {
				t.Errorf("%s: %v", file, faults)
			}
			if what == "common" && strings.Contains(string(got), "ecret") {
				t.Errorf("%s holds a secret", file)
			}
		}
	}
}

// TestPhoneTemplatesOverride: a model's, a phone's, and the inventory's own lines, the later one wins.
func TestPhoneTemplatesOverride(t *testing.T) {
	own := fstest.MapFS{
		"yealink/models/T41S.cfg":   {Data: []byte("#!version:1.0.0.1\nfeatures.x = model\nphone_setting.backlight_time = 10\nlang.gui = French\n")},
		"yealink/phones/desk12.cfg": {Data: []byte("#!version:1.0.0.1\nfeatures.x = {{.Host}}\nphone_setting.backlight_time = 50\nsecurity.user_password = admin:{{.Secret \"a\"}}\n")},
		"yealink/phones/nobody.cfg": {Data: []byte("{{fail \"never read\"}}")},
		"yealink/models/T58.cfg":    {Data: []byte("{{fail \"another model's\"}}")},
	}
	snap := phoneSnapshot(t, "")
	h, _ := snap.Host("desk12")
	got, err := phoneSet(own).Phone(render.Of(snap, h, h.NICs[0], snap.Networks[0]), render.OwnText)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"\nfeatures.x = desk12\n", "\nphone_setting.backlight_time = 60\n", "\nlang.gui = German\n", "\ncall_waiting.enable = 0\n", `security.user_password = admin:S3cret = "1"#`} {
		if !strings.Contains(string(got), want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
}

// TestPhoneFaults: each with the line of its template, and no secret.
func TestPhoneFaults(t *testing.T) {
	const head = "#!version:1.0.0.1\n"
	for name, tc := range map[string]struct {
		more string
		own  fstest.MapFS
		want []string
	}{
		"none": {"", nil, nil},
		"a typing error": {
			"",
			fstest.MapFS{"yealink/phones/desk12.cfg": {Data: []byte(head + "#\naccount.1.lable = x\n")}},
			[]string{"yealink/phones/desk12.cfg:3: account.1.lable: unknown key, did you mean account.1.label? for desk12"},
		},
		"twice": {
			"",
			fstest.MapFS{"yealink/models/T41S.cfg": {Data: []byte(head + "features.x = 1\nfeatures.x = 2\n")}},
			[]string{"yealink/models/T41S.cfg:3: features.x is there twice, first on line 2 for desk12"},
		},
		"no header": {
			"",
			fstest.MapFS{"yealink/models/T41S.cfg": {Data: []byte("features.x = 1\n")}},
			[]string{"yealink/models/T41S.cfg:1: the first line is not #!version:1.0.0.1, without which phones take no file for desk12"},
		},
		"a secret for everybody": {
			"",
			fstest.MapFS{"yealink/models/T41S.cfg": {Data: []byte(head + "account.1.password = {{.Secret \"a\"}}\n")}},
			[]string{"yealink/models/T41S.cfg:2: a secret may stand in yealink/phone.cfg and yealink/phones/ only: the other files are given to whoever asks for desk12"},
		},
		"an account without a server": {
			"",
			fstest.MapFS{"yealink/phones/desk12.cfg": {Data: []byte(head + "account.1.sip_server.1.address =\n")}},
			[]string{"yealink/phone.cfg: account 1 is on and has no account.1.sip_server.1.address for desk12"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			inspect := func(_, _ render.Text, others []render.Text) []render.Finding {
				var out []render.Finding
				for _, x := range others {
					for _, f := range yealink.Lint(x.Body) {
						out = append(out, render.Finding{Name: x.Name, Line: f.Line, Msg: f.Text})
					}
				}
				return out
			}
			var got []string
			for _, p := range render.Check(phoneSnapshot(t, tc.more), phoneSet(tc.own), inspect) {
				got = append(got, p.Error())
			}
			if d := cmp.Diff(tc.want, got); d != "" {
				t.Errorf("-want +got:\n%s", d)
			}
		})
	}
}

// TestPhoneZone: a time zone that is in no list must be written as the firmware wants it.
func TestPhoneZone(t *testing.T) {
	text := strings.Replace(phonesText, "Europe/Amsterdam", "Asia/Tokyo", 1)
	facts := sitetest.Facts(sitetest.Link(t, 2, "eth1", "2001:db8:40::1/64"))
	problems := render.Check(sitetest.Snapshot(t, fmt.Sprintf(text, ""), facts), phoneSet(nil), nil)
	if len(problems) != 1 || !strings.Contains(problems[0].Error(), "how the firmware names the time zone Asia/Tokyo is not known: write local_time.time_zone") {
		t.Errorf("%v", problems)
	}
	text = strings.Replace(text, "{call_waiting.enable: 0,", `{local_time.time_zone: "+9", local_time.time_zone_name: Japan(Tokyo), call_waiting.enable: 0,`, 1)
	if problems := render.Check(sitetest.Snapshot(t, fmt.Sprintf(text, ""), facts), phoneSet(nil), nil); len(problems) > 0 {
		t.Errorf("%v", problems)
	}
}
