package dns

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"bootd.internal/bootd/ingress"
	"bootd.internal/bootd/reason"
	"bootd.internal/bootd/site"
	"github.com/miekg/dns"
)

func TestForwardAndCache(t *testing.T) {
	u := startUpstream(t, replying(t, 0, []string{
		"www.example.org. 300 IN CNAME web.example.org.", "web.example.org. 100 IN AAAA 2001:db8:9::1",
	}))
	r := start(t, u.addr)
	q := question("WWW.example.org.", dns.TypeAAAA)
	q.SetEdns0(4096, false)
	q.IsEdns0().Option = append(q.IsEdns0().Option, &dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: "0011223344556677"})
	want := func(web int) *dns.Msg {
		return reply(t, q, 0, func(m *dns.Msg) {
			m.RecursionAvailable = true
			m.SetEdns0(1232, false)
			m.IsEdns0().Option = []dns.EDNS0{&dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: "0011223344556677"}}
		},
			fmt.Sprintf("WWW.example.org. %d IN CNAME web.example.org.", web+200), fmt.Sprintf("web.example.org. %d IN AAAA 2001:db8:9::1", web))
	}
	same(t, uncookied(t, r.ask(q)), want(100))
	observed(t, r.seen, "AAAA", why(reason.Forwarded))
	asked := <-u.arrived
	if c := asked.IsEdns0().Option; len(c) != 1 || c[0].Option() != dns.EDNS0COOKIE || strings.HasPrefix(c[0].String(), "0011223344556677") {
		t.Errorf("options %v, want a cookie that is not the client's", c)
	}
	asked.IsEdns0().Option = nil
	sent := question(asked.Question[0].Name, dns.TypeAAAA)
	sent.AuthenticatedData = true
	sent.SetEdns0(1232, false)
	same(t, asked, sent)
	if !strings.EqualFold(asked.Question[0].Name, "www.example.org.") {
		t.Errorf("asked for %s", asked.Question[0].Name)
	}

	r.clock.advance(40 * time.Second)
	same(t, uncookied(t, r.ask(q)), want(60))
	observed(t, r.seen, "AAAA", why(reason.Cached))

	// Another case of the same name is the same; AD is for those who ask for it.
	other := question("www.EXAMPLE.org.", dns.TypeAAAA)
	other.AuthenticatedData = true
	same(t, r.ask(other), reply(t, other, 0, func(m *dns.Msg) { m.RecursionAvailable = true; m.AuthenticatedData = true },
		"www.EXAMPLE.org. 260 IN CNAME web.EXAMPLE.org.", "web.EXAMPLE.org. 60 IN AAAA 2001:db8:9::1"))
	observed(t, r.seen, "AAAA", why(reason.Cached))

	r.clock.advance(61 * time.Second)
	same(t, uncookied(t, r.ask(q)), want(100))
	observed(t, r.seen, "AAAA", why(reason.Forwarded))
	if n := u.count(); n != 2 {
		t.Errorf("the upstream was asked %d times", n)
	}
	q.RecursionDesired = false
	q.IsEdns0().Option = nil
	same(t, r.ask(q), reply(t, q, dns.RcodeRefused, func(m *dns.Msg) { m.RecursionAvailable = true; m.SetEdns0(1232, false) }))
	observed(t, r.seen, "AAAA", why(reason.Refused))
}

// uncookied takes our cookie out, which is another one each second, once its form is checked (RFC 9018 section 4).
func uncookied(t testing.TB, m *dns.Msg) *dns.Msg {
	t.Helper()
	if c := m.IsEdns0().Option[0].(*dns.EDNS0_COOKIE); len(c.Cookie) != 48 || !strings.HasPrefix(c.Cookie[16:], "01000000") {
		t.Errorf("the cookies are %s", c.Cookie)
	} else {
		c.Cookie = c.Cookie[:16]
	}
	return m
}

