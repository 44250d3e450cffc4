package dns

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"syscall"
	"testing"

	"bootd.internal/bootd/reason"
	"bootd.internal/bootd/site"
	"bootd.internal/bootd/site/sitetest"
	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"
)

// text is a message as dig would show it, without its identifier.
func text(m *dns.Msg) string {
	c := m.Copy()
	c.Id = 0
	return c.String()
}

func same(t testing.TB, got, want *dns.Msg) {
	t.Helper()
	if diff := cmp.Diff(text(want), text(got)); diff != "" {
		t.Error(diff)
	}
}

// reply is the answer that a question should have.
func reply(t testing.TB, q *dns.Msg, code int, change func(*dns.Msg), answer ...string) *dns.Msg {
	t.Helper()
	m := new(dns.Msg).SetReply(q)
	m.CheckingDisabled = q.CheckingDisabled
	m.Rcode = code
	for _, s := range answer {
		m.Answer = append(m.Answer, rr(t, s))
	}
	if change != nil {
		change(m)
	}
	return m
}

func TestLocal(t *testing.T) {
	r := start(t)
	c := r.dial("udp6")
	q := question("R1n02.Example.Net.", dns.TypeAAAA)
	got := unpacked(t, raw(t, c, packed(t, q)))
	same(t, got, reply(t, q, 0, func(m *dns.Msg) { m.Authoritative = true }, "R1n02.Example.Net. 60 IN AAAA 2001:db8:1::102"))
	if got.Id != 0x1234 {
		t.Errorf("identifier %#x", got.Id)
	}
	observed(t, r.seen, "AAAA", reason.Outcome{Reason: reason.LocalName, Host: "r1n02"})

	q = question("r1n02.example.net.", dns.TypeA)
	q.RecursionDesired = false
	same(t, unpacked(t, raw(t, c, packed(t, q))), reply(t, q, 0, func(m *dns.Msg) {
		m.Authoritative = true
		m.Ns = append(m.Ns, rr(t, fmt.Sprintf("r1n02.example.net. 60 IN SOA r1n02.example.net. nobody.invalid. %d 3600 1200 604800 60",
			sitetest.Now().Unix())))
	}))
	observed(t, r.seen, "A", reason.Outcome{Reason: reason.LocalName, Host: "r1n02"})

	arpa, err := dns.ReverseAddr("2001:db8:1::102")
	if err != nil {
		t.Fatal(err)
	}
	q = question(arpa, dns.TypePTR)
	q.SetEdns0(4096, true)
	same(t, unpacked(t, raw(t, c, packed(t, q))), reply(t, q, 0, func(m *dns.Msg) {
		m.Authoritative = true
		m.SetEdns0(1232, true)
	}, arpa+" 60 IN PTR r1n02.example.net."))
	observed(t, r.seen, "PTR", reason.Outcome{Reason: reason.LocalName, Host: "r1n02"})

	q = question("r1n02.example.net.", dns.TypeANY)
	same(t, unpacked(t, raw(t, c, packed(t, q))), reply(t, q, 0, func(m *dns.Msg) { m.Authoritative = true },
		`r1n02.example.net. 3600 IN HINFO "RFC8482" ""`))
	observed(t, r.seen, "ANY", why(reason.LocalName))

	q = question("version.bind.", dns.TypeTXT)
	q.Question[0].Qclass = dns.ClassCHAOS
	same(t, unpacked(t, raw(t, c, packed(t, q))), reply(t, q, dns.RcodeRefused, nil))
	observed(t, r.seen, "TXT", why(reason.Refused))

	q = question("www.example.org.", dns.TypeA)
	same(t, unpacked(t, raw(t, c, packed(t, q))), reply(t, q, dns.RcodeRefused, nil))
	observed(t, r.seen, "A", why(reason.NoUpstream))
}

// TestLocalNamesLiveAtOnce: a name that was forwarded and kept is local as soon as the inventory lists it.
func TestLocalNamesLiveAtOnce(t *testing.T) {
	u := startUpstream(t, replying(t, 0, []string{"new.example.net. 3600 IN AAAA 2001:db8:9::9"}))
	r := start(t, u.addr)
	q := question("new.example.net.", dns.TypeAAAA)
	if got := r.ask(q); got.Answer[0].(*dns.AAAA).AAAA.String() != "2001:db8:9::9" {
		t.Fatal(got)
	}
	observed(t, r.seen, "AAAA", why(reason.Forwarded))
	snap := sitetest.Snapshot(t, sitetest.Small()+`  new: {mac: 52:54:00:aa:01:99, address: "::99"}
`, sitetest.SmallFacts(t))
	r.mu.Lock()
	r.snap = snap
	r.mu.Unlock()
	same(t, r.ask(q), reply(t, q, 0, func(m *dns.Msg) { m.Authoritative = true }, "new.example.net. 60 IN AAAA 2001:db8:1::99"))
	observed(t, r.seen, "AAAA", reason.Outcome{Reason: reason.LocalName, Host: "new"})
}

// TestAccess: links that no network names get silence, foreign sources REFUSED.
func TestAccess(t *testing.T) {
	r := start(t)
	asked := question("r1n02.example.net.", dns.TypeAAAA)
	asked.SetEdns0(1232, false)
	q := packed(t, asked)
	var sent []byte
	c := client{
		peer: netip.MustParseAddrPort("[2001:db8:99::1]:4000"), began: r.clock.Now(), send: func(b []byte) { sent = b },
		at: site.Arrival{Link: "eth1", Index: 2, Source: netip.MustParseAddr("2001:db8:99::1")},
	}
	r.handle(context.Background(), c, q)
	why18 := []dns.EDNS0{&dns.EDNS0_EDE{InfoCode: dns.ExtendedErrorCodeProhibited}}
	if got := unpacked(t, sent); got.Rcode != dns.RcodeRefused || !cmp.Equal(got.IsEdns0().Option, why18) {
		t.Error(got)
	}
	if o := r.seen.next(t); o.Outcome.Reason != reason.Refused {
		t.Errorf("observed %+v", o)
	}

	r.change(func(s *site.Snapshot) { s.DNS.Access = []netip.Prefix{netip.MustParsePrefix("2001:db8:99::/48")} })
	r.handle(context.Background(), c, q)
	if got := unpacked(t, sent); got.Rcode != dns.RcodeSuccess || len(got.Answer) != 1 {
		t.Error(got)
	}
	r.seen.next(t)

	r.mu.Lock()
	r.snap = nil
	r.mu.Unlock()
	u := r.dial("udp6")
	if _, err := u.Write(q); err != nil {
		t.Fatal(err)
	}
	observed(t, r.seen, "other", why(reason.NotServedLink))
	if _, err := r.dial("tcp6").Read(make([]byte, 1)); err == nil {
		t.Error("a connection was served")
	}
	observed(t, r.seen, "other", why(reason.NotServedLink))
}

func TestPortTaken(t *testing.T) {
	r := start(t)
	cfg := r.cfg
	cfg.Listen = r.Addr()
	_, err := New(cfg)
	if !errors.Is(err, syscall.EADDRINUSE) || !strings.HasPrefix(err.Error(), "listening for DNS: opening TCP socket: ") {
		t.Errorf("error %v", err)
	}
}
