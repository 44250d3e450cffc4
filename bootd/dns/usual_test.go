package dns

import (
	"strings"
	"testing"
	"time"

	"bootd.internal/bootd/site/sitetest"
	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"
)

// TestUsual: which answers are kept as they came.
func TestUsual(t *testing.T) {
	q := question("www.example.org.", dns.TypeAAAA)
	const soa = "example.org. 900 IN SOA ns.example.org. admin.example.org. 1 2 3 4 30"
	tests := []struct {
		name   string
		answer []string
		change func(*dns.Msg)
		life   time.Duration
		want   bool
	}{
		{"one address", []string{web}, nil, 300 * time.Second, true},
		{"addresses of another name", []string{
			"www.example.org. 300 IN CNAME web.example.org.", "web.example.org. 100 IN AAAA 2001:db8:9::1",
			"web.example.org. 200 IN AAAA 2001:db8:9::2",
		}, nil, 100 * time.Second, true},
		{"for ever", []string{"www.example.org. 4294967295 IN AAAA 2001:db8:9::1"}, nil, 0, false},
		{"another name's beside", []string{web, "evil.example.org. 300 IN AAAA 2001:db8:9::bad"}, nil, 0, false},
		{"in another order", []string{"web.example.org. 100 IN AAAA 2001:db8:9::1", "www.example.org. 300 IN CNAME web.example.org."}, nil, 0, false},
		{"for very long", []string{"www.example.org. 2147483647 IN AAAA 2001:db8:9::1"}, nil, maxLife, true},
		{"only another name", []string{"www.example.org. 300 IN CNAME web.example.org."}, nil, 0, false},
		{"another type", []string{"www.example.org. 300 IN TXT text"}, nil, 0, false},
		{"none", nil, nil, 0, false},
		{"an authority", []string{web}, func(m *dns.Msg) { m.Ns = []dns.RR{rr(t, soa)} }, 0, false},
		{"no such name", []string{web}, func(m *dns.Msg) { m.Rcode = dns.RcodeNameError }, 0, false},
		{"a code that is longer", []string{web}, func(m *dns.Msg) { m.Rcode = dns.RcodeBadVers }, 0, false},
		{"more beside it", []string{web}, func(m *dns.Msg) { m.Extra = append(m.Extra, rr(t, "a.example.org. 1 IN A 192.0.2.1")) }, 0, false},
		{"not compressed", []string{web}, func(m *dns.Msg) { m.Compress = false }, 0, false},
		{"another class", []string{"www.example.org. 300 CH A \\# 4 00000000"}, nil, 0, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := unpacked(t, replying(t, 0, tt.answer)(q, false)[0])
			m.Compress = true
			if tt.change != nil {
				tt.change(m)
			}
			var u usual
			ok := readUsual(packed(t, m), &u)
			if ok != tt.want || ok && u.keep(packed(t, m), time.Time{}).life != tt.life {
				t.Errorf("usual %v %+v", ok, u)
			}
		})
	}
}

// FuzzUsual: what is kept as it came is what the library would have made of it.
func FuzzUsual(f *testing.F) {
	q := question("www.example.org.", dns.TypeAAAA)
	for _, answer := range [][]string{{web}, {"www.example.org. 300 IN CNAME web.example.org.", "web.example.org. 100 IN AAAA 2001:db8:9::1"}} {
		m := unpacked(f, replying(f, 0, answer)(q, false)[0])
		m.Compress = true
		f.Add(packed(f, m))
	}
	f.Fuzz(func(t *testing.T, p []byte) {
		var usual usual
		if !readUsual(p, &usual) {
			return
		}
		got := usual.keep(p, sitetest.Now())
		want, err := keepMessage(unpacked(t, p), sitetest.Now())
		if err != nil { // there are names that the library reads, but does not write
			unpacked(t, got.wire)
			return
		}
		if got.life != want.life || got.ad != want.ad || got.code != want.code || got.aa != want.aa {
			t.Errorf("got %+v, want %+v", got, want)
		}
		a, b := unpacked(t, got.wire), unpacked(t, want.wire)
		for _, rr := range append(a.Answer[:len(a.Answer):len(a.Answer)], b.Answer...) {
			h := rr.Header()
			h.Rdlength = 0                   // names may be written shorter
			h.Name = strings.ToLower(h.Name) // and in the case of the question, where one leads to itself
		}
		if diff := cmp.Diff(b.Answer, a.Answer); diff != "" || !cmp.Equal(a.Question, b.Question) || len(a.Extra)+len(a.Ns) > 0 {
			t.Error(diff)
		}
		if places, err := findTTLs(got.wire); err != nil || !cmp.Equal(places, got.ttls) {
			t.Errorf("TTLs at %v, want %v, %v", got.ttls, places, err)
		}
	})
}