// TestBitsReachUpstream: DO and CD change the answer, so they are asked for and kept apart.
func TestBitsReachUpstream(t *testing.T) {
	u := startUpstream(t, replying(t, 0, []string{"www.example.org. 300 IN AAAA 2001:db8:9::1"}))
	r := start(t, u.addr)
	for _, bits := range []struct{ do, cd bool }{{false, false}, {true, false}, {false, true}, {true, true}} {
		q := question("www.example.org.", dns.TypeAAAA)
		q.CheckingDisabled = bits.cd
		q.SetEdns0(1232, bits.do)
		same(t, r.ask(q), reply(t, q, 0, func(m *dns.Msg) {
			m.RecursionAvailable, m.AuthenticatedData = true, bits.do
			m.SetEdns0(1232, bits.do)
		}, "www.example.org. 300 IN AAAA 2001:db8:9::1"))
		asked := <-u.arrived
		if asked.CheckingDisabled != bits.cd || asked.IsEdns0().Do() != bits.do {
			t.Errorf("%+v: asked %v", bits, asked)
		}
	}
}

func TestNegativeCache(t *testing.T) {
	soa := "example.org. 900 IN SOA ns.example.org. admin.example.org. 1 2 3 4 30"
	tests := []struct {
		name      string
		code      int
		authority []string
		kept      bool
	}{
		{"no such name", dns.RcodeNameError, []string{soa}, true},
		{"no data", 0, []string{soa}, true},
		{"no such name, no SOA", dns.RcodeNameError, nil, false},
		{"referral", 0, []string{"example.org. 900 IN NS ns.example.org."}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			u := startUpstream(t, replying(t, tt.code, nil, tt.authority...))
			r := start(t, u.addr)
			q := question("none.example.org.", dns.TypeAAAA)
			for i, after := range []time.Duration{0, 29 * time.Second, 2 * time.Second} {
				r.clock.advance(after)
				if got := r.ask(q); got.Rcode != tt.code {
					t.Errorf("code %d, want %d", got.Rcode, tt.code)
				}
				want := reason.Forwarded
				if tt.kept && i == 1 {
					want = reason.Cached
				}
				observed(t, r.seen, "AAAA", why(want))
			}
		})
	}
}

// junk is what is no answer to a question for www.example.org, made of the one that is.
func junk(t testing.TB, q *dns.Msg, answer []byte) [][]byte {
	t.Helper()
	at := headerLen + len("\x03www\x07example\x03org\x00") + 4 // the answer's owner
	but := func(change func(p []byte)) []byte {
		p := bytes.Clone(answer)
		change(p)
		return p
	}
	other := question("evil.example.org.", dns.TypeAAAA)
	other.Id, other.Response = q.Id, true
	return [][]byte{
		{},
		{0},
		but(func(p []byte) { p[at], p[at+1] = 0xc0, byte(at) }),    // points at itself (RFC 9267 section 2)
		but(func(p []byte) { p[at], p[at+1] = 0xc0, byte(at+12) }), // points ahead
		but(func(p []byte) { p[0] ^= 1 }),                          // another identifier
		packed(t, q),                                               // a question
		packed(t, other),
		answer[:len(answer)-3],
		but(func(p []byte) { p[at+at-headerLen-4+8] = 0xff }), // RDLENGTH, after type, class and TTL
		answer[:at],                                                        // counts records that it lacks
		but(func(p []byte) { p[5] = 0 }), but(func(p []byte) { p[5] = 2 }), // QDCOUNT
	}
}

// TestJunkFirst: what is no answer to our question must not end the wait for the one that is.
func TestJunkFirst(t *testing.T) {
	good := replying(t, 0, []string{web})
	u := startUpstream(t, func(q *dns.Msg, tcp bool) [][]byte {
		answer := good(q, tcp)[0]
		return append(junk(t, q, answer), answer)
	})
	r := start(t, u.addr)
	q := question("www.example.org.", dns.TypeAAAA)
	same(t, r.ask(q), reply(t, q, 0, func(m *dns.Msg) { m.RecursionAvailable = true }, "www.example.org. 300 IN AAAA 2001:db8:9::1"))
	observed(t, r.seen, "AAAA", why(reason.Forwarded))
	if n := u.count(); n != 1 {
		t.Errorf("asked %d times", n)
	}
}

