package change_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"bootd.internal/bootd/change"
	"bootd.internal/bootd/render"
	"bootd.internal/bootd/site/sitetest"
	"bootd.internal/templates"
)

const phones = `networks:
  rack1: {interface: eth1, prefix: "2001:db8:1::/64"}
yealink: {server: sip.example.net}
phones:
  desk12: {mac: 80:5e:c0:00:00:12, model: T41S, account: {user: "1012", label: Desk, password: {secret: a}}}
  lobby: {mac: 00:15:65:00:00:20, model: T20P, account: {user: "1020", password: {secret: a}}}
secrets: {a: {file: a}}
`

// TestPhones: what an edit changes of a phone's file is shown, of that phone alone.
func TestPhones(t *testing.T) {
	on := func(text string) change.Side {
		return change.Side{Snapshot: sitetest.Snapshot(t, text, sitetest.SmallFacts(t)), Templates: render.New(templates.FS()).Mask()}
	}
	r := change.Compare(on(phones), on(strings.Replace(phones, "label: Desk,", "label: Twelve,", 1)), true)
	if len(r.Hosts) != 1 || r.Same != 1 || r.Hosts[0].Name != "desk12" || len(r.Hosts[0].Texts) != 1 {
		t.Fatalf("%+v", r)
	}
	var lines []string
	for l := range strings.Lines(r.Hosts[0].Texts[0].Diff) {
		if strings.HasPrefix(l, "+") || strings.HasPrefix(l, "-") {
			lines = append(lines, strings.TrimSpace(l))
		}
	}
	want := []string{"--- old/desk12/phone", "+++ new/desk12/phone", "-account.1.label = Desk", "+account.1.label = Twelve"}
	if d := cmp.Diff(want, lines); d != "" || r.Hosts[0].Texts[0].What != "phone" {
		t.Errorf("%s: -want +got:\n%s", r.Hosts[0].Texts[0].What, d)
	}
}

// TestPhonesSection: who may read the files of phones, and what tells phones of them, is what an edit must not change unseen.
func TestPhonesSection(t *testing.T) {
	on := func(more string) change.Side {
		text := strings.Replace(phones, "sip.example.net}", "sip.example.net"+more+"}", 1)
		return change.Side{Snapshot: sitetest.Snapshot(t, text, sitetest.SmallFacts(t)), Templates: render.New(templates.FS()).Mask()}
	}
	got := change.Compare(on(""), on(`, scheme: http, access: token, plain_secrets: true, dhcp_options: [59, 17], enterprise: 42, unlisted: true`), false).Site
	want := []change.Value{
		{"yealink.scheme", "https, port 443, bootd's own certificate", "http"},
		{"yealink.access", "address", "token"},
		{"yealink.plain_secrets", "false", "true"},
		{"yealink.dhcp_options", "59", "59 17"},
		{"yealink.enterprise", "", "42"},
		{"yealink.unlisted", "false", "true"},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
}
