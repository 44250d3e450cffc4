package dns

import (
	"bytes"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"bootd.internal/bootd/site"
	"bootd.internal/bootd/site/sitetest"
	"github.com/miekg/dns"
)

// cached is a server that is not run, with answers in its cache.
func cached(t testing.TB, now func() time.Time) (*Server, *site.Snapshot) {
	t.Helper()
	snap := sitetest.Snapshot(t, sitetest.Small(), sitetest.SmallFacts(t))
	snap.DNS.Upstreams = []site.Upstream{overUDP(netip.MustParseAddrPort("[2001:db8:53::1]:53"))}
	s, err := New(Config{
		Snapshot: func() *site.Snapshot { return snap }, Observer: deaf{}, Now: now, Listen: netip.AddrPortFrom(netip.IPv6Loopback(), 0),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	var big []string
	for i := range 60 {
		big = append(big, fmt.Sprintf("big.example.org. 300 IN AAAA 2001:db8:9::%x", i+1))
	}
	for name, records := range map[string][]string{"www.example.org.": {"www.example.org. 300 IN CNAME web.example.org.", "web.example.org. 200 IN AAAA 2001:db8:9::1"}, "big.example.org.": big} {
		for _, bits := range []struct{ do, cd bool }{{false, false}, {true, false}, {false, true}} {
			m := question(name, dns.TypeAAAA)
			m.CheckingDisabled = bits.cd
			m.SetEdns0(1232, bits.do)
			q, err := parseQuery(packed(t, m))
			if err != nil {
				t.Fatal(err)
			}
			a, err := s.upstreams.keep(replying(t, 0, records)(m, false)[0])
			if err != nil {
				t.Fatal(err)
			}
			s.cache.put(q.key(), a, s.editions.of(snap), snap.DNS.Cache)
		}
	}
	return s, snap
}

// plainQueries are questions of all sorts; those of the first part must be answered by the short way.
func plainQueries(t testing.TB) (short, long [][]byte) {
	for _, name := range []string{"www.example.org.", "wWw.eXample.ORG.", "big.example.org."} {
		for bits := range 32 {
			m := question(name, dns.TypeAAAA)
			m.CheckingDisabled, m.AuthenticatedData = bits&1 > 0, bits&2 > 0
			do := bits&4 > 0 && !m.CheckingDisabled
			if bits&8 > 0 {
				size := uint16(1232)
				if bits&16 > 0 {
					size = 100
				}
				m.SetEdns0(size, do)
			} else if bits&16 > 0 || bits&4 > 0 {
				continue
			}
			if name == "big.example.org." {
				long = append(long, packed(t, m))
			} else {
				short = append(short, packed(t, m))
			}
		}
	}
	for _, m := range []*dns.Msg{
		question("r1n02.example.net.", dns.TypeAAAA), question("www.example.org.", dns.TypeANY), question("www.example.org.", dns.TypeOPT),
		question(".", dns.TypeNS), question("version.bind.", dns.TypeTXT),
	} {
		long = append(long, packed(t, m))
	}
	m := question("www.example.org.", dns.TypeAAAA)
	m.RecursionDesired = false
	long = append(long, packed(t, m))
	m = question("www.example.org.", dns.TypeAAAA)
	m.Question[0].Qclass = dns.ClassCHAOS
	long = append(long, packed(t, m))
	m = question("www.example.org.", dns.TypeAAAA)
	m.SetEdns0(1232, false)
	m.IsEdns0().SetVersion(1)
	return short, append(long, packed(t, m))
}

// TestHitIsHandle: the short way gives what the long way does, octet for octet, or nothing.
func TestHitIsHandle(t *testing.T) {
	c := &clock{now: sitetest.Now()}
	s, snap := cached(t, c.Now)
	short, long := plainQueries(t)
	at := site.Arrival{Source: netip.IPv6Loopback()}
	for _, after := range []time.Duration{0, 100 * time.Second} {
		c.advance(after)
		for i, p := range append(short, long...) {
			w := quick{Server: s}
			got, ok := w.hit(s.moment(), p, at, nil, false, nil)
			if want := i < len(short); ok != want {
				t.Errorf("%x: short way %v, want %v", p, ok, want)
				continue
			}
			if !ok {
				continue
			}
			var sent []byte
			s.handle(t.Context(), client{at: at, send: func(b []byte) { sent = b }}, p)
			if !bytes.Equal(got, sent) {
				t.Errorf("to %x\n%x by the short way,\n%x by the long", p, got, sent)
			}
		}
	}
	w := quick{Server: s}
	if _, ok := w.hit(s.moment(), short[0], site.Arrival{Source: netip.MustParseAddr("2001:db8:99::1")}, nil, false, nil); ok {
		t.Error("a stranger is answered")
	}
	other := *snap
	if _, ok := w.hit(moment{&other, s.editions.of(&other), c.Now()}, short[0], at, nil, false, nil); ok {
		t.Error("answered although the inventory is another one: the name may be ours by now")
	}
	c.advance(101 * time.Second)
	if _, ok := w.hit(s.moment(), short[0], at, nil, false, nil); ok {
		t.Error("answered after its time")
	}
}

// TestHitOverTCP: kept answers by a connection, one after another, with and without EDNS.
func TestHitOverTCP(t *testing.T) {
	u := startUpstream(t, replying(t, 0, []string{web}))
	r := start(t, u.addr)
	c := r.dial("tcp6")
	for i := range 6 {
		q := question("WWW.example.org.", dns.TypeAAAA)
		q.Id = uint16(i)
		if i%2 > 0 {
			q.SetEdns0(1232, false)
		}
		writeTCP(t, c, packed(t, q))
		got := readTCP(t, c)
		same(t, got, reply(t, q, 0, func(m *dns.Msg) {
			m.RecursionAvailable = true
			if i%2 > 0 {
				m.SetEdns0(1232, false)
			}
		}, "WWW.example.org. 300 IN AAAA 2001:db8:9::1"))
		if got.Id != q.Id {
			t.Errorf("identifier %d, want %d", got.Id, q.Id)
		}
	}
	if n := u.count(); n != 1 {
		t.Errorf("asked %d times", n)
	}
}

// FuzzHit: no panic, and nothing that the long way would not say.
func FuzzHit(f *testing.F) {
	s, _ := cached(f, sitetest.Now)
	short, long := plainQueries(f)
	for _, p := range append(short, long...) {
		f.Add(p)
	}
	at := site.Arrival{Source: netip.IPv6Loopback()}
	f.Fuzz(func(t *testing.T, p []byte) {
		w := quick{Server: s}
		got, ok := w.hit(s.moment(), p, at, nil, false, nil)
		if !ok {
			return
		}
		var sent []byte
		s.handle(t.Context(), client{at: at, send: func(b []byte) { sent = b }}, p)
		if !bytes.Equal(got, sent) {
			t.Errorf("to %x\n%x by the short way,\n%x by the long", p, got, sent)
		}
	})
}
