package netif

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"bootd.internal/bootd/ident"
	"bootd.internal/bootd/site"
)

// allRouters is where routers are solicited (RFC 4291 section 2.7.1).
func allRouters() netip.Addr { return netip.AddrFrom16([16]byte{0: 0xff, 1: 0x02, 15: 2}) }

// Discovery carries router solicitations and advertisements on one link as IPv6 packets with the MAC address of their
// frame, so that a machine that has no address yet can be answered alone (RFC 6085). The packets come unchecked: their
// reader validates hop limit, checksum and all else.
type Discovery struct {
	what  string
	link  site.Link
	file  *os.File
	conn  syscall.RawConn
	bell  *bell
	group *os.File

	// pace and more are ReadAll's; more: it left some unread.
	pace   pace
	more   bool
	closed atomic.Bool
}

const (
	// crowd is the time between two packets below which more are to be expected, gather how long they are left to gather then:
	// one wake-up for each of a thousand costs more than the answers, and those have 500 ms (RFC 4861 section 6.2.6).
	crowd  = 10 * time.Millisecond
	gather = 40 * time.Millisecond
	// atOnce bounds what is read before it is dealt with.
	atOnce = 256
	// sendTimeout bounds the wait for a card whose queue is full.
	sendTimeout = time.Second
)

// ListenDiscovery opens a packet socket on a link and joins ff02::2 there, so that switches which watch group
// membership pass solicitations on. Errors: no CAP_NET_RAW, the link does not exist any more.
func ListenDiscovery(link site.Link) (*Discovery, error) {
	return listen(link, "router discovery", routerFilter(), func(d *Discovery) (err error) {
		d.group, err = joinGroup(link.Index, allRouters())
		return err
	})
}

// listen opens a packet socket for what passes a filter; join makes the card pass it, too.
func listen(link site.Link, what string, filter []bpf.Instruction, join func(*Discovery) error) (_ *Discovery, err error) {
	d := &Discovery{link: link, what: what}
	d.file, err = openPacket(link.Index, filter)
	if errors.Is(err, unix.EPERM) {
		return nil, fmt.Errorf("%s on %s needs CAP_NET_RAW: %w", what, link.Name, err)
	}
	if err != nil {
		return nil, fmt.Errorf("%s on %s: %w", what, link.Name, err)
	}
	if d.conn, err = d.file.SyscallConn(); err == nil {
		d.bell, err = newBell(int(d.file.Fd()))
	}
	if err == nil {
		err = join(d)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s on %s: %w", what, link.Name, err), d.Close())
	}
	return d, nil
}

// joinGroup is a member of a multicast group for as long as the file is open; the file carries no packets.
func joinGroup(ifindex int, group netip.Addr) (*os.File, error) {
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, unix.IPPROTO_UDP)
	if err != nil {
		return nil, fmt.Errorf("opening group socket: %w", err)
	}
	f := os.NewFile(uintptr(fd), "group")
	mreq := &unix.IPv6Mreq{Multiaddr: group.As16(), Interface: uint32(ifindex)}
	if err := unix.SetsockoptIPv6Mreq(fd, unix.IPPROTO_IPV6, unix.IPV6_JOIN_GROUP, mreq); err != nil {
		return nil, errors.Join(fmt.Errorf("joining %s: %w", group, err), f.Close())
	}
	return f, nil
}

// Read waits for the next packet, from its IPv6 header on, and tells which machine sent its frame. A packet longer than
// b is cut. One goroutine reads. Errors: net.ErrClosed after Close, ENETDOWN when the interface went down.
func (d *Discovery) Read(b []byte) (n int, from ident.MAC, err error) {
	for {
		var known bool
		n, from, known, err = d.next(b)
		if again(err) {
			err = d.wait()
		}
		if err != nil {
			return 0, ident.MAC{}, d.fault("reading", err)
		}
		if known {
			return n, from, nil
		}
	}
}

