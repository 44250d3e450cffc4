package dhcp6

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/net/ipv6"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"bootd.internal/bootd/decide/address"
	"bootd.internal/bootd/ident"
	"bootd.internal/bootd/ingress"
	"bootd.internal/bootd/reason"
	"bootd.internal/bootd/site"
	"bootd.internal/bootd/store"
	"bootd.internal/bootd/timeline"
)

const (
	// serverPort is where servers and relays listen (RFC 8415 section 7.2).
	serverPort = 547
	// defaultLanes is that many because a lane waits for the disk: each sync takes along all that wait.
	defaultLanes = 8
	// batchSize is how many datagrams a lane takes at once.
	batchSize = 64
	// lastLook is how long the socket is still read at the end: what waits in it was heard.
	lastLook = 20 * time.Millisecond
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

// Observer learns of every packet, once. It keeps nothing that an observation points to.
type Observer interface {
	Observe(timeline.Observation)
}

// Neighbours finds the MAC behind an on-link source address. Known is MAC for packets that came with one that MAC was asked for.
type Neighbours interface {
	MAC(ifindex int, a netip.Addr) (ident.MAC, bool)
	Known(ifindex int, a netip.Addr) (ident.MAC, bool)
}

// Config is what a Server needs. Lanes (default 8) is how many batches of packets may wait for the disk; what comes beyond waits in
// the socket, and what does not fit there is dropped as Overload.
type Config struct {
	Snapshot   func() *site.Snapshot
	Store      store.Store
	Observer   Observer
	Neighbours Neighbours
	Now        func() time.Time
	Lanes      int
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
	// clients is the port that clients are answered on, 0 (in tests): the one that they sent from.
	clients uint16
	// front holds a token for each lane that reads.
	front chan struct{}
	// lost are the datagrams that the socket had no room for.
	lost losses

	mu sync.Mutex
	// searches are those of the links that are served, by interface number.
	searches map[int]*search

	relays  book
	ports   ports
	senders senders
	asides  asides
	twins   twins
}

// datagram is one packet as it came in.
type datagram struct {
	octets []byte
	over   bool // there were more
	from   netip.AddrPort
	dst    netip.Addr
	link   int
	// mac is who sent the frame, seen: it is known.
	mac  ident.MAC
	seen bool
}

// New opens the socket on [::]:547; links join with Link. Errors: the port is in use, or may not be opened.
func New(cfg Config) (*Server, error) {
	s, err := listen(cfg, serverPort)
	if err != nil {
		return nil, err
	}
	s.clients = clientPort
	return s, nil
}

func listen(cfg Config, port int) (*Server, error) {
	if cfg.Lanes <= 0 {
		cfg.Lanes = defaultLanes
	}
	lc := net.ListenConfig{Control: control}
	pc, err := lc.ListenPacket(context.Background(), "udp6", netip.AddrPortFrom(netip.IPv6Unspecified(), uint16(port)).String())
	if err != nil {
		return nil, fmt.Errorf("opening DHCPv6 socket: %w", err)
	}
	conn := pc.(*net.UDPConn)
	s := &Server{
		cfg: cfg, conn: conn, group: ipv6.NewPacketConn(conn),
		ready: make(chan struct{}), front: make(chan struct{}, readers()),
		searches: map[int]*search{},
		ports:    ports{seed: maphash.MakeSeed()},
	}
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
			{"SO_SNDBUF", unix.SOL_SOCKET, unix.SO_SNDBUF, ingress.SendBuffer, true},
			{"SO_SNDBUFFORCE", unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, ingress.SendBuffer, true},
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

// readers is how many lanes read at once: each keeps a processor busy, and half of them are left to the kernel's side and the disk.
func readers() int { return max(1, runtime.GOMAXPROCS(0)/2) }

// Run answers until ctx ends, and what the socket then holds, and closes the socket. It runs once. Errors: the socket failed.
func (s *Server) Run(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { _ = s.conn.SetReadDeadline(time.Now().Add(lastLook)) })
	defer stop()
	var lanes errgroup.Group
	for range s.cfg.Lanes {
		lanes.Go(func() error {
			err := (&lane{s: s}).run(ctx)
			if err != nil {
				_ = s.conn.SetReadDeadline(time.Unix(1, 0)) // it ends the other lanes
			}
			return err
		})
	}
	close(s.ready)
	err := lanes.Wait()
	if e := s.conn.Close(); e != nil && err == nil {
		err = fmt.Errorf("closing DHCPv6 socket: %w", e)
	}
	return err
}

// losses is the socket's count of what it had no room for, and when it was looked at.
type losses struct {
	// due: a batch was full since then.
	due atomic.Bool

	mu     sync.Mutex
	count  uint32
	looked time.Time
}

// lookEvery is the time between two looks at the socket's count under load.
const lookEvery = 100 * time.Millisecond

// overflow observes what the socket had no room for since the last look; full: as many were read as fit into a batch.
func (s *Server) overflow(full bool, now time.Time) {
	if !full && !s.lost.due.Load() {
		return
	}
	s.lost.mu.Lock()
	defer s.lost.mu.Unlock()
	if now.Sub(s.lost.looked) < lookEvery && !now.Before(s.lost.looked) {
		s.lost.due.Store(true)
		return
	}
	s.lost.looked = now
	s.lost.due.Store(false)
	count, err := ingress.Dropped(s.conn)
	if err != nil {
		return // it counts for people; nothing hangs on it
	}
	if n := int(count - s.lost.count); n > 0 {
		s.lost.count = count
		s.cfg.Observer.Observe(timeline.Observation{
			Adapter: adapter, Message: address.Msg(0).String(), Outcome: reason.Outcome{Reason: reason.Overload}, Count: n,
		})
	}
}
