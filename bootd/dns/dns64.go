package dns

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"time"

	"bootd.internal/bootd/decide/name"
	"bootd.internal/bootd/reason"
	"bootd.internal/bootd/site"
	"github.com/miekg/dns"
)

// maxSynthetic bounds the life of a made answer where the denial of the real one says nothing (RFC 6147 section 5.1.7).
const maxSynthetic = 600

// dns64 is that of the network that the client is on.
func (c *client) dns64() *site.DNS64 {
	if c.net == nil {
		return nil
	}
	return c.net.DNS64
}

// usable64 is the DNS64 that may answer a question: for AAAA alone, and not for a client that checks signatures itself (RFC
// 6147 section 5.5: DO and CD).
func usable64(q *query, d *site.DNS64) *site.DNS64 {
	if q.typ != dns.TypeAAAA || q.class != dns.ClassINET || q.do && q.cd {
		return nil
	}
	return d
}

// synthesized answers for AAAA: with what there is, else with the IPv4 addresses inside the prefix of the NAT64 (RFC 6147
// section 5.1).
func (s *Server) synthesized(ctx context.Context, k string, q *query, snap *site.Snapshot) (*answer, reason.Reason, error) {
	return s.learn(ctx, k, q, snap, func(six *answer, err error) (*answer, error) { return s.sixOrFour(ctx, q, snap, six, err) })
}

// sixOrFour makes the answer of what was said to the question for IPv6 addresses; it may have to ask for others.
func (s *Server) sixOrFour(ctx context.Context, q *query, snap *site.Snapshot, six *answer, err error) (*answer, error) {
	var real *dns.Msg
	if err == nil {
		a, m, err := s.six(q, six)
		if a != nil || err != nil {
			return a, err
		}
		real = m
	}
	four, why, err4 := s.learn(ctx, keyOf(four(q), ""), four(q), snap, nil)
	if err4 != nil || why == reason.UpstreamFailed {
		if real != nil {
			return nil, errNoAnswer // whether there is one in IPv4 nobody knows: a denial would be believed for long
		}
		return nil, err
	}
	m, err4 := four.aged(s.cfg.Now()).message()
	if err4 != nil {
		return nil, err4
	}
	if a := s.embed(q, m, real, four.left(s.cfg.Now())); a != nil {
		return a, nil
	}
	if real == nil {
		return nil, err
	}
	return s.made(real, six)
}

// six is the answer when there are IPv6 addresses that count, or no such name; nil: there are none, and this is what else was said.
func (s *Server) six(q *query, said *answer) (*answer, *dns.Msg, error) {
	m, err := said.message()
	if err != nil {
		return nil, nil, err
	}
	if m.Rcode != dns.RcodeSuccess || sift(m, q.dns64) {
		a, err := s.made(m, said)
		return a, nil, err
	}
	return nil, m, nil
}

// four is the question for IPv4 addresses of the same name.
func four(q *query) *query {
	out := *q
	out.typ, out.dns64 = dns.TypeA, nil
	out.question = slices.Clone(q.question)
	out.question[len(out.question)-3] = byte(dns.TypeA)
	return &out
}

// sift takes out AAAA records that nobody can use, and reports whether some are left. What lacks some is not what was signed.
func sift(m *dns.Msg, d *site.DNS64) bool {
	left := false
	m.Answer = slices.DeleteFunc(m.Answer, func(rr dns.RR) bool {
		six, ok := rr.(*dns.AAAA)
		if !ok {
			return false
		}
		a, _ := netip.AddrFromSlice(six.AAAA.To16())
		if !name.Counts(d, a) {
			m.AuthenticatedData = false
			return true
		}
		left = true
		return false
	})
	return left
}

// made keeps a message as it is now, for as long as it was to be kept before.
func (s *Server) made(m *dns.Msg, from *answer) (*answer, error) {
	a, err := pack(m)
	if err != nil {
		return nil, err
	}
	a.made, a.life = from.made, from.life
	return a, nil
}

// embed makes AAAA records of A records; nil: there are none. Signatures do not fit them any more, so that neither they nor the
// AD bit go along.
func (s *Server) embed(q *query, m, denial *dns.Msg, life time.Duration) *answer {
	limit := uint32(maxSynthetic)
	if denial != nil {
		for _, rr := range denial.Ns {
			if soa, ok := rr.(*dns.SOA); ok {
				limit = min(soa.Hdr.Ttl, soa.Minttl)
			}
		}
	}
	out := &dns.Msg{Question: m.Question}
	out.Question[0].Qtype = dns.TypeAAAA
	found := false
	for _, rr := range m.Answer {
		switch rr := rr.(type) {
		case *dns.CNAME, *dns.DNAME:
			out.Answer = append(out.Answer, rr)
		case *dns.A:
			a, _ := netip.AddrFromSlice(rr.A.To4())
			for _, six := range name.Synthesize(q.dns64, []netip.Addr{a}) {
				h := rr.Hdr
				h.Rrtype, h.Ttl = dns.TypeAAAA, min(h.Ttl, limit)
				out.Answer = append(out.Answer, &dns.AAAA{Hdr: h, AAAA: net.IP(six.AsSlice())})
				found = true
			}
		}
	}
	if !found {
		return nil
	}
	a, err := pack(out)
	if err != nil {
		return nil
	}
	a.made, a.life = s.cfg.Now(), min(life, time.Duration(limit)*time.Second)
	return a
}

// aliased answers for a name of the inventory that leads to one of somebody else's. It is made anew each time: the inventory may
// be another one by then.
func (s *Server) aliased(ctx context.Context, q *query, snap *site.Snapshot) (*answer, reason.Reason, error) {
	target := *q
	target.alias = ""
	raw := make([]byte, 260)
	n, err := dns.PackDomainName(q.alias, raw, 0, nil, false)
	if err != nil {
		return nil, reason.UpstreamFailed, err
	}
	target.name = q.alias
	target.question = append(raw[:n:n], q.question[len(q.question)-4:]...)
	var a *answer
	var why reason.Reason
	if target.dns64 != nil {
		a, why, err = s.synthesized(ctx, target.key(), &target, snap)
	} else {
		a, why, err = s.learn(ctx, target.key(), &target, snap, nil)
	}
	if err != nil || a.code == codeServFail {
		return blank(q, codeServFail), why, err
	}
	m, err := a.message()
	if err != nil {
		return blank(q, codeServFail), why, err
	}
	m.Question[0].Name = q.name
	m.Answer = append([]dns.RR{record(name.Record{Name: q.name, Type: name.TypeCNAME, TTL: name.TTL, Target: q.alias})}, m.Answer...)
	m.AuthenticatedData = false
	out, err := pack(m)
	if err != nil {
		return blank(q, codeServFail), why, err
	}
	out.made, out.life = a.made, a.life
	return out, why, nil
}

// message reads a kept answer.
func (a *answer) message() (*dns.Msg, error) {
	m := new(dns.Msg)
	if err := m.Unpack(a.wire); err != nil {
		return nil, err
	}
	m.Rcode, m.Authoritative, m.AuthenticatedData, m.Response = a.code, a.aa, a.ad, true
	return m, nil
}

// aged is an answer with what is left of its TTLs: an answer that is made of a kept one must not live longer.
func (a *answer) aged(now time.Time) *answer {
	if a.life <= 0 {
		return a
	}
	out := *a
	out.wire = slices.Clone(a.wire)
	a.age(out.wire, now)
	return &out
}

// left is how much of an answer's life is left.
func (a *answer) left(now time.Time) time.Duration { return max(0, a.life-now.Sub(a.made)) }
