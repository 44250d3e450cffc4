package explain_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"bootd.internal/bootd/explain"
	"bootd.internal/bootd/reason"
	"bootd.internal/bootd/render"
	"bootd.internal/bootd/site/sitetest"
	"bootd.internal/bootd/store/memory"
	"bootd.internal/templates"
)

const phones = `defaults: {profile: p}
networks:
  phones: {interface: eth1, prefix: "2001:db8:40::/64"}
profiles: {p: {script: ipxe/debian.ipxe}}
yealink: {server: sip.example.net%}
phones:
  lobby: {mac: 00:15:65:00:00:20, model: T20P, account: {user: "1020", password: {secret: a}}}
  desk12: {mac: 80:5e:c0:00:00:12, model: T41S, account: {user: "1012", password: {secret: a}}}
secrets: {a: {file: a}}
`

// TestPhone: a person reads what to type into which phone, and nothing of boot loaders and installing.
func TestPhone(t *testing.T) {
	facts := sitetest.Facts(sitetest.Link(t, 2, "eth1", "2001:db8:40::1/64"))
	for _, tc := range []struct{ name, more, note, url string }{
		{"lobby", "", "a T20P has no DHCPv6: type URL in once, in its web page under Settings, Auto Provision, Server URL", "http://[2001:db8:40::1]/yealink/"},
		{"desk12", "", "DHCPv6 tells it the URL in options [59]; where it does not take it, type it in once, in its web page under Settings, Auto Provision, Server URL", "http://[2001:db8:40::1]/yealink/"},
		{"lobby", ", access: token", "a T20P has no DHCPv6: type URL in once, in its web page under Settings, Auto Provision, Server URL", "http://[2001:db8:40::1]/yealink/TOKEN/"},
	} {
		src := explain.Source{Snapshot: sitetest.Snapshot(t, strings.Replace(phones, "%", tc.more, 1), facts), Now: sitetest.Now()}
		h, _ := src.Snapshot.Host(tc.name)
		url := strings.Replace(tc.url, "TOKEN", src.Snapshot.PhoneToken(h.MAC()), 1)
		r := ask(t, src, memory.New(), tc.name)
		want := []explain.Boot{{Network: "phones", Client: "Yealink " + h.Phone.Model.Name, URL: url, Reason: reason.PhoneURL}}
		if d := cmp.Diff(want, r.Boot); d != "" || r.Install != nil {
			t.Errorf("%s: install %v, -want +got:\n%s", tc.name, r.Install, d)
		}
		if d := cmp.Diff([]string{strings.Replace(tc.note, "URL", url, 1)}, r.Notes); d != "" && tc.name == "lobby" {
			t.Errorf("%s: -want +got:\n%s", tc.name, d)
		}
		if tc.name == "desk12" && (len(r.Notes) != 1 || r.Notes[0] != tc.note) {
			t.Errorf("%s: %q", tc.name, r.Notes)
		}
		src.NoSecret = true // without the daemon's secret there is no token to show
		if got := ask(t, src, memory.New(), tc.name).Boot[0].URL; got != tc.url {
			t.Errorf("%s, offline: %s", tc.name, got)
		}
	}
}

// TestRenderPhone: each of a phone's files, masked, and nothing that machines boot.
func TestRenderPhone(t *testing.T) {
	facts := sitetest.Facts(sitetest.Link(t, 2, "eth1", "2001:db8:40::1/64"))
	snap := sitetest.Snapshot(t, strings.Replace(phones, "%", ", access: token", 1), facts)
	set := render.New(templates.FS()).Mask()
	for what, want := range map[string]string{
		"":          "account.1.password = ********\n",
		"phone":     "static.auto_provision.server.url = https://[2001:db8:40::1]/yealink/TOKEN/\n",
		"common":    "static.network.ip_address_mode = 1\n",
		"bootstrap": "static.auto_provision.repeat.minutes = 1\n",
	} {
		text, notes, err := explain.Render(snap, set, "desk12", what)
		if err != nil || len(notes) != 0 || !strings.Contains(string(text), want) {
			t.Errorf("%q: %v %v\n%s", what, err, notes, text)
		}
		if strings.Contains(string(text), snap.PhoneToken(snap.Hosts[1].MAC())) {
			t.Errorf("%q shows a token", what)
		}
	}
	for what, want := range map[string]string{"script": "desk12 is a phone: it has no script, want one of phone, common, bootstrap"} {
		if _, _, err := explain.Render(snap, set, "desk12", what); err == nil || err.Error() != want {
			t.Errorf("%q: %v", what, err)
		}
	}
}
