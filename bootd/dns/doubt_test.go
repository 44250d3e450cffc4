package dns

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"

	"bootd.internal/bootd/site"
)

// noEDNSReply is what a resolver without EDNS says, and what anybody can say for it who guesses a port and an identifier.
func noEDNSReply(t testing.TB, q *dns.Msg) []byte {
	m := new(dns.Msg).SetRcode(q, dns.RcodeFormatError)
	m.Question = nil
	return packed(t, m)
}

// TestForgedFormErr: a FORMERR that a connection contradicts changes nothing.
func TestForgedFormErr(t *testing.T) {
	u := startUpstream(t, func(q *dns.Msg, tcp bool) [][]byte {
		good := replying(t, 0, []string{q.Question[0].Name + " 300 IN AAAA 2001:db8:9::1"})(q, tcp)
		if tcp {
			return good
		}
		return append([][]byte{noEDNSReply(t, q)}, good...)
	})
	r := start(t, u.addr)
	for _, name := range []string{"a.example.org.", "b.example.org.", "c.example.org."} {
		q := question(name, dns.TypeAAAA)
		same(t, r.ask(q), reply(t, q, 0, func(m *dns.Msg) { m.RecursionAvailable = true }, name+" 300 IN AAAA 2001:db8:9::1"))
	}
	if n := u.count(); n != 6 {
		t.Errorf("asked %d times, want by UDP and TCP for each of three names", n)
	}
	for _, q := range u.got {
		if q.IsEdns0() == nil {
			t.Errorf("asked without EDNS: %v", q)
		}
	}
}

// TestFormErrWithoutTCP: where there is no connection to be sure, it takes two FORMERR in a row until EDNS is left out, and that
// is forgotten after a minute.
func TestFormErrWithoutTCP(t *testing.T) {
	pc, err := net.ListenPacket("udp6", "[::1]:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = pc.Close() })
	var mu sync.Mutex
	var asked []bool
	go func() {
		buf := make([]byte, 4096)
		for {
			n, from, err := pc.ReadFrom(buf)
			if err != nil {
				return
			}
			q := unpacked(t, buf[:n])
			mu.Lock()
			asked = append(asked, q.IsEdns0() != nil)
			mu.Unlock()
			p := noEDNSReply(t, q)
			if q.IsEdns0() == nil {
				p = replying(t, 0, []string{q.Question[0].Name + " 300 IN AAAA 2001:db8:9::1"})(q, false)[0]
			}
			_, _ = pc.WriteTo(p, from)
		}
	}()
	now := time.Now()
	late := func() time.Time { mu.Lock(); defer mu.Unlock(); return now }
	r := startWith(t, func(c *Config) { c.Now = late }, overUDP(pc.LocalAddr().(*net.UDPAddr).AddrPort()))
	for _, name := range []string{"a.example.org.", "b.example.org.", "c.example.org."} {
		q := question(name, dns.TypeAAAA)
		same(t, r.ask(q), reply(t, q, 0, func(m *dns.Msg) { m.RecursionAvailable = true }, name+" 300 IN AAAA 2001:db8:9::1"))
	}
	mu.Lock()
	now = now.Add(doubtfulFor)
	mu.Unlock()
	r.ask(question("d.example.org.", dns.TypeAAAA))
	mu.Lock()
	defer mu.Unlock()
	if diff := cmp.Diff([]bool{true, false, true, false, false, true, false}, asked); diff != "" {
		t.Errorf("asked with EDNS (-want +got):\n%s", diff)
	}
}

// TestRefusalHandsOnAtOnce: one that cannot answer hands on to the next at once, also while another one is still waited for.
func TestRefusalHandsOnAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		named := func(port uint16, rtt time.Duration) *upstream {
			return &upstream{Upstream: site.Upstream{Transport: "udp", Addr: netip.AddrPortFrom(netip.IPv6Loopback(), port)}, rtt: rtt}
		}
		silent, refusing, good := named(1, time.Millisecond), named(2, 900*time.Millisecond), named(3, 950*time.Millisecond)
		sorted := []*upstream{silent, refusing, good}
		ctx, cancel := context.WithCancel(t.Context())
		began, want := time.Now(), &answer{code: 3}
		r := &race{
			upstreams: new(upstreams),
			ctx:       ctx, results: make(chan result, 6), done: map[*upstream]bool{}, running: map[*upstream]int{}, asked: map[*upstream]int{},
			one: func(p *upstream, _ bool) (*answer, error) {
				switch p {
				case silent:
					<-ctx.Done()
					return nil, ctx.Err()
				case refusing:
					return nil, errUseless
				}
				return want, nil
			},
		}
		got, err := r.run(append(sorted, sorted...), sorted)
		if took := time.Since(began); got != want || err != nil || took != hedgeLeast {
			t.Errorf("%v, %v after %v, want it after %v", got, err, took, hedgeLeast)
		}
		cancel()
		r.wg.Wait()
	})
}

