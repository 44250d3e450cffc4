// Package http serves boot files, boot scripts, installer answers and their callbacks over HTTP/1.1 (RFC 9110, RFC 9112)
// on IPv6. It parses a request, lets decide/boot decide, makes the decision durable and writes the answer.
//
// The package never redirects (firmware and shim do not follow), never compresses, never believes a Host header, and
// never writes a token to a log, an event or a metric.
package http

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"syscall"
	"time"

	"bootd.internal/bootd/files"
	"bootd.internal/bootd/ident"
	"bootd.internal/bootd/ingress"
	"bootd.internal/bootd/reason"
	"bootd.internal/bootd/render"
	"bootd.internal/bootd/site"
	"bootd.internal/bootd/store"
	"bootd.internal/bootd/timeline"
	"golang.org/x/sys/unix"
)

// Observer is told once of each request.
type Observer interface{ Observe(timeline.Observation) }

// Neighbours finds the MAC behind an on-link source address.
type Neighbours interface {
	MAC(ifindex int, a netip.Addr) (ident.MAC, bool)
}

// Config is what a Server needs. All but Port and the limits are required.
type Config struct {
	Snapshot   func() *site.Snapshot
	Store      store.Store
	Observer   Observer
	Neighbours Neighbours
	// Render gives the templates that belong to a snapshot.
	Render func(*site.Snapshot) *render.Set
	Files  *files.Dir
	Now    func() time.Time
	// Rand is where tokens come from; crypto/rand.Reader.
	Rand io.Reader
	// TLS makes this the server of phones over HTTPS, which serves nothing else; nil: plain HTTP.
	TLS *tls.Config
	// Authority gives the certificate of bootd's own authority in PEM, nil where there is none.
	Authority func() []byte
	// Port to listen on; 0 takes a free one.
	Port int
	// MaxConns and MaxPerPeer bound the connections at one time, of all and of one machine, default 2048 and 64.
	MaxConns, MaxPerPeer int
	// Stall is how long a peer may take for one MiB, for its headers a sixth of it; default one minute.
	Stall time.Duration
}

const (
	defaultMaxConns   = 2048
	defaultMaxPerPeer = 64
	defaultStall      = time.Minute
	// grace is how long requests under way get at the end.
	grace = 3 * time.Second
)

// Server is the HTTP server, a daemon.Task.
type Server struct {
	cfg      Config
	listener *listener
	server   *http.Server
	ready    chan struct{}
}

// New opens the socket, on [::] and for IPv6 alone. Binding a port below 1024 needs CAP_NET_BIND_SERVICE.
func New(cfg Config) (*Server, error) {
	if cfg.MaxConns <= 0 {
		cfg.MaxConns = defaultMaxConns
	}
	if cfg.MaxPerPeer <= 0 {
		cfg.MaxPerPeer = defaultMaxPerPeer
	}
	if cfg.Stall <= 0 {
		cfg.Stall = defaultStall
	}
	s := &Server{cfg: cfg, ready: make(chan struct{})}
	l, err := listen(cfg.Port)
	if err != nil {
		return nil, err
	}
	s.listener = newListener(l, cfg.MaxConns, cfg.MaxPerPeer)
	s.listener.index, s.listener.served, s.listener.refused = ingress.TCPIndex, s.served, s.refused
	s.listener.counted = s.counted
	s.server = &http.Server{
		Handler:           http.HandlerFunc(s.handle),
		ReadHeaderTimeout: cfg.Stall / 6,
		WriteTimeout:      cfg.Stall, // moved on by what writes much
		IdleTimeout:       cfg.Stall,
		MaxHeaderBytes:    16 << 10,
		ConnContext:       withConn,
		ErrorLog:          log.New(io.Discard, "", 0), // it would quote what clients sent
		// OPTIONS * is no method of ours either.
		DisableGeneralOptionsHandler: true,
	}
	if cfg.TLS != nil {
		s.server.TLSConfig = cfg.TLS
		s.server.ErrorLog = log.New(&handshakes{server: s}, "", 0)
		s.server.TLSNextProto = map[string]func(*http.Server, *tls.Conn, http.Handler){} // HTTP/1.1 alone
	}
	return s, nil
}

// served says whether a connection came in on a link that is served: an upstream's port gets not even an error.
func (s *Server) served(c *conn) reason.Reason {
	_, _, r := ingress.Served(s.cfg.Snapshot(), c.index, c.source.Addr(), c.dest)
	return r
}

// counted is the machine that a connection is counted for.
func (s *Server) counted(c *conn) ingress.Machine {
	at, _, _ := ingress.Served(s.cfg.Snapshot(), c.index, c.source.Addr(), c.dest)
	return ingress.Counted(s.cfg.Neighbours.MAC, at)
}

func (s *Server) refused(c *conn, r reason.Reason) {
	s.cfg.Observer.Observe(timeline.Observation{
		Adapter: "http", Message: "connection", Outcome: reason.Outcome{Reason: r}, Peer: strconv.Quote(c.source.String()),
	})
}

func listen(port int) (*net.TCPListener, error) {
	lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var opt error
		err := c.Control(func(fd uintptr) {
			opt = unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1)
		})
		return errors.Join(err, opt)
	}}
	l, err := lc.Listen(context.Background(), "tcp6", net.JoinHostPort("::", strconv.Itoa(port)))
	if err != nil {
		return nil, fmt.Errorf("opening HTTP socket: %w", err)
	}
	return l.(*net.TCPListener), nil
}

// Addr is where the server listens.
func (s *Server) Addr() netip.AddrPort { return s.listener.Addr().(*net.TCPAddr).AddrPort() }

// String names the task.
func (s *Server) String() string {
	if s.cfg.TLS != nil {
		return "https"
	}
	return "http"
}

// Ready is closed when requests are taken.
func (s *Server) Ready() <-chan struct{} { return s.ready }

// Run serves until ctx ends. Requests under way then get three seconds.
func (s *Server) Run(ctx context.Context) error {
	s.server.BaseContext = func(net.Listener) context.Context { return context.WithoutCancel(ctx) }
	done := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(done)
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
		defer cancel()
		if s.server.Shutdown(end) != nil {
			_ = s.server.Close() // what is still under way is cut off; there is nothing left to tell
		}
	})
	close(s.ready)
	var err error
	if s.cfg.TLS != nil {
		err = s.server.ServeTLS(s.listener, "", "")
	} else {
		err = s.server.Serve(s.listener)
	}
	if !stop() {
		<-done
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("serving HTTP: %w", err)
}

// Close gives the socket back where Run was never called.
func (s *Server) Close() error { return s.server.Close() }
