package dhcp6

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"time"

	"bootd.internal/bootd/decide/address"
	"bootd.internal/bootd/decide/who"
	"bootd.internal/bootd/ident"
	"bootd.internal/bootd/ingress"
	"bootd.internal/bootd/reason"
	"bootd.internal/bootd/site"
	"bootd.internal/bootd/store"
	"bootd.internal/bootd/timeline"
)

// lane takes datagrams from the socket, many with one system call, decides them one after the other, and sends the answers
// with one system call. What has to wait for the disk waits together, and meanwhile the next lane reads: one lane in front
// works without handing anything to anybody as long as nothing is written.
type lane struct {
	s     *Server
	batch *ingress.Batch
	items []item
	// front: it is one of those that read.
	front bool
	// asked are the links whose neighbours were looked at since the last read.
	asked []int
	// snap and start are what the batch is decided by.
	snap  *site.Snapshot
	start time.Time
	// ready are the items that can be answered, waiting those that the disk holds up; both are used again and again.
	ready, waiting []*item
}

// item is one datagram on its way through a lane.
type item struct {
	d        datagram
	p        packet
	decision address.Decision
	commit   store.Commit
	// err is a fault of ours.
	err error
	out sent
	// queued is the place of the answer among those that are sent together, -1: there is none.
	queued int
	// What follows is used again for the next datagram: nothing that outlives the answer may point into it.
	*rooms
}

// rooms is the memory of an item.
type rooms struct {
	reply    []byte
	evidence [4]who.Evidence
	request  address.Request
	decide   address.Room
	// run is the item's transaction.
	run func(store.View) []store.Op
}

// run answers until reading ends. Errors: the socket failed.
func (l *lane) run(ctx context.Context) error {
	defer l.resign()
	for failures := 0; ; {
		if !l.front {
			l.s.front <- struct{}{}
			l.front = true
		}
		if l.batch == nil { // the lanes behind the first are seldom needed
			l.batch = ingress.NewBatch(l.s.conn, batchSize, maxDatagram, 0)
			l.items = make([]item, batchSize)
			for i := range l.items {
				l.items[i].rooms = l.rooms(&l.items[i])
			}
		}
		n, err := l.batch.Read()
		switch {
		case err == nil:
			failures = 0
			l.serve(ctx, n)
		case ctx.Err() != nil || errors.Is(err, os.ErrDeadlineExceeded):
			return nil
		default: // an ICMP error that a reply drew, or a broken socket
			if failures++; failures >= maxReadErrors || errors.Is(err, net.ErrClosed) {
				return fmt.Errorf("reading DHCPv6 socket: %w", err)
			}
		}
	}
}

// rooms makes the memory of an item, and what runs in its transaction, so that two packets cannot get one address.
func (l *lane) rooms(it *item) *rooms {
	return &rooms{run: func(v store.View) []store.Op {
		it.decision = it.rooms.decide.Decide(l.snap, v, it.p.req, l.start)
		return it.decision.Ops
	}}
}

// resign lets the next lane read.
func (l *lane) resign() {
	if l.front {
		l.front = false
		<-l.s.front
	}
}

// serve answers n datagrams. Whatever happens, there is one observation of each. It resigns before it waits for the disk.
func (l *lane) serve(ctx context.Context, n int) {
	l.start, l.snap = l.s.cfg.Now(), l.s.cfg.Snapshot()
	defer l.forget(n)
	l.asked, l.ready, l.waiting = l.asked[:0], l.ready[:0], l.waiting[:0]
	for i := range n {
		it := &l.items[i]
		octets, peer, over := l.batch.Datagram(i)
		*it = item{queued: -1, rooms: it.rooms, d: datagram{octets: octets, over: over, from: peer.Addr, dst: l.batch.Dest(i), link: peer.Index}}
		if it.d.link == 0 {
			continue // the kernel tells it of every packet
		}
		switch {
		case !l.guarded(it, func() bool { return l.begin(it) }):
		case it.commit.Done():
			l.ready = append(l.ready, it)
		default:
			l.waiting = append(l.waiting, it)
		}
	}
	l.s.overflow(n == batchSize, l.start)
	if len(l.waiting) > 0 {
		l.waiting[0].commit.Sync() // one for all, and it works while the others are answered
	}
	l.answer(ctx, l.ready)
	if len(l.waiting) == 0 {
		return
	}
	l.resign()
	// A stop lets the transactions that are under way end.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), commitTimeout)
	defer cancel()
	for rest := l.waiting; len(rest) > 0; {
		done := 0
		for done < len(rest) && (done == 0 || rest[done].commit.Done()) {
			it := rest[done]
			l.guarded(it, func() bool { it.err = it.commit.Wait(ctx); return true })
			done++
		}
		l.answer(ctx, rest[:done])
		rest = rest[done:]
	}
}