// TestExtended: whoever understands EDNS is told why (RFC 8914).
func TestExtended(t *testing.T) {
	var mu sync.Mutex
	mode := "good"
	set := func(m string) { mu.Lock(); mode = m; mu.Unlock() }
	u := startUpstream(t, func(q *dns.Msg, tcp bool) [][]byte {
		mu.Lock()
		defer mu.Unlock()
		switch {
		case mode == "bad":
			return replying(t, dns.RcodeServerFailure, nil)(q, tcp)
		case q.Question[0].Name[0]|0x20 == 'n':
			return replying(t, dns.RcodeNameError, nil, "example.org. 60 IN SOA ns.example.org. nobody.invalid. 1 2 3 4 60")(q, tcp)
		}
		return replying(t, 0, []string{q.Question[0].Name + " 60 IN AAAA 2001:db8:9::1"})(q, tcp)
	})
	r := start(t, u.addr)
	ask := func(name string) (int, []uint16) {
		q := question(name, dns.TypeAAAA)
		q.SetEdns0(1232, false)
		m := r.ask(q)
		var codes []uint16
		for _, o := range m.IsEdns0().Option {
			codes = append(codes, o.(*dns.EDNS0_EDE).InfoCode)
		}
		return m.Rcode, codes
	}
	check := func(name string, code int, want ...uint16) {
		t.Helper()
		if rcode, codes := ask(name); rcode != code || !cmp.Equal(codes, want) {
			t.Errorf("%s: code %d, extended %v, want %d and %v", name, rcode, codes, code, want)
		}
	}
	check("a.example.org.", dns.RcodeSuccess)
	check("n.example.org.", dns.RcodeNameError)
	set("bad")
	r.clock.advance(2 * time.Minute)
	check("a.example.org.", dns.RcodeSuccess, dns.ExtendedErrorCodeStaleAnswer)
	check("n.example.org.", dns.RcodeNameError, dns.ExtendedErrorCodeStaleNXDOMAINAnswer)
	check("b.example.org.", dns.RcodeServerFailure, dns.ExtendedErrorCodeNoReachableAuthority)
	plain := question("b.example.org.", dns.TypeAAAA)
	if m := r.ask(plain); m.IsEdns0() != nil {
		t.Errorf("without EDNS: %v", m)
	}
	none := start(t)
	r = none
	check("a.example.org.", dns.RcodeRefused, dns.ExtendedErrorCodeNotAuthoritative)
}

// TestLostDatagrams: a question that gets no answer is asked again soon, then less and less soon, until patience ends; the answer to
// any of them counts.
func TestLostDatagrams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		want := &answer{code: 3}
		one := &upstream{Upstream: site.Upstream{Transport: "udp"}, rtt: time.Millisecond}
		for lost, took := range []time.Duration{0, 200 * time.Millisecond, 600 * time.Millisecond, 1400 * time.Millisecond, 3000 * time.Millisecond} {
			ctx, cancel := context.WithCancel(t.Context())
			var count atomic.Int64
			began := time.Now()
			r := &race{
				upstreams: new(upstreams), ctx: ctx, results: make(chan result, rounds), done: map[*upstream]bool{},
				running: map[*upstream]int{}, asked: map[*upstream]int{},
				one: func(_ *upstream, first bool) (*answer, error) {
					asked := int(count.Add(1))
					if first != (asked == 1) {
						t.Errorf("question %d: first is %v", asked, first)
					}
					if asked <= lost {
						<-ctx.Done()
						return nil, ctx.Err()
					}
					return want, nil
				},
			}
			sorted := []*upstream{one}
			if got, err := r.run(slices.Repeat(sorted, rounds), sorted); got != want || err != nil || time.Since(began) != took {
				t.Errorf("%d lost: %v, %v after %v, want it after %v", lost, got, err, time.Since(began), took)
			}
			cancel()
			r.wg.Wait()
		}
	})
}

// TestSilentNameIsOneFailure: an upstream that has no answer to one question, however often it is asked, is not down for that.
func TestSilentNameIsOneFailure(t *testing.T) {
	p := &upstream{Upstream: site.Upstream{Transport: "udp"}}
	r := &race{upstreams: &upstreams{now: time.Now}, ctx: t.Context(), limit: 2}
	for i := range rounds {
		_, _ = r.judge(p, time.Now(), i == 0, func() ([]byte, error) { p.waiting++; return nil, errNoAnswer })
	}
	if p.fails != 1 {
		t.Errorf("%d failures", p.fails)
	}
	p.waiting = 1
	if _, err := r.try(p, false); !errors.Is(err, errBusy) {
		t.Errorf("asked again beside another question, where the limit is two: %v", err)
	}
}
