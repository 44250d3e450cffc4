// Package tftp serves boot files read-only (RFC 1350, 2347, 2348, 2349, 7440) to firmware, iPXE, shim and GRUB, from the
// address that they asked and only on links that a network names.
//
// The package never writes a file, never tells a client a path of the server, and never decides which file a machine
// should boot (decide/boot does; see Config.Virtual).
package tftp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"bootd.internal/bootd/files"
	"bootd.internal/bootd/ident"
	"bootd.internal/bootd/ingress"
	"bootd.internal/bootd/site"
	"bootd.internal/bootd/timeline"
	"golang.org/x/sync/errgroup"
)

// Port is TFTP's.
const Port = 69

const (
	// workers read requests and open files; a slow disk holds one of them, not all.
	workers = 4
	// maxRequest is the longest request that is looked at: RFC 2347 allows 512 octets.
	maxRequest = 1500
)

// Observer learns of every request, once.
type Observer interface{ Observe(timeline.Observation) }

// Config is what a Server needs. Snapshot, Observer, Now and Files are required.
type Config struct {
	Snapshot func() *site.Snapshot
	Observer Observer
	Now      func() time.Time
	Files    *files.Dir
	// Who names the listed host that sent a request, "" when nobody listed it. It is asked for events only.
	Who func(site.Arrival) string
	// Virtual gives the content of a name that is no file, such as autoexec.ipxe, which iPXE asks for where it came from.
	// The name has no leading slash.
	Virtual func(ctx context.Context, at site.Arrival, name string) ([]byte, bool)
	// Listen is where to listen, default [::]:69.
	Listen netip.AddrPort
	// Neighbour finds the card behind an on-link address; nil: nobody knows, and addresses are counted.
	Neighbour func(index int, a netip.Addr) (ident.MAC, bool)
	// MaxTransfers and MaxPerClient bound the transfers at one time, of all and of one machine, default 1024 and 16. A request beyond them gets no
	// answer: every client asks again.
	MaxTransfers, MaxPerClient int
	// Interval is how long to wait for the first acknowledgement before sending again, default 1 s.
	Interval time.Duration
}

// Server is the TFTP server, a daemon.Task.
type Server struct {
	cfg    Config
	conn   *ingress.Conn
	engine *engine
	ready  chan struct{}

	// turn is held by the worker that reads, until the request has its place.
	turn sync.Mutex

	mu sync.Mutex
	// byPeer are the transfers by the client's address and port, perClient their number by machine.
	byPeer    map[netip.AddrPort]*slot
	perClient map[ingress.Machine]int
	active    int
	// talks counts the goroutines of transfers.
	talks sync.WaitGroup
}

// slot is the place of one transfer, taken before the file is opened.
type slot struct {
	request string
	// machine is whom it is counted for.
	machine ingress.Machine
	// transfer is nil until the file is open.
	transfer *transfer
}

// New binds the socket. It fails when the port is taken or CAP_NET_BIND_SERVICE is missing.
func New(cfg Config) (*Server, error) {
	if cfg.Snapshot == nil || cfg.Observer == nil || cfg.Now == nil || cfg.Files == nil {
		return nil, errors.New("making TFTP server: snapshot, observer, clock and files are required")
	}
	if !cfg.Listen.IsValid() {
		cfg.Listen = netip.AddrPortFrom(netip.IPv6Unspecified(), Port)
	}
	if cfg.MaxTransfers <= 0 {
		cfg.MaxTransfers = 1024
	}
	if cfg.MaxPerClient <= 0 {
		cfg.MaxPerClient = 16
	}
	if cfg.Interval <= 0 {
		cfg.Interval = time.Second
	}
	conn, err := ingress.Listen(cfg.Listen)
	if err != nil {
		return nil, fmt.Errorf("listening for TFTP: %w", err)
	}
	return &Server{
		cfg: cfg, conn: conn, engine: newEngine(cfg.MaxTransfers), ready: make(chan struct{}),
		byPeer: map[netip.AddrPort]*slot{}, perClient: map[ingress.Machine]int{},
	}, nil
}

// String names the task.
func (s *Server) String() string { return "tftp" }

// Ready is closed once requests are read.
func (s *Server) Ready() <-chan struct{} { return s.ready }

// Addr is where the server listens.
func (s *Server) Addr() netip.AddrPort { return s.conn.LocalAddr() }

// Close gives the socket back when Run is never called.
func (s *Server) Close() error {
	if err := s.conn.Close(); err != nil {
		return fmt.Errorf("closing TFTP socket: %w", err)
	}
	return nil
}

// Run serves until ctx ends, then tells the peers of running transfers and waits for their goroutines. It is called once.
func (s *Server) Run(ctx context.Context) error {
	engine := make(chan error, 1)
	go func() { engine <- s.engine.run() }()

	g, gctx := errgroup.WithContext(ctx)
	for range workers {
		g.Go(func() error { return s.receive(gctx) })
	}
	g.Go(func() error {
		<-gctx.Done()
		_ = s.conn.Close()
		return nil
	})
	close(s.ready)
	err := g.Wait()
	s.endAll()
	s.talks.Wait()
	s.engine.stop()
	return errors.Join(err, <-engine)
}

// receive is one worker.
func (s *Server) receive(ctx context.Context) error {
	buf := make([]byte, maxRequest)
	for {
		s.turn.Lock()
		n, p, err := s.conn.Read(buf)
		truncated := errors.Is(err, ingress.ErrTruncated)
		var a asked
		var place *slot
		if err == nil || truncated {
			a, place = s.handle(buf[:n], p, truncated)
		}
		s.turn.Unlock()
		switch {
		case place != nil:
			s.admit(ctx, a, place)
		case err == nil, truncated:
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("receiving TFTP requests: %w", err)
		default:
			s.cfg.Observer.Observe(timeline.Observation{
				Adapter: s.String(), Message: message(0),
				Err: fmt.Errorf("receiving TFTP request: %w", err),
			})
		}
	}
}
