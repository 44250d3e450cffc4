package address

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"bootd.internal/bootd/ident"
	"bootd.internal/bootd/option"
	"bootd.internal/bootd/site"
	"bootd.internal/bootd/site/sitetest"
	"bootd.internal/bootd/store/memory"
)

const optionsText = `defaults: {domain: example.net, ntp: ["2001:db8::123", ntp.example.net]}
networks:
  rack1:
    interface: eth1
    prefix: "2001:db8:1::/64"
    unknown: discover
    options: {captive-portal: {value: "https://p.example.net/", always: true}, 234: {hex: "01"}, sol-max-rt: 10m, vendor-opts: {1: {1: {hex: "01"}}, 2: {1: {hex: "02"}}}}
hosts:
  a: {mac: "52:54:00:aa:01:01", address: "::101"}
  b:
    mac: "52:54:00:aa:01:02"
    address: "::102"
    options: {captive-portal: {never: true}, 234: {hex: "02"}, dns-servers: ["2001:db8::54"], domain-search: lab.example.net, preference: 10, 300: {hex: "03", always: true}}
  c: {mac: "52:54:00:aa:01:03", address: "::103", options: {dns-servers: {never: true}, domain-search: {never: true}, sol-max-rt: {never: true}, inf-max-rt: {never: true}}}
`

func optionsSnapshot(t testing.TB) *site.Snapshot {
	t.Helper()
	return sitetest.Snapshot(t, optionsText, sitetest.Facts(sitetest.Link(t, 2, "eth1", "2001:db8:1::1/64")))
}

// replyTo gives the answer without its identity associations.
func replyTo(t *testing.T, snap *site.Snapshot, q Request) *Reply {
	t.Helper()
	r := decide(t, snap, memory.New(), q, sitetest.Now()).Decision.Reply
	if r == nil {
		t.Fatalf("%s is not answered", q.Msg)
	}
	r.IAs = nil
	return r
}

func asking(q Request, codes ...uint16) Request {
	q.ORO = codes
	return q
}

// TestOptions: what is asked for is told in the client's order, what is marked always is told first, and a host's own
// replaces its network's.
func TestOptions(t *testing.T) {
	snap := optionsSnapshot(t)
	portal := Option{103, []byte("https://p.example.net/")}
	vendor := func(n byte) Option { return Option{17, []byte{0, 0, 0, n, 0, 1, 0, 1, n}} }
	for _, c := range []struct {
		name string
		req  Request
		want Reply
	}{
		{"nothing is asked for", from(macA(), RequestMsg), Reply{Msg: ReplyMsg, Preference: -1, Options: []Option{portal}}},
		{
			"in the client's order", asking(from(macA(), RequestMsg), 234, 31, 17, 82, 83, 56, 999, 42),
			Reply{Msg: ReplyMsg, Preference: -1, InfMaxRT: 5 * time.Minute, Options: []Option{
				portal,
				{234, []byte{1}},
				{31, option.PutAddrs([]netip.Addr{addr("2001:db8::123")})},
				vendor(1), vendor(2),
				{82, []byte{0, 0, 2, 88}},
				{56, option.PutNTP([]string{"2001:db8::123", "ntp.example.net"})},
			}},
		},
		{
			"a host's own", asking(from(macB(), RequestMsg), 103, 234, 24, 23),
			Reply{Msg: ReplyMsg, Preference: -1, Options: []Option{
				{23, option.PutAddrs([]netip.Addr{addr("2001:db8::54")})},
				{300, []byte{3}},
				{234, []byte{2}},
				{24, option.PutNames([]string{"lab.example.net"})},
			}},
		},
		{"not asked for", from(macB(), InformationRequest), Reply{Msg: ReplyMsg, Preference: -1, Options: []Option{{300, []byte{3}}}}},
		{
			"taken away", asking(from(ident.MAC{0x52, 0x54, 0, 0xaa, 1, 3}, RequestMsg), 23, 24, 82, 83, 234),
			Reply{Msg: ReplyMsg, Preference: -1, Options: []Option{portal, {234, []byte{1}}}},
		},
		{"preference of an offer", from(macB(), Solicit), Reply{Msg: Advertise, Preference: 10, Options: []Option{{300, []byte{3}}}}},
		{"preference of the others", from(macA(), Solicit), Reply{Msg: Advertise, Preference: 255, Options: []Option{portal}}},
		{"asked for twice", asking(from(macA(), RequestMsg), 234, 103, 234), Reply{Msg: ReplyMsg, Preference: -1, Options: []Option{portal, {234, []byte{1}}}}},
	} {
		if diff := cmp.Diff(&c.want, replyTo(t, snap, c.req), compare()); diff != "" {
			t.Errorf("%s: %s", c.name, diff)
		}
	}
}

