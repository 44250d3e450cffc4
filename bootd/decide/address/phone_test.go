package address

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"bootd.internal/bootd/ident"
	"bootd.internal/bootd/reason"
	"bootd.internal/bootd/site"
	"bootd.internal/bootd/site/sitetest"
	"bootd.internal/bootd/store/memory"
	"bootd.internal/bootd/timeline"
)

const phonesText = `networks:
  rack1: {interface: eth1, prefix: "2001:db8:1::/64", unknown: pool}
yealink: {server: sip.example.net`

const phonesEnd = `}
hosts: {a: 52:54:00:aa:01:01}
phones:
  desk12: {mac: 80:5e:c0:00:00:12, model: T41S, account: {user: "1012", password: {secret: a}}}
secrets: {a: {file: a}}
`

func phoneSite(t *testing.T, more string) *site.Snapshot {
	t.Helper()
	return sitetest.Snapshot(t, phonesText+more+phonesEnd, sitetest.Facts(sitetest.Link(t, 2, "eth1", "2001:db8:1::1/64")))
}

// TestPhoneURL: whatever a phone asks for, it is told where its files are, and nobody else is.
func TestPhoneURL(t *testing.T) {
	desk, stray := ident.MAC{0x80, 0x5e, 0xc0, 0, 0, 0x12}, ident.MAC{0x24, 0x9a, 0xd8, 0, 0, 1}
	const plain = "http://[2001:db8:1::1]/yealink/"
	token := phoneSite(t, "").PhoneToken(desk)
	vendor := append([]byte{0, 0, 0x30, 0x39, 0, byte(len(plain))}, plain...)
	suboption := append([]byte{0, 0, 0x30, 0x39, 0, 1, 0, byte(len(plain))}, plain...)
	for _, tc := range []struct {
		name, more string
		asks       ident.MAC
		url        string
		options    []Option
	}{
		{"a phone", "", desk, plain, nil},
		{"a server", "", macA(), "", nil},
		{"a phone that nobody listed", "", stray, "", nil},
		{"a phone that nobody listed, and may come", ", unlisted: true", stray, plain, nil},
		{"another machine that nobody listed", ", unlisted: true", ident.MAC{2, 0, 0, 0, 0, 1}, "", nil},
		{"a token", ", access: token", desk, plain + token + "/", nil},
		{"a token is for listed ones only", ", access: token, unlisted: true", stray, plain, nil},
		{"a certificate that phones know", ", name: p.example.net, certificate: a, key: b", desk, "https://p.example.net/yealink/", nil},
		{"another port", ", name: p.example.net, certificate: a, key: b, port: 8443", desk, "https://p.example.net:8443/yealink/", nil},
		{"other options", ", dhcp_options: [144, 16, 17], enterprise: 12345", desk, "", []Option{{144, []byte(plain)}, {16, vendor}, {17, suboption}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			q := from(tc.asks, Solicit)
			q.ORO = []uint16{23, 24} // neither 59 nor any other
			got := decide(t, phoneSite(t, tc.more), memory.New(), q, sitetest.Now())
			if got.Decision.Reply == nil {
				t.Fatalf("no reply: %+v", got.Decision)
			}
			if got.Decision.Reply.BootURL != tc.url {
				t.Errorf("told %q, want %q", got.Decision.Reply.BootURL, tc.url)
			}
			if d := cmp.Diff(tc.options, got.Decision.Reply.Options); d != "" {
				t.Errorf("-want +got:\n%s", d)
			}
		})
	}
}

// TestPhoneNeverBoots: a phone that shows itself as firmware or iPXE is told its files all the same.
func TestPhoneNeverBoots(t *testing.T) {
	snap := phoneSite(t, "")
	net, _ := snap.Network("rack1")
	desk, _ := snap.Host("desk12")
	want := Bootfile{URL: "http://[2001:db8:1::1]/yealink/", Reason: reason.PhoneURL, Phone: true}
	for _, req := range []Request{
		{},
		{ORO: []uint16{59}},
		{Arch: []uint16{7}, Vendor: "PXEClient:Arch:00007:UNDI:003000"},
		{Classes: [][]byte{[]byte("iPXE")}},
		{Arch: []uint16{16}, Vendor: "HTTPClient:Arch:00016:UNDI:003000"},
	} {
		if d := cmp.Diff(want, ChooseBootfile(snap, net, desk, req)); d != "" {
			t.Errorf("%+v: -want +got:\n%s", req, d)
		}
	}
}

// TestPhoneOfferedEvent: people see what a phone asked for, and no token.
func TestPhoneOfferedEvent(t *testing.T) {
	q := from(ident.MAC{0x80, 0x5e, 0xc0, 0, 0, 0x12}, InformationRequest)
	q.ORO, q.Vendor = []uint16{23, 24, 17}, "yealink\x1b"
	got := decide(t, phoneSite(t, ", access: token"), memory.New(), q, sitetest.Now())
	var details []string
	for _, e := range got.Decision.Events {
		if e.Kind == timeline.PhoneOffered {
			details = append(details, e.Detail)
		}
	}
	want := []string{`http://[2001:db8:1::1]/yealink/TOKEN/ asks for options [23 24 17], vendor class "yealink\x1b"`}
	if d := cmp.Diff(want, details); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
}
