package uplink

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"

	"bootd.internal/bootd/ident"
)

// Machine is one client on one link. It is for one goroutine.
type Machine struct {
	cfg  Config
	held Held
	// last are the prefixes that were held before: they are asked for again.
	last  map[ident.IAID]netip.Prefix
	state State
	x     exchange
	// due is when Tick has something to do beside what ends; zero: nothing.
	due time.Time
	// best is the Advertise that is taken when the time to collect is over.
	best *offer
	// refused counts failures in a row: the next try comes later each time.
	refused  int
	solMaxRT time.Duration
	// since is when the state began.
	since time.Time
}

// offer is a usable Advertise.
type offer struct {
	msg  Message
	from netip.Addr
}

// Step is what follows of an event.
type Step struct {
	Send []Message
	// Cause is not Unchanged where what is held changed: it is to be kept before Send goes out.
	Cause Cause
	// Notes are for people: what a server did that is worth a word. Each is one of few texts with values that were parsed.
	Notes []string
}

// New makes a client that holds what it held in an earlier life. Its link is not there yet.
func New(cfg Config, held Held) *Machine {
	m := &Machine{cfg: cfg, held: held.clone(), last: map[ident.IAID]netip.Prefix{}, state: Detached, solMaxRT: solMaxRT}
	m.held.keep(cfg)
	m.remember()
	return m
}

// Held is what is held now; the caller does not change it.
func (m *Machine) Held() Held { return m.held.clone() }

// State is what the client does, and since when.
func (m *Machine) State() (State, time.Time) { return m.state, m.since }

// Sent is how often the current message has been sent without a usable answer.
func (m *Machine) Sent() int { return m.x.sent }

// Deadline is when Tick is to be called; zero: not before another event.
func (m *Machine) Deadline() time.Time {
	end := m.held.firstEnd()
	if m.due.IsZero() || !end.IsZero() && end.Before(m.due) {
		return end
	}
	return m.due
}

// Attach begins on a link that came, or came back: whoever holds prefixes asks whether they are still his (section 18.2.12).
func (m *Machine) Attach(now time.Time, r *rand.Rand) Step {
	s := m.expire(now)
	m.refused = 0
	if m.held.Delegated() {
		m.start(Confirming, Rebind, now, r)
		m.x.irt, m.x.mrt, m.x.end = cnfTimeout, cnfMaxRT, now.Add(cnfMaxRD)
		m.due = now.Add(upTo(solMaxDelay, r))
		return s
	}
	m.solicit(now, r)
	return s
}

// Detach says that the link went: what is held stays until it ends.
func (m *Machine) Detach(now time.Time) {
	m.enter(Detached, now)
	m.due = time.Time{}
}

// Renew asks at once, as a person wants it.
func (m *Machine) Renew(now time.Time, r *rand.Rand) Step {
	s := m.expire(now)
	switch {
	case m.state == Detached:
	case m.held.Delegated() && m.held.Server != "":
		m.renew(now, r)
		m.merge(&s, m.act(now, r))
	default:
		m.refused = 0
		m.solicit(now, r)
		m.due = now
		m.merge(&s, m.act(now, r))
	}
	return s
}

// Release gives everything back (section 18.2.7): from this moment nothing is held.
func (m *Machine) Release(now time.Time, r *rand.Rand) Step {
	s := m.expire(now)
	if len(m.held.Bindings) == 0 {
		if m.state != Detached {
			m.enter(Idle, now)
			m.due = time.Time{}
		}
		return s
	}
	attached := m.state != Detached
	m.start(Releasing, Release, now, r)
	msg := m.message(now)
	m.held = Held{}
	s.Cause = Released
	if !attached || msg.Server == "" {
		m.Detach(now)
		return s
	}
	m.best = &offer{msg: msg} // what is sent again: it is no longer in held
	s.Send = []Message{msg}
	m.due = now.Add(m.x.next(now, r))
	return s
}

