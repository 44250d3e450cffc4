package dns

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"bootd.internal/bootd/site/sitetest"
	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"
)

// TestBelong: of what an upstream answers, clients are given what they asked for, and it lives as long as that says.
func TestBelong(t *testing.T) {
	const (
		soa = "example.org. 900 IN SOA ns.example.org. admin.example.org. 1 2 3 4 30"
		aa  = "www.example.org. 300 IN AAAA 2001:db8:9::1"
		bad = "evil.example.net. 300 IN AAAA 2001:db8:9::bad"
	)
	tests := []struct {
		name              string
		code              int
		answer, ns, extra []string
		want              []string
		life              time.Duration
	}{
		{"ordinary", 0, []string{aa}, nil, nil, []string{aa}, 5 * time.Minute},
		{"another name beside", 0, []string{bad, aa, "www.example.org.evil.example.net. 300 IN AAAA ::bad"}, nil, nil, []string{aa}, 5 * time.Minute},
		{"another name alone", 0, []string{bad}, nil, nil, nil, 0},
		{"another name instead of none", dns.RcodeNameError, []string{bad}, []string{soa}, nil, nil, 30 * time.Second},
		{"another class", 0, []string{aa, "www.example.org. 300 CH AAAA ::bad"}, nil, nil, []string{aa}, 5 * time.Minute},
		{"another class alone", 0, []string{"www.example.org. 300 CH AAAA ::bad"}, nil, nil, nil, 0},
		{"alias of another class", 0, []string{"www.example.org. 300 CH CNAME a.example.org.", "a.example.org. 300 IN AAAA ::bad"}, nil, nil, nil, 0},
		{
			"alias in another order and case", 0,
			[]string{"b.example.net. 100 IN AAAA ::2", "A.example.org. 200 IN CNAME B.example.NET.", "www.example.org. 300 IN CNAME a.Example.org.", bad},
			nil, nil,
			[]string{"b.example.net. 100 IN AAAA ::2", "A.example.org. 200 IN CNAME B.example.NET.", "www.example.org. 300 IN CNAME a.Example.org."},
			100 * time.Second,
		},
		{
			"alias loop", 0,
			[]string{"www.example.org. 300 IN CNAME a.example.org.", "a.example.org. 300 IN CNAME www.example.org.", bad},
			nil, nil,
			[]string{"www.example.org. 300 IN CNAME a.example.org.", "a.example.org. 300 IN CNAME www.example.org."},
			0,
		},
		{"alias of itself", 0, []string{"www.example.org. 300 IN CNAME www.example.org."}, nil, nil, []string{"www.example.org. 300 IN CNAME www.example.org."}, 0},
		{
			"DNAME", 0,
			[]string{"example.org. 300 IN DNAME example.net.", "www.example.org. 300 IN CNAME www.example.net.", "www.example.net. 60 IN AAAA ::2", bad},
			nil, nil,
			[]string{"example.org. 300 IN DNAME example.net.", "www.example.org. 300 IN CNAME www.example.net.", "www.example.net. 60 IN AAAA ::2"},
			time.Minute,
		},
		{
			"DNAME without the alias", 0,
			[]string{"example.org. 300 IN DNAME example.net.", "www.example.net. 60 IN AAAA ::2"},
			nil, nil,
			[]string{"example.org. 300 IN DNAME example.net.", "www.example.net. 60 IN AAAA ::2"},
			time.Minute,
		},
		{
			"DNAME below itself", 0,
			[]string{"example.org. 300 IN DNAME x.example.org.", "x.example.org. 300 IN AAAA ::bad"},
			nil, nil,
			[]string{"example.org. 300 IN DNAME x.example.org."},
			0,
		},
		{"DNAME of another tree", 0, []string{"example.net. 300 IN DNAME example.org.", aa}, nil, nil, []string{aa}, 5 * time.Minute},
		{"TTL of 2^31", 0, []string{"www.example.org. 2147483648 IN AAAA ::2"}, nil, nil, []string{"www.example.org. 0 IN AAAA ::2"}, 0},
		{"TTL of 2^31-1", 0, []string{"www.example.org. 2147483647 IN AAAA ::2"}, nil, nil, []string{"www.example.org. 2147483647 IN AAAA ::2"}, maxLife},
		{"TTL of 2^32-1 beside", 0, []string{aa}, []string{"example.org. 4294967295 IN NS ns.example.org."}, nil, []string{aa}, 0},
		{"no such name, no SOA", dns.RcodeNameError, nil, nil, nil, nil, 0},
		{"no data, a SOA in the last section", 0, nil, nil, []string{soa}, nil, 0},
	}
	u := newUpstreams(t.Context(), sitetest.Now, nil)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			q := question("www.example.org.", dns.TypeAAAA)
			m := unpacked(t, replying(t, tt.code, tt.answer, tt.ns...)(q, false)[0])
			for _, s := range tt.extra {
				m.Extra = append(m.Extra, rr(t, s))
			}
			a, err := u.keep(packed(t, m))
			if err != nil {
				t.Fatal(err)
			}
			got, err := a.message()
			if err != nil {
				t.Fatal(err)
			}
			var lines, want []string
			for _, r := range got.Answer {
				lines = append(lines, r.String())
			}
			for _, s := range tt.want {
				want = append(want, rr(t, s).String())
			}
			if diff := cmp.Diff(want, lines); diff != "" || a.life != tt.life || a.code != tt.code {
				t.Errorf("code %d, kept for %v, want %d and %v (-want +got):\n%s", a.code, a.life, tt.code, tt.life, diff)
			}
		})
	}
}

