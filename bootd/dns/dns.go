// Package dns answers for the names of the inventory and forwards everything else (RFC 1035, 2308, 6891, 7766, 7858, 7873, 8482,
// 8767, 9520), over UDP and TCP, on links that a network names and for their addresses alone.
//
// The codec is miekg/dns. Its server is not used: it starts a goroutine for each query without limit and does not tell on
// which interface one came in. Here one worker reads UDP, many datagrams at once, what has to wait for an upstream is counted
// and bounded, and the questions of clients are parsed by query.go and hit.go, which do less and therefore cannot stall.
//
// The package never resolves by itself, never validates DNSSEC (it passes DO, CD and AD on), and never keeps a local name:
// a new snapshot is served at once.
package dns

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"bootd.internal/bootd/decide/name"
	"bootd.internal/bootd/egress"
	"bootd.internal/bootd/ident"
	"bootd.internal/bootd/ingress"
	"bootd.internal/bootd/reason"
	"bootd.internal/bootd/site"
	"bootd.internal/bootd/timeline"
	"golang.org/x/sync/errgroup"
)

// Port is DNS's.
const Port = 53

const (
	// workers read queries; none of them ever waits for an upstream. One is best: it reads all that has come with one system
	// call, while several would wake each other up for one datagram each.
	workers = 1
	// together is how many datagrams one system call reads.
	together = 64
	// maxFlights and maxWaiting bound what waits for upstreams: questions, and clients' queries.
	maxFlights = 512
	maxWaiting = 4096
)

// Observer learns of every query, once.
type Observer interface{ Observe(timeline.Observation) }

// Config is what a Server needs. All but Listen is required.
type Config struct {
	Snapshot func() *site.Snapshot
	Observer Observer
	Now      func() time.Time
	// Neighbour finds the card behind an on-link address; nil: nobody knows, and addresses are counted.
	Neighbour func(index int, a netip.Addr) (ident.MAC, bool)
	// Roots are whom certificates of upstreams must come from; nil: the machine's own store.
	Roots *x509.CertPool
	// Leases is who holds which address just now; nil: nobody knows.
	Leases name.Leases
	// Listen is where to listen, UDP and TCP, default [::]:53.
	Listen netip.AddrPort
}

// Server is the DNS server, a daemon.Task.
type Server struct {
	cfg   Config
	udp   *ingress.Conn
	tcp   *net.TCPListener
	ready chan struct{}

	cache     *cache
	forwarder *forwarder
	upstreams *upstreams
	conns     conns
	editions  editions
	machines  machines
	crew      *crew
	hangUp    context.CancelFunc
	// answers are those to clients that leave together; it belongs to the reader of what upstreams say.
	answers *ingress.Batch
}

// New binds the sockets. It fails when the port is taken, often by systemd-resolved or another name server, or when
// CAP_NET_BIND_SERVICE is missing.
func New(cfg Config) (*Server, error) {
	if cfg.Snapshot == nil || cfg.Observer == nil || cfg.Now == nil {
		return nil, errors.New("making DNS server: snapshot, observer and clock are required")
	}
	if !cfg.Listen.IsValid() {
		cfg.Listen = netip.AddrPortFrom(netip.IPv6Unspecified(), Port)
	}
	udp, tcp, err := listen(cfg.Listen)
	if err != nil {
		return nil, err
	}
	sockets, err := egress.New()
	if err != nil {
		return nil, errors.Join(err, udp.Close(), tcp.Close())
	}
	s := &Server{
		cfg: cfg, udp: udp, tcp: tcp, ready: make(chan struct{}),
		cache:     newCache(),
		forwarder: newForwarder(maxFlights, maxWaiting),
		conns:     conns{open: map[*net.TCPConn]bool{}, perPeer: map[machine]int{}},
	}
	ctx, hangUp := context.WithCancel(context.Background())
	s.upstreams, s.hangUp = newUpstreams(ctx, cfg.Now, cfg.Roots), hangUp
	s.upstreams.changed, s.upstreams.sockets = s.health, sockets
	s.forwarder.ask, s.forwarder.attempt = s.ask, s.attempt
	s.answers = udp.Batch(together, 0, ednsSize)
	s.crew = newCrew()
	s.forwarder.crew, s.upstreams.crew = s.crew, s.crew
	return s, nil
}

