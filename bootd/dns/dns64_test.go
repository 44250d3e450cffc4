package dns

import (
	"net/netip"
	"testing"
	"time"

	"bootd.internal/bootd/reason"
	"bootd.internal/bootd/site"
	"github.com/miekg/dns"
)

// on has the server take the loopback for a link of rack1, whose machines have this DNS64.
func (r *rig) on(d *site.DNS64) {
	r.change(func(s *site.Snapshot) {
		n := *s.Networks[0]
		n.Prefixes = append([]site.Prefix{{Prefix: netip.MustParsePrefix("::1/128")}}, n.Prefixes...)
		n.DNS64 = d
		s.Networks = append([]*site.Network{&n}, s.Networks[1:]...)
	})
}

func nat64() *site.DNS64 {
	p := netip.MustParsePrefix
	return &site.DNS64{
		Prefix: p("2001:db8:64::/96"), Exclude: []netip.Prefix{p("::ffff:0:0/96"), p("2001:db8:bad::/48")}, Skip: []netip.Prefix{p("10.0.0.0/8")}, ID: "test",
	}
}

// zone answers from records by name and type, with a denial for the rest.
func zone(t testing.TB, records map[string][]string) func(*dns.Msg, bool) [][]byte {
	const soa = "example.org. 900 IN SOA ns.example.org. admin.example.org. 1 2 3 4 500"
	return func(q *dns.Msg, tcp bool) [][]byte {
		name := dns.CanonicalName(q.Question[0].Name)
		switch all, ok := records[name+" "+dns.TypeToString[q.Question[0].Qtype]]; {
		case ok && len(all) == 0:
			return replying(t, dns.RcodeServerFailure, nil)(q, tcp)
		case ok:
			return replying(t, 0, all)(q, tcp)
		case name == "none.example.org.":
			return replying(t, dns.RcodeNameError, nil, soa)(q, tcp)
		}
		return replying(t, 0, nil, soa)(q, tcp)
	}
}

func TestDNS64(t *testing.T) {
	u := startUpstream(t, zone(t, map[string][]string{
		"four.example.org. A":            {"four.example.org. 300 IN A 192.0.2.1", "four.example.org. 300 IN A 10.0.0.1", "four.example.org. 300 IN A 192.0.2.2"},
		"long.example.org. A":            {"long.example.org. 9000 IN A 192.0.2.1"},
		"both.example.org. A":            {"both.example.org. 300 IN A 192.0.2.1"},
		"both.example.org. AAAA":         {"both.example.org. 300 IN AAAA 2001:db8:9::1"},
		"useless.example.org. A":         {"useless.example.org. 300 IN A 192.0.2.1"},
		"useless.example.org. AAAA":      {"useless.example.org. 300 IN AAAA ::ffff:192.0.2.1", "useless.example.org. 300 IN AAAA 2001:db8:bad::1"},
		"partly.example.org. AAAA":       {"partly.example.org. 300 IN AAAA 2001:db8:9::1", "partly.example.org. 300 IN AAAA 2001:db8:bad::1"},
		"alias.example.org. A":           {"alias.example.org. 300 IN CNAME four.example.org.", "four.example.org. 200 IN A 192.0.2.1"},
		"private.example.org. A":         {"private.example.org. 300 IN A 10.1.2.3"},
		"broken.example.org. AAAA":       {},
		"broken.example.org. A":          {"broken.example.org. 300 IN A 192.0.2.1"},
		"lost.example.org. A":            {},
		"1.113.0.203.in-addr.arpa. PTR":  nil,
		"1.100.51.198.in-addr.arpa. PTR": nil,
		"9.9.9.9.in-addr.arpa. PTR":      {"9.9.9.9.in-addr.arpa. 300 IN PTR nine.example.org."},
	}))
	r := start(t, u.addr)
	r.on(nat64())
	tests := []struct {
		name   string
		answer []string
		code   int
	}{
		{"four.example.org.", []string{"four.example.org. 300 IN AAAA 2001:db8:64::c000:201", "four.example.org. 300 IN AAAA 2001:db8:64::c000:202"}, 0},
		{"long.example.org.", []string{"long.example.org. 500 IN AAAA 2001:db8:64::c000:201"}, 0},
		{"both.example.org.", []string{"both.example.org. 300 IN AAAA 2001:db8:9::1"}, 0},
		{"useless.example.org.", []string{"useless.example.org. 300 IN AAAA 2001:db8:64::c000:201"}, 0},
		{"partly.example.org.", []string{"partly.example.org. 300 IN AAAA 2001:db8:9::1"}, 0},
		{"alias.example.org.", []string{"alias.example.org. 300 IN CNAME four.example.org.", "four.example.org. 200 IN AAAA 2001:db8:64::c000:201"}, 0},
		{"private.example.org.", nil, 0},
		{"broken.example.org.", []string{"broken.example.org. 300 IN AAAA 2001:db8:64::c000:201"}, 0},
		{"lost.example.org.", nil, dns.RcodeServerFailure},
		{"none.example.org.", nil, dns.RcodeNameError},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			q := question(tt.name, dns.TypeAAAA)
			q.AuthenticatedData = true
			for range 2 { // asked, then kept
				got := r.ask(q)
				if got.Rcode != tt.code || len(got.Answer) != len(tt.answer) {
					t.Fatalf("%v", got)
				}
				for i, s := range tt.answer {
					if want := rr(t, s); got.Answer[i].String() != want.String() {
						t.Errorf("%v, want %v", got.Answer[i], want)
					}
				}
				if made := len(tt.answer) > 0 && tt.name != "both.example.org."; made && got.AuthenticatedData {
					t.Error("AD on an answer of our own making")
				}
			}
		})
	}
	before := u.count()
	r.ask(question("four.example.org.", dns.TypeAAAA))
	if u.count() != before {
		t.Error("a made answer is not kept")
	}

	q := question("four.example.org.", dns.TypeAAAA)
	q.CheckingDisabled = true
	q.SetEdns0(1232, true)
	if got := r.ask(q); len(got.Answer) != 0 || got.Rcode != 0 {
		t.Errorf("a client that validates is given %v", got)
	}
	if got := r.ask(question("four.example.org.", dns.TypeA)); len(got.Answer) != 3 {
		t.Errorf("A: %v", got)
	}

	arpa, err := dns.ReverseAddr("2001:db8:64::909:909")
	if err != nil {
		t.Fatal(err)
	}
	q = question(arpa, dns.TypePTR)
	same(t, r.ask(q), reply(t, q, 0, func(m *dns.Msg) { m.RecursionAvailable = true },
		arpa+" 60 IN CNAME 9.9.9.9.in-addr.arpa.", "9.9.9.9.in-addr.arpa. 300 IN PTR nine.example.org."))
	arpa, _ = dns.ReverseAddr("2001:db8:64::a00:1")
	if got := r.ask(question(arpa, dns.TypePTR)); got.Rcode != dns.RcodeNameError || len(got.Answer) != 1 {
		t.Errorf("a private address: %v", got)
	}
	q = question("ipv4only.arpa.", dns.TypeAAAA)
	same(t, r.ask(q), reply(t, q, 0, func(m *dns.Msg) { m.RecursionAvailable, m.Authoritative = true, true },
		"ipv4only.arpa. 60 IN AAAA 2001:db8:64::c000:aa", "ipv4only.arpa. 60 IN AAAA 2001:db8:64::c000:ab"))

	// Another network, without: its machines are told what there is.
	r.on(nil)
	if got := r.ask(question("four.example.org.", dns.TypeAAAA)); len(got.Answer) != 0 {
		t.Errorf("without DNS64: %v", got)
	}
	if got := r.ask(question("ipv4only.arpa.", dns.TypeAAAA)); len(got.Answer) != 0 || got.Rcode != 0 {
		t.Errorf("without DNS64: %v", got)
	}
}

