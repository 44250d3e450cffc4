package phone_test

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"bootd.internal/bootd/decide/phone"
	"bootd.internal/bootd/decide/who"
	"bootd.internal/bootd/ident"
	"bootd.internal/bootd/reason"
	"bootd.internal/bootd/render"
	"bootd.internal/bootd/site"
	"bootd.internal/bootd/site/sitetest"
	"bootd.internal/bootd/store"
	"bootd.internal/bootd/store/memory"
	"bootd.internal/templates"
)

const inventory = `defaults: {domain: example.net, timezone: Europe/Amsterdam}
networks:
  phones: {interface: eth1, prefix: "2001:db8:40::/64"}
  rack1: {interface: eth2, prefix: "2001:db8:1::/64"}
yealink: {server: sip.example.net%s}
hosts:
  r1n01: {mac: 52:54:00:aa:01:01}
phones:
  desk12: {mac: 80:5e:c0:00:00:12, model: T41S, network: phones, account: {user: "1012", password: {secret: a}}}
  lobby: {mac: 00:15:65:00:00:20, model: T20P, network: phones, account: {user: "1020", password: {secret: a}}}
secrets: {a: {file: a}}
`

var (
	desk   = ident.MAC{0x80, 0x5e, 0xc0, 0, 0, 0x12}
	lobby  = ident.MAC{0x00, 0x15, 0x65, 0, 0, 0x20}
	server = ident.MAC{0x52, 0x54, 0, 0xaa, 1, 1}
	stray  = ident.MAC{0x24, 0x9a, 0xd8, 0, 0, 1}
)

type world struct {
	t     *testing.T
	snap  *site.Snapshot
	store *memory.Engine
	tmpl  phone.Renderer
}

func newWorld(t *testing.T, more string) *world {
	facts := sitetest.Facts(sitetest.Link(t, 2, "eth1", "2001:db8:40::1/64"), sitetest.Link(t, 3, "eth2", "2001:db8:1::1/64"))
	return &world{
		t: t, snap: sitetest.Snapshot(t, fmt.Sprintf(inventory, more), facts), store: memory.New(),
		tmpl: render.New(templates.FS()).WithSecrets(map[string]string{"a": "geheim"}),
	}
}

// ask decides what a card is given over HTTPS on the network phones.
func (w *world) ask(m ident.MAC, path string, change ...func(*phone.Request)) phone.Decision {
	w.t.Helper()
	p, ok := phone.ParsePath(path)
	if !ok {
		w.t.Fatalf("%s is no path of phones", path)
	}
	n, _ := w.snap.Network("phones")
	r := phone.Request{
		At: site.Arrival{Link: "eth1", Index: 2, Source: netip.MustParseAddr("2001:db8:40::99")}, Network: n, Path: p, TLS: true,
		Evidence: who.Frame(m), Agent: "Yealink SIP-T41S 66.86.0.15",
	}
	for _, c := range change {
		c(&r)
	}
	var d phone.Decision
	err := w.store.Update(context.Background(), func(v store.View) []store.Op {
		d = phone.Decide(w.snap, v, r, w.tmpl, sitetest.Now())
		return d.Ops
	})
	if err != nil {
		w.t.Fatal(err)
	}
	for _, e := range d.Events {
		if strings.Contains(e.Detail, "geheim") || strings.Contains(e.Detail, w.snap.PhoneToken(desk)) {
			w.t.Errorf("an event tells a secret: %s", e.Detail)
		}
	}
	return d
}

func plain(r *phone.Request) { r.TLS = false }

