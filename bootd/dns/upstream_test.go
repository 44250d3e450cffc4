package dns

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/binary"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"bootd.internal/bootd/ident"
	"bootd.internal/bootd/reason"
	"bootd.internal/bootd/site"
	"bootd.internal/bootd/site/sitetest"
	"bootd.internal/bootd/timeline"
	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"
)

const web = "www.example.org. 300 IN AAAA 2001:db8:9::1"

// authority makes a CA and certificates, at run time.
type authority struct {
	t    testing.TB
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
}

func newAuthority(t testing.TB) *authority {
	t.Helper()
	a := &authority{t: t}
	a.key, a.cert, _ = a.sign(&x509.Certificate{
		Subject: pkix.Name{CommonName: "test CA"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	})
	return a
}

func (a *authority) sign(c *x509.Certificate) (*ecdsa.PrivateKey, *x509.Certificate, []byte) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	c.SerialNumber, c.NotBefore, c.NotAfter = big.NewInt(1), time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	parent, by := a.cert, a.key
	if parent == nil {
		parent, by = c, key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, by)
	if err != nil {
		a.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return key, cert, der
}

func (a *authority) roots() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return pool
}

// server is the configuration of a server of this name.
func (a *authority) server(name string) *tls.Config {
	key, _, der := a.sign(&x509.Certificate{DNSNames: []string{name}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
}

// streamServer is an upstream over connections. answer is called for each question; what it returns is written, in any
// order and at any time.
func streamServer(t testing.TB, conf *tls.Config, answer func(q *dns.Msg, write func([]byte))) (site.Upstream, *counter) {
	t.Helper()
	l, err := net.Listen("tcp6", "[::1]:0")
	if err != nil {
		t.Fatal(err)
	}
	u := site.Upstream{Transport: "tcp", Addr: overUDP(l.Addr().(*net.TCPAddr).AddrPort()).Addr}
	if conf != nil {
		l, u.Transport = tls.NewListener(l, conf), "tls"
	}
	conns := new(counter)
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			conns.add()
			wg.Go(func() {
				defer c.Close()
				stop := make(chan struct{})
				defer close(stop)
				var mu sync.Mutex
				write := func(p []byte) {
					mu.Lock()
					defer mu.Unlock()
					_, _ = c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(p))), p...))
				}
				for {
					var size [2]byte
					if _, err := io.ReadFull(c, size[:]); err != nil {
						return
					}
					p := make([]byte, binary.BigEndian.Uint16(size[:]))
					if _, err := io.ReadFull(c, p); err != nil {
						return
					}
					answer(unpacked(t, p), write)
				}
			})
		}
	})
	t.Cleanup(func() { _ = l.Close() })
	return u, conns
}

type counter struct {
	mu sync.Mutex
	n  int
}

func (c *counter) add() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n++
}

func (c *counter) get() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.n
}

// named answers with one record for whatever name.
func named(t testing.TB, q *dns.Msg) []byte {
	return replying(t, 0, []string{q.Question[0].Name + " 300 IN AAAA 2001:db8:9::1"})(q, true)[0]
}

func TestTLS(t *testing.T) {
	ca := newAuthority(t)
	var mu sync.Mutex
	var sizes []int
	u, conns := streamServer(t, ca.server("dns.example.net"), func(q *dns.Msg, write func([]byte)) {
		mu.Lock()
		sizes = append(sizes, q.Len())
		mu.Unlock()
		write(named(t, q))
	})
	tests := []struct {
		name  string
		by    *x509.CertPool
		as    string
		wants int
	}{
		{"good", ca.roots(), "dns.example.net", dns.RcodeSuccess},
		{"another name", ca.roots(), "dns.example.org", dns.RcodeServerFailure},
		{"another authority", newAuthority(t).roots(), "dns.example.net", dns.RcodeServerFailure},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			u.Name = tt.as
			r := startWith(t, func(c *Config) { c.Roots = tt.by }, u)
			before := conns.get()
			for i := range 3 {
				if got := r.ask(question(fmt.Sprintf("h%d.example.org.", i), dns.TypeAAAA)); got.Rcode != tt.wants {
					t.Fatalf("code %d, want %d", got.Rcode, tt.wants)
				}
				if tt.wants != dns.RcodeSuccess {
					return
				}
			}
			if n := conns.get() - before; n != 1 {
				t.Errorf("%d connections for three questions", n)
			}
		})
	}
	for _, n := range sizes {
		if n%padBlock != 0 {
			t.Errorf("a question of %d octets: not padded", n)
		}
	}
}

