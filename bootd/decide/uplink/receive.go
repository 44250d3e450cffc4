package uplink

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"

	"bootd.internal/bootd/reason"
)

// mostPreference ends the collecting of Advertises at once (RFC 8415 section 18.2.1).
const mostPreference = 255

// Receive takes one message that came to us. A reason other than Answered and Changed says why it was ignored.
func (m *Machine) Receive(now time.Time, from netip.Addr, msg Message, r *rand.Rand) (Step, reason.Reason) {
	if why := m.valid(from, msg); why != reason.None {
		return Step{}, why
	}
	s := m.expire(now)
	if msg.SolMaxRT >= leastSolMaxRT && msg.SolMaxRT <= mostSolMaxRT {
		m.solMaxRT = msg.SolMaxRT
	}
	t, why := m.answered(now, from, msg, r)
	m.merge(&s, t)
	return s, why
}

// valid is what makes a message an answer to ours (sections 16.3, 16.10 and 18.2.10). We speak from a link-local address, and so
// does whoever answers.
func (m *Machine) valid(from netip.Addr, msg Message) reason.Reason {
	switch {
	case msg.Type == Reconfigure: // none is accepted without authentication (section 16.11), and we have no key
		return reason.Unauthenticated
	case msg.Type != Advertise && msg.Type != Reply:
		return reason.NotForClients
	case !from.IsLinkLocalUnicast():
		return reason.BadSource
	case m.x.sent == 0 || msg.XID != m.x.xid:
		return reason.WrongTransaction
	case msg.Server == "":
		return reason.NoServerID
	case msg.Client == "":
		return reason.NoClientID
	case msg.Client != m.cfg.Client:
		return reason.BadClientID
	case (msg.Type == Advertise) != (m.x.typ == Solicit) && !(msg.Type == Reply && m.x.typ == Solicit && m.cfg.RapidCommit && msg.RapidCommit):
		return reason.WrongTransaction
	}
	switch m.x.typ {
	case Request, Release:
		if msg.Server != m.best.msg.Server {
			return reason.OtherServer
		}
	case Renew:
		if msg.Server != m.held.Server {
			return reason.OtherServer
		}
	}
	return reason.None
}

func (m *Machine) answered(now time.Time, from netip.Addr, msg Message, r *rand.Rand) (Step, reason.Reason) {
	switch {
	case msg.Type == Advertise:
		return m.offered(now, from, msg, r)
	case m.x.typ == Release:
		m.enter(Idle, now)
		m.x, m.best, m.due = exchange{}, nil, time.Time{}
		return Step{}, reason.Answered
	case msg.Status == UnspecFail: // the message is sent again at its own, ever slower rate
		return Step{Notes: []string{"the server says that it failed (UnspecFail)"}}, reason.UnspecFail
	case m.x.typ == Solicit || m.x.typ == Request:
		return m.granted(now, from, msg, r)
	}
	return m.renewed(now, from, msg, r)
}

// offered collects an Advertise until the first RT is over, or takes it at once.
func (m *Machine) offered(now time.Time, from netip.Addr, msg Message, r *rand.Rand) (Step, reason.Reason) {
	if m.worth(msg) == 0 {
		return Step{}, reason.NoPrefixAvail
	}
	if m.best == nil || cmp.Or(cmp.Compare(msg.Preference, m.best.msg.Preference), cmp.Compare(m.worth(msg), m.worth(m.best.msg))) > 0 {
		m.best = &offer{msg, from}
	}
	if msg.Preference == mostPreference || m.x.sent > 1 {
		return m.request(*m.best, now, r), reason.Answered
	}
	return Step{}, reason.Answered
}

// worth counts what a message gives: a prefix more than any addresses; 0: no prefix.
func (m *Machine) worth(msg Message) int {
	n, more := 0, 0
	for _, ia := range msg.IAs {
		if !m.cfg.wants(ia.ID, ia.Address) || ia.Status != Success || badTimes(ia) {
			continue
		}
		if !slices.ContainsFunc(ia.Leases, func(l Lease) bool { return l.Valid > 0 && unusable(l, ia.Address) == "" }) {
			continue
		}
		if ia.Address {
			more++
		} else {
			n += 2
		}
	}
	if n == 0 {
		return 0
	}
	return n + more
}

// granted takes the Reply to a Solicit or a Request.
func (m *Machine) granted(now time.Time, from netip.Addr, msg Message, r *rand.Rand) (Step, reason.Reason) {
	if m.worth(msg) == 0 {
		if m.x.typ == Solicit {
			return Step{}, reason.NoPrefixAvail
		}
		t := m.apply(now, msg, true)
		s := m.refuse(refusal(msg), now, r)
		s.Notes = append(t.notes, s.Notes...)
		if t.touched {
			s.Cause = Expired
		}
		return s, reason.NoPrefixAvail
	}
	t := m.apply(now, msg, true)
	m.take(now, from, msg)
	return Step{Cause: Bound, Notes: append(t.notes, m.differs()...)}, reason.Changed
}

