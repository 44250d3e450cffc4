package dns

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"

	"bootd.internal/bootd/egress"
)

const (
	// maxIdle ports of an upstream wait for their next question, each for about portLife after it was opened, and it carries
	// portUses questions at most, at one time or one after the other: so long nobody can find out which ports are open, and a port
	// for each question alone would cost more than all the rest of its work (RFC 5452 section 9.2 wants ports that cannot be
	// guessed, not ports that are new).
	maxIdle  = 256
	portLife = 5 * time.Second
	portUses = egress.Together
)

// port is a socket to an upstream, at a port that the kernel chose at random. Its fields are guarded by the upstream's mu, but for
// the socket.
type port struct {
	p      *upstream
	socket *egress.Socket
	opened time.Time
	uses   int
	// idle: it is among those that wait, held: questions are being written, over: no further ones may be.
	idle, held, over bool
	asked            []*asking
}

// asking is a question on its way by datagram.
type asking struct {
	out   []byte
	f     form
	began time.Time
	// done gets the answer, whose octets are the reader's, or why there is none. It is called once, and must not block.
	done func(raw []byte, err error)
	// late, which may be nil, is called when there is no answer after moments; then done is not, and the answer has to be waited for.
	late func(wait)
	// port is where it was sent from.
	port *port
}

// send sends questions, as many from one port as it may still carry.
func (p *upstream) send(all []*asking) {
	datagrams := make([][]byte, 0, portUses)
	for len(all) > 0 {
		c, err := p.take(time.Now())
		if err != nil {
			for _, a := range all {
				a.done(nil, err)
			}
			return
		}
		n := min(len(all), portUses-c.uses)
		p.mu.Lock()
		c.uses += n
		c.asked = append(c.asked, all[:n]...)
		datagrams = datagrams[:0]
		for _, a := range all[:n] {
			a.port = c
			datagrams = append(datagrams, a.out)
		}
		p.mu.Unlock()
		err = c.socket.Send(datagrams...)
		p.mu.Lock()
		c.held = false
		if p.closed && err == nil { // close did not see them
			err = fmt.Errorf("waiting for the answer: %w", net.ErrClosed)
		}
		p.settle(c, time.Now())
		p.mu.Unlock()
		if err != nil {
			c.fail(err)
		}
		all = all[n:]
	}
}

// take takes a port that is idle, by chance, or opens one.
func (p *upstream) take(now time.Time) (*port, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, fmt.Errorf("opening socket: %w", net.ErrClosed)
	}
	p.expire(now)
	if n := len(p.idle); n > 0 {
		i := int(chance() % uint64(n))
		c := p.idle[i]
		p.idle[i] = p.idle[n-1]
		p.idle = p.idle[:n-1]
		c.idle, c.held = false, true
		return c, nil
	}
	c := &port{p: p, opened: now, held: true, asked: make([]*asking, 0, portUses)}
	var err error
	if c.socket, err = p.sockets.Open(p.Addr, c.arrived); err != nil {
		return nil, err
	}
	p.ports = append(p.ports, c)
	return c, nil
}

// settle keeps a port for the next question, or closes it when it has carried what it may and nothing is on its way. p.mu is held.
func (p *upstream) settle(c *port, now time.Time) {
	switch {
	case c.held, c.idle:
	case !c.over && c.uses < portUses && len(p.idle) < maxIdle && now.Sub(c.opened) < portLife && !p.closed:
		c.idle = true
		p.idle = append(p.idle, c)
		p.expires = earlier(p.expires, c.opened.Add(portLife))
	case len(c.asked) == 0:
		p.shut(c)
	}
}