// ReadAll waits for packets and gives each one that is there by then, as Read does, until each has returned; b is where they
// are read into. When many come, they are left to gather for a moment.
func (d *Discovery) ReadAll(b []byte, each func(packet []byte, from ident.MAC)) error {
	for {
		if !d.more {
			if err := d.wait(); err != nil {
				return d.fault("reading", err)
			}
			d.pace.wait()
		}
		got := false
		d.more = true
		for range atOnce {
			n, from, known, err := d.next(b)
			if again(err) {
				d.more = false
				break
			}
			if err != nil {
				d.more = false
				return d.fault("reading", err)
			}
			if known {
				each(b[:n], from)
				got = true
			}
		}
		if got {
			return nil
		}
	}
}

// next reads a packet that is there; known: it came in a frame of Ethernet.
func (d *Discovery) next(b []byte) (n int, from ident.MAC, known bool, err error) {
	var sa unix.Sockaddr
	var readErr error
	err = d.conn.Control(func(fd uintptr) { n, sa, readErr = unix.Recvfrom(int(fd), b, unix.MSG_DONTWAIT) })
	if err == nil {
		err = readErr
	}
	if err == nil {
		from, known = sender(sa)
	}
	return n, from, known, err
}

func (d *Discovery) wait() error {
	var waitErr error
	err := d.conn.Control(func(fd uintptr) { waitErr = d.bell.wait(int(fd)) })
	return errors.Join(err, waitErr)
}

func again(err error) bool { return errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR) }

// sender is who sent a frame; none of what is not Ethernet: nobody that could be answered.
func sender(sa unix.Sockaddr) (ident.MAC, bool) {
	sll, ok := sa.(*unix.SockaddrLinklayer)
	if !ok || int(sll.Halen) != len(ident.MAC{}) {
		return ident.MAC{}, false
	}
	return ident.MAC(sll.Addr[:len(ident.MAC{})]), true
}

// pace lets packets gather when many come. It belongs to one goroutine.
type pace struct{ last time.Time }

// wait is called after each wait for a packet.
func (p *pace) wait() {
	if time.Since(p.last) < crowd {
		time.Sleep(gather)
	}
	p.last = time.Now()
}

// Write sends a packet, from its IPv6 header on, in a frame to one machine or group.
func (d *Discovery) Write(packet []byte, to ident.MAC) error { return d.write(packet, to, sendTimeout) }

// Try is Write that does not wait for a card whose queue is full.
func (d *Discovery) Try(packet []byte, to ident.MAC) error { return d.write(packet, to, 0) }

func (d *Discovery) write(packet []byte, to ident.MAC, wait time.Duration) error {
	sa := &unix.SockaddrLinklayer{Protocol: htons(unix.ETH_P_IPV6), Ifindex: d.link.Index, Halen: uint8(len(to))}
	copy(sa.Addr[:], to[:])
	var writeErr error
	err := d.conn.Control(func(fd uintptr) {
		for {
			if writeErr = unix.Sendto(int(fd), packet, unix.MSG_DONTWAIT, sa); !again(writeErr) {
				return
			}
			ready := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}
			if n, err := unix.Poll(ready, int(wait.Milliseconds())); n == 0 && err == nil {
				return // the card takes nothing
			}
		}
	})
	return d.fault("writing", errors.Join(err, writeErr))
}

// Close ends a Read that waits and leaves the group.
func (d *Discovery) Close() error {
	d.closed.Store(true)
	var err error
	if d.bell != nil {
		err = d.bell.Close()
	}
	if d.group != nil {
		err = errors.Join(err, d.group.Close())
	}
	return errors.Join(err, d.file.Close())
}

// fault wraps what went wrong, and says net.ErrClosed of a socket that was closed: its own word for that is private to
// the runtime.
func (d *Discovery) fault(doing string, err error) error {
	if err != nil && d.closed.Load() {
		err = net.ErrClosed
	}
	if err != nil {
		return fmt.Errorf("%s %s on %s: %w", doing, d.what, d.link.Name, err)
	}
	return nil
}
