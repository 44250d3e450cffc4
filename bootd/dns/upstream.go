package dns

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"
)

const (
	// patience is how long a client's question may take: resolvers in clients ask again after 5 s.
	patience = 4500 * time.Millisecond
	// firstTry and laterTry are how long one upstream has before the next is asked.
	firstTry = time.Second
	laterTry = 1500 * time.Millisecond
	// maxLife and maxDenial bound how long answers are kept (RFC 2308 section 5 recommends at most 3 hours for denials).
	maxLife   = 24 * time.Hour
	maxDenial = time.Hour
	// failureLife is how long a failure is remembered (RFC 9520 section 3.2: at least a second).
	failureLife = time.Second
)

var (
	errMismatch = errors.New("answer to another question")
	errNoAnswer = errors.New("no upstream answered")
)

// upstreams asks resolvers in turn, first the one that answered last.
type upstreams struct {
	now   func() time.Time
	first atomic.Uint32
}

// resolve asks until one answers; then it says what that was. An answer that means "I cannot" moves on to the next.
func (u *upstreams) resolve(ctx context.Context, q *query, servers []netip.AddrPort) (*answer, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var errs error
	try := firstTry
	for range 2 {
		first := int(u.first.Load())
		for i := range servers {
			at := (first + i) % len(servers)
			a, err := u.ask(ctx, q, servers[at], try)
			if err == nil {
				u.first.Store(uint32(at))
				return a, nil
			}
			errs = fmt.Errorf("asking %s: %w", servers[at], err)
			if ctx.Err() != nil {
				return nil, fmt.Errorf("%w: %w", errNoAnswer, errs)
			}
		}
		try = laterTry
	}
	return nil, fmt.Errorf("%w: %w", errNoAnswer, errs)
}

// ask asks one upstream: by UDP with EDNS, without EDNS if it does not know that, by TCP if the answer was cut.
func (u *upstreams) ask(ctx context.Context, q *query, server netip.AddrPort, try time.Duration) (*answer, error) {
	ctx, cancel := context.WithTimeout(ctx, try)
	defer cancel()
	edns := true
	p, err := exchange(ctx, "udp", q, server, edns)
	if err == nil && dnsCode(p) == codeFormErr {
		edns = false
		p, err = exchange(ctx, "udp", q, server, edns)
	}
	if err == nil && binary.BigEndian.Uint16(p[2:])&bitTC != 0 {
		p, err = exchange(ctx, "tcp", q, server, edns)
	}
	if err != nil {
		return nil, err
	}
	return u.keep(p)
}

// keep makes a kept answer of an upstream's message.
func (u *upstreams) keep(p []byte) (*answer, error) {
	m := new(dns.Msg)
	if err := m.Unpack(p); err != nil {
		return nil, fmt.Errorf("parsing answer: %w", err)
	}
	if !wellFormed(p) || m.Truncated || len(m.Question) > 1 || len(m.Question) == 0 && dnsCode(p) != codeFormErr {
		return nil, fmt.Errorf("parsing answer: %w", errMismatch)
	}
	if m.Rcode != dns.RcodeSuccess && m.Rcode != dns.RcodeNameError {
		return nil, fmt.Errorf("reading answer: %s", dns.RcodeToString[m.Rcode])
	}
	for _, rr := range m.Answer {
		// Then it is a pointer to the question once packed, and comes back in the case that each client wrote.
		if h := rr.Header(); strings.EqualFold(h.Name, m.Question[0].Name) {
			h.Name = m.Question[0].Name
		}
	}
	extra := m.Extra[:0]
	for _, rr := range m.Extra {
		if t := rr.Header().Rrtype; t != dns.TypeOPT && t != dns.TypeTSIG {
			extra = append(extra, rr)
		}
	}
	m.Extra = extra
	m.Authoritative = false
	a, err := pack(m)
	if err != nil {
		return nil, err
	}
	// The library reads some broken records that it then writes in another way, broken still: clients are spared those.
	if err := new(dns.Msg).Unpack(a.wire); err != nil {
		return nil, fmt.Errorf("checking answer: %w", err)
	}
	a.made, a.life = u.now(), life(m)
	return a, nil
}