// TestWhoGetsWhat is the table of who may have which file.
func TestWhoGetsWhat(t *testing.T) {
	behind := func(r *phone.Request) { r.Evidence = nil }
	basic := func(user, password string) func(*phone.Request) {
		return func(r *phone.Request) { r.Basic, r.User, r.Password = true, user, password }
	}
	device := func(m ident.MAC) func(*phone.Request) { return func(r *phone.Request) { r.Device = m } }
	const (
		mine     = "/yealink/805ec0000012.cfg"
		token    = ", access: token"
		password = ", access: password, user: phones, password: {secret: a}"
		mutual   = ", client_ca: ca.pem"
	)
	base := newWorld(t, token)
	withToken := func(m ident.MAC) string { return "/yealink/" + base.snap.PhoneToken(m) + "/805ec0000012.cfg" }
	for _, tc := range []struct {
		name, more string
		asks       ident.MAC
		path       string
		change     []func(*phone.Request)
		status     int
		reason     reason.Reason
	}{
		{"its own file", "", desk, mine, nil, 200, reason.PhoneFile},
		{"capitals and separators", "", desk, "/yealink/80:5E:C0:00:00:12.cfg", nil, 200, reason.PhoneFile},
		{"two slashes", "", desk, "/yealink//805ec0000012.cfg", nil, 200, reason.PhoneFile},
		{"its boot file", "", desk, "/yealink/805ec0000012.boot", nil, 200, reason.PhoneFile},
		{"over plain http", "", desk, mine, []func(*phone.Request){plain}, 200, reason.PhoneBootstrap},
		{"over plain http, allowed", ", plain_secrets: true", desk, mine, []func(*phone.Request){plain}, 200, reason.PhoneFile},
		{"scheme http", ", scheme: http, plain_secrets: true", desk, mine, []func(*phone.Request){plain}, 200, reason.PhoneFile},
		{"another phone", "", lobby, mine, nil, 403, reason.OtherPhone},
		{"a server", "", server, mine, nil, 403, reason.OtherPhone},
		{"nobody", "", ident.MAC{2, 2, 2, 2, 2, 2}, mine, nil, 403, reason.OtherPhone},
		{"nobody can be seen", "", desk, mine, []func(*phone.Request){behind}, 403, reason.UnknownHost},
		{"a server's file", "", server, "/yealink/525400aa0101.cfg", nil, 404, reason.UnknownHost},
		{"a MAC that nobody listed", "", desk, "/yealink/805ec0000099.cfg", nil, 404, reason.UnknownHost},
		{"out", "", desk, "/yealink/../inventory.yaml", nil, 404, reason.OutsideRoot},
		{"out, with a backslash", "", desk, "/yealink/..\\inventory.yaml", nil, 404, reason.OutsideRoot},
		{"deep", "", desk, "/yealink/a/b/805ec0000012.cfg", nil, 404, reason.NotFound},
		{"contacts", "", desk, "/yealink/805ec0000012-contact.xml", nil, 404, reason.NotFound},
		{"no token", token, desk, mine, nil, 403, reason.TokenUnknown},
		{"the token", token, desk, withToken(desk), nil, 200, reason.PhoneFile},
		{"the token, from behind a router", token, desk, withToken(desk), []func(*phone.Request){behind}, 200, reason.PhoneFile},
		{"another phone's token", token, desk, withToken(lobby), nil, 403, reason.TokenOtherHost},
		{"another phone with the token", token, lobby, withToken(desk), nil, 403, reason.OtherPhone},
		{"a token that nobody has", token, desk, "/yealink/aaaa/805ec0000012.cfg", nil, 403, reason.TokenUnknown},
		{"a token where none is wanted", "", desk, "/yealink/aaaa/805ec0000012.cfg", nil, 403, reason.TokenUnknown},
		{"no password", password, desk, mine, nil, 401, reason.Unauthorized},
		{"a wrong password", password, desk, mine, []func(*phone.Request){basic("phones", "geheim ")}, 401, reason.Unauthorized},
		{"a wrong user", password, desk, mine, []func(*phone.Request){basic("phone", "geheim")}, 401, reason.Unauthorized},
		{"the password", password, desk, mine, []func(*phone.Request){basic("phones", "geheim")}, 200, reason.PhoneFile},
		{"the password, from behind a router", password, desk, mine, []func(*phone.Request){behind, basic("phones", "geheim")}, 200, reason.PhoneFile},
		{"no password over plain http", password, desk, mine, []func(*phone.Request){plain}, 200, reason.PhoneBootstrap},
		{"no certificate", mutual, desk, mine, nil, 403, reason.Unauthorized},
		{"another's certificate", mutual, desk, mine, []func(*phone.Request){device(lobby)}, 403, reason.Unauthorized},
		{"its certificate", mutual, desk, mine, []func(*phone.Request){device(desk)}, 200, reason.PhoneFile},
		{"its certificate, from behind a router", mutual, desk, mine, []func(*phone.Request){behind, device(desk)}, 200, reason.PhoneFile},
		{"another's certificate, after a reload that wants none, from behind a router", "", desk, mine, []func(*phone.Request){behind, device(lobby)}, 403, reason.Unauthorized},
		{"the common file", "", desk, "/yealink/y000000000068.cfg", nil, 200, reason.PhoneFile},
		{"the common file, a server", "", server, "/yealink/y000000000068.cfg", nil, 404, reason.UnknownHost},
		{"the common file, nobody", "", stray, "/yealink/y000000000068.cfg", nil, 404, reason.UnknownHost},
		{"the common file, unlisted", ", unlisted: true", stray, "/yealink/y000000000068.cfg", nil, 200, reason.PhoneFile},
		{"the common boot file", "", desk, "/yealink/y000000000000.boot", nil, 200, reason.PhoneFile},
		{"the authority", "", stray, "/yealink/ca.crt", []func(*phone.Request){plain}, 200, reason.Answered},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t, tc.more)
			d := w.ask(tc.asks, tc.path, tc.change...)
			if d.Status != tc.status || d.Reason != tc.reason || d.Challenge != (tc.status == 401) {
				t.Errorf("%d %s: %s", d.Status, d.Reason, d.Body)
			}
			secret := strings.Contains(string(d.Body), "geheim")
			if want := tc.reason == reason.PhoneFile && strings.HasSuffix(tc.path, "12.cfg"); secret != want {
				t.Errorf("the secret is there: %t\n%s", secret, d.Body)
			}
			if tc.status == 403 && tc.reason != reason.UnknownHost && tc.reason != reason.TokenUnknown && len(d.Events) == 0 {
				t.Error("nobody is told")
			}
		})
	}
}