// renewed takes the Reply to a Renew or a Rebind (section 18.2.10.1).
func (m *Machine) renewed(now time.Time, from netip.Addr, msg Message, r *rand.Rand) (Step, reason.Reason) {
	cause := Renewed
	if m.x.typ == Rebind {
		cause = Rebound
	}
	t := m.apply(now, msg, false)
	s := Step{Notes: t.notes}
	if t.touched {
		s.Cause = cause
	}
	switch {
	case t.unbound: // a Request that is refused too is followed by a wait (granted)
		s.Notes = append(s.Notes, "the server knows nothing of what is held (NoBinding): asking it anew")
		if t.touched { // the other IAs are not asked for again before their time
			m.held.Server, m.held.From, m.held.Got = msg.Server, from, now
		}
		next := m.request(offer{msg: Message{Server: msg.Server}, from: from}, now, r)
		s.Send = next.Send
		return s, reason.NoBinding
	case !t.touched && m.state == Confirming && msg.Server == m.held.Server:
		// dibbler-server knows no Rebind of prefixes; the one that gave it may well renew it.
		m.renew(now, r)
		m.merge(&s, m.transmit(now, r))
		return s, reason.NoPrefixAvail
	case !t.touched:
		return s, reason.NoPrefixAvail
	case !m.held.Delegated():
		s.Cause = Expired
		m.merge(&s, m.refuse("the server took the prefix back", now, r))
		return s, reason.Changed
	}
	m.take(now, from, msg)
	return s, reason.Changed
}

// take notes whom the lease is from and begins to wait for T1.
func (m *Machine) take(now time.Time, from netip.Addr, msg Message) {
	m.held.Server, m.held.From, m.held.Got = msg.Server, from, now
	if len(msg.Nameservers) > 0 {
		m.held.Nameservers = msg.Nameservers
	}
	if len(msg.Search) > 0 {
		m.held.Search = msg.Search
	}
	m.refused, m.best = 0, nil
	m.remember()
	m.settle(now)
}

func refusal(msg Message) string {
	for _, ia := range msg.IAs {
		switch ia.Status {
		case NoPrefixAvail:
			return "the server has no prefix for us (NoPrefixAvail)"
		case NotOnLink:
			return "the server says that we are on another link (NotOnLink)"
		case UnspecFail:
			return "the server says that it failed (UnspecFail)"
		}
	}
	switch msg.Status {
	case NoPrefixAvail:
		return "the server has no prefix for us (NoPrefixAvail)"
	case NotOnLink:
		return "the server says that we are on another link (NotOnLink)"
	}
	return "the server answers without a prefix"
}

// applied is what a Reply did to what is held.
type applied struct {
	touched, unbound bool
	notes            []string
}

// apply brings the leases of a Reply into what is held. With whole an IA has afterwards what the Reply gives and nothing else; else
// what the Reply does not name goes on until it ends (section 18.2.10.1).
func (m *Machine) apply(now time.Time, msg Message, whole bool) (a applied) {
	m.held = m.held.clone()
	t := timers{}
	seen := 0
	for _, ia := range msg.IAs {
		if !m.cfg.wants(ia.ID, ia.Address) || seen >= m.cfg.wanted() {
			continue
		}
		seen++
		mine := func(b Binding) bool { return b.IAID == ia.ID && b.Address == ia.Address }
		switch {
		case badTimes(ia):
			a.notes = append(a.notes, "an IA with T1 later than T2 was ignored (RFC 8415 section 21.21)")
			continue
		case ia.Status == NoBinding:
			a.unbound = true
			continue
		case ia.Status != Success:
			if whole && slices.ContainsFunc(m.held.Bindings, mine) {
				m.held.Bindings, a.touched = slices.DeleteFunc(m.held.Bindings, mine), true
			}
			continue
		case whole:
			before := len(m.held.Bindings)
			m.held.Bindings = slices.DeleteFunc(m.held.Bindings, mine)
			a.touched = a.touched || len(m.held.Bindings) < before
		}
		for _, l := range goneFirst(ia.Leases) {
			if note := m.put(now, ia, l, &a); note != "" {
				a.notes = append(a.notes, note)
				continue
			}
			t.add(ia, l)
		}
	}
	if a.touched {
		m.held.RenewAt, m.held.RebindAt = t.times(now)
	}
	return a
}

// goneFirst puts what is taken back before what is given: a longer prefix makes room for the shorter one around it.
func goneFirst(all []Lease) []Lease {
	return slices.SortedStableFunc(slices.Values(all), func(a, b Lease) int {
		return cmp.Compare(min(a.Valid, 1), min(b.Valid, 1))
	})
}

