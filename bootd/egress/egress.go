// Package egress asks servers over UDP: each socket is connected to one of them from a port that the kernel chose at random, and
// one goroutine reads them all, many datagrams with one system call.
//
// The package never looks into a datagram.
package egress

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	// Together is how many datagrams leave, and are read, with one system call.
	Together = 16
	// Longest is how many octets of a datagram are read.
	Longest = 4096
	// atOnce is how many sockets one look finds.
	atOnce = 64
)

// Sockets are those that one goroutine reads. An epoll(7) instance of their own waits for them, and the runtime waits for that one:
// it wakes one goroutine for all that has come, not one for each socket.
type Sockets struct {
	file *os.File
	conn syscall.RawConn
	fd   int

	mu   sync.Mutex
	open map[int32]*Socket

	// What belongs to the reader: its look, and the room for what it finds.
	events []unix.EpollEvent
	ready  int
	failed error
	look   func(uintptr) bool
	hdrs   []unix.Mmsghdr
	bufs   [][]byte
	got    [][]byte
}

// New makes the set that sockets are opened in.
func New() (*Sockets, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err == nil {
		err = unix.SetNonblock(fd, true) // the runtime waits for no other
	}
	if err != nil {
		return nil, fmt.Errorf("opening sockets: %w", err)
	}
	s := &Sockets{
		file: os.NewFile(uintptr(fd), "epoll"), fd: fd, open: map[int32]*Socket{},
		events: make([]unix.EpollEvent, atOnce), hdrs: make([]unix.Mmsghdr, Together), bufs: make([][]byte, Together),
		got: make([][]byte, 0, Together),
	}
	s.look = s.wait
	iov := make([]unix.Iovec, Together)
	for i := range s.bufs {
		s.bufs[i] = make([]byte, Longest)
		iov[i].Base = unsafe.SliceData(s.bufs[i])
		iov[i].SetLen(Longest)
		s.hdrs[i].Hdr.Iov = &iov[i]
		s.hdrs[i].Hdr.SetIovlen(1)
	}
	if s.conn, err = s.file.SyscallConn(); err != nil {
		return nil, fmt.Errorf("opening sockets: %w", err)
	}
	return s, nil
}

// Read reads until Close. got gets what came from one server: its octets until got returns, or why there is none, as when nobody
// listens there. rest is called when all that had come was read, before the next wait.
func (s *Sockets) Read(rest func()) error {
	for {
		err := s.conn.Read(s.look)
		if s.closed() {
			return nil
		}
		if err = errors.Join(err, s.failed); err != nil {
			return fmt.Errorf("waiting for datagrams: %w", err)
		}
		for _, e := range s.events[:s.ready] {
			s.mu.Lock()
			c := s.open[e.Fd]
			s.mu.Unlock()
			if c == nil { // closed since
				continue
			}
			s.read(c)
		}
		rest()
	}
}

// read reads what there is for one socket, once: epoll tells of the rest again. An error goes before the datagrams that came in
// front of it, and whoever hears of it will read no more.
func (s *Sockets) read(c *Socket) {
	n, errno := c.receive()
	broken := errno
	if errno != 0 && errno != unix.EAGAIN {
		n, errno = c.receive()
	}
	if errno == 0 {
		s.got = s.got[:0]
		for i := range n {
			s.got = append(s.got, s.bufs[i][:s.hdrs[i].Len])
		}
		c.arrived(s.got, nil)
	}
	if broken != 0 && broken != unix.EAGAIN {
		c.arrived(nil, fmt.Errorf("receiving: %w", broken))
	}
}

// wait looks for sockets that have something.
func (s *Sockets) wait(fd uintptr) bool {
	n, err := unix.EpollWait(int(fd), s.events, 0)
	if err == unix.EINTR {
		n, err = 0, nil
	}
	s.ready, s.failed = n, err
	return n > 0 || err != nil
}

func (s *Sockets) closed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.open == nil
}

// Close closes all sockets and ends Read.
func (s *Sockets) Close() error {
	s.mu.Lock()
	all := s.open
	s.open = nil
	s.mu.Unlock()
	for _, c := range all {
		c.Close()
	}
	if err := s.file.Close(); err != nil {
		return fmt.Errorf("closing sockets: %w", err)
	}
	return nil
}

// Socket is connected to one server. It is safe for concurrent use.
type Socket struct {
	all     *Sockets
	arrived func([][]byte, error)

	mu sync.RWMutex // until it is closed, its number is its own
	fd int          // -1: closed
}

