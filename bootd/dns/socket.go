package dns

import (
	"fmt"
	"net"
	"time"
)

const (
	// maxIdle sockets of an upstream wait for their next question, each for portLife at most after it was opened and for
	// portUses questions: so long nobody can find out which ports are open, and a port for each question alone would cost more
	// than all the rest of its work (RFC 5452 section 9.2 wants ports that cannot be guessed, not ports that are new).
	maxIdle  = 256
	portLife = 5 * time.Second
	portUses = 16
)

// socket is connected to an upstream, from a port that the kernel chose at random. One question at a time uses it.
type socket struct {
	conn   *net.UDPConn
	opened time.Time
	uses   int
	buf    [4096]byte
}

// socket takes one that is idle, by chance, or opens one.
func (p *upstream) socket(now time.Time) (*socket, error) {
	p.mu.Lock()
	p.expire(now)
	if n := len(p.idle); n > 0 {
		i := int(chance() % uint64(n))
		c := p.idle[i]
		p.idle[i] = p.idle[n-1]
		p.idle = p.idle[:n-1]
		p.mu.Unlock()
		return c, nil
	}
	p.mu.Unlock()
	conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(p.Addr))
	if err != nil {
		return nil, fmt.Errorf("opening socket: %w", err)
	}
	return &socket{conn: conn, opened: now}, nil
}

// giveBack keeps a socket for the next question, or closes it.
func (p *upstream) giveBack(c *socket, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.expire(now)
	c.uses++
	if c.uses >= portUses || len(p.idle) >= maxIdle || now.Sub(c.opened) >= portLife || p.closed {
		_ = c.conn.Close()
		return
	}
	p.idle = append(p.idle, c)
	p.expires = earlier(p.expires, c.opened.Add(portLife))
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// expire closes what was open for long. p.mu is held.
func (p *upstream) expire(now time.Time) {
	if now.Before(p.expires) {
		return
	}
	p.expires = now.Add(portLife)
	kept := p.idle[:0]
	for _, c := range p.idle {
		if now.Sub(c.opened) < portLife {
			kept = append(kept, c)
			p.expires = earlier(p.expires, c.opened.Add(portLife))
		} else {
			_ = c.conn.Close()
		}
	}
	clear(p.idle[len(kept):])
	p.idle = kept
}

// close closes what is idle, and from now on what is given back.
func (p *upstream) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	for _, c := range p.idle {
		_ = c.conn.Close()
	}
	p.idle = nil
}