// TestOutOfPlace: an OPT or TSIG record among the answers is not passed on to clients, who would take it for ours.
func TestOutOfPlace(t *testing.T) {
	q := question("www.example.org.", dns.TypeAAAA)
	u := newUpstreams(t.Context(), sitetest.Now, nil)
	for i, out := range []dns.RR{
		&dns.OPT{Hdr: dns.RR_Header{Name: ".", Rrtype: dns.TypeOPT, Class: 4096}},
		&dns.TSIG{Hdr: dns.RR_Header{Name: ".", Rrtype: dns.TypeTSIG, Class: dns.ClassANY}, Algorithm: "hmac-sha256."},
	} {
		for _, where := range []func(*dns.Msg) *[]dns.RR{func(m *dns.Msg) *[]dns.RR { return &m.Answer }, func(m *dns.Msg) *[]dns.RR { return &m.Ns }} {
			m := unpacked(t, replying(t, 0, []string{"www.example.org. 300 IN AAAA ::2"})(q, false)[0])
			*where(m) = append(*where(m), out)
			if a, err := u.keep(packed(t, m)); !errors.Is(err, errMismatch) {
				t.Errorf("record %d: %v, %v", i, a, err)
			}
		}
	}
}

// TestHostileAnswersAreCheap: the longest answers that can be made are read in a moment.
func TestHostileAnswersAreCheap(t *testing.T) {
	deep := strings.Repeat("a.", 100)
	name := func(i int) string { return fmt.Sprintf("%s%d.example.org.", deep, i) }
	for what, each := range map[string]func(i int) string{
		"chain":            func(i int) string { return name(i) + " 300 IN CNAME " + name(i+1) },
		"chain, backwards": func(i int) string { return name(1000-i) + " 300 IN CNAME " + name(1001-i) },
		"subtrees":         func(i int) string { return fmt.Sprintf("%d.example.org. 300 IN DNAME a.%d.example.org.", i, i) },
		"subtree":          func(i int) string { return fmt.Sprintf("%s 300 IN AAAA ::%x", name(i), i) },
	} {
		m := new(dns.Msg).SetReply(question(name(0), dns.TypeAAAA))
		for i := range 1001 {
			m.Answer = append(m.Answer, rr(t, each(i)))
		}
		m.Compress = true
		p, err := m.Pack()
		for err != nil || len(p) > 65535 {
			m.Answer = m.Answer[:len(m.Answer)*9/10]
			p, err = m.Pack()
		}
		took := time.Hour
		for range 5 { // a machine under load stalls now and then; a slow reader does each time
			began := time.Now()
			if _, err := newUpstreams(t.Context(), sitetest.Now, nil).keep(p); err != nil {
				t.Fatal(err)
			}
			took = min(took, time.Since(began))
		}
		if took > 500*time.Millisecond {
			t.Errorf("%s: %d records in %d octets take %v", what, len(m.Answer), len(p), took)
		}
		t.Logf("%s: %d records in %d octets take %v", what, len(m.Answer), len(p), took)
	}
}

