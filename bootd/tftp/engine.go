package tftp

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/pin/tftp/v3"
)

// engine runs pin/tftp in single-port mode over a packet connection that exists in memory only: it cuts files into blocks
// and turns text into netascii, and nothing from the wire reaches it. The network side, that is sockets, options, windows,
// retransmission and errors, is transfer's. What that keeps away from the library (v3.2.0):
//   - a packet over 516 octets panics single-port mode, as does one that arrives while its transfer ends; here each
//     transfer hands it four octets at a time, and only when it waits for them;
//   - it sends from any address and port, sends error code 1 with the server's own error text for everything, knows no
//     windowsize and no timeout, and starts a goroutine for each request without limit.
type engine struct {
	lib *tftp.Server
	// queue holds what the library reads next. No transfer has more than one packet in it, so that its capacity, the
	// number of transfers, is never exceeded and nobody waits to send.
	queue    chan delivery
	stopping chan struct{}
	stopOnce sync.Once

	mu        sync.Mutex
	next      uint64
	transfers map[uint64]*transfer
}

type delivery struct {
	to   *net.UDPAddr
	data []byte
}

// engineTimeout is longer than any transfer: the library must never retransmit by itself.
const engineTimeout = 24 * time.Hour

func newEngine(capacity int) *engine {
	e := &engine{
		queue:     make(chan delivery, capacity),
		stopping:  make(chan struct{}),
		transfers: map[uint64]*transfer{},
	}
	e.lib = tftp.NewServer(e.read, nil)
	e.lib.EnableSinglePort()
	e.lib.SetBlockSizeNegotiation(false)
	e.lib.SetBlockSize(maxBlock)
	e.lib.SetTimeout(engineTimeout)
	return e
}

// run serves until stop; every transfer must have been told to end by then.
func (e *engine) run() error {
	if err := e.lib.Serve(e); err != nil {
		return fmt.Errorf("running TFTP engine: %w", err)
	}
	return nil
}

func (e *engine) stop() {
	e.stopOnce.Do(func() { close(e.stopping) })
	e.lib.Shutdown()
}

// start has the library read t's source. The name in the request is the transfer's number.
func (e *engine) start(t *transfer) {
	e.mu.Lock()
	e.next++
	id := e.next
	e.transfers[id] = t
	e.mu.Unlock()
	addr := &net.UDPAddr{IP: make(net.IP, net.IPv6len), Port: 1}
	binary.BigEndian.PutUint64(addr.IP[8:], id)
	t.deliver = func(p []byte) { e.queue <- delivery{to: addr, data: p} }

	rrq := append([]byte{0, opRRQ}, strconv.FormatUint(id, 10)...)
	rrq = append(append(rrq, 0), t.mode...)
	rrq = append(rrq, 0)
	if len(t.terms.oack) > 0 {
		// Always a blksize, so that the library sends an OACK and waits: transfer puts its own in the place of it.
		rrq = append(append(rrq, "blksize\x00"...), strconv.Itoa(t.terms.block)...)
		rrq = append(rrq, 0)
	}
	t.deliver(rrq)
}

func (e *engine) find(id uint64) *transfer {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.transfers[id]
}

// read is the library's handler; it runs in a goroutine of its own for each transfer.
func (e *engine) read(name string, rf io.ReaderFrom) error {
	id, err := strconv.ParseUint(name, 10, 64)
	if err != nil {
		return fmt.Errorf("reading transfer number: %w", err)
	}
	t := e.find(id)
	if t == nil {
		return fmt.Errorf("reading transfer %d: it ended", id)
	}
	defer func() {
		e.mu.Lock()
		delete(e.transfers, id)
		e.mu.Unlock()
		close(t.read)
	}()
	// The error is transfer's own word for why it ended, or the source's, which source kept.
	_, _ = rf.ReadFrom(&t.source)
	return nil
}

// ReadFrom gives the library its next packet.
func (e *engine) ReadFrom(p []byte) (int, net.Addr, error) {
	var idle <-chan time.Time
	for {
		select {
		case d := <-e.queue:
			return copy(p, d.data), d.to, nil
		case <-idle:
			return 0, nil, os.ErrDeadlineExceeded
		case <-e.stopped(idle != nil):
			// The library asks again and again until its last transfer has ended: let that be now and then.
			idle = time.After(time.Millisecond)
		}
	}
}

// stopped is the channel to watch for a stop; seen once, it would only spin.
func (e *engine) stopped(seen bool) <-chan struct{} {
	if seen {
		return nil
	}
	return e.stopping
}

// WriteTo takes a packet of the library. It never waits for the network longer than one write.
func (e *engine) WriteTo(p []byte, to net.Addr) (int, error) {
	if a, ok := to.(*net.UDPAddr); ok && len(a.IP) == net.IPv6len {
		if t := e.find(binary.BigEndian.Uint64(a.IP[8:])); t != nil {
			t.produced(p)
		}
	}
	return len(p), nil
}

// Close does nothing: there is no socket.
func (e *engine) Close() error { return nil }

// LocalAddr is an address that the library can parse.
func (e *engine) LocalAddr() net.Addr { return &net.UDPAddr{IP: net.IPv6loopback, Port: 69} }

// SetDeadline does nothing: stop wakes ReadFrom.
func (e *engine) SetDeadline(time.Time) error { return nil }

// SetReadDeadline does nothing: stop wakes ReadFrom.
func (e *engine) SetReadDeadline(time.Time) error { return nil }

// SetWriteDeadline does nothing: nothing waits.
func (e *engine) SetWriteDeadline(time.Time) error { return nil }

// source is what a transfer reads, with the error that ended it.
type source struct {
	io.Reader
	io.Closer
	mu  sync.Mutex
	err error
}

// Read keeps what went wrong, because the library makes text of it.
func (s *source) Read(p []byte) (int, error) {
	n, err := s.Reader.Read(p)
	if err != nil && err != io.EOF {
		s.mu.Lock()
		s.err = err
		s.mu.Unlock()
	}
	return n, err
}

func (s *source) failure() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}