// TestStreamEndsUnderAQuestion: a connection that failed is not taken once more, although nobody has said yet that it is dead.
func TestStreamEndsUnderAQuestion(t *testing.T) {
	u := startUpstream(t, replying(t, 0, []string{"a.example.org. 300 IN AAAA 2001:db8:9::1"}))
	all := newUpstreams(t.Context(), time.Now, nil)
	p := newUpstream(u.addr, nil)
	old := newStream()
	old.err = errStreamEnded
	close(old.ready)
	p.stream = old
	q := &query{question: questionOf(packed(t, question("a.example.org.", dns.TypeAAAA)))}
	if raw, err := all.overStream(t.Context(), p, q, form{edns: true}); err != nil || dnsCode(raw) != 0 || p.stream == old {
		t.Errorf("got %x, %v", raw, err)
	}
}

// lastWord answers a question and ends the connection before anybody has looked.
type lastWord struct {
	net.Conn
	s *stream
}

func (lastWord) SetWriteDeadline(time.Time) error { return nil }

func (l lastWord) Write(frame []byte) (int, error) {
	answer := bytes.Clone(frame[2:])
	answer[2] |= 0x80
	l.s.mu.Lock()
	defer l.s.mu.Unlock()
	l.s.waiting[binary.BigEndian.Uint16(answer)] <- answer
	l.s.err = errStreamEnded
	close(l.s.dead)
	return len(frame), nil
}

// TestStreamLastWord: an answer counts that came right before its connection ended.
func TestStreamLastWord(t *testing.T) {
	for range 64 {
		s := newStream()
		s.conn = lastWord{s: s}
		close(s.ready)
		if raw, err := s.ask(t.Context(), packed(t, question("a.example.org.", dns.TypeAAAA))); err != nil {
			t.Fatalf("got %x, %v", raw, err)
		}
	}
}

// TestStreamOutOfOrder: questions share a connection, and answers come in any order.
func TestStreamOutOfOrder(t *testing.T) {
	const many = 20
	var mu sync.Mutex
	var held []*dns.Msg
	u, conns := streamServer(t, nil, func(q *dns.Msg, write func([]byte)) {
		mu.Lock()
		defer mu.Unlock()
		if held = append(held, q); len(held) == many {
			for i := range held {
				write(nil) // zero octets
				write(named(t, held[many-1-i]))
			}
		}
	})
	r := start(t, u)
	c := r.dial("udp6")
	for i := range many {
		q := question(fmt.Sprintf("h%d.example.org.", i), dns.TypeAAAA)
		q.Id = uint16(i)
		if _, err := c.Write(packed(t, q)); err != nil {
			t.Fatal(err)
		}
	}
	buf := make([]byte, 512)
	for range many {
		n, err := c.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		got := unpacked(t, buf[:n])
		if want := fmt.Sprintf("h%d.example.org.", got.Id); got.Rcode != 0 || len(got.Answer) != 1 || got.Answer[0].Header().Name != want {
			t.Errorf("answer to %s: %v", want, got)
		}
	}
	if n := conns.get(); n != 1 {
		t.Errorf("%d connections", n)
	}
}

// TestHedge: a silent upstream costs one client a moment, and the next nothing.
func TestHedge(t *testing.T) {
	silent := startUpstream(t, func(*dns.Msg, bool) [][]byte { return nil })
	good := startUpstream(t, func(q *dns.Msg, _ bool) [][]byte { return [][]byte{named(t, q)} })
	r := start(t, silent.addr, good.addr)
	if got := r.ask(question("www.example.org.", dns.TypeAAAA)); got.Rcode != 0 || silent.count() != 1 {
		t.Fatalf("asked the silent one %d times: %v", silent.count(), got)
	}
	firstIs(t, r, good.addr)
}

