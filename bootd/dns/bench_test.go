package dns

import (
	"net/netip"
	"testing"
	"time"

	"bootd.internal/bootd/site"
	"bootd.internal/bootd/site/sitetest"
	"bootd.internal/bootd/timeline"
)

type deaf struct{}

func (deaf) Observe(timeline.Observation) {}

// BenchmarkHandle is the work for one query without its two system calls.
func BenchmarkHandle(b *testing.B) {
	snap := sitetest.Snapshot(b, sitetest.Small(), sitetest.SmallFacts(b))
	snap.DNS.Upstreams = []site.Upstream{overUDP(netip.MustParseAddrPort("[2001:db8:53::1]:53"))}
	s, err := New(Config{
		Snapshot: func() *site.Snapshot { return snap }, Observer: deaf{}, Now: time.Now,
		Listen: netip.AddrPortFrom(netip.IPv6Loopback(), 0),
	})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	const www = "\x03www\x07example\x03org\x00\x00\x1c\x00\x01"
	q, err := parseQuery([]byte(header + www))
	if err != nil {
		b.Fatal(err)
	}
	s.upstreams.now = time.Now
	kept, err := s.upstreams.keep([]byte("\x12\x34\x81\x80\x00\x01\x00\x01\x00\x00\x00\x00" + www +
		"\xc0\x0c\x00\x1c\x00\x01\x00\x00\x0e\x10\x00\x10" + "0123456789abcdef"))
	if err != nil {
		b.Fatal(err)
	}
	s.cache.put(keyOf(&q, ""), kept, snap, snap.DNS.Cache)
	for name, p := range map[string]string{"local": header + asked, "cached": header + www} {
		b.Run(name, func(b *testing.B) {
			c := client{at: site.Arrival{Source: netip.IPv6Loopback()}, send: func([]byte) {}}
			b.ReportAllocs()
			for b.Loop() {
				s.handle(b.Context(), c, []byte(p))
			}
		})
	}
}
