package tftp

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"bootd.internal/bootd/reason"
)

const (
	// readAhead is how many blocks wait ready behind the window, so that an acknowledgement is answered without asking
	// the engine first.
	readAhead = 8
	// maxTries is how often a packet is sent before the peer counts as gone.
	maxTries = 6
	// maxInterval ends the doubling of the retransmission interval.
	maxInterval = 8 * time.Second
	// maxDuration ends a transfer that goes on but does not get anywhere.
	maxDuration = 30 * time.Minute
)

// transfer sends one file to one peer: the engine fills ring, acknowledgements empty it (RFC 1350, RFC 7440).
type transfer struct {
	peer   netip.AddrPort
	conn   *net.UDPConn
	mode   string
	terms  terms
	source source
	// stray is told of packets that do not belong here.
	stray func(op uint16, from netip.AddrPort, why reason.Reason)
	// deliver hands the engine a packet; it must be waiting for one.
	deliver func([]byte)
	// read is closed when the engine is done with source.
	read chan struct{}

	mu sync.Mutex
	// ring holds the packets from block base on that are not acknowledged; the first sent of them are on their way.
	ring [][]byte
	base uint16
	sent int
	// last is the newest block in ring, final whether the file ends with it.
	last  uint16
	final bool
	// waiting: the engine waits for the acknowledgement of last.
	waiting bool
	// handshake: ring[0] is an OACK, which is acknowledged alone.
	handshake bool
	// moved: the peer acknowledged something, so that the same request again is a new one.
	moved bool
	// resent: the window was sent again for a duplicate acknowledgement. Once is right (RFC 7440 section 4), more would be
	// the sorcerer's apprentice.
	resent bool
	tries  int
	began  time.Time
	// interval is how long to wait before sending again: first, doubled after each silence unless it was agreed.
	interval, first time.Duration
	octets          int64
	done            bool
	why             reason.Reason
	err             error
}

// begin says when the transfer started and how long to wait for the first acknowledgement.
func (t *transfer) begin(now time.Time, interval time.Duration) {
	t.began, t.first = now, interval
	if t.terms.interval > 0 {
		t.first = t.terms.interval
	}
	t.interval = t.first
	t.base = 1
	if len(t.terms.oack) > 0 {
		t.base, t.handshake = 0, true
	}
}

// run talks to the peer until the transfer ends, and returns when the engine has let go of it as well.
func (t *transfer) run() {
	buf := make([]byte, maxBlock)
	for t.arm() {
		n, from, err := t.conn.ReadFromUDPAddrPort(buf)
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			t.timeout()
		case err != nil:
			t.end(reason.Aborted, err)
		case from != t.peer:
			// RFC 1350 section 4: tell the stranger, do not disturb the transfer.
			_, _ = t.conn.WriteToUDPAddrPort(packERROR(codeUnknownTID, "unknown transfer"), from)
			t.stray(opcode(buf[:n]), from, reason.BadSource)
		default:
			t.packet(buf[:n])
		}
	}
	<-t.read
	_ = t.source.Close()
	_ = t.conn.Close()
}

// arm sets the deadline of the next read; false: the transfer has ended.
func (t *transfer) arm() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.done {
		return false
	}
	_ = t.conn.SetReadDeadline(time.Now().Add(t.interval))
	return true
}

// end ends the transfer once. The engine is told now or, when it is at work, with its next packet.
func (t *transfer) end(why reason.Reason, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.endLocked(why, err)
}

func (t *transfer) endLocked(why reason.Reason, err error) {
	if t.done {
		return
	}
	t.done, t.why, t.err = true, why, err
	_ = t.conn.SetReadDeadline(time.Unix(1, 0))
	t.release()
}

// refuse ends the transfer and tells the peer.
func (t *transfer) refuse(why reason.Reason, err error, code uint16, text string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.done {
		t.write(packERROR(code, text))
	}
	t.endLocked(why, err)
}

