package ra

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"bootd.internal/bootd/decide/advert"
	"bootd.internal/bootd/reason"
	"bootd.internal/bootd/store"
	"bootd.internal/bootd/timeline"
)

const adapter = "ra"

// begin starts to listen, or to advertise at once where the inventory insists or we did already before the link blinked.
func (t *Task) begin() {
	now := t.cfg.Now()
	t.started, t.listenUntil, t.next = now, now, now
	if t.decide().Insist {
		return
	}
	if !t.cfg.Begun.has(t.link.Name) {
		t.listenUntil, t.next = now.Add(listenTime), now.Add(listenTime)
	}
	t.asks = []time.Time{now, now.Add(askAgain)}
}

// together is how much sooner than its moment an answer goes out with another one: a crowd costs a fraction of the wake-ups, and
// the moments are random anyway.
const together = advert.MaxSolicitedDelay

// tick does all that is due.
func (t *Task) tick() {
	now := t.cfg.Now()
	t.release(now)
	for len(t.asks) > 0 && !now.Before(t.asks[0]) {
		t.asks = t.asks[1:]
		t.solicit()
	}
	if !t.next.IsZero() && !now.Before(t.next) {
		t.advertise()
	}
	var ripe []answer
	soon := now.Add(together)
	t.pending = slices.DeleteFunc(t.pending, func(a answer) bool {
		if soon.Before(a.due) {
			return false
		}
		ripe = append(ripe, a)
		return true
	})
	t.replies(ripe)
}

// solicit asks other routers to show themselves.
func (t *Task) solicit() {
	b, err := encodeSolicitation(t.link.LinkLocal, t.link.MAC)
	if err == nil {
		err = t.conn.Write(b, allRoutersMAC())
	}
	if err != nil {
		t.observe(timeline.Observation{Message: "Listen", Err: err})
	}
}

// advertise multicasts what is true now and plans the next time.
func (t *Task) advertise() {
	d, now := t.decide(), t.cfg.Now()
	t.next = time.Time{}
	if d.RA == nil {
		t.observe(timeline.Observation{Message: "Periodic", Outcome: d.Outcome})
		return
	}
	t.cfg.Begun.set(t.link.Name, true)
	t.sent++
	t.next = now.Add(advert.Delay(t.sent, t.rand, d.Limits))
	t.multicast = now
	t.last = &said{ra: *d.RA, src: t.link.LinkLocal}
	t.promise(*d.RA, now)
	err := t.send(*d.RA)
	if err != nil {
		d.Reason = reason.None
	}
	t.observe(timeline.Observation{Message: "Periodic", Outcome: d.Outcome, Err: err})
}

func (t *Task) send(ra advert.RA) error {
	b, err := encodeAdvertisement(ra, t.link.LinkLocal, allNodes())
	if err != nil {
		return err
	}
	return t.conn.Write(b, allNodesMAC())
}

const (
	// keepTime bounds the wait for the disk: machines are not kept waiting longer, and a promise that nobody remembers only means
	// that a prefix which goes away may not be said to have gone.
	keepTime = time.Second
	// keepAgain is when it is tried again after a failure.
	keepAgain = time.Minute
)

// promise makes durable what an advertisement is about to tell, before it is told.
func (t *Task) promise(ra advert.RA, now time.Time) {
	if t.cfg.Store == nil || advert.Holds(t.promised, ra, now) || now.Before(t.unkept.Add(keepAgain)) {
		return
	}
	all := advert.Promise(t.link.Name, ra, now)
	ctx, cancel := context.WithTimeout(context.Background(), keepTime)
	defer cancel()
	err := t.cfg.Store.Update(ctx, func(v store.View) []store.Op { return advert.WritePromise(v, all) })
	if err != nil {
		t.unkept = now
		t.observe(timeline.Observation{Message: "Promise", Err: fmt.Errorf("remembering the prefixes of %s: %w", t.link.Name, err)})
		return
	}
	for _, a := range all {
		t.promised[a.Prefix] = a
	}
}

// cease tells clients that we are no router any more, if we ever said that we were. One advertisement, where RFC 4861
// section 6.2.5 allows up to three: those would have to be three seconds apart.
func (t *Task) cease() {
	if t.last == nil {
		return
	}
	final := t.last.ra.Final()
	if _, served := t.serves(); !served {
		final = t.last.ra.Withdrawn()
	}
	err := t.send(final)
	t.last, t.next, t.sent = nil, time.Time{}, 0
	out := reason.Outcome{Reason: reason.Answered}
	if err != nil {
		out.Reason = reason.None
	}
	t.observe(timeline.Observation{Message: "Final", Outcome: out, Err: err})
}