// forger is an upstream that sends forged answers before its own, each from the right socket, or from a wrong one.
func forger(t *testing.T, forged func(q *dns.Msg, good []byte) (fromUs, fromOthers [][]byte)) *resolver {
	t.Helper()
	pc, l := bothPorts(t)
	t.Cleanup(func() { _ = pc.Close(); _ = l.Close() })
	u := &resolver{addr: overUDP(l.Addr().(*net.TCPAddr).AddrPort()), arrived: make(chan *dns.Msg, 64)}
	stranger, err := net.ListenPacket("udp6", "[::1]:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = stranger.Close() })
	go func() {
		buf := make([]byte, 4096)
		for {
			n, from, err := pc.ReadFrom(buf)
			if err != nil {
				return
			}
			q := unpacked(t, buf[:n])
			u.mu.Lock()
			u.got = append(u.got, q)
			u.mu.Unlock()
			good := named(t, q)
			ours, others := forged(q, good)
			for _, p := range others {
				_, _ = stranger.WriteTo(p, from)
			}
			for _, p := range append(ours, good) {
				_, _ = pc.WriteTo(p, from)
			}
		}
	}()
	return u
}

// TestForgedAnswers: what is wrong in one thing alone is not believed, does not end the wait, and is not kept.
func TestForgedAnswers(t *testing.T) {
	forge := func(q *dns.Msg, change func(*dns.Msg)) []byte {
		m := new(dns.Msg).SetReply(q)
		m.Answer = []dns.RR{rr(t, q.Question[0].Name+" 300 IN AAAA 2001:db8:9::bad")}
		change(m)
		return packed(t, m)
	}
	u := forger(t, func(q *dns.Msg, good []byte) (ours, others [][]byte) {
		for _, change := range []func(*dns.Msg){
			func(m *dns.Msg) { m.Id ^= 0x100 },
			func(m *dns.Msg) { m.Response = false },
			func(m *dns.Msg) { m.Opcode = dns.OpcodeNotify },
			func(m *dns.Msg) { m.Question[0].Name = "x" + m.Question[0].Name },
			func(m *dns.Msg) { m.Question[0].Qtype = dns.TypeA },
			func(m *dns.Msg) { m.Question[0].Qclass = dns.ClassCHAOS },
			func(m *dns.Msg) { m.Question = nil },
			func(m *dns.Msg) { m.Question = append(m.Question, m.Question[0]) },
			func(m *dns.Msg) { // another cookie than ours
				m.SetEdns0(1232, false)
				m.IsEdns0().Option = []dns.EDNS0{&dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: "00112233445566778899aabbccddeeff"}}
			},
			func(m *dns.Msg) { // an error is not believed sooner than an answer
				m.Id ^= 1
				m.Rcode = dns.RcodeNameError
			},
		} {
			ours = append(ours, forge(q.Copy(), change))
		}
		// All is right but where it comes from.
		return ours, [][]byte{forge(q.Copy(), func(*dns.Msg) {})}
	})
	r := start(t, u.addr)
	for range 2 {
		for _, name := range []string{"a.example.org.", "b.example.org.", "some-long-name.example.org."} {
			q := question(name, dns.TypeAAAA)
			same(t, r.ask(q), reply(t, q, 0, func(m *dns.Msg) { m.RecursionAvailable = true }, name+" 300 IN AAAA 2001:db8:9::1"))
		}
	}
	if n := u.count(); n != 3 {
		t.Errorf("asked %d times", n)
	}
}