// Tick does what is due.
func (m *Machine) Tick(now time.Time, r *rand.Rand) Step {
	s := m.expire(now)
	if s.Cause == Expired && !m.held.Delegated() {
		switch m.state {
		case Ready, Renewing, Rebinding, Confirming:
			m.solicit(now, r)
		}
	}
	if !m.due.IsZero() && !now.Before(m.due) {
		m.merge(&s, m.act(now, r))
	}
	return s
}

func (m *Machine) merge(s *Step, t Step) {
	s.Send = append(s.Send, t.Send...)
	s.Notes = append(s.Notes, t.Notes...)
	if t.Cause != Unchanged {
		s.Cause = t.Cause
	}
}

// act is what the state does when its time has come.
func (m *Machine) act(now time.Time, r *rand.Rand) Step {
	switch m.state {
	case Soliciting:
		if m.best != nil {
			return m.request(*m.best, now, r)
		}
	case Requesting:
		if m.x.over(now) {
			return m.refuse("the server that offered a prefix answers no Request", now, r)
		}
	case Holding:
		m.solicit(now, r)
		m.due = now
	case Confirming:
		if m.x.over(now) { // section 18.2.12: nobody says no, so it is used on
			m.settle(now)
			return Step{}
		}
	case Ready:
		m.renew(now, r)
	case Renewing:
		if m.x.over(now) {
			m.rebind(now, r)
		}
	case Rebinding:
		if m.x.over(now) {
			return Step{}
		}
	case Releasing:
		if m.x.over(now) {
			m.enter(Idle, now)
			m.due = time.Time{}
			return Step{}
		}
	default:
		m.due = time.Time{}
		return Step{}
	}
	return m.transmit(now, r)
}

func (m *Machine) transmit(now time.Time, r *rand.Rand) Step {
	msg := m.message(now)
	if m.state == Soliciting {
		m.x.mrt = m.solMaxRT
	}
	m.due = now.Add(m.x.next(now, r))
	return Step{Send: []Message{msg}}
}

// expire drops what has ended.
func (m *Machine) expire(now time.Time) Step {
	m.remember()
	if !m.held.purge(now) {
		return Step{}
	}
	return Step{Cause: Expired}
}

func (m *Machine) remember() {
	for _, b := range m.held.Bindings {
		if !b.Address {
			m.last[b.IAID] = b.Prefix
		}
	}
}

func (m *Machine) enter(s State, now time.Time) {
	if m.state != s {
		m.state, m.since = s, now
	}
}

func (m *Machine) start(s State, typ Type, now time.Time, r *rand.Rand) {
	m.enter(s, now)
	m.x, m.best = begin(typ, now, r), nil
}

// upTo is a random part of d.
func upTo(d time.Duration, r *rand.Rand) time.Duration { return time.Duration(r.Int64N(int64(d) + 1)) }

func (m *Machine) solicit(now time.Time, r *rand.Rand) {
	m.start(Soliciting, Solicit, now, r)
	m.due = now.Add(upTo(solMaxDelay, r))
}

func (m *Machine) request(o offer, now time.Time, r *rand.Rand) Step {
	m.start(Requesting, Request, now, r)
	m.best = &o
	return m.transmit(now, r)
}

// renew begins a Renew, or a Rebind where its time is over.
func (m *Machine) renew(now time.Time, r *rand.Rand) {
	if m.held.Server == "" || !m.held.RebindAt.IsZero() && !now.Before(m.held.RebindAt) {
		m.rebind(now, r)
		return
	}
	m.start(Renewing, Renew, now, r)
	m.x.end = m.held.RebindAt
	m.due = now
}

func (m *Machine) rebind(now time.Time, r *rand.Rand) {
	m.start(Rebinding, Rebind, now, r)
	m.x.end = m.held.lastEnd()
	m.due = now
}