// TestNextUpstream goes on from a port that is closed, one that is silent, one that refuses, to one that knows.
func TestNextUpstream(t *testing.T) {
	closed := startUpstream(t, nil).addr
	closed.Addr = netip.AddrPortFrom(closed.Addr.Addr(), 1)
	silent := startUpstream(t, func(*dns.Msg, bool) [][]byte { return nil })
	refusing := startUpstream(t, replying(t, dns.RcodeRefused, nil))
	good := startUpstream(t, func(q *dns.Msg, tcp bool) [][]byte {
		return replying(t, 0, []string{q.Question[0].Name + " 0 IN AAAA 2001:db8:9::1"})(q, tcp)
	})
	r := start(t, closed, silent.addr, refusing.addr, good.addr)
	for i, name := range []string{"a.example.org.", "b.example.org."} {
		q := question(name, dns.TypeAAAA)
		same(t, r.ask(q), reply(t, q, 0, func(m *dns.Msg) { m.RecursionAvailable = true }, name+" 0 IN AAAA 2001:db8:9::1"))
		if s, g := silent.count(), good.count(); s < 1 || g != i+1 {
			t.Errorf("asked the silent one %d times, the good one %d times", s, g)
		}
	}
}

// landed waits until no question is on its way to an upstream. The forwarder's own group cannot be waited for while the server
// takes questions.
func (r *rig) landed(t testing.TB) {
	t.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(time.Millisecond) {
		r.forwarder.mu.Lock()
		n := len(r.forwarder.flights)
		r.forwarder.mu.Unlock()
		if n == 0 {
			return
		}
	}
	t.Fatal("a question does not come back")
}

// firstIs checks whom the next question goes to.
func firstIs(t testing.TB, r *rig, want site.Upstream) {
	t.Helper()
	r.landed(t)
	sorted, _ := order(r.upstreams.use(r.snapshot().DNS.Upstreams), r.clock.Now())
	if sorted[0].Upstream != want {
		t.Errorf("the next question goes to %v, want %v", sorted[0], want)
	}
}

func TestAllUpstreamsFail(t *testing.T) {
	u := startUpstream(t, replying(t, dns.RcodeServerFailure, nil))
	r := start(t, u.addr)
	q := question("www.example.org.", dns.TypeAAAA)
	want := reply(t, q, dns.RcodeServerFailure, func(m *dns.Msg) { m.RecursionAvailable = true })
	for range 2 { // the second from the memory of failures
		same(t, r.ask(q), want)
		observed(t, r.seen, "AAAA", why(reason.UpstreamFailed))
	}
	if n := u.count(); n != 1 {
		t.Errorf("asked %d times", n)
	}
}

// TestTruncation: an answer that was cut comes by TCP, and is cut again for a client that has no room for it.
func TestTruncation(t *testing.T) {
	var records []string
	for i := range 100 {
		records = append(records, fmt.Sprintf("big.example.org. 300 IN AAAA 2001:db8:9::%x", i+1))
	}
	u := startUpstream(t, func(q *dns.Msg, tcp bool) [][]byte {
		if !tcp {
			m := new(dns.Msg).SetReply(q)
			m.Truncated = true
			return [][]byte{packed(t, m)}
		}
		return replying(t, 0, records)(q, tcp)
	})
	r := start(t, u.addr)
	q := question("big.example.org.", dns.TypeAAAA)
	same(t, r.ask(q), reply(t, q, 0, func(m *dns.Msg) { m.RecursionAvailable = true; m.Truncated = true }))
	observed(t, r.seen, "AAAA", why(reason.Forwarded))
	c := r.dial("tcp6")
	writeTCP(t, c, packed(t, q))
	same(t, readTCP(t, c), reply(t, q, 0, func(m *dns.Msg) { m.RecursionAvailable = true }, records...))
	observed(t, r.seen, "AAAA", why(reason.Cached))
}

// TestWithoutEDNS asks again without EDNS after FORMERR, with and without a question in it.
func TestWithoutEDNS(t *testing.T) {
	for _, bare := range []bool{false, true} {
		u := startUpstream(t, func(q *dns.Msg, tcp bool) [][]byte {
			if q.IsEdns0() == nil {
				return replying(t, 0, []string{"www.example.org. 300 IN AAAA 2001:db8:9::1"})(q, tcp)
			}
			m := new(dns.Msg).SetRcode(q, dns.RcodeFormatError)
			if bare {
				m.Question = nil
			}
			return [][]byte{packed(t, m)}
		})
		r := start(t, u.addr)
		q := question("www.example.org.", dns.TypeAAAA)
		same(t, r.ask(q), reply(t, q, 0, func(m *dns.Msg) { m.RecursionAvailable = true }, "www.example.org. 300 IN AAAA 2001:db8:9::1"))
	}
}