// TestForgedInAnotherCase: who guessed the identifier and the port, but not the letters, has the question asked over a connection,
// and nothing is learned of him: the next one goes by datagram, in mixed case.
func TestForgedInAnotherCase(t *testing.T) {
	u := startUpstream(t, func(q *dns.Msg, tcp bool) [][]byte {
		good := named(t, q)
		if tcp {
			return [][]byte{good}
		}
		m := new(dns.Msg).SetReply(q)
		m.Question[0].Name = strings.ToLower(q.Question[0].Name)
		m.Answer = []dns.RR{rr(t, m.Question[0].Name+" 300 IN AAAA 2001:db8:9::bad")}
		return [][]byte{packed(t, m), good}
	})
	r := start(t, u.addr)
	for i := range 3 {
		name := fmt.Sprintf("a-name-of-many-letters-%d.example.org.", i)
		q := question(name, dns.TypeAAAA)
		same(t, r.ask(q), reply(t, q, 0, func(m *dns.Msg) { m.RecursionAvailable = true }, name+" 300 IN AAAA 2001:db8:9::1"))
	}
	if n := u.count(); n != 6 {
		t.Errorf("asked %d times, want by UDP and TCP for each of three names", n)
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, q := range u.got {
		if name := q.Question[0].Name; name == strings.ToLower(name) {
			t.Errorf("asked for %s, all in one case", name)
		}
	}
}

// TestForgedOverAConnection: the answer to another question does not count there either, nor one that says it was cut.
func TestForgedOverAConnection(t *testing.T) {
	u, _ := streamServer(t, nil, func(q *dns.Msg, write func([]byte)) {
		other := q.Copy()
		other.Question[0].Name = "evil.example.org."
		write(named(t, other))
		if strings.HasPrefix(strings.ToLower(q.Question[0].Name), "cut.") {
			m := new(dns.Msg).SetReply(q)
			m.Truncated = true
			write(packed(t, m))
			return
		}
		write(named(t, q))
	})
	r := start(t, u)
	q := question("www.example.org.", dns.TypeAAAA)
	same(t, r.ask(q), reply(t, q, 0, func(m *dns.Msg) { m.RecursionAvailable = true }, "www.example.org. 300 IN AAAA 2001:db8:9::1"))
	if got := r.ask(question("cut.example.org.", dns.TypeAAAA)); got.Rcode != dns.RcodeServerFailure {
		t.Errorf("an answer that was cut on a connection: %v", got)
	}
}

// TestBadVersion: an upstream that takes no version of EDNS cannot answer; that is said, and others are asked.
func TestBadVersion(t *testing.T) {
	bad := startUpstream(t, func(q *dns.Msg, _ bool) [][]byte {
		m := new(dns.Msg).SetReply(q)
		m.SetEdns0(1232, false)
		m.IsEdns0().SetVersion(1)
		m.Rcode = dns.RcodeBadVers
		return [][]byte{packed(t, m)}
	})
	good := startUpstream(t, func(q *dns.Msg, _ bool) [][]byte { return [][]byte{named(t, q)} })
	q := question("www.example.org.", dns.TypeAAAA)
	same(t, start(t, bad.addr).ask(q), reply(t, q, dns.RcodeServerFailure, func(m *dns.Msg) { m.RecursionAvailable = true }))
	same(t, start(t, bad.addr, good.addr).ask(q), reply(t, q, 0, func(m *dns.Msg) { m.RecursionAvailable = true }, "www.example.org. 300 IN AAAA 2001:db8:9::1"))
}

// TestTooBig: an answer that is longer than anybody takes by UDP is cut there; by TCP the longest there is arrives whole.
func TestTooBig(t *testing.T) {
	var texts []string
	for i := range 200 {
		texts = append(texts, fmt.Sprintf("big.example.org. 300 IN TXT \"%s%03d\"", strings.Repeat("x", 240), i))
	}
	u := startUpstream(t, replying(t, 0, texts)) // 50 KB, although 1232 octets were wanted
	r := start(t, u.addr)
	q := question("big.example.org.", dns.TypeTXT)
	q.SetEdns0(65535, false)
	c := r.dial("tcp6")
	writeTCP(t, c, packed(t, q))
	if got := readTCP(t, c); len(got.Answer) != len(texts) || got.Truncated {
		t.Errorf("by TCP: %d records, cut: %v", len(got.Answer), got.Truncated)
	}
	if got := r.ask(q); len(got.Answer) != 0 || !got.Truncated || got.Rcode != 0 {
		t.Errorf("by UDP: %v", got)
	}
}
