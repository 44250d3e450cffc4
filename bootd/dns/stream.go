package dns

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

const (
	// dialPatience bounds connecting and the TLS handshake, streamIdle a connection without questions (RFC 7766 section 6.2.3),
	// streamMessage one answer once its length is there.
	dialPatience  = 4 * time.Second
	streamIdle    = 10 * time.Second
	streamMessage = 4 * time.Second
	// maxOnStream bounds the questions on one connection; identifiers are drawn until one is free.
	maxOnStream = 4096
)

var (
	errStreamEnded = errors.New("connection ended")
	errStreamFull  = errors.New("too many questions on one connection")
)

// stream is one connection to an upstream, TCP or TLS, shared by all questions to it: they are sent without waiting for one
// another, and answers come in any order (RFC 7766 section 6.2.1). Its goroutine is run's.
type stream struct {
	// ready is closed when the connection is up or has failed, dead when it has ended.
	ready, dead chan struct{}

	write sync.Mutex

	mu      sync.Mutex
	conn    net.Conn
	waiting map[uint16]chan []byte
	err     error
}

func newStream() *stream {
	return &stream{ready: make(chan struct{}), dead: make(chan struct{}), waiting: map[uint16]chan []byte{}}
}

// run connects, reads answers, and ends when the connection is idle or broken, or ctx ends.
func (s *stream) run(ctx context.Context, dial func(context.Context) (net.Conn, error)) {
	dctx, cancel := context.WithTimeout(ctx, dialPatience)
	conn, err := dial(dctx)
	cancel()
	s.mu.Lock()
	s.conn, s.err = conn, err
	s.mu.Unlock()
	close(s.ready)
	if err == nil {
		stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
		err = s.read(conn)
		stop()
		_ = conn.Close()
	}
	s.mu.Lock()
	s.err = errors.Join(errStreamEnded, err)
	s.mu.Unlock()
	close(s.dead)
}

func (s *stream) read(conn net.Conn) error {
	for {
		_ = conn.SetReadDeadline(time.Now().Add(streamIdle))
		var size [2]byte
		if _, err := io.ReadFull(conn, size[:]); err != nil {
			return fmt.Errorf("waiting for an answer: %w", err)
		}
		_ = conn.SetReadDeadline(time.Now().Add(streamMessage))
		p := make([]byte, binary.BigEndian.Uint16(size[:]))
		if _, err := io.ReadFull(conn, p); err != nil {
			return fmt.Errorf("reading an answer: %w", err)
		}
		if len(p) < headerLen {
			continue // zero octets, or nothing that has an identifier
		}
		s.mu.Lock()
		ch := s.waiting[binary.BigEndian.Uint16(p)]
		s.mu.Unlock()
		if ch != nil {
			select {
			case ch <- p:
			default: // it has more answers than anybody wants
			}
		}
	}
}

// ended reports whether no question can be sent any more.
func (s *stream) ended() bool {
	select {
	case <-s.dead:
		return true
	default:
		return false
	}
}

// ask sends one question, whose identifier it draws, and waits for the answer that fits it.
func (s *stream) ask(ctx context.Context, out []byte) ([]byte, error) {
	select {
	case <-s.ready:
	case <-ctx.Done():
		return nil, fmt.Errorf("connecting: %w", ctx.Err())
	}
	answers := make(chan []byte, 4)
	id, err := s.enter(answers)
	if err != nil {
		return nil, err
	}
	defer s.leave(id)
	frame := append(binary.BigEndian.AppendUint16(make([]byte, 0, 2+len(out)), uint16(len(out))), out...)
	binary.BigEndian.PutUint16(frame[2:], id)
	binary.BigEndian.PutUint16(out, id)
	s.write.Lock()
	_ = s.conn.SetWriteDeadline(time.Now().Add(streamMessage))
	_, err = s.conn.Write(frame)
	s.write.Unlock()
	if err != nil {
		_ = s.conn.Close() // half a question may be out: nothing after it could be read
		return nil, fmt.Errorf("sending question: %w: %w", errStreamEnded, err)
	}
	for {
		select {
		case p := <-answers:
			if matches(p, out) == nil && wellFormed(p) {
				return p, nil
			}
		case <-s.dead:
			for len(answers) > 0 { // what came before the end counts
				if p := <-answers; matches(p, out) == nil && wellFormed(p) {
					return p, nil
				}
			}
			return nil, s.err
		case <-ctx.Done():
			return nil, fmt.Errorf("waiting for the answer: %w", ctx.Err())
		}
	}
}

func (s *stream) enter(answers chan []byte) (uint16, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.err != nil:
		return 0, s.err
	case len(s.waiting) >= maxOnStream:
		return 0, errStreamFull
	}
	for {
		id := uint16(chance())
		if _, taken := s.waiting[id]; !taken {
			s.waiting[id] = answers
			return id, nil
		}
	}
}

func (s *stream) leave(id uint16) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.waiting, id)
}
