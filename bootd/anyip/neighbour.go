package anyip

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"time"

	"bootd.internal/bootd/ident"
	"bootd.internal/bootd/netif"
	"bootd.internal/bootd/reason"
	"bootd.internal/bootd/site"
	"bootd.internal/bootd/timeline"
)

// Wire carries IPv6 packets with the MAC address of their frame on one link; netif.Discovery is one.
type Wire interface {
	Read(b []byte) (n int, from ident.MAC, err error)
	Write(packet []byte, to ident.MAC) error
	Close() error
}

// Neighbours answers neighbour solicitations on one link.
type Neighbours struct {
	task  *Task
	link  site.Link
	wire  Wire
	ready chan struct{}

	// window is the second that counted answers were given in.
	window  time.Time
	counted int
}

// perSecond is how many solicitations are answered on one link; who asks in vain asks again after a second (RFC 4861 section
// 7.2.2).
const perSecond = 1000

// Neighbours makes the task of one link; it closes the wire when it ends.
func (t *Task) Neighbours(l site.Link, w Wire) *Neighbours {
	return &Neighbours{task: t, link: l, wire: w, ready: make(chan struct{})}
}

// String names the task.
func (n *Neighbours) String() string { return "neighbour proxy on " + n.link.Name }

// Ready is closed once it reads.
func (n *Neighbours) Ready() <-chan struct{} { return n.ready }

// Run answers until ctx ends.
func (n *Neighbours) Run(ctx context.Context) (err error) {
	stop := context.AfterFunc(ctx, func() { _ = n.wire.Close() })
	defer func() {
		if stop() {
			err = errors.Join(err, n.wire.Close())
		}
	}()
	close(n.ready)
	b := make([]byte, 1<<16)
	for {
		size, from, err := n.wire.Read(b)
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, net.ErrClosed):
			return nil
		case err != nil:
			return err
		}
		n.answer(b[:size], from)
	}
}

// answer writes what a solicitation is owed. Those for addresses that are not ours are every other machine's, and nothing to tell of.
func (n *Neighbours) answer(b []byte, from ident.MAC) {
	s, why := parse(b, from)
	if why != reason.None {
		n.observe(from, why, nil)
		return
	}
	if !n.task.answersFor(n.link.Name, s.target) {
		return
	}
	now := n.task.cfg.Now()
	if d := now.Sub(n.window); d >= time.Second || d < 0 {
		n.window, n.counted = now, 0
	}
	if n.counted++; n.counted > perSecond {
		n.observe(from, reason.RateLimited, nil)
		return
	}
	packet, to := s.reply(n.link)
	err := n.wire.Write(packet, to)
	n.observe(from, reason.Answered, err)
}

func (n *Neighbours) observe(from ident.MAC, why reason.Reason, err error) {
	if err != nil {
		why = reason.None
	}
	n.task.cfg.Observer.Observe(timeline.Observation{
		Adapter: n.task.String(), Message: "NeighborSolicitation", Outcome: reason.Outcome{Reason: why}, MAC: from, Err: err,
	})
}

// answersFor reports whether an address is one that a link asks us for: in a prefix that is bound, and not the link's own, for
// which the kernel answers.
func (t *Task) answersFor(link string, a netip.Addr) bool {
	for _, e := range t.cfg.Snapshot().AnyIP {
		if !e.Prefix.Contains(a) || !t.isBound(e.Prefix) {
			continue
		}
		for _, l := range e.Neighbours {
			if l.Name != link {
				continue
			}
			for _, own := range l.Addrs {
				if own.Addr() == a {
					return false
				}
			}
			return true
		}
	}
	return false
}

func (t *Task) isBound(p netip.Prefix) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, s := range t.status {
		if s.Prefix == p && s.Bound {
			return true
		}
	}
	return false
}

// Sizes and numbers of neighbour discovery (RFC 4861 sections 4.3 and 4.4).
const (
	headerLen        = 40
	protoICMPv6      = 58
	hopLimit         = 255
	solicitationType = 135
	advertisingType  = 136
	solicitationLen  = 24
	optionUnit       = 8
	optionSource     = 1
	optionTarget     = 2
	flagSolicited    = 0x40
)

// solicitation asks who has an address.
type solicitation struct {
	src, target netip.Addr
	// from is the MAC address of the frame.
	from ident.MAC
}

// parse checks a packet, from its IPv6 header on, as RFC 4861 section 7.1.1 has it. Reasons: None, it is good; Malformed; BadHopLimit;
// BadSource.
func parse(b []byte, from ident.MAC) (s solicitation, why reason.Reason) {
	if len(b) < headerLen || b[0]>>4 != 6 || b[6] != protoICMPv6 {
		return s, reason.Malformed
	}
	size := int(binary.BigEndian.Uint16(b[4:]))
	if size < solicitationLen || len(b) < headerLen+size {
		return s, reason.Malformed
	}
	header, msg := b[:headerLen], b[headerLen:headerLen+size]
	if header[7] != hopLimit {
		return s, reason.BadHopLimit
	}
	s = solicitation{src: netip.AddrFrom16([16]byte(header[8:24])), target: netip.AddrFrom16([16]byte(msg[8:24])), from: from}
	if netif.Checksum(header, msg) != 0 || msg[0] != solicitationType || msg[1] != 0 || s.target.IsMulticast() {
		return s, reason.Malformed
	}
	if s.src.IsMulticast() || !from.Valid() {
		return s, reason.BadSource
	}
	probe := s.src.IsUnspecified()
	for o := msg[solicitationLen:]; len(o) > 0; o = o[int(o[1])*optionUnit:] {
		if len(o) < optionUnit || o[1] == 0 || len(o) < int(o[1])*optionUnit {
			return s, reason.Malformed
		}
		if probe && o[0] == optionSource {
			return s, reason.BadSource
		}
	}
	// A probe goes to the group of its address, ff02::1:ff00:0/104 with its last three octets, and to no other place.
	if group := [13]byte{0xff, 2, 11: 1, 12: 0xff}; probe && ([13]byte(header[24:37]) != group || [3]byte(header[37:40]) != [3]byte(msg[21:24])) {
		return s, reason.BadSource
	}
	return s, reason.None
}

// reply is the advertisement, from its IPv6 header on, and the MAC address that it goes to. It is that of a proxy (section 7.2.8): without
// the override flag, so that a machine that has the address wins. Without a delay: there is one proxy. A probe is answered to all.
func (s solicitation) reply(l site.Link) (packet []byte, to ident.MAC) {
	dst, to, flags := s.src, s.from, byte(flagSolicited)
	if dst.IsUnspecified() {
		dst, to, flags = netip.AddrFrom16([16]byte{0: 0xff, 1: 2, 15: 1}), ident.MAC{0x33, 0x33, 0, 0, 0, 1}, 0
	}
	const size = solicitationLen + optionUnit
	b := make([]byte, headerLen+size)
	b[0], b[6], b[7] = 6<<4, protoICMPv6, hopLimit
	binary.BigEndian.PutUint16(b[4:], size)
	from, toAddr, target := l.LinkLocal.As16(), dst.As16(), s.target.As16()
	copy(b[8:], from[:])
	copy(b[24:], toAddr[:])
	msg := b[headerLen:]
	msg[0], msg[4] = advertisingType, flags
	copy(msg[8:], target[:])
	msg[24], msg[25] = optionTarget, 1
	copy(msg[26:], l.MAC[:])
	binary.BigEndian.PutUint16(msg[2:], netif.Checksum(b[:headerLen], msg))
	return b, to
}
