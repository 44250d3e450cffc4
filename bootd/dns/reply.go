package dns

import (
	"encoding/binary"
	"fmt"
	"strings"
	"time"

	"bootd.internal/bootd/decide/name"
	"github.com/miekg/dns"
)

// answer is an answer that many clients can be given: octets without an OPT record, with the places of the TTLs.
type answer struct {
	// wire is header, question and records. Identifier, flags and the case of the question are the client's.
	wire []byte
	ttls []int
	code int
	// aa and ad are the flags of those names.
	aa, ad bool
	// made and life are when it was learned and how long it may be kept; zero: not at all.
	made time.Time
	life time.Duration
}

// blank is an answer of nothing but a response code.
func blank(q *query, code int) *answer {
	a := &answer{wire: make([]byte, headerLen, headerLen+len(q.question)), code: code}
	if len(q.question) > 0 {
		a.wire[5] = 1
		a.wire = append(a.wire, q.question...)
	}
	return a
}

// pack makes octets of a message; the OPT record must be gone.
func pack(m *dns.Msg) (*answer, error) {
	m.Compress = true
	wire, err := m.Pack()
	if err != nil {
		return nil, fmt.Errorf("packing answer: %w", err)
	}
	a := &answer{wire: wire, code: m.Rcode, aa: m.Authoritative, ad: m.AuthenticatedData}
	if a.ttls, err = findTTLs(wire); err != nil {
		return nil, err
	}
	return a, nil
}

// findTTLs walks over an answer that was just packed.
func findTTLs(p []byte) ([]int, error) {
	off := headerLen
	for range binary.BigEndian.Uint16(p[4:]) {
		off = skipName(p, off) + 4
	}
	count := 0
	for i := 6; i < headerLen; i += 2 {
		count += int(binary.BigEndian.Uint16(p[i:]))
	}
	ttls := make([]int, 0, count)
	for range count {
		at := skipName(p, off) + 4
		if at+6 > len(p) {
			return nil, fmt.Errorf("finding TTLs at octet %d: %w", off, errFormat)
		}
		ttls = append(ttls, at)
		off = at + 6 + int(binary.BigEndian.Uint16(p[at+4:]))
	}
	if off != len(p) {
		return nil, fmt.Errorf("finding TTLs at octet %d: %w", off, errFormat)
	}
	return ttls, nil
}

// skipName gives the octet after a name, beyond the end when there is none.
func skipName(p []byte, off int) int {
	for off < len(p) {
		switch n := int(p[off]); {
		case n == 0:
			return off + 1
		case n >= 0xc0:
			return off + 2
		default:
			off += 1 + n
		}
	}
	return len(p)
}

// reply writes the answer for one client: its identifier, the case of its question, what is left of the TTLs, an OPT record
// of ours if it sent one. What does not fit is left out whole and marked TC: no client makes use of half an answer.
func (a *answer) reply(q *query, now time.Time, limit int, recursion bool) []byte {
	out := make([]byte, len(a.wire), len(a.wire)+11+len(q.echo))
	copy(out, a.wire)
	flags := bitQR | uint16(a.code&15) | bit(bitAA, a.aa) | bit(bitRD, q.rd) | bit(bitRA, recursion) | bit(bitCD, q.cd) |
		bit(bitAD, a.ad && (q.ad || q.do)) // RFC 6840 section 5.7
	opt := 0
	if q.edns {
		opt = 11 + len(q.echo)
	}
	if len(out)+opt > limit {
		out = out[:headerLen+len(q.question)]
		clear(out[6:headerLen])
		flags |= bitTC
	} else if a.life > 0 {
		a.age(out, now)
	}
	binary.BigEndian.PutUint16(out, q.id)
	binary.BigEndian.PutUint16(out[2:], flags)
	copy(out[headerLen:], q.question)
	if q.edns {
		out = appendOPT(out, 0, a.code, q.do)
		binary.BigEndian.PutUint16(out[len(out)-2:], uint16(len(q.echo)))
		out = append(out, q.echo...)
	}
	return out
}

// bit is a flag where it is set.
func bit(flag uint16, set bool) uint16 {
	if set {
		return flag
	}
	return 0
}

// staleTTL is how long clients may keep an answer that has run out (RFC 8767 section 4), in seconds.
const staleTTL = 30

// age writes what is left of the TTLs.
func (a *answer) age(out []byte, now time.Time) {
	spent := uint32(max(0, now.Sub(a.made)/time.Second))
	stale := now.Sub(a.made) >= a.life
	for _, at := range a.ttls {
		left := binary.BigEndian.Uint32(out[at:])
		if stale {
			left = staleTTL + spent
		}
		binary.BigEndian.PutUint32(out[at:], left-min(left, spent))
	}
}

// appendOPT adds to the message that begins at an octet our OPT record (RFC 6891 section 6.1.2): no options, above all none of the client's.
func appendOPT(p []byte, at, code int, do bool) []byte {
	binary.BigEndian.PutUint16(p[at+10:], binary.BigEndian.Uint16(p[at+10:])+1)
	flags := byte(0)
	if do {
		flags = 0x80
	}
	return append(p, 0, 0, typeOPT, ednsSize>>8, ednsSize&255, byte(code>>4), 0, flags, 0, 0, 0)
}

// localAnswer makes octets of a decision.
func localAnswer(q *query, d name.Answer) (*answer, error) {
	m := &dns.Msg{Question: []dns.Question{{Name: q.name, Qtype: q.typ, Qclass: q.class}}}
	m.Rcode = int(d.RCode)
	m.Authoritative = d.RCode != name.Refused
	for _, r := range d.Records {
		m.Answer = append(m.Answer, record(r))
	}
	for _, r := range d.Authority {
		m.Ns = append(m.Ns, record(r))
	}
	return pack(m)
}

// split cuts a text into strings of 255 octets (RFC 1035 section 3.3). The library reads escapes in them.
func split(s string) []string {
	var out []string
	for len(s) > 255 {
		out, s = append(out, s[:255]), s[255:]
	}
	out = append(out, s)
	for i := range out {
		out[i] = strings.NewReplacer("\\", "\\\\", "\"", "\\\"").Replace(out[i])
	}
	return out
}

// record makes a library's record of a decision's.
func record(r name.Record) dns.RR {
	h := dns.RR_Header{Name: r.Name, Rrtype: uint16(r.Type), Class: dns.ClassINET, Ttl: r.TTL}
	switch r.Type {
	case name.TypeAAAA:
		return &dns.AAAA{Hdr: h, AAAA: r.Addr.AsSlice()}
	case name.TypeA:
		return &dns.A{Hdr: h, A: r.Addr.AsSlice()}
	case name.TypeCNAME:
		return &dns.CNAME{Hdr: h, Target: r.Target}
	case name.TypeTXT:
		return &dns.TXT{Hdr: h, Txt: split(r.Text)}
	case name.TypeSRV:
		return &dns.SRV{Hdr: h, Priority: r.Priority, Weight: r.Weight, Port: r.Port, Target: r.Target}
	case name.TypePTR:
		return &dns.PTR{Hdr: h, Ptr: r.Target}
	case name.TypeHINFO:
		return &dns.HINFO{Hdr: h, Cpu: "RFC8482"}
	default: // a SOA, in the numbers of RFC 6303 section 3 but for the short life of a denial
		return &dns.SOA{
			Hdr: h, Ns: r.Name, Mbox: "nobody.invalid.", Serial: r.Serial,
			Refresh: 3600, Retry: 1200, Expire: 604800, Minttl: name.TTL,
		}
	}
}