func TestWrongNetwork(t *testing.T) {
	w := newWorld(t, "")
	n, _ := w.snap.Network("rack1")
	d := w.ask(desk, "/yealink/805ec0000012.cfg", func(r *phone.Request) { r.Network = n })
	if d.Status != 403 || d.Reason != reason.WrongNetwork {
		t.Errorf("%d %s", d.Status, d.Reason)
	}
}

// TestTexts compares the small files whole; the large ones have golden texts in bootd/render.
func TestTexts(t *testing.T) {
	w := newWorld(t, ", access: token")
	token := w.snap.PhoneToken(desk)
	for path, want := range map[string]string{
		"/yealink/" + token + "/805ec0000012.boot": "#!version:1.0.0.1\ninclude:config \"y000000000068.cfg\"\ninclude:config \"805ec0000012.cfg\"\noverwrite_mode = 1\n",
		"/yealink/y000000000000.boot":              "#!version:1.0.0.1\ninclude:config \"y000000000068.cfg\"\ninclude:config \"$mac.cfg\"\noverwrite_mode = 1\n",
		"/yealink/" + token + "/805ec0000012.cfg": `#!version:1.0.0.1
static.security.trust_certificates = 1
static.security.ca_cert = 2
static.trusted_certificates.url = http://[2001:db8:40::1]/yealink/ca.crt
static.auto_provision.dhcp_option.enable = 0
static.auto_provision.server.url = https://[2001:db8:40::1]/yealink/` + token + `/
static.auto_provision.repeat.enable = 1
static.auto_provision.repeat.minutes = 1
`,
	} {
		if d := cmp.Diff(want, string(w.ask(desk, path, plain).Body)); d != "" {
			t.Errorf("%s: -want +got:\n%s", path, d)
		}
	}
}