// TestDownAndUp: three failures and an upstream is down, which is told; a question tries it again when it has rested.
func TestDownAndUp(t *testing.T) {
	now := time.Unix(1e9, 0)
	p := newUpstream(site.Upstream{Transport: "udp"}, nil)
	for i, want := range []bool{false, false, true, false} {
		if got := p.failed(now, time.Second); got != want {
			t.Errorf("failure %d: down %v, want %v", i, got, want)
		}
	}
	other := newUpstream(site.Upstream{Transport: "tcp"}, nil)
	other.answered(time.Hour, false)
	sorted, probes := order([]*upstream{p, other}, now.Add(time.Second))
	if sorted[0] != other || len(probes) != 0 {
		t.Errorf("the one that is down comes first, or is tried before its time")
	}
	if _, probes = order([]*upstream{p, other}, now.Add(2*time.Second)); len(probes) != 1 {
		t.Errorf("%d to try", len(probes))
	}
	if !p.probing(now.Add(2*time.Second)) || p.probing(now.Add(2*time.Second)) {
		t.Error("not tried exactly once")
	}
	if !p.answered(time.Millisecond, false) || p.answered(time.Millisecond, false) {
		t.Error("not told exactly once that it answers again")
	}
	for range 40 {
		p.failed(now, time.Second)
	}
	if rest := p.rest.Sub(now); rest != lastRest {
		t.Errorf("rests for %v", rest)
	}
}

// TestCase: an upstream that changes the case of names is asked over TCP, then without mixed case; an answer by datagram in
// another case is not believed.
func TestCase(t *testing.T) {
	u := startUpstream(t, func(q *dns.Msg, tcp bool) [][]byte {
		answer := named(t, q)
		lower(answer[headerLen : skipName(answer, headerLen)+4])
		return [][]byte{answer}
	})
	r := start(t, u.addr)
	for i := range 2 {
		name := fmt.Sprintf("some-longer-name-%d.example.org.", i)
		q := question(name, dns.TypeAAAA)
		same(t, r.ask(q), reply(t, q, 0, func(m *dns.Msg) { m.RecursionAvailable, m.AuthenticatedData = true, false }, name+" 300 IN AAAA 2001:db8:9::1"))
	}
	if n := u.count(); n < 3 || n > 5 { // UDP, TCP; UDP; perhaps again, if this machine is slow
		t.Errorf("asked %d times", n)
	}
}

// TestCookies: a cookie of the upstream comes back to it; once it has sent one, answers without are not believed, nor those
// with another one than ours.
func TestCookies(t *testing.T) {
	const theirs = "0011223344556677"
	forged := true
	u := startUpstream(t, func(q *dns.Msg, tcp bool) [][]byte {
		var out [][]byte
		sent := ""
		if o := q.IsEdns0(); o != nil && len(o.Option) == 1 {
			sent = o.Option[0].(*dns.EDNS0_COOKIE).Cookie
		}
		with := func(cookie, addr string) []byte {
			m := new(dns.Msg).SetReply(q)
			m.Answer = append(m.Answer, rr(t, q.Question[0].Name+" 300 IN AAAA "+addr))
			m.SetEdns0(1232, false)
			if cookie != "" {
				m.IsEdns0().Option = []dns.EDNS0{&dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: cookie}}
			}
			return packed(t, m)
		}
		switch {
		case tcp:
			return [][]byte{with("", "2001:db8:9::2")}
		case strings.Contains(strings.ToLower(q.Question[0].Name), "lost"):
			return [][]byte{with("", "2001:db8:9::bad")}
		case forged:
			out = append(out, with("ffffffffffffffff"+theirs, "2001:db8:9::bad"), with(sent[:16]+strings.Repeat("00", 33), "2001:db8:9::bad"),
				with(sent[:16]+"00", "2001:db8:9::bad"), with(sent[:14], "2001:db8:9::bad"))
		}
		return append(out, with(sent[:16]+theirs, "2001:db8:9::1"))
	})
	r := start(t, u.addr)
	for _, tt := range []struct{ name, cookie, addr string }{
		{"a.example.org.", "", "2001:db8:9::1"},
		{"b.example.org.", theirs, "2001:db8:9::1"},
		{"lost.example.org.", theirs, "2001:db8:9::2"},
	} {
		q := question(tt.name, dns.TypeAAAA)
		same(t, r.ask(q), reply(t, q, 0, func(m *dns.Msg) { m.RecursionAvailable = true }, tt.name+" 300 IN AAAA "+tt.addr))
		if asked := (<-u.arrived).IsEdns0().Option[0].(*dns.EDNS0_COOKIE).Cookie[16:]; asked != tt.cookie {
			t.Errorf("%s: asked with %q, want %q", tt.name, asked, tt.cookie)
		}
	}
}

