package api_test

import (
	"log/slog"
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"bootd.internal/bootd/api"
	"bootd.internal/bootd/heard"
	"bootd.internal/bootd/ident"
	"bootd.internal/bootd/reason"
	"bootd.internal/bootd/site"
	"bootd.internal/bootd/site/sitetest"
	"bootd.internal/bootd/store/memory"
	"bootd.internal/bootd/timeline"
	"bootd.internal/bootd/timeline/history"
)

const phones = `networks:
  phones: {interface: eth1, prefix: "2001:db8:40::/64"}
yealink: {server: sip.example.net, access: token}
hosts: {r1n01: 52:54:00:aa:01:01}
phones:
  lobby: {mac: 00:15:65:00:00:20, model: T20P, account: {user: "1020", password: {secret: a}}}
  desk12: {mac: 80:5e:c0:00:00:12, model: T41S, account: {user: "1012", password: {secret: a}}}
secrets: {a: {file: a}}
`

// TestPhones lists phones with what they said, and no server and no token.
func TestPhones(t *testing.T) {
	snap := sitetest.Snapshot(t, phones, sitetest.Facts(sitetest.Link(t, 2, "eth1", "2001:db8:40::1/64")))
	desk, stray := ident.MAC{0x80, 0x5e, 0xc0, 0, 0, 0x12}, ident.MAC{0x24, 0x9a, 0xd8, 0, 0, 1}
	book := heard.Open("", sitetest.Now, slog.New(slog.DiscardHandler))
	says := func(m ident.MAC, host, model string) {
		book.Observe(timeline.Observation{Phone: &timeline.Phone{
			MAC: m, Host: host, Model: model, Firmware: "66.86.0.15", Agent: "Yealink SIP-" + model + " 66.86.0.15", File: "mac", Reason: reason.PhoneFile, TLS: true,
		}})
	}
	says(desk, "desk12", "T41S")
	says(stray, "", "T58")
	var pem []byte
	socket := filepath.Join(t.TempDir(), "bootd.sock")
	l, err := api.Listen(t.Context(), socket)
	if err != nil {
		t.Fatal(err)
	}
	h := history.Open(history.Config{Now: sitetest.Now, Log: slog.New(slog.DiscardHandler)})
	f := &fake{health: api.Health{Tasks: []api.TaskStatus{}}, history: h}
	srv := &http.Server{ConnContext: api.ConnContext, ReadHeaderTimeout: time.Second, Handler: api.New(api.Config{
		Snapshot: func() *site.Snapshot { return snap }, Store: memory.New(), History: h, Observer: f, Daemon: f, Heard: book,
		Authority: func() []byte { return pem }, Now: sitetest.Now, Log: slog.New(slog.DiscardHandler),
	})}
	done := make(chan struct{})
	go func() { defer close(done); _ = srv.Serve(l) }()
	t.Cleanup(func() { srv.Close(); <-done })
	c := api.NewClient(socket)

	got, err := c.Phones(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	all := book.Phones()
	const url = "http://[2001:db8:40::1]/yealink/TOKEN/"
	want := []api.Phone{
		{Name: "lobby", MAC: ident.MAC{0x00, 0x15, 0x65, 0, 0, 0x20}, Listed: "T20P", URL: url},
		{Name: "desk12", MAC: desk, Listed: "T41S", URL: url, Seen: &all[1]},
		{MAC: stray, Seen: &all[0]},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
	s, err := c.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range s.Hosts {
		if want := map[string]string{"desk12": "T41S 66.86.0.15"}[h.Name]; h.Model+" "+h.Firmware != want && want != "" || want == "" && h.Model != "" {
			t.Errorf("%s: %s %s", h.Name, h.Model, h.Firmware)
		}
	}
	_, err = c.Authority(t.Context())
	wantError(t, err, 404, "there is no authority of bootd's own: it is made for phones that are served over https without certificate and key in the section yealink")
	pem = []byte("-----BEGIN CERTIFICATE-----\n")
	if a, err := c.Authority(t.Context()); err != nil || a.PEM != string(pem) {
		t.Errorf("%v, %v", a, err)
	}
}