// TestDNS64Age: what is made of a kept answer lives no longer than that one.
func TestDNS64Age(t *testing.T) {
	u := startUpstream(t, zone(t, map[string][]string{"long.example.org. A": {"long.example.org. 400 IN A 192.0.2.1"}}))
	r := start(t, u.addr)
	r.on(nat64())
	r.ask(question("long.example.org.", dns.TypeA))
	r.clock.advance(380 * time.Second)
	for _, ttl := range []uint32{20, 15} {
		if got := r.ask(question("long.example.org.", dns.TypeAAAA)); len(got.Answer) != 1 || got.Answer[0].Header().Ttl != ttl {
			t.Errorf("want %d seconds: %v", ttl, got)
		}
		r.clock.advance(5 * time.Second)
	}
}

// TestDNS64Alias: a name of the inventory that leads to one with IPv4 alone is reached through the NAT64 as well, on the
// networks that have one.
func TestDNS64Alias(t *testing.T) {
	u := startUpstream(t, zone(t, map[string][]string{"four.example.org. A": {"four.example.org. 300 IN A 192.0.2.1"}}))
	r := start(t, u.addr)
	r.change(func(s *site.Snapshot) {
		s.DNS.Names = map[string]*site.Name{"www.example.net": {CNAME: "four.example.org"}}
	})
	for _, d := range []*site.DNS64{nil, nat64(), nil} {
		r.on(d)
		q := question("www.example.net.", dns.TypeAAAA)
		got := r.ask(q)
		if d == nil {
			if got.Rcode != 0 || len(got.Answer) != 1 {
				t.Errorf("without DNS64: %v", got)
			}
			continue
		}
		same(t, got, reply(t, q, 0, func(m *dns.Msg) { m.RecursionAvailable = true },
			"www.example.net. 60 IN CNAME four.example.org.", "four.example.org. 300 IN AAAA 2001:db8:64::c000:201"))
	}
}

// TestAlias: a name of the inventory that leads to one of somebody else's.
func TestAlias(t *testing.T) {
	u := startUpstream(t, zone(t, map[string][]string{"www.example.org. AAAA": {web}}))
	r := start(t, u.addr)
	r.change(func(s *site.Snapshot) {
		s.DNS.Names = map[string]*site.Name{"www.example.net": {CNAME: "www.example.org"}, "text.example.net": {TXT: []string{`say "a\b"`}}}
	})
	for range 2 {
		q := question("WWW.example.net.", dns.TypeAAAA)
		same(t, r.ask(q), reply(t, q, 0, func(m *dns.Msg) { m.RecursionAvailable = true },
			"WWW.example.net. 60 IN CNAME www.example.org.", web))
		r.seen.next(t)
	}
	if n := u.count(); n != 1 {
		t.Errorf("asked %d times", n)
	}
	q := question("www.example.net.", dns.TypeCNAME)
	same(t, r.ask(q), reply(t, q, 0, func(m *dns.Msg) { m.RecursionAvailable, m.Authoritative = true, true }, "www.example.net. 60 IN CNAME www.example.org."))
	observed(t, r.seen, "CNAME", reason.Outcome{Reason: reason.LocalName})
	q = question("text.example.net.", dns.TypeTXT)
	same(t, r.ask(q), reply(t, q, 0, func(m *dns.Msg) { m.RecursionAvailable, m.Authoritative = true, true }, `text.example.net. 60 IN TXT "say \"a\\b\""`))
}