// TestStale: an answer that has run out is given when no upstream answers, at once when one failed a moment ago, and after
// some time when it is silent.
func TestStale(t *testing.T) {
	var mu sync.Mutex
	mode := "good"
	set := func(m string) { mu.Lock(); mode = m; mu.Unlock() }
	u := startUpstream(t, func(q *dns.Msg, tcp bool) [][]byte {
		mu.Lock()
		defer mu.Unlock()
		switch mode {
		case "good":
			return replying(t, 0, []string{web})(q, tcp)
		case "failing":
			return replying(t, dns.RcodeServerFailure, nil)(q, tcp)
		}
		return nil
	})
	r := start(t, u.addr)
	r.forwarder.mu.Lock()
	r.forwarder.staleAfter = 10 * time.Millisecond
	r.forwarder.mu.Unlock()
	q := question("www.example.org.", dns.TypeAAAA)
	want := func(ttl int, reason reason.Reason) {
		t.Helper()
		same(t, r.ask(q), reply(t, q, 0, func(m *dns.Msg) { m.RecursionAvailable = true }, fmt.Sprintf("www.example.org. %d IN AAAA 2001:db8:9::1", ttl)))
		observed(t, r.seen, "AAAA", why(reason))
	}
	want(300, reason.Forwarded)
	set("failing")
	r.clock.advance(time.Hour)
	want(30, reason.Stale)
	want(30, reason.Stale)
	if n := u.count(); n > 2 {
		t.Errorf("asked %d times: a failure a moment ago is forgotten", n)
	}
	set("silent")
	r.clock.advance(time.Hour)
	want(30, reason.Stale) // the flight goes on
	want(30, reason.Stale) // and this one does not wait for it
	set("good")
	r.landed(t)
	r.clock.advance(26 * time.Hour) // past all use
	want(300, reason.Forwarded)
}

// TestPrefetch: a popular name is fetched anew before its life is over, and its clients do not wait for that.
func TestPrefetch(t *testing.T) {
	u := startUpstream(t, replying(t, 0, []string{web}))
	r := start(t, u.addr)
	q := question("www.example.org.", dns.TypeAAAA)
	for range popular {
		r.ask(q)
	}
	<-u.arrived
	r.clock.advance(280 * time.Second)
	if got := r.ask(q); got.Answer[0].Header().Ttl != 20 {
		t.Error(got)
	}
	<-u.arrived
	r.landed(t)
	if got := r.ask(q); got.Answer[0].Header().Ttl != 300 || u.count() != 2 {
		t.Errorf("asked %d times: %v", u.count(), got)
	}
}

// TestStalled: with a silent upstream and a flood of questions, cached and local names go on being answered, and neither
// goroutines nor waiters grow past their bounds.
func TestStalled(t *testing.T) {
	u := startUpstream(t, func(q *dns.Msg, tcp bool) [][]byte {
		if strings.HasPrefix(strings.ToLower(q.Question[0].Name), "www.") {
			return replying(t, 0, []string{web})(q, tcp)
		}
		return nil
	})
	r := start(t, u.addr)
	known := question("www.example.org.", dns.TypeAAAA)
	r.ask(known)
	before := runtime.NumGoroutine()
	c := r.dial("udp6")
	for i := range 3000 {
		q := question(fmt.Sprintf("h%d.example.org.", i), dns.TypeAAAA)
		if _, err := c.Write(packed(t, q)); err != nil {
			t.Fatal(err)
		}
		if i%100 > 0 {
			continue
		}
		for _, q := range []*dns.Msg{known, question("r1n02.example.net.", dns.TypeAAAA)} {
			if got := r.ask(q); got.Rcode != 0 || len(got.Answer) != 1 {
				t.Fatal(got)
			}
		}
	}
	r.forwarder.mu.Lock()
	flights, waiting, peers := len(r.forwarder.flights), r.forwarder.waiting, len(r.forwarder.perPeer)
	r.forwarder.mu.Unlock()
	if limit := r.snapshot().DNS.ClientLimit; flights > limit || waiting > limit || peers > 1 {
		t.Errorf("%d flights, %d waiting, %d peers", flights, waiting, peers)
	}
	if n := runtime.NumGoroutine() - before; n > 5*r.snapshot().DNS.ClientLimit {
		t.Errorf("%d goroutines more", n)
	}
}