// Open connects a socket. arrived is what Read calls for it.
func (s *Sockets) Open(to netip.AddrPort, arrived func([][]byte, error)) (*Socket, error) {
	family, addr, err := sockaddr(to)
	if err != nil {
		return nil, fmt.Errorf("opening socket: %w", err)
	}
	fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("opening socket: %w", err)
	}
	c := &Socket{all: s, fd: fd, arrived: arrived}
	if err := unix.Connect(fd, addr); err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("connecting: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open == nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("opening socket: %w", net.ErrClosed)
	}
	if err := unix.EpollCtl(s.fd, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)}); err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("opening socket: %w", err)
	}
	s.open[int32(fd)] = c
	return c, nil
}

// sockaddr is what the kernel calls an address.
func sockaddr(a netip.AddrPort) (int, unix.Sockaddr, error) {
	if a.Addr().Is4() {
		return unix.AF_INET, &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}, nil
	}
	to := &unix.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16()}
	if zone := a.Addr().Zone(); zone != "" {
		n, err := strconv.Atoi(zone)
		if err != nil {
			ifi, err := net.InterfaceByName(zone)
			if err != nil {
				return 0, nil, fmt.Errorf("finding interface %s: %w", zone, err)
			}
			n = ifi.Index
		}
		to.ZoneId = uint32(n)
	}
	return unix.AF_INET6, to, nil
}

// Close closes it. What comes for it afterwards is not read.
func (c *Socket) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fd < 0 {
		return
	}
	c.all.mu.Lock()
	if c.all.open[int32(c.fd)] == c {
		delete(c.all.open, int32(c.fd))
	}
	c.all.mu.Unlock()
	_ = unix.Close(c.fd)
	c.fd = -1
}

// receive reads what there is into the room of all.
func (c *Socket) receive() (int, unix.Errno) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if c.fd < 0 {
		return 0, unix.EAGAIN
	}
	for {
		n, _, err := unix.RawSyscall6(unix.SYS_RECVMMSG, uintptr(c.fd), uintptr(unsafe.Pointer(unsafe.SliceData(c.all.hdrs))), Together,
			unix.MSG_DONTWAIT, 0, 0)
		if err != unix.EINTR {
			return int(n), err
		}
	}
}

// segments is a control message with the length that a message is cut into, as long as CMSG_SPACE makes it.
type segments struct {
	hdr  unix.Cmsghdr
	size uint16
}

// Send sends datagrams, in their order. Those that are equally long leave as one message, which the kernel cuts (UDP_SEGMENT); the
// last of them may be shorter.
func (c *Socket) Send(datagrams ...[]byte) error {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if c.fd < 0 {
		return net.ErrClosed
	}
	for len(datagrams) > 0 {
		n := alike(datagrams)
		err := c.message(datagrams[:n])
		if err != 0 && err != unix.ECONNREFUSED && n > 1 { // the kernel, or the way out, does not cut
			for one := range slices.Chunk(datagrams[:n], 1) {
				if err = c.message(one); err != 0 {
					break
				}
			}
		}
		if err != 0 {
			return fmt.Errorf("sending: %w", err)
		}
		datagrams = datagrams[n:]
	}
	return nil
}

// alike counts how many of the first datagrams can be one message.
func alike(datagrams [][]byte) int {
	n := 1
	for n < min(len(datagrams), Together) && len(datagrams[n]) <= len(datagrams[0]) {
		n++
		if len(datagrams[n-1]) < len(datagrams[0]) {
			break
		}
	}
	return n
}

// message sends datagrams as one message. The call never waits, so that the runtime is not told of it.
func (c *Socket) message(datagrams [][]byte) unix.Errno {
	var iov [Together]unix.Iovec
	for i, d := range datagrams {
		iov[i].Base = unsafe.SliceData(d)
		iov[i].SetLen(len(d))
	}
	hdr := unix.Msghdr{Iov: &iov[0]}
	hdr.SetIovlen(len(datagrams))
	cut := segments{size: uint16(len(datagrams[0]))}
	if len(datagrams) > 1 {
		cut.hdr.Level, cut.hdr.Type = unix.IPPROTO_UDP, unix.UDP_SEGMENT
		cut.hdr.SetLen(unix.CmsgLen(2))
		hdr.Control = (*byte)(unsafe.Pointer(&cut))
		hdr.SetControllen(int(unsafe.Sizeof(cut)))
	}
	for {
		_, _, err := unix.RawSyscall(unix.SYS_SENDMSG, uintptr(c.fd), uintptr(unsafe.Pointer(&hdr)), unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
		if err != unix.EINTR {
			return err
		}
	}
}
