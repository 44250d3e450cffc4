package dns

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/miekg/dns"
)

// EDNS options (RFC 7873, RFC 7830) and the padding of RFC 8467 section 4.1.
const (
	optionCookie  = 10
	optionPadding = 12
	padBlock      = 128
	codeBadCookie = 23
)

// errUseConnection says that a datagram is not enough: the answer was cut, or whoever sent it changes what should have proved
// that he saw the question.
var errUseConnection = errors.New("ask over a connection")

// chance is unpredictable: the generator behind it is seeded by the kernel (ChaCha8, math/rand/v2).
func chance() uint64 { return rand.Uint64() }

// form is how a question to an upstream is written.
type form struct {
	edns, mixed, pad bool
	// cookie is ours, theirs the upstream's to us; nil: none.
	cookie, theirs []byte
}

// form is what an upstream is known to understand.
func (p *upstream) form(now time.Time) form {
	p.mu.Lock()
	defer p.mu.Unlock()
	f := form{edns: !now.Before(p.noEDNS), mixed: !now.Before(p.noCase), pad: p.Transport == "tls"}
	if f.edns && p.Transport == "udp" {
		f.cookie, f.theirs = p.cookie[:], p.theirs
	}
	return f
}

func (p *upstream) learn(change func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change()
}

type verdict int

const (
	cookieFine verdict = iota
	// cookieForged: the answer shows another cookie than ours, or none that is one (RFC 7873 section 5.3).
	cookieForged
	// cookieMissing: one who has sent cookies before sends none, or wants another one.
	cookieMissing
)

// cookies checks and learns cookies (RFC 7873 section 5.3). An answer that was cut or is FORMERR may lack them.
func (p *upstream) cookies(raw []byte, f form) verdict {
	if f.cookie == nil {
		return cookieFine
	}
	c, code := cookieOf(raw)
	switch {
	case c != nil && (len(c) != 8 && len(c) < 16 || len(c) > 40 || !bytes.Equal(c[:8], f.cookie)):
		return cookieForged
	case len(c) >= 16:
		p.learn(func() { p.theirs = bytes.Clone(c[8:]) })
	case f.theirs != nil && dnsCode(raw) != codeFormErr:
		p.learn(func() { p.theirs = nil }) // it may be another one behind the same address: the next question begins anew
		return cookieMissing
	}
	if code == codeBadCookie {
		return cookieMissing
	}
	return cookieFine
}

// cookieOf finds the cookie and the whole response code in the OPT record of an answer that is well-formed.
func cookieOf(raw []byte) ([]byte, int) {
	code := dnsCode(raw)
	at, ok := findOPT(raw)
	if !ok {
		return nil, code
	}
	code |= int(raw[at+5]) << 4
	end := at + 11 + int(binary.BigEndian.Uint16(raw[at+9:]))
	for o := at + 11; o+4 <= end; {
		n := int(binary.BigEndian.Uint16(raw[o+2:]))
		if o+4+n > end {
			break
		}
		if binary.BigEndian.Uint16(raw[o:]) == optionCookie {
			return raw[o+4 : o+4+n : o+4+n], code // not nil, however short
		}
		o += 4 + n
	}
	return nil, code
}

// findOPT gives the place of the OPT record's name, which is one octet.
func findOPT(raw []byte) (int, bool) {
	off := headerLen
	for range binary.BigEndian.Uint16(raw[4:]) {
		off = skipName(raw, off) + 4
	}
	count := 0
	for i := 6; i < headerLen; i += 2 {
		count += int(binary.BigEndian.Uint16(raw[i:]))
	}
	for range count {
		at := skipName(raw, off)
		if at+10 > len(raw) {
			return 0, false
		}
		end := at + 10 + int(binary.BigEndian.Uint16(raw[at+8:]))
		if end > len(raw) {
			return 0, false
		}
		if binary.BigEndian.Uint16(raw[at:]) == typeOPT && at == off+1 {
			return off, true
		}
		off = end
	}
	return 0, false
}

// upstreamQuery writes the question anew: nothing of the client's packet but the question, CD and DO reaches an upstream, above
// all no cookie. Letters are in random case (0x20): an answer that repeats them comes from one who saw the question.
func upstreamQuery(q *query, f form) []byte {
	p := make([]byte, headerLen, headerLen+len(q.question)+padBlock+60)
	binary.BigEndian.PutUint16(p, uint16(chance()))
	flags := uint16(bitRD | bitAD) // AD: we understand it in the answer (RFC 6840 section 5.7)
	if q.cd {
		flags |= bitCD
	}
	binary.BigEndian.PutUint16(p[2:], flags)
	p[5] = 1
	p = append(p, q.question...)
	if f.mixed {
		mix(p[headerLen:])
	}
	if f.edns {
		p = appendOPT(p, 0, 0, q.do)
		opt := len(p)
		if f.cookie != nil {
			p = appendOption(p, optionCookie, len(f.cookie)+len(f.theirs))
			p = append(append(p, f.cookie...), f.theirs...)
		}
		if f.pad {
			n := (padBlock - (len(p)+4)%padBlock) % padBlock
			p = append(appendOption(p, optionPadding, n), make([]byte, n)...)
		}
		binary.BigEndian.PutUint16(p[opt-2:], uint16(len(p)-opt))
	}
	return p
}

func appendOption(p []byte, code, n int) []byte {
	return binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(p, uint16(code)), uint16(n))
}

// mix gives each letter of a question a case by chance.
func mix(question []byte) {
	var bits uint64
	left := 0
	for i := range max(0, len(question)-4) {
		c := question[i] | 0x20
		if c < 'a' || c > 'z' || question[i] < 'A' {
			continue
		}
		if left == 0 {
			bits, left = chance(), 64
		}
		question[i] = c &^ (byte(bits&1) << 5)
		bits >>= 1
		left--
	}
}

// matches checks identifier, direction and question. A resolver that does not know EDNS may send FORMERR without a question.
func matches(p, out []byte) error {
	if len(p) < headerLen || !bytes.Equal(p[:2], out[:2]) || p[2]&0x80 == 0 || p[2]>>3&15 != 0 {
		return errMismatch
	}
	count := binary.BigEndian.Uint16(p[4:])
	if count == 0 && dnsCode(p) == codeFormErr {
		return nil
	}
	end := skipName(out, headerLen) + 4
	if count != 1 || len(p) < end ||
		!bytes.Equal(lower(bytes.Clone(p[headerLen:end])), lower(bytes.Clone(out[headerLen:end]))) {
		return errMismatch
	}
	return nil
}

// wellFormed reports whether the rest of an answer can be read at all; one that was cut may end anywhere. The library alone
// would take an answer whose records are missing for one without data.
func wellFormed(p []byte) bool {
	if binary.BigEndian.Uint16(p[2:])&bitTC != 0 {
		return true
	}
	if readUsual(p, new(usual)) {
		return true
	}
	_, err := findTTLs(p)
	return err == nil && new(dns.Msg).Unpack(p) == nil
}

// dnsCode is the response code without its extension.
func dnsCode(p []byte) int { return int(p[3] & 15) }