// listen binds both sockets to one port. Where any will do, one that is free for TCP may be taken for UDP: then another is tried.
func listen(at netip.AddrPort) (*ingress.Conn, *net.TCPListener, error) {
	for tries := 1; ; tries++ {
		tcp, err := net.ListenTCP("tcp6", net.TCPAddrFromAddrPort(at))
		if err != nil {
			return nil, nil, fmt.Errorf("listening for DNS: opening TCP socket: %w", err)
		}
		udp, err := ingress.Listen(netip.AddrPortFrom(at.Addr(), tcp.Addr().(*net.TCPAddr).AddrPort().Port()))
		if err == nil {
			return udp, tcp, nil
		}
		err = errors.Join(fmt.Errorf("listening for DNS: %w", err), tcp.Close())
		if at.Port() != 0 || tries == 20 {
			return nil, nil, err
		}
	}
}

// String names the task.
func (s *Server) String() string { return "dns" }

// Ready is closed once queries are read.
func (s *Server) Ready() <-chan struct{} { return s.ready }

// Addr is where the server listens, the same port for UDP and TCP.
func (s *Server) Addr() netip.AddrPort { return s.udp.LocalAddr() }

// Close gives the sockets back when Run is never called.
func (s *Server) Close() error {
	s.hangUp()
	if err := errors.Join(s.udp.Close(), s.tcp.Close(), s.upstreams.sockets.Close()); err != nil {
		return fmt.Errorf("closing DNS sockets: %w", err)
	}
	return nil
}

// Run serves until ctx ends; questions that wait for an upstream then are dropped. It is called once.
func (s *Server) Run(ctx context.Context) error {
	g, gctx := errgroup.WithContext(ctx)
	for range workers {
		g.Go(func() error { return s.receive(gctx) })
	}
	g.Go(func() error { return s.accept(gctx) })
	g.Go(func() error { return s.upstreams.sockets.Read(s.answers.Flush) })
	g.Go(func() error {
		<-gctx.Done()
		_ = s.Close()
		return nil
	})
	close(s.ready)
	err := g.Wait()
	s.conns.closeAll()
	s.conns.talks.Wait() // they are the last that could ask for a flight
	s.forwarder.talks.Wait()
	s.upstreams.unwatch()
	s.hangUp()
	s.upstreams.talks.Wait()
	s.upstreams.close()
	s.crew.close()
	return err
}

// receive is one worker of UDP. It answers what it can from the cache, all at once, and the rest one by one.
func (s *Server) receive(ctx context.Context) error {
	b := s.udp.Batch(together, maxQuery, ednsSize)
	w := quick{Server: s}
	for {
		n, err := b.Read()
		switch {
		case err == nil:
			s.datagrams(ctx, b, &w, n)
			s.upstreams.flush()
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("receiving DNS queries: %w", err)
		default:
			s.fault(fmt.Errorf("receiving DNS query: %w", err))
		}
	}
}

func (s *Server) datagrams(ctx context.Context, b *ingress.Batch, w *quick, n int) {
	m := s.moment()
	for i := range n {
		p, from, truncated := b.Datagram(i)
		at, network, why := ingress.Served(m.snap, from.Index, from.Addr.Addr(), from.Local)
		if why == reason.None && !truncated {
			if answer, ok := w.hit(m, p, at, network, false, b.Room()); ok {
				b.Answer(i, answer)
				continue
			}
		}
		s.datagram(ctx, p, from, truncated, client{at: at, net: network, peer: from.Addr, began: m.now, out: b}, why)
	}
	b.Flush()
	w.report(m.now)
}
