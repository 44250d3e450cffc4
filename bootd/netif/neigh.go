package netif

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"bootd.internal/bootd/ident"
	"bootd.internal/bootd/site"
)

const (
	// maxLearned bounds each of the two generations of learned addresses: 500 machines with four addresses fit many
	// times, and a flood of invented addresses ends at 2 MB.
	maxLearned = 1 << 14
	// generation is the time after which a learned address that was not seen again is on its way out; it is gone after
	// two. Clients that hold a lease ask the kernel's table instead.
	generation = 5 * time.Minute
	// lookupTimeout bounds a question to the kernel's table.
	lookupTimeout = 200 * time.Millisecond
)

// neighbour is an address on a link.
type neighbour struct {
	ifindex int
	addr    [16]byte
}

// Neighbours tells which MAC address an on-link peer has: first from the frames that served links just delivered, then
// from the kernel's neighbour table.
//
// The kernel's table is asked when somebody wants to know, not copied by its notifications: a copy lags behind the very
// packet that it is wanted for, can overflow, and needs a bound. One question costs some ten microseconds.
type Neighbours struct {
	log   *slog.Logger
	now   func() time.Time
	table map[int]*nl.SocketHandle

	// mu guards all below; it is held for the time of reading what waits on one socket, never across a wait.
	mu       sync.Mutex
	sockets  map[int]*os.File
	frames   frames
	young    map[neighbour]ident.MAC
	old      map[neighbour]ident.MAC
	turned   time.Time
	warnOnce sync.Once
}

// NewNeighbours opens the way to the kernel's neighbour table, which needs no privilege. Close it when nothing asks any
// more. Errors: netlink is not available.
func NewNeighbours(log *slog.Logger, now func() time.Time) (*Neighbours, error) {
	s, err := nl.Subscribe(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("opening netlink: %w", err)
	}
	tv := unix.NsecToTimeval(lookupTimeout.Nanoseconds())
	if err := errors.Join(s.SetReceiveTimeout(&tv), s.SetSendTimeout(&tv)); err != nil {
		s.Close()
		return nil, fmt.Errorf("limiting netlink waits: %w", err)
	}
	return &Neighbours{
		log: log, now: now, table: map[int]*nl.SocketHandle{unix.NETLINK_ROUTE: {Socket: s}},
		sockets: make(map[int]*os.File), young: make(map[neighbour]ident.MAC), old: make(map[neighbour]ident.MAC),
		turned: now(),
	}, nil
}

// Close frees the socket to the kernel's table.
func (n *Neighbours) Close() error {
	n.table[unix.NETLINK_ROUTE].Socket.Close()
	return nil
}

// MAC finds the MAC address behind an on-link address, with or without zone. For a packet of DHCPv6, a router or a
// neighbour solicitation that the caller has just received on a link with a running Listener the answer is always
// there.
func (n *Neighbours) MAC(ifindex int, a netip.Addr) (ident.MAC, bool) {
	if !a.Is6() || a.Is4In6() || a.IsUnspecified() || a.IsMulticast() || a.IsLoopback() {
		return ident.MAC{}, false
	}
	if m, ok := n.learned(ifindex, a); ok {
		return m, true
	}
	return n.fromKernel(ifindex, a)
}

// Known is MAC without a look at what the link delivered since: for the packets that were read together with one that MAC was
// just asked for.
func (n *Neighbours) Known(ifindex int, a netip.Addr) (ident.MAC, bool) {
	key := neighbour{ifindex: ifindex, addr: a.As16()}
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.recall(key)
}

func (n *Neighbours) learned(ifindex int, a netip.Addr) (ident.MAC, bool) {
	key := neighbour{ifindex: ifindex, addr: a.As16()}
	n.mu.Lock()
	defer n.mu.Unlock()
	if f, ok := n.sockets[ifindex]; ok {
		_ = n.drainLocked(f, ifindex) // its owner, the Listener, hears of a broken socket by itself
	}
	return n.recall(key)
}

// recall looks at what was learned. The caller holds mu.
func (n *Neighbours) recall(key neighbour) (ident.MAC, bool) {
	if m, ok := n.young[key]; ok {
		return m, true
	}
	m, ok := n.old[key]
	return m, ok
}

// drainLocked reads all frames that wait on a socket, without waiting for more. It gives nil when none are left.
func (n *Neighbours) drainLocked(f *os.File, ifindex int) error {
	conn, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var readErr error
	err = conn.Control(func(fd uintptr) { readErr = n.drainFD(int(fd), ifindex) })
	return errors.Join(err, readErr)
}

func (n *Neighbours) drainFD(fd, ifindex int) error {
	down := false
	for {
		got, err := n.frames.read(fd)
		switch {
		case err == unix.EAGAIN:
			return nil
		case err == unix.ENETDOWN && !down:
			down = true // said once when the interface goes down; the socket works again when it comes back
			continue
		case err != 0:
			return err
		}
		for i := range got {
			f := &n.frames.all[i]
			n.learn(ifindex, f.header[:min(int(n.frames.hdrs[i].Len), ipv6HeaderLen)], &f.from)
		}
		if got < len(n.frames.all) {
			return nil
		}
	}
}

