package dns

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"bootd.internal/bootd/ingress"
	"bootd.internal/bootd/reason"
)

const (
	// maxConns and maxConnsPerPeer bound the TCP connections.
	maxConns        = 256
	maxConnsPerPeer = 16
	// idle is how long a connection may be silent between two questions (RFC 7766 section 6.2.3), wholeQuery how long one
	// question may take once its length is there, slowReader how long one answer may.
	idle       = 10 * time.Second
	wholeQuery = 2 * time.Second
	slowReader = 5 * time.Second
	// backlog is how many questions of one connection may be without their answer; with more, no further one is read.
	backlog = 128
)

// conns counts connections.
type conns struct {
	mu      sync.Mutex
	open    map[*net.TCPConn]bool
	perPeer map[machine]int
	talks   sync.WaitGroup
}

func (c *conns) add(conn *net.TCPConn, peer machine) reason.Reason {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case len(c.open) >= maxConns:
		return reason.Overload
	case c.perPeer[peer] >= maxConnsPerPeer:
		return reason.RateLimited
	}
	c.open[conn] = true
	c.perPeer[peer]++
	c.talks.Add(1)
	return reason.None
}

func (c *conns) remove(conn *net.TCPConn, peer machine) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.open, conn)
	if c.perPeer[peer]--; c.perPeer[peer] == 0 {
		delete(c.perPeer, peer)
	}
	c.talks.Done()
}

// closeAll has every connection's reader and writer end.
func (c *conns) closeAll() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for conn := range c.open {
		_ = conn.Close()
	}
}

// accept takes connections until the listener is closed.
func (s *Server) accept(ctx context.Context) error {
	for {
		conn, err := s.tcp.AcceptTCP()
		switch {
		case err == nil:
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("accepting DNS connections: %w", err)
		default:
			// Out of descriptors, most likely: give those that are open time to end.
			s.fault(fmt.Errorf("accepting DNS connection: %w", err))
			select {
			case <-time.After(100 * time.Millisecond):
			case <-ctx.Done():
			}
			continue
		}
		s.welcome(ctx, conn)
	}
}

// welcome checks where a connection came in, and starts its reader and writer.
func (s *Server) welcome(ctx context.Context, conn *net.TCPConn) {
	c := client{tcp: true, peer: conn.RemoteAddr().(*net.TCPAddr).AddrPort(), began: s.cfg.Now()}
	index, err := ingress.TCPIndex(conn)
	var why reason.Reason
	c.at, c.net, why = ingress.Served(s.cfg.Snapshot(), index, c.peer.Addr(), conn.LocalAddr().(*net.TCPAddr).AddrPort().Addr())
	peer := s.counted(c)
	if err == nil && why == reason.None {
		why = s.conns.add(conn, peer)
	}
	if err != nil || why != reason.None {
		_ = conn.Close()
		s.observe(c, nil, reasonOnly(why), err)
		return
	}
	go func() {
		defer s.conns.remove(conn, peer)
		s.talk(ctx, c, conn)
	}()
}

// talk reads questions and writes answers, in the order in which they are ready (RFC 7766 section 6.2.1.1). A slot is a query
// from its reading until its answer is written; there are as many as out has room for, so that sending never blocks.
func (s *Server) talk(ctx context.Context, c client, conn *net.TCPConn) {
	out := make(chan []byte, backlog)
	slots := make(chan struct{}, backlog)
	written := make(chan struct{})
	go func() {
		defer close(written)
		writeAnswers(conn, out, slots)
	}()
	r := reader{conn: conn, buf: bufio.NewReaderSize(conn, 2+maxQuery)}
	w := quick{Server: s}
	m := s.moment()
	for {
		if !r.whole() { // about to wait
			w.report(m.now)
		}
		p, err := r.read()
		if err != nil {
			if !errors.Is(err, io.EOF) {
				s.observe(c, nil, reasonOnly(tcpReason(err)), nil)
			}
			break
		}
		slots <- struct{}{}
		if len(w.did) == 0 {
			m = s.moment()
		}
		if answer, ok := w.hit(m, p, c.at, c.net, true, make([]byte, 2, 512)); ok {
			out <- answer
			continue
		}
		q, sent := c, false
		q.began = s.cfg.Now()
		q.send = func(b []byte) { sent = true; out <- append(make([]byte, 2, 2+len(b)), b...) }
		q.finish = func() {
			if !sent {
				<-slots
			}
		}
		s.handle(ctx, q, p)
		s.upstreams.flush()
	}
	w.report(m.now)
	for range backlog { // whoever closes its half first still gets its answers
		slots <- struct{}{}
	}
	close(out)
	<-written
	_ = conn.Close()
}

// atOnce is how many octets of answers are written together.
const atOnce = 16 << 10

// writeAnswers writes until out is closed: all that is ready with one system call. Each answer begins with two octets for its
// length. After an error the rest is dropped.
func writeAnswers(conn *net.TCPConn, out <-chan []byte, slots <-chan struct{}) {
	failed := false
	var frames []byte
	for b := range out {
		frames = frames[:0]
		n := 0
		for more := true; more; {
			binary.BigEndian.PutUint16(b, uint16(len(b)-2))
			frames = append(frames, b...)
			n++
			more = false
			if len(frames) < atOnce {
				select {
				case b, more = <-out:
				default:
				}
			}
		}
		if !failed {
			_ = conn.SetWriteDeadline(time.Now().Add(slowReader))
			if _, err := conn.Write(frames); err != nil {
				failed = true
				_ = conn.Close()
			}
		}
		for range n {
			<-slots
		}
	}
}

var (
	errTooLong  = errors.New("query too long")
	errTooShort = errors.New("query too short")
	errSlow     = errors.New("query comes too slowly")
)

// reader reads the questions of a connection.
type reader struct {
	conn *net.TCPConn
	buf  *bufio.Reader
}

// whole reports whether a whole question is there already.
func (r *reader) whole() bool {
	if r.buf.Buffered() < 2 {
		return false
	}
	size, _ := r.buf.Peek(2)
	return r.buf.Buffered() >= 2+int(binary.BigEndian.Uint16(size))
}

// read gives one question, its octets until the next read. The two octets of its length and its body have a deadline each, however
// slowly they drip.
func (r *reader) read() ([]byte, error) {
	whole := r.whole()
	if !whole {
		_ = r.conn.SetReadDeadline(time.Now().Add(idle))
	}
	size, err := r.buf.Peek(2)
	if err != nil {
		if len(size) == 0 { // closed or idle between two questions: how a connection ends
			return nil, io.EOF
		}
		return nil, errSlow
	}
	n := int(binary.BigEndian.Uint16(size))
	switch {
	case n < headerLen:
		return nil, errTooShort
	case n > maxQuery:
		return nil, errTooLong
	}
	if !whole {
		_ = r.conn.SetReadDeadline(time.Now().Add(wholeQuery))
	}
	p, err := r.buf.Peek(2 + n)
	if err != nil {
		return nil, errSlow
	}
	_, _ = r.buf.Discard(2 + n) // it was peeked: it is there
	return p[2:], nil
}

func tcpReason(err error) reason.Reason {
	switch {
	case errors.Is(err, errTooLong):
		return reason.Oversized
	case errors.Is(err, errSlow):
		return reason.TimedOut
	}
	return reason.Malformed
}