func TestWhatPhonesSay(t *testing.T) {
	w := newWorld(t, ", unlisted: true")
	agent := func(s string) func(*phone.Request) { return func(r *phone.Request) { r.Agent = s } }
	for _, tc := range []struct {
		name  string
		asks  ident.MAC
		path  string
		agent string
		want  []string
	}{
		{"all fits", desk, "/yealink/805ec0000012.cfg", "Yealink SIP-T41S 66.86.0.15 80:5e:c0:00:00:12", []string{
			`phone-fetched desk12: fetched mac over https, says "Yealink SIP-T41S 66.86.0.15 80:5e:c0:00:00:12"`,
		}},
		{"another model", desk, "/yealink/805ec0000012.cfg", "Yealink SIP-T58 58.85.0.5", []string{
			`phone-fetched desk12: fetched mac over https, says "Yealink SIP-T58 58.85.0.5"`,
			"warning desk12: desk12 is listed as a T41S, and says it is a T58",
		}},
		{"another MAC", desk, "/yealink/805ec0000012.cfg", "Yealink SIP-T41S 66.86.0.15 80:5e:c0:00:00:13", []string{
			`phone-fetched desk12: fetched mac over https, says "Yealink SIP-T41S 66.86.0.15 80:5e:c0:00:00:13"`,
			"warning desk12: desk12 says that its MAC is 80:5e:c0:00:00:13",
		}},
		{"another common file", desk, "/yealink/y000000000058.cfg", "", []string{
			`phone-fetched desk12: fetched common over https, says ""`,
			"warning desk12: desk12 is listed as a T41S, and asked for y000000000058.cfg",
		}},
		{"a model that nobody knows", stray, "/yealink/y000000000199.cfg", "Yealink SIP-T99 199.1.0.1", []string{
			`warning : no model is known for y000000000199.cfg: its phone says "Yealink SIP-T99 199.1.0.1"`,
			`phone-fetched : fetched common over https, says "Yealink SIP-T99 199.1.0.1"`,
		}},
		{"a browser", server, "/yealink/y000000000068.cfg", "Mozilla", nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			d := w.ask(tc.asks, tc.path, agent(tc.agent))
			var got []string
			for _, e := range d.Events {
				got = append(got, fmt.Sprintf("%s %s: %s", e.Kind, e.Host, e.Detail))
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			if (d.Seen == nil) != (tc.want == nil) {
				t.Errorf("seen %+v", d.Seen)
			}
		})
	}
}

func TestLocal(t *testing.T) {
	const path = "/yealink/805ec0000012-local.cfg"
	put := func(n int) func(*phone.Request) {
		return func(r *phone.Request) { r.Put, r.Body = true, []byte(strings.Repeat("x", n)) }
	}
	w := newWorld(t, "")
	if d := w.ask(desk, path, put(10)); d.Status != 404 || d.Ops != nil {
		t.Errorf("not wanted, and %d %s", d.Status, d.Reason)
	}
	w = newWorld(t, ", local: true")
	for _, step := range []struct {
		name   string
		asks   ident.MAC
		change []func(*phone.Request)
		status int
		octets int
	}{
		{"nothing yet", desk, nil, 404, -1},
		{"another phone", lobby, []func(*phone.Request){put(10)}, 403, -1},
		{"over plain http", desk, []func(*phone.Request){put(10), plain}, 404, -1},
		{"too much", desk, []func(*phone.Request){put(phone.MaxLocal + 1)}, 413, -1},
		{"kept", desk, []func(*phone.Request){put(phone.MaxLocal)}, 200, 0},
		{"given back", desk, nil, 200, phone.MaxLocal},
		{"not to others", lobby, nil, 403, -1},
	} {
		d := w.ask(step.asks, path, step.change...)
		if d.Status != step.status || step.octets >= 0 && len(d.Body) != step.octets {
			t.Errorf("%s: %d %s, %d octets", step.name, d.Status, d.Reason, len(d.Body))
		}
	}
	if d := w.ask(desk, "/yealink/805ec0000012.cfg", put(10)); d.Status != 404 || d.Ops != nil {
		t.Errorf("an upload of its configuration: %d", d.Status)
	}
}

func FuzzDecide(f *testing.F) {
	f.Add("/yealink/805ec0000012.cfg", "Yealink SIP-T41S 66.86.0.15", false, true)
	f.Add("/yealink/y000000000000.boot", "", true, false)
	facts := sitetest.Facts(sitetest.Link(f, 2, "eth1", "2001:db8:40::1/64"))
	snap, _ := site.Resolve(sitetest.Inventory(f, fmt.Sprintf(inventory, ", unlisted: true, local: true")), facts, nil, sitetest.Now())
	n, _ := snap.Network("phones")
	set := render.New(templates.FS()).WithSecrets(map[string]string{"a": "geheim"})
	engine := memory.New()
	f.Fuzz(func(t *testing.T, path, agent string, put, tls bool) {
		p, ok := phone.ParsePath(path)
		if !ok {
			return
		}
		r := phone.Request{Network: n, Path: p, Evidence: who.Frame(lobby), Agent: agent, Put: put, TLS: tls}
		engine.Read(func(v store.View) {
			d := phone.Decide(snap, v, r, set, sitetest.Now())
			if strings.Contains(string(d.Body), "geheim") && (p.File.MAC != lobby || !tls) {
				t.Fatalf("%q gives a password away:\n%s", path, d.Body)
			}
		})
	})
}