// put takes one lease, or says why not.
func (m *Machine) put(now time.Time, ia IA, l Lease, a *applied) string {
	if why := unusable(l, ia.Address); why != "" {
		return why
	}
	at := slices.IndexFunc(m.held.Bindings, func(b Binding) bool { return b.IAID == ia.ID && b.Address == ia.Address && b.Prefix == l.Prefix })
	if l.Valid == 0 {
		if at >= 0 {
			m.held.Bindings, a.touched = slices.Delete(m.held.Bindings, at, at+1), true
		}
		return ""
	}
	b := Binding{
		IAID: ia.ID, Address: ia.Address, Prefix: l.Prefix, Exclude: l.Exclude,
		PreferredUntil: until(now, l.Preferred), ValidUntil: until(now, l.Valid),
	}
	if at >= 0 {
		m.held.Bindings[at], a.touched = b, true
		return ""
	}
	for _, o := range m.held.Bindings {
		if !b.Address && !o.Address && o.Prefix.Overlaps(b.Prefix) {
			return fmt.Sprintf("%s was ignored: it overlaps %s, which is held already", b.Prefix, o.Prefix)
		}
	}
	if len(m.held.Bindings) >= maxBindings {
		return fmt.Sprintf("%s was ignored: %d prefixes and addresses are held already", b.Prefix, maxBindings)
	}
	m.held.Bindings, a.touched = append(m.held.Bindings, b), true
	return ""
}

// maxBindings bounds what a server can make us hold.
const maxBindings = 32

func badTimes(ia IA) bool { return ia.T1 > 0 && ia.T2 > 0 && ia.T1 > ia.T2 }

// Bounds of a prefix that is of use: more than a whole country has, and less than one machine needs.
const (
	leastBits = 16
	mostBits  = 120
)

// unusable says why a lease is ignored.
func unusable(l Lease, address bool) string {
	a := l.Prefix.Addr()
	switch {
	case l.Preferred > l.Valid:
		return fmt.Sprintf("%s was ignored: it is preferred longer than it is valid (RFC 8415 section 21.22)", l.Prefix)
	case !a.IsGlobalUnicast() || a.IsLinkLocalUnicast() || a.Is4In6():
		return fmt.Sprintf("%s was ignored: no machine can have such an address", l.Prefix)
	case !address && (l.Prefix.Bits() < leastBits || l.Prefix.Bits() > mostBits):
		return fmt.Sprintf("%s was ignored: a prefix is from /%d to /%d", l.Prefix, leastBits, mostBits)
	}
	return ""
}

// differs says where a server gave another length than the one that was asked for, or nothing.
func (m *Machine) differs() (notes []string) {
	for _, w := range m.cfg.Prefixes {
		for _, b := range m.held.Bindings {
			if !b.Address && b.IAID == w.IAID && w.Hint.Length > 0 && b.Prefix.Bits() != w.Hint.Length {
				notes = append(notes, fmt.Sprintf("a /%d was asked for, and the server gave %s", w.Hint.Length, b.Prefix))
			}
		}
	}
	if n := m.missing(); n > 0 {
		notes = append(notes, fmt.Sprintf("of %d prefixes that were asked for the server gave %d", len(m.cfg.Prefixes), len(m.cfg.Prefixes)-n))
	}
	return notes
}

// timers finds when to renew: the earliest that any IA says.
type timers struct {
	t1, t2    time.Duration
	preferred time.Duration // the shortest one
	valid     time.Duration
}

func (t *timers) add(ia IA, l Lease) {
	if l.Valid == 0 {
		return
	}
	least := func(have *time.Duration, d time.Duration) {
		if d > 0 && (*have == 0 || d < *have) {
			*have = d
		}
	}
	least(&t.t1, ia.T1)
	least(&t.t2, ia.T2)
	least(&t.preferred, cmp.Or(l.Preferred, l.Valid))
	least(&t.valid, l.Valid)
}

// leastRenew bounds how often a server makes us renew.
const leastRenew = 5 * time.Second

// times are T1 and T2: the server's, or where it leaves them to us, or they come too late, half and four fifths of the shortest
// preferred lifetime (sections 14.2 and 21.21).
func (t timers) times(now time.Time) (renew, rebind time.Time) {
	if t.valid == 0 {
		return now, now
	}
	t1, t2 := t.t1, t.t2
	if t.preferred >= Forever {
		if t1 == 0 {
			t1 = Forever
		}
		if t2 == 0 {
			t2 = Forever
		}
	} else {
		if t1 == 0 || t1 > t.preferred {
			t1 = t.preferred / 2
		}
		if t2 == 0 || t2 > t.preferred {
			t2 = t.preferred / 5 * 4
		}
	}
	t1 = max(t1, min(leastRenew, t.valid/2))
	return until(now, t1), until(now, max(t1, t2))
}
