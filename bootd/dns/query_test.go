package dns

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"bootd.internal/bootd/reason"
	"bootd.internal/bootd/site"
	"bootd.internal/bootd/site/sitetest"
	"bootd.internal/bootd/timeline"
	"github.com/miekg/dns"
)

const (
	header    = "\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00"
	withOPT   = "\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x01"
	withTwo   = "\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x02"
	host      = "\x05r1n02\x07example\x03net\x00"
	asked     = host + "\x00\x1c\x00\x01"
	opt       = "\x00\x00\x29\x10\x00\x00\x00\x00\x00\x00\x00"
	formErr   = "\x12\x34\x81\x01"
	emptyRest = "\x00\x01\x00\x00\x00\x00\x00\x00"
)

// badQuery is what nobody should send: its answer, empty for silence, and what is observed.
type badQuery struct {
	name, packet, answer, message string
	why                           reason.Reason
}

func badQueries() []badQuery {
	long := strings.Repeat("\x3f"+strings.Repeat("x", 63), 4) + "\x00"
	return []badQuery{
		{"nothing", "", "", "other", reason.Malformed},
		{"one octet", "\x12", "", "other", reason.Malformed},
		{"eleven octets", header[:11], "", "other", reason.Malformed},
		{"a response", "\x12\x34\x81\x80" + header[4:] + asked, "", "other", reason.Malformed},
		{"5 KB", header + asked + strings.Repeat("x", 5000), "", "other", reason.Oversized},
		{"header alone", header, formErr + strings.Repeat("\x00", 8), "other", reason.Malformed},
		{
			"QDCOUNT 0", "\x12\x34\x01\x00" + strings.Repeat("\x00", 8), formErr + strings.Repeat("\x00", 8),
			"other", reason.Malformed,
		},
		{
			"QDCOUNT 2", "\x12\x34\x01\x00\x00\x02\x00\x00\x00\x00\x00\x00" + asked + asked, formErr + strings.Repeat("\x00", 8),
			"other", reason.Malformed,
		},
		{"compression loop", header + "\xc0\x0c\x00\x1c\x00\x01", formErr + strings.Repeat("\x00", 8), "other", reason.Malformed},
		{"forward pointer", header + "\xc0\x20\x00\x1c\x00\x01", formErr + strings.Repeat("\x00", 8), "other", reason.Malformed},
		{"reserved label", header + "\x80x\x00\x00\x1c\x00\x01", formErr + strings.Repeat("\x00", 8), "other", reason.Malformed},
		{"name of 257 octets", header + long + "\x00\x1c\x00\x01", formErr + strings.Repeat("\x00", 8), "other", reason.Malformed},
		{"name past the end", header + "\x3fabc", formErr + strings.Repeat("\x00", 8), "other", reason.Malformed},
		{"no type", header + host + "\x00\x1c", formErr + strings.Repeat("\x00", 8), "other", reason.Malformed},
		{"trailing octets", header + asked + "xyz", formErr + emptyRest + asked, "AAAA", reason.Malformed},
		{"missing OPT", withOPT + asked, formErr + emptyRest + asked, "AAAA", reason.Malformed},
		{"OPT twice", withTwo + asked + opt + opt, formErr + emptyRest + asked, "AAAA", reason.Malformed},
		{
			"OPT with a name", withOPT + asked + host + opt[1:], formErr + emptyRest + asked, "AAAA", reason.Malformed,
		},
		{
			"RDLENGTH past the end", withOPT + asked + opt[:9] + "\xff\xff", formErr + emptyRest + asked,
			"AAAA", reason.Malformed,
		},
		{
			"option past the end", withOPT + asked + opt[:9] + "\x00\x04\x00\x0a\x00\x08", formErr + emptyRest + asked,
			"AAAA", reason.Malformed,
		},
		{
			"a cookie of 7 octets", withOPT + asked + opt[:9] + "\x00\x0b\x00\x0a\x00\x071234567", formErr + emptyRest + asked,
			"AAAA", reason.Malformed,
		},
		{
			"a cookie of 12 octets", withOPT + asked + opt[:9] + "\x00\x10\x00\x0a\x00\x0c123456789012", formErr + emptyRest + asked,
			"AAAA", reason.Malformed,
		},
		{
			"an answer in the query", "\x12\x34\x01\x00\x00\x01\x00\x01\x00\x00\x00\x00" + asked, formErr + emptyRest + asked,
			"AAAA", reason.Malformed,
		},
		{
			"1000 records", "\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x03\xe8" + asked, formErr + emptyRest + asked,
			"AAAA", reason.Malformed,
		},
		{
			"a question for OPT", header + host + "\x00\x29\x00\x01", formErr + emptyRest + host + "\x00\x29\x00\x01",
			"other", reason.Malformed,
		},
		{"NOTIFY", "\x12\x34\x20\x00" + header[4:] + asked, "\x12\x34\x80\x04" + strings.Repeat("\x00", 8), "other", reason.Refused},
		{
			"EDNS version 1", withOPT + asked + "\x00\x00\x29\x10\x00\x00\x01\x00\x00\x00\x00",
			"\x12\x34\x81\x00\x00\x01\x00\x00\x00\x00\x00\x01" + asked + "\x00\x00\x29\x04\xd0\x01\x00\x00\x00\x00\x00",
			"AAAA", reason.Refused,
		},
		{
			"zone transfer", header + host + "\x00\xfc\x00\x01", "\x12\x34\x81\x05" + emptyRest + host + "\x00\xfc\x00\x01",
			"other", reason.Refused,
		},
	}
}

