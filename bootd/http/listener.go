package http

import (
	"context"
	"crypto/tls"
	"net"
	"net/netip"
	"sync"

	"bootd.internal/bootd/ingress"
	"bootd.internal/bootd/reason"
)

// listener bounds connections, remembers how each came in, and turns away those of links that are not served.
type listener struct {
	*net.TCPListener
	index   func(*net.TCPConn) (int, error)
	counted func(*conn) ingress.Machine
	served  func(*conn) reason.Reason
	refused func(*conn, reason.Reason)
	slots   chan struct{}
	perPeer int
	closed  chan struct{}
	once    sync.Once

	mu    sync.Mutex
	peers map[ingress.Machine]int
}

func newListener(l *net.TCPListener, most, perPeer int) *listener {
	return &listener{
		TCPListener: l, slots: make(chan struct{}, most), perPeer: perPeer,
		closed: make(chan struct{}), peers: map[ingress.Machine]int{},
	}
}

// Accept waits until fewer than the most connections are open, then for the next one that may stay.
func (l *listener) Accept() (net.Conn, error) {
	select {
	case l.slots <- struct{}{}:
	case <-l.closed:
		return nil, net.ErrClosed
	}
	for {
		tcp, err := l.AcceptTCP()
		if err != nil {
			<-l.slots
			return nil, err
		}
		c := &conn{TCPConn: tcp, listener: l}
		c.source = tcp.RemoteAddr().(*net.TCPAddr).AddrPort()
		c.dest = tcp.LocalAddr().(*net.TCPAddr).AddrPort().Addr()
		if l.welcome(c) {
			return c, nil
		}
		_ = tcp.Close() // it never was one of ours
	}
}

// welcome decides whether a connection may stay, and says so where it may not.
func (l *listener) welcome(c *conn) bool {
	var err error
	if c.index, err = l.index(c.TCPConn); err != nil {
		return false // the peer is gone
	}
	r := l.served(c)
	if r == reason.None {
		if c.peer = l.counted(c); !l.enter(c.peer) {
			r = reason.Overload
		}
	}
	if r != reason.None {
		l.refused(c, r)
	}
	return r == reason.None
}

// Close ends Accept.
func (l *listener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.TCPListener.Close()
}

func (l *listener) enter(m ingress.Machine) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.peers[m] >= l.perPeer {
		return false
	}
	l.peers[m]++
	return true
}

func (l *listener) leave(m ingress.Machine) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.peers[m]--; l.peers[m] <= 0 {
		delete(l.peers, m)
	}
}

// conn is one connection; net/http uses its ReadFrom for sendfile.
type conn struct {
	*net.TCPConn
	listener *listener
	once     sync.Once
	index    int
	source   netip.AddrPort
	dest     netip.Addr
	// peer is whom the connection is counted for.
	peer ingress.Machine
}

// Close gives the place back.
func (c *conn) Close() error {
	c.once.Do(func() {
		c.listener.leave(c.peer)
		<-c.listener.slots
	})
	return c.TCPConn.Close()
}

type connKey struct{}

func withConn(ctx context.Context, c net.Conn) context.Context {
	if t, ok := c.(*tls.Conn); ok {
		c = t.NetConn()
	}
	return context.WithValue(ctx, connKey{}, c)
}
