package dns

import (
	"net/netip"
	"testing"
	"time"

	"bootd.internal/bootd/site"
	"bootd.internal/bootd/timeline"
)

type deaf struct{}

func (deaf) Observe(timeline.Observation) {}

// BenchmarkHandle is the work for one query without its system calls.
func BenchmarkHandle(b *testing.B) {
	s, _ := cached(b, time.Now)
	at := site.Arrival{Source: netip.IPv6Loopback()}
	const www = "\x03www\x07example\x03org\x00\x00\x1c\x00\x01"
	for name, p := range map[string]string{"local": header + asked, "cached": header + www} {
		b.Run(name, func(b *testing.B) {
			c := client{at: at, send: func([]byte) {}}
			b.ReportAllocs()
			for b.Loop() {
				s.handle(b.Context(), c, []byte(p))
			}
		})
	}
	b.Run("hit", func(b *testing.B) {
		w, p, out := quick{Server: s}, []byte(header+www), make([]byte, 0, ednsSize)
		b.ReportAllocs()
		for b.Loop() {
			if _, ok := w.hit(s.moment(), p, at, nil, false, out); !ok {
				b.Fatal("no hit")
			}
		}
	})
}