// forget lets go of what the batch was decided by: a lane may rest for long, and a snapshot is large.
func (l *lane) forget(n int) {
	for i := range n {
		it := &l.items[i]
		*it = item{rooms: it.rooms}
	}
	l.snap = nil
}

// guarded runs one step of one item; a panic in it costs that item alone.
func (l *lane) guarded(it *item, step func() bool) (ok bool) {
	defer func() {
		if p := recover(); p != nil {
			ok, it.commit = false, nil
			err := fmt.Errorf("answering DHCPv6 packet: panic: %v", p)
			l.s.observe(&it.d, it.p.req.Msg, reason.Outcome{Reason: reason.Malformed}, err)
			l.s.trace(&it.d, l.start, "", reason.Outcome{Reason: reason.Malformed}, sent{err: err})
		}
	}()
	return step()
}

// begin reads a datagram and starts its transaction; it reports false when there is nothing more to do.
func (l *lane) begin(it *item) bool {
	s, d, snap, start := l.s, &it.d, l.snap, l.start
	if d.over {
		s.observe(d, it.p.req.Msg, reason.Outcome{Reason: reason.Oversized}, nil)
		s.trace(d, start, "", reason.Outcome{Reason: reason.Oversized}, sent{})
		return false
	}
	d.mac, d.seen = l.sender(d, start)
	var why reason.Reason
	it.p, why = parseInto(d.octets, it.request)
	it.request = it.p.req
	it.p.req.Evidence = it.evidence[:0]
	if why != reason.None {
		s.observe(d, it.p.req.Msg, reason.Outcome{Reason: why}, nil)
		s.trace(d, start, it.p.req.Client, reason.Outcome{Reason: why}, sent{})
		return false
	}
	if len(it.p.hops) > 0 {
		if !s.relayed(d, &it.p, snap, start) {
			return false
		}
	} else {
		s.evidence(&it.p.req, snap, d)
		it.p.req.Hold = s.hold(d.link, start)
	}
	aside := s.asides.allow(&it.p.req, snap, start)
	it.commit = s.cfg.Store.Start(it.run)
	s.asides.settle(aside, it.decision.PutAside)
	if len(it.p.hops) > 0 { // not when it is durable: others of its batch come before
		s.ports.charge(s.ports.of(it.p.req.At.Relay, it.p.hops), it.decision, start)
	}
	return true
}

// answer sends what was decided for items whose transactions have ended.
func (l *lane) answer(ctx context.Context, items []*item) {
	queued := 0
	for _, it := range items {
		l.guarded(it, func() bool {
			if it.commit == nil {
				return false
			}
			l.s.settle(ctx, it, l.snap, l.start)
			if it.out.octets != nil {
				l.s.reply(l.batch, it)
				it.queued = queued
				queued++
			}
			return true
		})
	}
	if queued > 0 {
		l.batch.Flush()
	}
	took := l.s.cfg.Now().Sub(l.start)
	for _, it := range items {
		if it.commit == nil { // it ended in a panic, and that was told
			continue
		}
		it.out.took, it.out.err = took, it.err
		if it.queued >= 0 && it.err == nil {
			if err := l.batch.Failed(it.queued); err != nil && !(noRoom(err) && l.direct(it)) {
				it.out.err = fmt.Errorf("sending DHCPv6 reply: %w", err)
			}
		}
		l.guarded(it, func() bool { l.s.told(it, l.start); return true })
	}
}

// told reports what became of an item.
func (s *Server) told(it *item, start time.Time) {
	d, decision := &it.d, &it.decision
	if decision.Outcome.Reason == reason.OtherServer && len(it.p.hops) == 0 {
		s.overheard(d.link, it.p.req)
	}
	if decision.Twin.Valid() {
		s.twins.tell(decision, it.p.req.Client, start)
	}
	s.cfg.Observer.Observe(timeline.Observation{
		Adapter: adapter, Message: it.p.req.Msg.String(), Outcome: decision.Outcome, Took: it.out.took, Err: it.out.err,
		From: timeline.Sender{AddrPort: d.from}, Events: decision.Events, MAC: seen(it.p.req.Evidence), Heard: decision.Heard,
	})
	s.trace(d, start, it.p.req.Client, decision.Outcome, it.out)
}

// sender finds the card that a datagram came from. All of a batch were on the link before the first of them is looked at.
func (l *lane) sender(d *datagram, now time.Time) (ident.MAC, bool) {
	if d.relayed() {
		return l.s.relaySender(d, now)
	}
	from := d.from.Addr().WithZone("")
	if slices.Contains(l.asked, d.link) {
		if m, ok := l.s.cfg.Neighbours.Known(d.link, from); ok {
			return m, true
		}
	}
	l.asked = append(l.asked, d.link)
	return l.s.cfg.Neighbours.MAC(d.link, from)
}
