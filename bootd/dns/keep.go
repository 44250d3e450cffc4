package dns

import (
	"fmt"
	"strings"
	"time"

	"github.com/miekg/dns"
)

const (
	// maxLife and maxDenial bound how long answers are kept (RFC 2308 section 5 recommends at most 3 hours for denials).
	maxLife   = 24 * time.Hour
	maxDenial = time.Hour
)

// keep makes a kept answer of an upstream's message.
func (u *upstreams) keep(p []byte) (*answer, error) {
	var usual usual
	if readUsual(p, &usual) {
		return usual.keep(p, u.now()), nil
	}
	m := new(dns.Msg)
	if err := m.Unpack(p); err != nil {
		return nil, fmt.Errorf("parsing answer: %w", err)
	}
	if _, err := findTTLs(p); err != nil || m.Truncated || len(m.Question) > 1 || len(m.Question) == 0 && dnsCode(p) != codeFormErr {
		return nil, fmt.Errorf("parsing answer: %w", errMismatch)
	}
	return keepMessage(m, u.now())
}

func keepMessage(m *dns.Msg, now time.Time) (*answer, error) {
	if m.Rcode != dns.RcodeSuccess && m.Rcode != dns.RcodeNameError {
		return nil, fmt.Errorf("%w: %s", errUseless, dns.RcodeToString[m.Rcode])
	}
	if err := belong(m); err != nil {
		return nil, fmt.Errorf("parsing answer: %w", err)
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
	a.made, a.life = now, life(m)
	return a, nil
}

// life is how long an answer may be kept: its smallest TTL, for a denial the smaller of the SOA's TTL and minimum (RFC 2308
// section 5). A denial without a SOA is not kept.
func life(m *dns.Msg) time.Duration {
	limit := maxLife
	denial := m.Rcode == dns.RcodeNameError || !answers(m)
	seconds := uint32(1<<31 - 1)
	for _, section := range [][]dns.RR{m.Answer, m.Ns, m.Extra} {
		for _, rr := range section {
			seconds = min(seconds, rr.Header().Ttl)
		}
	}
	if denial {
		limit = maxDenial
		soa := false
		for _, rr := range m.Ns {
			if s, ok := rr.(*dns.SOA); ok {
				soa = true
				seconds = min(seconds, s.Minttl)
			}
		}
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
