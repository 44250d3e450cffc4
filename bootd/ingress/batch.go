package ingress

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Batch reads and answers many datagrams with one system call each way (recvmmsg(2), sendmmsg(2)). It belongs to one goroutine at
// a time; several may read one Conn, each with a Batch of its own.
//
// All that the kernel reads and writes is allocated once, and the address of who asked is where its answer goes to, octet by
// octet. The calls never wait, so that the runtime is not told of them: it would give the processor away to another thread for
// a call that is over in a moment.
type Batch struct {
	conn syscall.RawConn
	// waited: what goes out together has waited for room already.
	waited bool
	in     []unix.Mmsghdr
	from   []unix.RawSockaddrInet6
	came   []pktinfo6
	bufs   [][]byte
	got    int
	queue  queue
	zones  map[uint32]zone

	// What a system call did, and the functions that make it.
	n          int
	failed     unix.Errno
	rest       []unix.Mmsghdr
	recv, send func(fd uintptr) bool
}

// pktinfo6 is a control message with struct in6_pktinfo, as long as CMSG_SPACE makes it.
type pktinfo6 struct {
	hdr  unix.Cmsghdr
	info unix.Inet6Pktinfo
}

// zoneLife is how long the name of an interface is remembered.
const zoneLife = 10 * time.Second

type zone struct {
	name  string
	until time.Time
}

// Batch makes one that reads up to n datagrams of up to size octets, and answers each with up to room octets.
func (c *Conn) Batch(n, size, room int) *Batch { return NewBatch(c.udp, n, size, room) }

// NewBatch is Conn.Batch for a socket that was opened elsewhere, with IPV6_V6ONLY and IPV6_RECVPKTINFO.
func NewBatch(udp *net.UDPConn, n, size, room int) *Batch {
	raw, _ := udp.SyscallConn() // it fails for a connection that was never made
	b := &Batch{
		conn: raw, zones: map[uint32]zone{},
		in: make([]unix.Mmsghdr, n), from: make([]unix.RawSockaddrInet6, n), came: make([]pktinfo6, n), bufs: make([][]byte, n),
		queue: newQueue(n, room), got: n,
	}
	b.recv, b.send = b.recvmmsg, b.sendmmsg
	iov := make([]unix.Iovec, n)
	for i := range n {
		b.bufs[i] = make([]byte, size)
		iov[i].Base = unsafe.SliceData(b.bufs[i])
		iov[i].SetLen(size)
		h := &b.in[i].Hdr
		h.Name, h.Iov, h.Control = (*byte)(unsafe.Pointer(&b.from[i])), &iov[i], (*byte)(unsafe.Pointer(&b.came[i]))
		h.SetIovlen(1)
	}
	return b
}

// Read waits for datagrams and says how many there are.
func (b *Batch) Read() (int, error) {
	for i := range b.got { // the kernel wrote there how much there was
		h := &b.in[i].Hdr
		h.Namelen = unix.SizeofSockaddrInet6
		h.SetControllen(int(unsafe.Sizeof(pktinfo6{})))
	}
	b.got = 0
	err := b.conn.Read(b.recv)
	if err == nil && b.failed != 0 {
		err = b.failed
	}
	if err != nil {
		return 0, fmt.Errorf("reading datagrams: %w", err)
	}
	b.got = b.n
	return b.got, nil
}

// recvmmsg reads what there is, and reports false when that is nothing.
func (b *Batch) recvmmsg(fd uintptr) bool {
	b.n, b.failed = many(unix.SYS_RECVMMSG, fd, b.in)
	return b.failed != unix.EAGAIN
}

// sendmmsg sends what there is room for. Where there is none it waits a moment, once for all that goes out together, and then
// EAGAIN is the answer's fault. The kernel keeps what goes to a neighbour that does not say its MAC for three seconds, and it
// counts against the socket: whoever waited for that would let one machine with an invented address silence the server.
func (b *Batch) sendmmsg(fd uintptr) bool {
	b.n, b.failed = many(unix.SYS_SENDMMSG, fd, b.rest)
	if b.failed == unix.EAGAIN && !b.waited {
		b.waited = true
		room := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}
		for range 4 { // a signal of the runtime's own is no room, but many of them are no reason to stay
			if _, err := unix.Poll(room, roomWait); err != unix.EINTR {
				break
			}
		}
		b.n, b.failed = many(unix.SYS_SENDMMSG, fd, b.rest)
	}
	return true
}

// many makes one of the two system calls, which take the same arguments but for recvmmsg's timeout, here none.
func many(call, fd uintptr, hdrs []unix.Mmsghdr) (int, unix.Errno) {
	for {
		n, _, err := unix.RawSyscall6(call, fd, uintptr(unsafe.Pointer(unsafe.SliceData(hdrs))), uintptr(len(hdrs)), unix.MSG_DONTWAIT, 0, 0)
		if err != unix.EINTR {
			return int(n), err
		}
	}
}

// Datagram gives one of those that were read: its octets until the next Read, its sender, and whether it was longer than the
// buffer.
func (b *Batch) Datagram(i int) ([]byte, Peer, bool) {
	m := &b.in[i]
	a := netip.AddrFrom16(b.from[i].Addr)
	if id := b.from[i].Scope_id; id != 0 {
		a = a.WithZone(b.zone(id))
	}
	p := Peer{Addr: netip.AddrPortFrom(a, binary.BigEndian.Uint16((*[2]byte)(unsafe.Pointer(&b.from[i].Port))[:]))}
	if info := b.pktinfo(i); info != nil {
		p.Index = int(info.Ifindex)
		if local := netip.AddrFrom16(info.Addr); !local.IsMulticast() {
			p.Local = local
		}
	}
	return b.bufs[i][:m.Len], p, m.Hdr.Flags&unix.MSG_TRUNC != 0
}

// Dest is the address that a datagram was sent to, a group's too; invalid when the kernel did not say.
func (b *Batch) Dest(i int) netip.Addr {
	if info := b.pktinfo(i); info != nil {
		return netip.AddrFrom16(info.Addr)
	}
	return netip.Addr{}
}

// pktinfo is where a datagram came in; nil when the kernel did not say.
func (b *Batch) pktinfo(i int) *unix.Inet6Pktinfo {
	c := &b.came[i]
	if uint64(b.in[i].Hdr.Controllen) < uint64(unix.CmsgLen(unix.SizeofInet6Pktinfo)) ||
		c.hdr.Level != unix.IPPROTO_IPV6 || c.hdr.Type != unix.IPV6_PKTINFO {
		return nil
	}
	return &c.info
}

// zone is an interface's name as the net package writes it, its number where it has none any more.
func (b *Batch) zone(id uint32) string {
	z, ok := b.zones[id]
	now := time.Now()
	if ok && now.Before(z.until) {
		return z.name
	}
	z = zone{strconv.FormatUint(uint64(id), 10), now.Add(zoneLife)}
	if ifi, err := net.InterfaceByIndex(int(id)); err == nil {
		z.name = ifi.Name
	}
	if len(b.zones) >= 256 { // interfaces came and went
		clear(b.zones)
	}
	b.zones[id] = z
	return z.name
}