// TestBadQueries: each gets its answer or silence, and its reason. A silence is proved by the answer to the next query coming
// first.
func TestBadQueries(t *testing.T) {
	r := start(t)
	for _, tt := range badQueries() {
		t.Run(tt.name, func(t *testing.T) {
			c := r.dial("udp6")
			if _, err := c.Write([]byte(tt.packet)); err != nil {
				t.Fatal(err)
			}
			observed(t, r.seen, tt.message, why(tt.why))
			buf := make([]byte, 4096)
			if tt.answer != "" {
				n, err := c.Read(buf)
				if err != nil || string(buf[:n]) != tt.answer {
					t.Errorf("answer %x, %v; want %x", buf[:n], err, tt.answer)
				}
			}
			next := unpacked(t, raw(t, c, []byte("\x99"+header[1:]+asked)))
			if next.Id != 0x9934 || len(next.Answer) != 1 {
				t.Error(next)
			}
			r.seen.next(t)
		})
	}
}

// FuzzHandle gives the server whatever a client may send: no panic, no stall, at most one answer, which can be parsed and
// carries the identifier; one observation.
func FuzzHandle(f *testing.F) {
	for _, s := range []string{
		"", header, header + asked, withOPT + asked + opt, withTwo + asked + opt + opt, header + "\xc0\x0c\x00\x1c\x00\x01",
		header + "\x05a.b\\c\x07example\x03net\x00\x00\x1c\x00\x01", header + "\x00\x00\x02\x00\x01",
		header + "\x07example\x03net\x00\x00\xff\x00\x01", header + "\x011\x010\x010\x0210\x07in-addr\x04arpa\x00\x00\x0c\x00\x01",
	} {
		f.Add([]byte(s))
	}
	for _, q := range badQueries() {
		f.Add([]byte(q.packet))
	}
	snap := sitetest.Snapshot(f, sitetest.Small(), sitetest.SmallFacts(f))
	seen := make(recorder, 16)
	s, err := New(Config{
		Snapshot: func() *site.Snapshot { return snap }, Observer: seen, Now: sitetest.Now,
		Listen: netip.AddrPortFrom(netip.IPv6Loopback(), 0),
	})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = s.Close() })
	f.Fuzz(func(t *testing.T, p []byte) {
		took := time.Hour
		var sent [][]byte
		for range 5 { // a machine under load stalls now and then; a slow server does each time
			sent = nil
			c := client{at: site.Arrival{Source: netip.IPv6Loopback()}, send: func(b []byte) { sent = append(sent, b) }}
			began := time.Now()
			s.handle(t.Context(), c, p)
			took = min(took, time.Since(began))
			checkObservation(t, <-seen)
			if len(seen) > 0 {
				t.Fatal("observed twice")
			}
		}
		if took > 10*time.Millisecond {
			t.Errorf("took %v", took)
		}
		if len(sent) > 1 {
			t.Fatalf("%d answers", len(sent))
		}
		for _, b := range sent {
			m := new(dns.Msg)
			if err := m.Unpack(b); err != nil || len(b) > ednsSize || string(b[:2]) != string(p[:2]) || !m.Response {
				t.Errorf("answer %x: %v", b, err)
			}
		}
	})
}

func checkObservation(t *testing.T, o timeline.Observation) {
	t.Helper()
	if o.Err != nil || o.Outcome.Reason == reason.None {
		t.Errorf("observed %+v", o)
	}
}

// FuzzUpstream gives the forwarder whatever an upstream may send: what it keeps can be parsed by clients, and is the same
// when it is kept again.
func FuzzUpstream(f *testing.F) {
	q := question("www.example.org.", dns.TypeAAAA)
	for _, p := range replying(f, 0, []string{
		"www.example.org. 300 IN CNAME web.example.org.", "web.example.org. 100 IN AAAA 2001:db8:9::1",
	}, "example.org. 900 IN SOA ns.example.org. admin.example.org. 1 2 3 4 30")(q, false) {
		f.Add(p)
		f.Add(p[:len(p)-3])
	}
	f.Add([]byte("\x12\x34\x81\x80\x00\x01\x00\x01\x00\x00\x00\x00\x00\x00\x1c\x00\x01\xc0\x0c\x00\x1c\x00\x01\xff\xff\xff\xff\x00\x00"))
	f.Add([]byte("\x12\x34\x81\x81" + strings.Repeat("\x00", 8)))
	for _, p := range junk(f, q, replying(f, 0, []string{web})(q, false)[0]) {
		f.Add(p)
	}
	two := unpacked(f, replying(f, 0, []string{web})(q, false)[0])
	two.Extra = append(two.Extra, two.Extra[0])
	f.Add(packed(f, two))
	u, out := newUpstreams(f.Context(), sitetest.Now, nil), packed(f, q)
	f.Fuzz(func(t *testing.T, p []byte) {
		fits := matches(p, out) == nil
		if len(p) < headerLen {
			if fits {
				t.Error("it is too short to be an answer")
			}
			return
		}
		if fits && wellFormed(p) {
			if c, _ := cookieOf(p); len(c) > len(p) {
				t.Errorf("a cookie of %d octets", len(c))
			}
		}
		a, err := u.keep(p)
		if err != nil {
			return
		}
		if a.life < 0 || a.life > maxLife {
			t.Errorf("kept for %v", a.life)
		}
		end := skipName(a.wire, headerLen) + 4
		client := query{id: 0x1234, rd: true, question: a.wire[headerLen:end]}
		out := a.reply(&client, sitetest.Now().Add(time.Hour), 65535, true)
		if err := new(dns.Msg).Unpack(out); err != nil {
			t.Fatalf("%v in %x", err, out)
		}
		if again, err := u.keep(a.reply(&client, sitetest.Now(), 65535, true)); err != nil || len(again.ttls) != len(a.ttls) {
			t.Errorf("kept again: %v", err)
		}
	})
}