// TestFQDN: RFC 4704 sections 4.1 and 6. A client gets its host's name when it sends the option and asks for it.
func TestFQDN(t *testing.T) {
	snap := optionsSnapshot(t)
	ask := func(msg Msg, flags uint8, sent bool, codes ...uint16) Request {
		q := asking(from(macA(), msg), codes...)
		q.FQDN, q.FQDNFlags = sent, flags
		return q
	}
	const s, o, n = option.FlagS, option.FlagO, option.FlagN
	for _, c := range []struct {
		name  string
		req   Request
		want  string
		flags uint8
	}{
		{"the client wants the server to do it", ask(RequestMsg, s, true, 39), "a.example.net", s},
		{"the client wants to do it itself", ask(RequestMsg, 0, true, 39), "a.example.net", s | o},
		{"the client wants nobody to do it", ask(RequestMsg, n, true, 39), "a.example.net", s | o},
		{"Solicit", ask(Solicit, s, true, 39), "a.example.net", s},
		{"Rebind", ask(Rebind, s, true, 39), "a.example.net", s},
		{"not asked for", ask(RequestMsg, s, true), "", 0},
		{"asked for without the option", ask(RequestMsg, 0, false, 39), "", 0},
		{"Information-request", ask(InformationRequest, s, true, 39), "", 0},
	} {
		r := replyTo(t, snap, c.req)
		if r.FQDN != c.want || r.FQDNFlags != c.flags {
			t.Errorf("%s: told %q with flags %d, want %q with %d", c.name, r.FQDN, r.FQDNFlags, c.want, c.flags)
		}
	}
}

// TestFQDNOfNobody: a machine that nobody listed has no name, whatever it calls itself.
func TestFQDNOfNobody(t *testing.T) {
	q := asking(from([6]byte{2, 0, 0, 0, 0, 9}, Solicit), 39, 103)
	q.FQDN, q.FQDNFlags = true, option.FlagS
	r := replyTo(t, optionsSnapshot(t), q)
	if r.FQDN != "" {
		t.Errorf("a stranger is called %s", r.FQDN)
	}
	if !slices.ContainsFunc(r.Options, func(o Option) bool { return o.Code == 103 }) {
		t.Error("a stranger is not told what its network says")
	}
}

// TestInformationRefresh: the network's, else half of the preferred lifetime within RFC 8415's bounds.
func TestInformationRefresh(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"":                          6 * time.Hour,
		"preferred: 5m":             10 * time.Minute,
		"preferred: 7d, valid: 30d": 24 * time.Hour,
		"information_refresh: 20m":  20 * time.Minute,
	} {
		snap := sitetest.Snapshot(t, "defaults: {"+text+"}\n"+optionsText[len("defaults: {domain: example.net, ntp: [\"2001:db8::123\", ntp.example.net]}\n"):],
			sitetest.Facts(sitetest.Link(t, 2, "eth1", "2001:db8:1::1/64")))
		if r := replyTo(t, snap, asking(from(macA(), InformationRequest), 32)); r.InfoRefresh != want {
			t.Errorf("%q: %s, want %s", text, r.InfoRefresh, want)
		}
		if r := replyTo(t, snap, asking(from(macA(), RequestMsg), 32)); r.InfoRefresh != 0 {
			t.Errorf("%q: a Request is told %s: it belongs to an Information-request only", text, r.InfoRefresh)
		}
	}
}