// shut closes a port. p.mu is held.
func (p *upstream) shut(c *port) {
	if i := slices.Index(p.ports, c); i >= 0 {
		p.ports[i] = p.ports[len(p.ports)-1]
		p.ports[len(p.ports)-1] = nil
		p.ports = p.ports[:len(p.ports)-1]
		c.socket.Close()
	}
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// expire lets go of what is open for long. p.mu is held.
func (p *upstream) expire(now time.Time) {
	if now.Before(p.expires) {
		return
	}
	p.expires = now.Add(portLife)
	p.idle = slices.DeleteFunc(p.idle, func(c *port) bool {
		if now.Sub(c.opened) < portLife {
			p.expires = earlier(p.expires, c.opened.Add(portLife))
			return false
		}
		c.idle = false
		p.settle(c, now)
		return true
	})
}

// close closes all ports, with what is asked from them, and lets nobody open another one.
func (p *upstream) close() {
	p.mu.Lock()
	p.closed = true
	all := slices.Clone(p.ports)
	p.mu.Unlock()
	for _, c := range all {
		c.fail(fmt.Errorf("waiting for the answer: %w", net.ErrClosed))
	}
}

// arrived takes what came to a port: what answers nothing that was asked is forged, late or broken, and the good answer may be
// right behind it.
func (c *port) arrived(datagrams [][]byte, err error) {
	defer func() {
		if v := recover(); v != nil {
			c.fail(fmt.Errorf("reading answers: %w: %v", errPanic, v))
		}
	}()
	if err != nil {
		c.fail(err)
		return
	}
	for _, raw := range datagrams {
		a := c.match(raw)
		if a == nil {
			continue
		}
		if err, counts := c.p.accept(raw, a); counts {
			if done := c.p.forget(a, false); done != nil {
				done(raw, err)
			}
		}
	}
}

// match finds the question that a datagram answers.
func (c *port) match(raw []byte) *asking {
	c.p.mu.Lock()
	defer c.p.mu.Unlock()
	for _, a := range c.asked {
		if matches(raw, a.out) == nil {
			return a
		}
	}
	return nil
}

// forget takes a question off its port, and gives its done; nil: it was not there any more. unheard: its answer may still come, and
// no other question is asked from there.
func (p *upstream) forget(a *asking, unheard bool) func([]byte, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := a.port
	if c == nil { // none could be opened
		return nil
	}
	i := slices.Index(c.asked, a)
	if i < 0 {
		return nil
	}
	last := len(c.asked) - 1
	c.asked[i] = c.asked[last]
	c.asked[last] = nil
	c.asked = c.asked[:last]
	if unheard {
		p.retire(c)
	}
	p.settle(c, time.Now())
	return a.done
}

// retire has a port carry no further question. p.mu is held.
func (p *upstream) retire(c *port) {
	c.over = true
	if c.idle {
		c.idle = false
		p.idle = slices.DeleteFunc(p.idle, func(other *port) bool { return other == c })
	}
}

// fail ends what is asked from a port.
func (c *port) fail(err error) {
	c.p.mu.Lock()
	all := c.asked
	c.asked = nil
	c.p.retire(c)
	c.p.settle(c, time.Now())
	c.p.mu.Unlock()
	for i, a := range all {
		if i == 1 {
			err = fmt.Errorf("%w: %w", errSameFault, err)
		}
		a.done(nil, err)
	}
}

// errSameFault says that another question has had this very fault.
var errSameFault = errors.New("with others from the same port")

// overdue gives what has waited for moments, once, and when the next will have.
func (p *upstream) overdue(now time.Time) (all []func(), next time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.ports {
		for _, a := range c.asked {
			if a.late == nil {
				continue
			}
			if due := a.began.Add(moments); due.After(now) {
				if next.IsZero() || due.Before(next) {
					next = due
				}
				continue
			}
			late, w := a.late, wait{p: p, asked: a, came: make(chan came, 1)}
			a.late, a.done = nil, w.done
			all = append(all, func() { late(w) })
		}
	}
	return all, next
}

// accept checks an answer that matches a question; counts: the question has no other. errUseConnection says that a datagram is not
// enough.
func (p *upstream) accept(raw []byte, a *asking) (err error, counts bool) {
	cut := len(raw) == egress.Longest // more than was asked for, and perhaps more than this
	if !cut && !wellFormed(raw) {
		return nil, false
	}
	switch p.cookies(raw, a.f) {
	case cookieForged:
		return nil, false
	case cookieMissing:
		return errUseConnection, true
	}
	if cut || binary.BigEndian.Uint16(raw[2:])&bitTC != 0 {
		return errUseConnection, true
	}
	if q := questionOf(raw); a.f.mixed && q != nil && !bytes.Equal(q, questionOf(a.out)) {
		return errUseConnection, true
	}
	return nil, true
}

// wait is the answer to one question, for whoever has time to wait for it.
type wait struct {
	p     *upstream
	asked *asking
	came  chan came
}

type came struct {
	raw []byte
	err error
}

// ask sends one question.
func (p *upstream) ask(out []byte, f form) wait {
	w := wait{p: p, came: make(chan came, 1)}
	w.asked = &asking{out: out, f: f, began: time.Now(), done: w.done}
	p.send([]*asking{w.asked})
	return w
}

// done hands on what came. The octets of a datagram are its reader's.
func (w wait) done(raw []byte, err error) { w.came <- came{bytes.Clone(raw), err} }

// end waits until the answer comes or ctx ends.
func (w wait) end(ctx context.Context) ([]byte, error) {
	select {
	case c := <-w.came:
		return c.raw, c.err
	case <-ctx.Done():
		w.p.forget(w.asked, true)
		return nil, fmt.Errorf("waiting for the answer: %w", ctx.Err())
	}
}