// TestCollapse: the same question of many queries is asked once.
func TestCollapse(t *testing.T) {
	release := make(chan struct{})
	u := startUpstream(t, func(q *dns.Msg, tcp bool) [][]byte {
		<-release
		return replying(t, 0, []string{"www.example.org. 300 IN AAAA 2001:db8:9::1"})(q, tcp)
	})
	r := start(t, u.addr)
	q := packed(t, question("www.example.org.", dns.TypeAAAA))
	c := r.dial("udp6")
	const many = 100
	for range many {
		if _, err := c.Write(q); err != nil {
			t.Fatal(err)
		}
	}
	<-u.arrived
	close(release)
	buf := make([]byte, 512)
	for range many {
		if _, err := c.Read(buf); err != nil {
			t.Fatal(err)
		}
	}
	for told := 0; told < many; {
		o := r.seen.next(t)
		told += max(o.Count, 1)
		// One that was read late finds the answer in the cache.
		if o.Outcome.Reason != reason.Forwarded && o.Outcome.Reason != reason.Cached {
			t.Errorf("observed %+v", o)
		}
	}
	if n := u.count(); n != 1 {
		t.Errorf("asked %d times", n)
	}
}

// TestForwarderIsBounded counts flights, waiters and the waiters of one peer, and forgets them afterwards.
func TestForwarderIsBounded(t *testing.T) {
	a, b := netip.MustParseAddr("2001:db8::a"), netip.MustParseAddr("2001:db8::b")
	release := make(chan struct{})
	f := newForwarder(2, 4)
	f.ask = func(context.Context, string, *query) (*answer, reason.Reason, error) {
		<-release
		return nil, reason.Forwarded, errors.New("a fault")
	}
	done := make(chan error, 10)
	join := func(question string, peer netip.Addr) reason.Reason {
		return f.join(t.Context(), question, nil, waiter{machine{Addr: peer}, func(_ *ingress.Batch, _ *answer, why reason.Reason, err error) {
			if why != reason.Forwarded {
				t.Errorf("done because %v", why)
			}
			done <- err
		}}, nil, 3)
	}
	for i, tt := range []struct {
		question string
		peer     netip.Addr
		want     reason.Reason
	}{
		{"1", a, reason.None},
		{"2", a, reason.None},
		{"3", a, reason.Overload}, // a third flight
		{"1", a, reason.None},
		{"1", a, reason.RateLimited}, // a fourth query of one peer
		{"1", b, reason.None},
		{"2", b, reason.Overload}, // a fifth waiter
	} {
		if got := join(tt.question, tt.peer); got != tt.want {
			t.Errorf("join %d: %v, want %v", i, got, tt.want)
		}
	}
	close(release)
	f.talks.Wait()
	faults := 0
	for range 4 {
		if err := <-done; err != nil {
			faults++
		}
	}
	if faults != 2 { // one for each flight
		t.Errorf("%d faults", faults)
	}
	if len(f.flights) != 0 || f.waiting != 0 || len(f.perPeer) != 0 || len(done) != 0 {
		t.Errorf("left: %d flights, %d waiting, %d peers", len(f.flights), f.waiting, len(f.perPeer))
	}
}

// TestLoop: a forwarder that is told to ask itself, over another address than those it knows to be its own, ends in
// SERVFAIL.
func TestLoop(t *testing.T) {
	r := start(t)
	r.forwardTo(overUDP(r.Addr())) // known: the loopback address with the server's own port
	q := question("www.example.org.", dns.TypeAAAA)
	same(t, r.ask(q), reply(t, q, dns.RcodeRefused, func(m *dns.Msg) { m.RecursionAvailable = true }))
	observed(t, r.seen, "AAAA", why(reason.NoUpstream))

	// Unknown: a resolver that asks us in turn.
	back := start(t)
	u := startUpstream(t, func(q *dns.Msg, _ bool) [][]byte {
		c, err := net.Dial("udp6", back.Addr().String())
		if err != nil {
			return nil
		}
		defer c.Close()
		_, _ = c.Write(packed(t, q))
		return nil
	})
	back.forwardTo(u.addr)
	got := back.ask(q)
	if got.Rcode != dns.RcodeServerFailure || u.count() > rounds {
		t.Errorf("code %d after %d questions", got.Rcode, u.count())
	}
}
