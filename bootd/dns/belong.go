package dns

import (
	"slices"
	"strings"

	"github.com/miekg/dns"
)

// belong leaves in an answer what was asked for. Records of other names, or of another class, would make an answer of a denial,
// live in the caches of clients that believe all they read, and be given addresses by DNS64. A record about the message instead of a
// name has no place before the last section: whoever writes one there is not to be understood.
func belong(m *dns.Msg) error {
	plain := true
	for i, section := range [][]dns.RR{m.Answer, m.Ns, m.Extra} {
		for _, rr := range section {
			h := rr.Header()
			if i < 2 && (h.Rrtype == dns.TypeOPT || h.Rrtype == dns.TypeTSIG) {
				return errMismatch
			}
			if h.Rrtype != dns.TypeOPT && h.Ttl > 1<<31-1 { // it counts as zero, also for clients (RFC 2181 section 8)
				h.Ttl = 0
			}
			plain = plain && (i > 0 || h.Class == m.Question[0].Qclass && strings.EqualFold(h.Name, m.Question[0].Name))
		}
	}
	if plain { // as nearly always
		return nil
	}
	names := chain(m)
	m.Answer = slices.DeleteFunc(m.Answer, func(rr dns.RR) bool {
		h := rr.Header()
		return h.Class != m.Question[0].Qclass || !names[strings.ToLower(h.Name)]
	})
	return nil
}

// chain are the names that lead from the question to its answer, in lower case: aliases, and owners of DNAME records above them
// (RFC 6672 section 2.2). A loop ends where it began.
func chain(m *dns.Msg) map[string]bool {
	aliases, subtrees := map[string]string{}, map[string]string{}
	for _, rr := range m.Answer {
		if rr.Header().Class != m.Question[0].Qclass {
			continue
		}
		switch rr := rr.(type) {
		case *dns.CNAME:
			aliases[strings.ToLower(rr.Hdr.Name)] = strings.ToLower(rr.Target)
		case *dns.DNAME:
			subtrees[strings.ToLower(rr.Hdr.Name)] = strings.ToLower(rr.Target)
		}
	}
	names := map[string]bool{}
	name, ok := strings.ToLower(m.Question[0].Name), true
	for range len(m.Answer) + 1 { // a DNAME that leads below itself has no end of its own
		if !ok || names[name] {
			break
		}
		names[name] = true
		next, found := aliases[name]
		for off, end := dns.NextLabel(name, 0); len(subtrees) > 0 && !end; off, end = dns.NextLabel(name, off) {
			if target, is := subtrees[name[off:]]; is {
				names[name[off:]] = true
				if !found {
					next, found = name[:off]+target, true
				}
			}
		}
		name, ok = next, found
	}
	return names
}