// TestUpstreamLimit: no more questions than the limit wait for one upstream.
func TestUpstreamLimit(t *testing.T) {
	u := startUpstream(t, func(*dns.Msg, bool) [][]byte { return nil })
	r := start(t, u.addr)
	r.change(func(s *site.Snapshot) { s.DNS.UpstreamLimit = 2 })
	c := r.dial("udp6")
	failed := 0
	for i := range 10 {
		q := question(fmt.Sprintf("h%d.example.org.", i), dns.TypeAAAA)
		if _, err := c.Write(packed(t, q)); err != nil {
			t.Fatal(err)
		}
	}
	buf := make([]byte, 512)
	for range 8 { // those that are too many fail at once, the two others are still waiting
		n, err := c.Read(buf)
		if err != nil || unpacked(t, buf[:n]).Rcode != dns.RcodeServerFailure {
			t.Fatalf("%v %x", err, buf[:n])
		}
		failed++
	}
	if n := u.count(); n > 4 {
		t.Errorf("asked %d times", n)
	}
}

// TestCounted: who is counted as one machine; the kernel is not asked for each question.
func TestCounted(t *testing.T) {
	card := ident.MAC{0x52, 0x54, 0, 0xaa, 1, 1}
	asked := 0
	c := &clock{now: sitetest.Now()}
	s := &Server{cfg: Config{Now: c.Now, Neighbour: func(index int, a netip.Addr) (ident.MAC, bool) {
		asked++
		return card, index == 7 && a == netip.MustParseAddr("2001:db8:1::10")
	}}}
	rack := &site.Network{Prefixes: []site.Prefix{{Prefix: netip.MustParsePrefix("2001:db8:1::/64")}}}
	from := func(source string) machine {
		return s.counted(client{net: rack, at: site.Arrival{Index: 7, Source: netip.MustParseAddr(source)}})
	}
	for range 2 {
		for source, want := range map[string]machine{
			"2001:db8:1::10":    {MAC: card},
			"2001:db8:1::11":    {Addr: netip.MustParseAddr("2001:db8:1::11")},
			"fe80::1":           {Addr: netip.MustParseAddr("fe80::1")},
			"2001:db8:9:9::1:2": {Addr: netip.MustParseAddr("2001:db8:9:9::")},
		} {
			if got := from(source); got != want {
				t.Errorf("%s is %v, want %v", source, got, want)
			}
		}
	}
	if asked != 4 {
		t.Errorf("the kernel is asked %d times", asked)
	}
	c.advance(machineLife)
	if from("2001:db8:1::10"); asked != 5 {
		t.Error("who is behind an address is remembered for ever")
	}
	for i := range 3 * maxMachines {
		from(fmt.Sprintf("2001:db8:1::%x", 0x1000+i))
		if len(s.machines.known) > maxMachines {
			t.Fatalf("%d machines are remembered", len(s.machines.known))
		}
	}
}

// TestManySilent: the last of many upstreams is asked although all before it are silent.
func TestManySilent(t *testing.T) {
	var all []site.Upstream
	for range 4 {
		all = append(all, startUpstream(t, func(*dns.Msg, bool) [][]byte { return nil }).addr)
	}
	good := startUpstream(t, replying(t, 0, []string{web}))
	r := start(t, append(all, good.addr)...)
	if got := r.ask(question("www.example.org.", dns.TypeAAAA)); got.Rcode != 0 || len(got.Answer) != 1 {
		t.Error(got)
	}
}

// TestHealthIsTold: an upstream that is down is an event, once.
func TestHealthIsTold(t *testing.T) {
	closed := startUpstream(t, nil).addr
	closed.Addr = netip.AddrPortFrom(closed.Addr.Addr(), 1)
	r := start(t, closed)
	var got []timeline.Event
	for i := range 5 {
		r.ask(question(fmt.Sprintf("h%d.example.org.", i), dns.TypeAAAA))
		for o := r.seen.next(t); o.Message != "AAAA"; o = r.seen.next(t) {
			got = append(got, o.Events...)
		}
	}
	want := []timeline.Event{{
		Kind: timeline.Warning, Addr: "[::1]:1", Detail: "the resolver [::1]:1 does not answer: others are asked first, see bootd doctor",
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