// learn remembers where a packet came from, by its frame and not by what it says about itself.
func (n *Neighbours) learn(ifindex int, header []byte, from *unix.RawSockaddrLinklayer) {
	if len(header) < ipv6HeaderLen || int(from.Halen) != len(ident.MAC{}) {
		return
	}
	m, ok := ident.MACFrom(from.Addr[:len(ident.MAC{})])
	if !ok {
		return
	}
	key := neighbour{ifindex: ifindex, addr: [16]byte(header[offSource : offSource+16])}
	if now := n.now(); len(n.young) >= maxLearned || now.Sub(n.turned) >= generation {
		n.old, n.young, n.turned = n.young, make(map[neighbour]ident.MAC), now
	}
	n.young[key] = m
}

// fromKernel asks for one entry of the kernel's neighbour table (rtnetlink(7), RTM_GETNEIGH).
func (n *Neighbours) fromKernel(ifindex int, a netip.Addr) (ident.MAC, bool) {
	req := nl.NewNetlinkRequest(unix.RTM_GETNEIGH, 0)
	req.Sockets = n.table
	req.AddData(&netlink.Ndmsg{Family: unix.AF_INET6, Index: uint32(ifindex)})
	req.AddData(nl.NewRtAttr(unix.NDA_DST, a.AsSlice()))
	replies, err := req.Execute(unix.NETLINK_ROUTE, unix.RTM_NEWNEIGH)
	if err != nil || len(replies) != 1 {
		return ident.MAC{}, false // unknown to the kernel is the usual case
	}
	entry, err := netlink.NeighDeserialize(replies[0])
	if err != nil || entry.State&(unix.NUD_INCOMPLETE|unix.NUD_FAILED|unix.NUD_NOARP) != 0 {
		return ident.MAC{}, false
	}
	return ident.MACFrom(entry.HardwareAddr)
}

// Listener learns the MAC addresses of those who send on one link. It is a task.
type Listener struct {
	of    *Neighbours
	link  site.Link
	file  *os.File // nil without CAP_NET_RAW
	bell  *bell
	ready chan struct{}
}

// Listen opens a packet socket on a link; Run it until the link goes. Without CAP_NET_RAW the Listener only waits, the
// kernel's table answers alone, and the log says so once. Errors: the link does not exist any more, or is listened to
// already.
func (n *Neighbours) Listen(link site.Link) (*Listener, error) {
	l := &Listener{of: n, link: link, ready: make(chan struct{})}
	f, err := openPacket(link.Index, neighbourFilter())
	if errors.Is(err, unix.EPERM) {
		n.warnOnce.Do(func() {
			n.log.Warn("no CAP_NET_RAW: machines are recognised by the kernel's neighbour table only")
		})
		return l, nil
	}
	if err != nil {
		return nil, fmt.Errorf("listening for neighbours on %s: %w", link.Name, err)
	}
	if l.bell, err = newBell(int(f.Fd())); err != nil {
		return nil, errors.Join(fmt.Errorf("listening for neighbours on %s: %w", link.Name, err), f.Close())
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if _, ok := n.sockets[link.Index]; ok {
		return nil, errors.Join(fmt.Errorf("listening for neighbours on %s: already listening", link.Name), l.bell.Close(), f.Close())
	}
	n.sockets[link.Index], l.file = f, f
	return l, nil
}

// String names the task.
func (l *Listener) String() string { return "neighbours on " + l.link.Name }

// Ready is closed when Run has begun; addresses are learned from Listen on.
func (l *Listener) Ready() <-chan struct{} { return l.ready }

// Run keeps the socket empty until ctx ends and closes it then. It gives nil at the end of ctx and an error when the
// socket breaks. It runs once.
func (l *Listener) Run(ctx context.Context) (err error) {
	close(l.ready)
	if l.file == nil {
		<-ctx.Done()
		return nil
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	stop := context.AfterFunc(ctx, func() { _ = l.bell.file.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	conn, err := l.file.SyscallConn()
	if err != nil {
		return fmt.Errorf("listening for neighbours on %s: %w", l.link.Name, err)
	}
	// Whoever asks for a neighbour reads what is waiting by himself, so nothing comes late when many frames are left to gather.
	var broken error
	var pace pace
	err = conn.Control(func(fd uintptr) {
		for broken == nil {
			if broken = l.bell.wait(int(fd)); broken != nil {
				return
			}
			pace.wait()
			l.of.mu.Lock()
			broken = l.of.drainFD(int(fd), l.link.Index)
			l.of.mu.Unlock()
		}
	})
	if ctx.Err() != nil {
		return nil
	}
	return fmt.Errorf("listening for neighbours on %s: %w", l.link.Name, errors.Join(broken, err))
}

// Close ends a Listener that was not run; Run does it by itself.
func (l *Listener) Close() error {
	if l.file == nil {
		return nil
	}
	l.of.mu.Lock()
	defer l.of.mu.Unlock()
	if l.of.sockets[l.link.Index] == l.file {
		delete(l.of.sockets, l.link.Index)
	}
	return errors.Join(l.bell.Close(), l.file.Close())
}