// life is how long an answer may be kept: its smallest TTL, for a denial the smaller of the SOA's TTL and minimum (RFC 2308
// section 5). A denial without a SOA is not kept.
func life(m *dns.Msg) time.Duration {
	limit := maxLife
	denial := m.Rcode == dns.RcodeNameError || !answers(m)
	seconds := uint32(1<<31 - 1)
	soa := false
	for _, section := range [][]dns.RR{m.Answer, m.Ns, m.Extra} {
		for _, rr := range section {
			ttl := rr.Header().Ttl
			if ttl > 1<<31-1 { // RFC 2181 section 8
				ttl = 0
			}
			if s, ok := rr.(*dns.SOA); ok {
				soa = true
				ttl = min(ttl, s.Minttl)
			}
			seconds = min(seconds, ttl)
		}
	}
	if denial {
		limit = maxDenial
		if !soa {
			return 0
		}
	}
	return min(limit, time.Duration(seconds)*time.Second)
}

// answers reports whether a message holds a record of the type that was asked for.
func answers(m *dns.Msg) bool {
	for _, rr := range m.Answer {
		if t := rr.Header().Rrtype; t == m.Question[0].Qtype {
			return true
		}
	}
	return false
}

// exchange sends the question from a new port with a new identifier, and waits until the answer to it comes or ctx ends: what
// does not match is forged, late or broken, and the good answer may be right behind it.
func exchange(ctx context.Context, network string, q *query, server netip.AddrPort, edns bool) ([]byte, error) {
	out, err := upstreamQuery(q, edns)
	if err != nil {
		return nil, err
	}
	conn, err := new(net.Dialer).DialContext(ctx, network, server.String())
	if err != nil {
		return nil, fmt.Errorf("opening socket: %w", err)
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if network == "tcp" {
		return exchangeTCP(conn, out)
	}
	if _, err := conn.Write(out); err != nil {
		return nil, fmt.Errorf("sending question: %w", err)
	}
	buf := make([]byte, 4096)
	for {
		n, err := conn.Read(buf)
		if err != nil {
			return nil, fmt.Errorf("waiting for the answer: %w", err)
		}
		if matches(buf[:n], out) == nil && wellFormed(buf[:n]) {
			return buf[:n], nil
		}
	}
}

func exchangeTCP(conn net.Conn, out []byte) ([]byte, error) {
	if _, err := conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(out))), out...)); err != nil {
		return nil, fmt.Errorf("sending question: %w", err)
	}
	var size [2]byte
	if _, err := io.ReadFull(conn, size[:]); err != nil {
		return nil, fmt.Errorf("waiting for the answer: %w", err)
	}
	p := make([]byte, binary.BigEndian.Uint16(size[:]))
	if _, err := io.ReadFull(conn, p); err != nil {
		return nil, fmt.Errorf("reading the answer: %w", err)
	}
	return p, matches(p, out)
}

// upstreamQuery writes the question anew: nothing of the client's packet but the question, RD, CD and DO reaches an upstream,
// above all no cookie.
func upstreamQuery(q *query, edns bool) ([]byte, error) {
	p := make([]byte, headerLen, headerLen+len(q.question)+11)
	if _, err := rand.Read(p[:2]); err != nil {
		return nil, fmt.Errorf("drawing query identifier: %w", err)
	}
	flags := uint16(bitRD | bitAD) // AD: we understand it in the answer (RFC 6840 section 5.7)
	if q.cd {
		flags |= bitCD
	}
	binary.BigEndian.PutUint16(p[2:], flags)
	p[5] = 1
	p = append(p, q.question...)
	if edns {
		p = appendOPT(p, 0, q.do)
	}
	return p, nil
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
	_, err := findTTLs(p)
	return err == nil && new(dns.Msg).Unpack(p) == nil
}

// dnsCode is the response code without its extension.
func dnsCode(p []byte) int { return int(p[3] & 15) }
