package dns

import (
	"encoding/binary"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"bootd.internal/bootd/reason"
	"bootd.internal/bootd/site"
	"bootd.internal/bootd/timeline"
	"github.com/miekg/dns"
)

// quick answers from the cache what needs no more: an ordinary question for a name that is known not to be one of ours, with
// an answer that is fresh and fits. Everything else is handle's. It belongs to one goroutine, and says in numbers what it did:
// one observation for all that are alike, since telling of each would cost more than answering.
type quick struct {
	*Server
	key []byte
	did []tally
}

// tally counts hits that are alike.
type tally struct {
	typ  uint16
	net  *site.Network
	peer netip.Addr
	n    int
}

// moment is what is the same for all questions that were read together.
type moment struct {
	snap    *site.Snapshot
	edition uint64
	now     time.Time
}

func (s *Server) moment() moment {
	snap := s.cfg.Snapshot()
	return moment{snap, s.editions.of(snap), s.cfg.Now()}
}

// editions number snapshots: what is kept in the cache remembers a number, since a pointer would keep a snapshot alive for as
// long.
type editions struct {
	mu   sync.Mutex
	last *site.Snapshot
	n    uint64
}

func (e *editions) of(snap *site.Snapshot) uint64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.last != snap || e.n == 0 {
		e.last = snap
		e.n++
	}
	return e.n
}

// plain is what quick reads of a question.
type plain struct {
	question []byte
	typ      uint16
	flags    uint16
	edns, do bool
	size     int
}

// readPlain reads a question that is like nearly all: standard, one name, class IN, RD, at most an OPT record without options.
func readPlain(p []byte) (q plain, ok bool) {
	if len(p) < headerLen+5 || binary.BigEndian.Uint32(p[4:]) != 1<<16 || p[8]|p[9]|p[10] != 0 || p[11] > 1 {
		return q, false
	}
	q.flags = binary.BigEndian.Uint16(p[2:])
	if q.flags&^(bitAD|bitCD) != bitRD {
		return q, false
	}
	off := headerLen
	for p[off] != 0 {
		n := int(p[off])
		if n > 63 || off+n+6 > len(p) || off+n-headerLen > maxName-2 {
			return q, false
		}
		off += 1 + n
	}
	off++
	if off+4 > len(p) || binary.BigEndian.Uint16(p[off+2:]) != dns.ClassINET {
		return q, false
	}
	if q.typ = binary.BigEndian.Uint16(p[off:]); q.typ == dns.TypePTR {
		return q, false // whose address it is changes with the leases, too
	}
	q.question = p[headerLen : off+4]
	off += 4
	if p[11] == 0 {
		return q, off == len(p)
	}
	o := p[off:]
	if len(o) != 11 || o[0] != 0 || binary.BigEndian.Uint16(o[1:]) != typeOPT || o[6] != 0 || o[9]|o[10] != 0 {
		return q, false
	}
	q.edns, q.do, q.size = true, o[7]&0x80 != 0, int(binary.BigEndian.Uint16(o[3:]))
	return q, true
}

// hit appends the answer to a question to out, or reports false: then it is for handle.
func (w *quick) hit(m moment, p []byte, at site.Arrival, net *site.Network, tcp bool, out []byte) ([]byte, bool) {
	q, ok := readPlain(p)
	if !ok || m.snap == nil || !allowed(m.snap, at.Source) {
		return nil, false
	}
	var id string
	if net != nil && net.DNS64 != nil && q.typ == dns.TypeAAAA && (!q.do || q.flags&bitCD == 0) {
		id = net.DNS64.ID
	}
	w.key = appendKey(w.key[:0], q.question, q.do, q.flags&bitCD != 0, id)
	a := w.cache.hit(w.key, m.now, m.edition)
	if a == nil {
		return nil, false
	}
	limit := 65535
	if !tcp {
		limit = plainSize
		if q.edns {
			limit = min(max(q.size, plainSize), ednsSize)
		}
	}
	if q.edns {
		limit -= 11
	}
	if len(a.wire) > limit {
		return nil, false
	}
	from := len(out)
	out = append(out, a.wire...)
	b := out[from:]
	copy(b, p[:2])
	flags := bitQR | bitRD | bitRA | q.flags&bitCD | uint16(a.code)
	if a.ad && (q.do || q.flags&bitAD != 0) {
		flags |= bitAD
	}
	binary.BigEndian.PutUint16(b[2:], flags)
	copy(b[headerLen:], q.question)
	a.age(b, m.now)
	if q.edns {
		out = appendOPT(out, from, a.code, q.do)
	}
	w.count(q.typ, net, at.Source)
	return out, true
}

func (w *quick) count(typ uint16, net *site.Network, peer netip.Addr) {
	for i := range w.did {
		if t := &w.did[i]; t.typ == typ && t.net == net {
			t.n++
			return
		}
	}
	w.did = append(w.did, tally{typ, net, peer, 1})
}

// report tells of what was answered since the last time.
func (w *quick) report(began time.Time) {
	if len(w.did) == 0 {
		return
	}
	took := w.cfg.Now().Sub(began)
	for _, t := range w.did {
		o := timeline.Observation{
			Adapter: w.String(), Message: typeName(t.typ), Outcome: reasonOnly(reason.Cached), Took: took, Count: t.n,
			Peer: strconv.Quote(t.peer.String()),
		}
		if t.net != nil {
			o.Outcome.Network = t.net.Name
		}
		w.cfg.Observer.Observe(o)
	}
	w.did = w.did[:0]
}
