package dhcp6

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/net/ipv6"
	"golang.org/x/sys/unix"

	"bootd.internal/bootd/ident"
	"bootd.internal/bootd/reason"
	"bootd.internal/bootd/site"
	"bootd.internal/bootd/store"
	"bootd.internal/bootd/timeline"
)

const (
	// serverPort is where servers and relays listen (RFC 8415 section 7.2).
	serverPort = 547
	// defaultWorkers is that many because a worker waits for the disk: each sync takes along all that wait.
	defaultWorkers = 128
	defaultQueue   = 1024
	// receiveBuffer holds the first packets of a rack that gets its power back.
	receiveBuffer = 4 << 20
	// commitTimeout bounds the wait for the store: the client has asked again by then (SOL_TIMEOUT and REQ_TIMEOUT are
	// one second, RFC 8415 section 7.6).
	commitTimeout = 3 * time.Second
	// maxReadErrors ends the server when the socket does nothing but fail.
	maxReadErrors = 100
)

// adapter names this package in observations.
const adapter = "dhcp6"

// Observer learns of every packet, once.
type Observer interface {
	Observe(timeline.Observation)
}

// Neighbours finds the MAC behind an on-link source address.
type Neighbours interface {
	MAC(ifindex int, a netip.Addr) (ident.MAC, bool)
}

// Config is what a Server needs. Workers (default 128) is how many packets are decided at once, Queue (default 1024) how
// many may wait; what comes beyond is dropped as Overload.
type Config struct {
	Snapshot       func() *site.Snapshot
	Store          store.Store
	Observer       Observer
	Neighbours     Neighbours
	Now            func() time.Time
	Workers, Queue int
	// Tracer may be nil.
	Tracer Tracer
	// Frames opens a link for the search for other DHCPv6 servers; nil: nobody searches, and nothing is held back.
	Frames func(site.Link) (Frames, error)
}

// Server answers DHCPv6 on all served links over one socket. New makes one.
type Server struct {
	cfg   Config
	conn  *net.UDPConn
	group *ipv6.PacketConn
	ready chan struct{}
	queue chan *datagram
	pool  sync.Pool

	mu sync.Mutex
	// searches are those of the links that are served, by interface number.
	searches map[int]*search

	relays  book
	ports   ports
	senders senders
}

// datagram is one packet as it came in.
type datagram struct {
	buf  [maxDatagram]byte
	n    int
	over bool // it was longer than buf
	from netip.AddrPort
	dst  netip.Addr
	link int
	// mac is who sent the frame, seen: it is known.
	mac  ident.MAC
	seen bool
}

// New opens the socket on [::]:547; links join with Link. Errors: the port is in use, or may not be opened.
func New(cfg Config) (*Server, error) { return listen(cfg, serverPort) }

func listen(cfg Config, port int) (*Server, error) {
	if cfg.Workers <= 0 {
		cfg.Workers = defaultWorkers
	}
	if cfg.Queue <= 0 {
		cfg.Queue = defaultQueue
	}
	lc := net.ListenConfig{Control: control}
	pc, err := lc.ListenPacket(context.Background(), "udp6", netip.AddrPortFrom(netip.IPv6Unspecified(), uint16(port)).String())
	if err != nil {
		return nil, fmt.Errorf("opening DHCPv6 socket: %w", err)
	}
	conn := pc.(*net.UDPConn)
	s := &Server{
		cfg: cfg, conn: conn, group: ipv6.NewPacketConn(conn),
		ready: make(chan struct{}), queue: make(chan *datagram, cfg.Queue),
		searches: map[int]*search{},
		ports:    ports{seed: maphash.MakeSeed()},
	}
	s.pool.New = func() any { return new(datagram) }
	if err := s.group.SetControlMessage(ipv6.FlagInterface|ipv6.FlagDst, true); err != nil {
		conn.Close()
		return nil, fmt.Errorf("asking for interface and destination of DHCPv6 packets: %w", err)
	}
	return s, nil
}