// settle waits for T1. One that has passed is due now.
func (m *Machine) settle(now time.Time) {
	m.enter(Ready, now)
	m.x = exchange{}
	m.due = m.held.RenewAt
}

// hold times of a client that was refused: the first try comes soon, each later one after twice the time.
const firstHold = 5 * time.Second

// refuse waits before another server, or the same one, is asked from the beginning (section 18.2.10: at a bounded rate).
func (m *Machine) refuse(why string, now time.Time, r *rand.Rand) Step {
	m.x, m.best = exchange{}, nil
	m.enter(Holding, now)
	wait := upTo(solMaxDelay, r)
	if m.refused > 0 {
		d := min(firstHold<<min(m.refused-1, 16), m.solMaxRT)
		wait = d + time.Duration((0.2*r.Float64()-0.1)*float64(d))
	}
	m.refused++
	m.due = now.Add(wait)
	return Step{Notes: []string{why}}
}

// message writes the one of the current exchange.
func (m *Machine) message(now time.Time) Message {
	if m.x.typ == Release && m.best != nil {
		msg := m.best.msg
		msg.Elapsed = now.Sub(m.x.began)
		return msg
	}
	msg := Message{Type: m.x.typ, XID: m.x.xid, Client: m.cfg.Client}
	if m.x.sent == 0 {
		m.x.began = now
	}
	msg.Elapsed = now.Sub(m.x.began)
	switch m.x.typ {
	case Solicit:
		msg.RapidCommit = m.cfg.RapidCommit
	case Request:
		msg.Server = m.best.msg.Server
	case Renew, Release:
		msg.Server = m.held.Server
	}
	for _, w := range m.cfg.Prefixes {
		if ia := m.ia(w.IAID, false, w.Hint); m.x.typ != Release || len(ia.Leases) > 0 {
			msg.IAs = append(msg.IAs, ia)
		}
	}
	if m.cfg.Address != nil {
		if ia := m.ia(*m.cfg.Address, true, Hint{}); m.x.typ != Release || len(ia.Leases) > 0 {
			msg.IAs = append(msg.IAs, ia)
		}
	}
	return msg
}

// ia is what one IA says: what is held or offered, else what is wanted. Those without a lease are there in each message (section
// 18.2.4), so that a server which has one now gives it.
func (m *Machine) ia(id ident.IAID, address bool, h Hint) IA {
	ia := IA{ID: id, Address: address}
	if m.x.typ == Request {
		for _, o := range m.best.msg.IAs {
			if o.ID == id && o.Address == address {
				for _, l := range o.Leases {
					ia.Leases = append(ia.Leases, Lease{Prefix: l.Prefix})
				}
			}
		}
	}
	if m.x.typ != Solicit && len(ia.Leases) == 0 {
		for _, b := range m.held.Bindings {
			if b.IAID == id && b.Address == address {
				ia.Leases = append(ia.Leases, Lease{Prefix: b.Prefix})
			}
		}
	}
	if m.x.typ == Release || address || len(ia.Leases) > 0 {
		return ia
	}
	last, known := m.last[id]
	switch {
	case h.Prefix.IsValid():
		ia.Leases = []Lease{{Prefix: h.Prefix}}
	case known && (h.Length == 0 || h.Length == last.Bits()):
		ia.Leases = []Lease{{Prefix: last}}
	case h.Length > 0:
		ia.Leases = []Lease{{Prefix: netip.PrefixFrom(netip.IPv6Unspecified(), h.Length)}}
	}
	return ia
}

// wanted is how many IAs there are.
func (c Config) wanted() int {
	n := len(c.Prefixes)
	if c.Address != nil {
		n++
	}
	return n
}

// missing are the IAs for prefixes without one.
func (m *Machine) missing() int {
	n := 0
	for _, w := range m.cfg.Prefixes {
		if !slices.ContainsFunc(m.held.Bindings, func(b Binding) bool { return !b.Address && b.IAID == w.IAID }) {
			n++
		}
	}
	return n
}