// release lets the engine go on after the end.
func (t *transfer) release() {
	if t.waiting {
		t.waiting = false
		t.deliver(packERROR(codeUndefined, "ended"))
	}
}

func (t *transfer) write(p []byte) {
	// A packet that does not leave is a lost packet: the next timeout sends it again.
	_, _ = t.conn.WriteToUDPAddrPort(p, t.peer)
}

// produced takes the engine's next packet.
func (t *transfer) produced(p []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.waiting = true
	switch op := opcode(p); {
	case op == opERROR:
		t.waiting = false // the engine is done; what it writes is not for the wire
		if !t.done {
			t.write(packERROR(codeUndefined, "reading the file failed"))
			t.endLocked(reason.Aborted, t.source.failure())
		}
		return
	case t.done:
		t.release()
		return
	case op == opOACK:
		t.last = 0
		t.ring = append(t.ring, packOACK(t.terms.oack))
	default:
		t.last = binary.BigEndian.Uint16(p[2:])
		t.final = len(p) < t.terms.block+4
		t.octets += int64(len(p) - 4)
		t.ring = append(t.ring, append([]byte(nil), p...))
	}
	t.pump()
	t.more()
}

// more lets the engine make the next block while there is room for it.
func (t *transfer) more() {
	if t.waiting && !t.final && len(t.ring) < t.terms.window+readAhead {
		t.waiting = false
		t.deliver(packACK(t.last))
	}
}

// pump sends what the window allows.
func (t *transfer) pump() {
	limit := t.terms.window
	if t.handshake {
		limit = 1
	}
	for t.sent < min(limit, len(t.ring)) {
		t.write(t.ring[t.sent])
		t.sent++
	}
}

// packet takes what the peer sent.
func (t *transfer) packet(p []byte) {
	switch op := opcode(p); {
	case op == opACK && len(p) >= 4:
		if !t.acknowledged(binary.BigEndian.Uint16(p[2:])) {
			t.stray(op, t.peer, reason.Malformed)
		}
	case op == opERROR:
		t.end(reason.Aborted, nil)
	default:
		t.stray(op, t.peer, reason.Malformed)
	}
}

// acknowledged takes an ACK; false: of a block that was never sent.
func (t *transfer) acknowledged(block uint16) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	ahead := int(int16(block - t.base + 1)) // how many blocks it acknowledges
	switch {
	case t.done:
		return true
	case ahead > t.sent:
		return false
	case ahead < 0 || ahead == 0 && (t.terms.window == 1 || t.resent || t.handshake):
		return true // a duplicate: it never sends anything twice
	case ahead == 0:
		t.resent = true
	default:
		t.ring = t.ring[ahead:]
		t.base += uint16(ahead)
		t.moved, t.resent, t.handshake = true, false, false
		t.tries, t.interval = 0, t.first
	}
	if len(t.ring) == 0 && t.final {
		t.endLocked(reason.Answered, nil)
		return true
	}
	// An acknowledgement from within the window says that the block after it was lost (RFC 7440 section 4).
	t.sent = 0
	t.pump()
	t.more()
	return true
}

// timeout sends the window again, or gives up.
func (t *transfer) timeout() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.done {
		return // end set the deadline that has passed
	}
	t.tries++
	if t.tries >= maxTries || time.Since(t.began) > maxDuration {
		t.endLocked(reason.TimedOut, nil)
		return
	}
	if t.terms.interval == 0 {
		t.interval = max(t.first, min(2*t.interval, maxInterval))
	}
	t.sent = 0
	t.pump()
}

// busy reports whether the same request again is a retransmission: it crossed our first packet, or it was read late. It is a
// new one when the peer may have all there is, or has been silent for long.
func (t *transfer) busy() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	whole := t.final && t.sent == len(t.ring)
	return !t.done && (!t.moved || !whole && t.tries == 0)
}