// control sets the options that must stand before the socket is bound.
func control(_, _ string, c syscall.RawConn) error {
	var err error
	set := func(fd uintptr) {
		for _, o := range []struct {
			name        string
			level, opt  int
			value       int
			mayBeMissed bool
		}{
			{"IPV6_V6ONLY", unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1, false},
			// Without this the socket hears groups that other sockets joined, on links that we do not serve.
			{"IPV6_MULTICAST_ALL", unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_ALL, 0, false},
			{"IPV6_FREEBIND", unix.IPPROTO_IPV6, unix.IPV6_FREEBIND, 1, false},
			{"SO_RCVBUF", unix.SOL_SOCKET, unix.SO_RCVBUF, receiveBuffer, true},
			{"SO_RCVBUFFORCE", unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, receiveBuffer, true}, // needs CAP_NET_ADMIN
		} {
			if e := unix.SetsockoptInt(int(fd), o.level, o.opt, o.value); e != nil && !o.mayBeMissed {
				err = errors.Join(err, fmt.Errorf("setting %s: %w", o.name, e))
			}
		}
	}
	if e := c.Control(set); e != nil {
		return fmt.Errorf("setting socket options: %w", e)
	}
	return err
}

// String names the task.
func (s *Server) String() string { return "dhcp6" }

// Ready is closed when packets are read.
func (s *Server) Ready() <-chan struct{} { return s.ready }

// Run answers until ctx ends, then decides what waits, and closes the socket. It runs once. Errors: the socket failed.
func (s *Server) Run(ctx context.Context) error {
	var workers sync.WaitGroup
	for range s.cfg.Workers {
		workers.Go(func() {
			for d := range s.queue {
				s.serve(ctx, d)
				s.pool.Put(d)
			}
		})
	}
	stop := context.AfterFunc(ctx, func() { _ = s.conn.SetReadDeadline(time.Unix(1, 0)) }) // wakes the reader
	close(s.ready)
	err := s.read(ctx)
	stop()
	close(s.queue)
	workers.Wait()
	if e := s.conn.Close(); e != nil && err == nil {
		err = fmt.Errorf("closing DHCPv6 socket: %w", e)
	}
	return err
}

// read hands datagrams to the workers until ctx ends.
func (s *Server) read(ctx context.Context) error {
	oob := make([]byte, 128)
	for failures := 0; ctx.Err() == nil; {
		d := s.pool.Get().(*datagram)
		n, oobn, flags, from, err := s.conn.ReadMsgUDPAddrPort(d.buf[:], oob)
		switch {
		case err == nil:
			failures = 0
		case ctx.Err() != nil || errors.Is(err, os.ErrDeadlineExceeded):
			return nil
		default: // an ICMP error that a reply drew, or a broken socket
			if failures++; failures >= maxReadErrors || errors.Is(err, net.ErrClosed) {
				return fmt.Errorf("reading DHCPv6 socket: %w", err)
			}
			continue
		}
		d.n, d.over, d.from = n, flags&unix.MSG_TRUNC != 0, from
		d.mac, d.seen = ident.MAC{}, false // a datagram is used again: what is dropped must not go by the last one's card
		if d.link, d.dst = arrival(oob[:oobn]); d.link == 0 {
			s.pool.Put(d)
			continue // the kernel tells it of every packet
		}
		select {
		case s.queue <- d:
		default:
			s.observe(d, "", reason.Outcome{Reason: reason.Overload}, nil)
			s.trace(d, s.cfg.Now(), "", reason.Outcome{Reason: reason.Overload}, sent{})
			s.pool.Put(d)
		}
	}
	return nil
}

// arrival reads the interface and the destination from the control message IPV6_PKTINFO.
func arrival(oob []byte) (ifindex int, dst netip.Addr) {
	var cm ipv6.ControlMessage
	if err := cm.Parse(oob); err != nil {
		return 0, netip.Addr{}
	}
	dst, _ = netip.AddrFromSlice(cm.Dst)
	return cm.IfIndex, dst
}