// renew looks at a new snapshot: what differs is advertised at once, as often as at the start, because clients may miss
// one (RFC 4861 section 6.2.4), but never more than each three seconds.
func (t *Task) renew() {
	n, ok := t.cfg.Snapshot().ServesLink(t.link.Name)
	if ok && n.Link != nil && n.Link.Index == t.link.Index && n.Link.LinkLocal.IsValid() && n.Link.MAC.Valid() {
		t.link = *n.Link
	}
	d, now := t.decide(), t.cfg.Now()
	if d.Insist {
		t.held, t.asks, t.listenUntil = false, nil, now
		for i := range t.pending {
			t.pending[i].due = now
		}
	}
	switch {
	case d.RA == nil:
		t.cease()
		if now.After(t.listenUntil) {
			t.next = time.Time{}
		}
	case now.Before(t.listenUntil):
	case t.last == nil || t.last.src != t.link.LinkLocal || !t.last.ra.Same(*d.RA):
		t.sent = 0
		t.soon(now)
	}
}

// soon plans a multicast for now, or for when MIN_DELAY_BETWEEN_RAS is over (RFC 4861 section 6.2.6).
func (t *Task) soon(now time.Time) {
	at := now
	if !t.multicast.IsZero() && now.Before(t.multicast.Add(advert.MinDelayBetweenRAs)) {
		at = t.multicast.Add(advert.MinDelayBetweenRAs)
	}
	if t.next.IsZero() || at.Before(t.next) {
		t.next = at
	}
}

// receive sorts packets that came together. What is true is decided once for the solicitations between two advertisements.
func (t *Task) receive(all []arrived) {
	var d *advert.Decision
	for _, a := range all {
		if a.src == t.link.LinkLocal || a.from == t.link.MAC {
			a.reason = reason.Looped
		}
		switch {
		case a.reason != reason.None:
			t.refuse(a.packet, a.reason)
		case a.kind == typeSolicitation:
			if d == nil {
				now := t.decide()
				d = &now
			}
			t.solicited(a.packet, *d)
		default:
			t.heard(a.packet)
			d = nil
		}
	}
}

// refuse counts a packet that gets no answer.
func (t *Task) refuse(p packet, r reason.Reason) {
	t.observe(timeline.Observation{
		Message: kindName(p.kind), Outcome: reason.Outcome{Reason: r, Network: t.network()}, Peer: peer(p),
	})
}

// solicited plans the answer to a solicitation, after the listening start if that is still going on.
func (t *Task) solicited(p packet, d advert.Decision) {
	if d.RA == nil {
		t.refuse(p, d.Reason)
		return
	}
	now := t.cfg.Now()
	waiting := slices.ContainsFunc(t.pending, func(a answer) bool { return a.from == p.from && a.src == p.src })
	switch {
	case waiting:
		t.refuse(p, reason.Retransmit)
	case len(t.pending) >= maxPending:
		t.refuse(p, reason.Overload)
		if !now.Before(t.listenUntil) {
			t.soon(now) // all get it together
		}
	default:
		from := now
		if from.Before(t.listenUntil) {
			from = t.listenUntil
		}
		t.pending = append(t.pending, answer{packet: p, came: now, due: from.Add(advert.SolicitedDelay(t.rand))})
	}
}

// replies answers machines, each by a frame of its own, whatever its address (RFC 6085), so that hundreds can be answered
// between two multicasts. What is true now is decided and encoded once for all of them.
func (t *Task) replies(all []answer) {
	if len(all) == 0 {
		return
	}
	d := t.decide()
	if d.RA == nil {
		for _, a := range all {
			t.refuse(a.packet, d.Reason)
		}
		return
	}
	t.promise(*d.RA, t.cfg.Now())
	b, err := encodeAdvertisement(*d.RA, t.link.LinkLocal, allNodes())
	for _, a := range all {
		t.reply(a, d, b, err)
	}
}

// reply sends the packet of an advertisement to one machine, or says why there is none.
func (t *Task) reply(a answer, d advert.Decision, b []byte, err error) {
	if err == nil {
		readdress(b, answerTo(a.src))
		err = t.conn.Write(b, a.from)
	}
	out := d.Outcome
	if err != nil {
		out.Reason = reason.None
	}
	if nic, ok := t.cfg.Snapshot().NIC(a.from); ok {
		out.Host = nic.Host.Name
	}
	t.observe(timeline.Observation{
		Message: kindName(a.kind), Outcome: out, Took: t.cfg.Now().Sub(a.came), Peer: peer(a.packet), Err: err, MAC: a.from,
		Events: []timeline.Event{{
			Kind: timeline.RouterSolicit, Reason: out.Reason, Host: out.Host, Network: out.Network, MAC: a.from,
			Addr: a.src.String(),
		}},
	})
}

func (t *Task) observe(o timeline.Observation) {
	o.Adapter = adapter
	t.cfg.Observer.Observe(o)
}

func peer(p packet) string {
	if p.src == (netip.Addr{}) {
		return ""
	}
	return strconv.Quote(p.src.String())
}
