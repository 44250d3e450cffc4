// Package ingress is what TFTP and DNS share of UDP on a wildcard IPv6 socket: on which interface a datagram came in, to
// which of our addresses, and an answer that leaves from that very address (RFC 3542 section 6). Firmware drops answers
// from another address than it asked.
//
// The package never looks into a datagram and decides nothing but whether the link is served at all.
package ingress

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"syscall"

	"bootd.internal/bootd/reason"
	"bootd.internal/bootd/site"
	"golang.org/x/sys/unix"
)

// loopbackIndex is the kernel's LOOPBACK_IFINDEX: the loopback of every network namespace has this number.
const loopbackIndex = 1

// loopbackName is what Arrival.Link says of it.
const loopbackName = "lo"

// receiveBuffer holds what many machines ask at once, in octets; a small datagram takes about one thousand.
const receiveBuffer = 1 << 20

// SendBuffer is far more than what the kernel keeps for one neighbour that does not say its MAC (unres_qlen_bytes), so that a few
// of them do not leave the others without room, in octets.
const SendBuffer = 8 << 20

// roomWait is how long answers that go out together wait for room, in milliseconds: an interface makes some in that time.
const roomWait = 2

// ErrTruncated says that a datagram was longer than the buffer.
var ErrTruncated = errors.New("datagram longer than the buffer")

// Peer is who sent a datagram and how it came.
type Peer struct {
	// Addr is the sender; a link-local one has its zone.
	Addr netip.AddrPort
	// Local is the address that it asked, without zone; invalid when it was a multicast group.
	Local netip.Addr
	// Index is the number of the interface it came in on.
	Index int
}

// Conn is a UDP socket that knows where its datagrams came in. It is safe for concurrent use.
type Conn struct {
	udp     *net.UDPConn
	writers sync.Pool // of *Batch that send one datagram
}

// Listen opens a socket for IPv6 alone. Binding a port below 1024 needs CAP_NET_BIND_SERVICE.
func Listen(addr netip.AddrPort) (*Conn, error) {
	lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var opt error
		err := c.Control(func(fd uintptr) {
			opt = errors.Join(
				unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1),
				unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO, 1),
			)
			if unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, receiveBuffer) != nil { // needs CAP_NET_ADMIN
				_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, receiveBuffer)
			}
			if unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, SendBuffer) != nil { // likewise
				_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_SNDBUF, SendBuffer)
			}
		})
		return errors.Join(err, opt)
	}}
	pc, err := lc.ListenPacket(context.Background(), "udp6", addr.String())
	if err != nil {
		return nil, fmt.Errorf("opening UDP socket: %w", err)
	}
	c := &Conn{udp: pc.(*net.UDPConn)}
	c.writers.New = func() any { return c.Batch(1, 0, 0) }
	return c, nil
}

// LocalAddr is where the socket is bound.
func (c *Conn) LocalAddr() netip.AddrPort { return c.udp.LocalAddr().(*net.UDPAddr).AddrPort() }

// Close ends every Read with net.ErrClosed.
func (c *Conn) Close() error { return c.udp.Close() }

// Read waits for one datagram. A datagram longer than b gives its first octets, its Peer and ErrTruncated.
func (c *Conn) Read(b []byte) (int, Peer, error) {
	var oob [64]byte
	n, on, flags, from, err := c.udp.ReadMsgUDPAddrPort(b, oob[:])
	if err != nil {
		return 0, Peer{}, fmt.Errorf("reading datagram: %w", err)
	}
	p := Peer{Addr: from}
	p.Local, p.Index = pktinfo(oob[:on])
	if flags&unix.MSG_TRUNC != 0 {
		return n, p, ErrTruncated
	}
	return n, p, nil
}

// Write answers a Peer from the address that it asked. The route out is the kernel's choice, which is right for hosts
// behind a router too; a link-local peer is reached through its Index.
func (c *Conn) Write(b []byte, p Peer) error {
	w := c.writers.Get().(*Batch)
	defer c.writers.Put(w)
	w.Send(b, p)
	if err := w.one(); err != nil {
		return fmt.Errorf("writing datagram: %w", err)
	}
	return nil
}

// Answer opens a socket on a free port of the address that the peer asked, for a conversation of its own.
func (p Peer) Answer() (*net.UDPConn, error) {
	a := p.Local
	switch {
	case !a.IsValid():
		a = netip.IPv6Unspecified()
	case a.IsLinkLocalUnicast():
		a = a.WithZone(strconv.Itoa(p.Index))
	}
	c, err := net.ListenUDP("udp6", net.UDPAddrFromAddrPort(netip.AddrPortFrom(a, 0)))
	if err != nil {
		return nil, fmt.Errorf("opening socket for an answer: %w", err)
	}
	return c, nil
}

// TCPIndex gives the number of the interface that an accepted IPv6 connection came in on. The kernel stores it at the
// handshake as the socket's multicast interface (tcp_v6_syn_recv_sock in net/ipv6/tcp_ipv6.c), the only place where the
// ingress of a TCP connection can be read: the local address would not do, since the kernel accepts any of our addresses
// on any link.
func TCPIndex(c *net.TCPConn) (int, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, fmt.Errorf("reading ingress of a connection: %w", err)
	}
	index := 0
	var opt error
	err = raw.Control(func(fd uintptr) {
		index, opt = unix.GetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_IF)
	})
	if err := errors.Join(err, opt); err != nil {
		return 0, fmt.Errorf("reading ingress of a connection: %w", err)
	}
	return index, nil
}

// Served finds the network of the link that something came in on, or, where that link carries what relays forward, the
// network behind a relay that its source belongs to. The reason is None when it is served, else NotServedLink. The machine
// itself (loopback) is always served; it may then have no network.
func Served(snap *site.Snapshot, index int, source, dest netip.Addr) (site.Arrival, *site.Network, reason.Reason) {
	at := site.Arrival{Index: index, Source: source.WithZone("").Unmap(), Dest: dest.WithZone("").Unmap()}
	if snap == nil {
		return at, nil, reason.NotServedLink
	}
	if index == loopbackIndex {
		at.Link = loopbackName
		n, _ := snap.NetworkOf(at.Source)
		return at, n, reason.None
	}
	for _, n := range snap.Networks {
		if n.Link != nil && n.Link.Index == index {
			at.Link = n.Link.Name
			if far, ok := snap.Behind(at.Source); ok && far != n {
				return behind(snap, at, far)
			}
			return at, n, reason.None
		}
	}
	if far, ok := snap.Behind(at.Source); ok {
		return behind(snap, at, far)
	}
	return at, nil, reason.NotServedLink
}

// behind accepts a source from behind a relay on the links that may carry it.
func behind(snap *site.Snapshot, at site.Arrival, n *site.Network) (site.Arrival, *site.Network, reason.Reason) {
	l, ok := snap.Carries(at.Index)
	if !ok {
		return at, nil, reason.NotServedLink
	}
	at.Link, at.Relay = l.Name, n.Relays[0]
	return at, n, reason.None
}

// Local reports whether an address belongs to a served network, or is link-local or the machine's own loopback: whom a
// resolver may answer without being an open one.
func Local(snap *site.Snapshot, a netip.Addr) bool {
	if a.IsLinkLocalUnicast() || a.IsLoopback() {
		return true
	}
	_, ok := snap.NetworkOf(a)
	return ok
}

// pktinfo reads struct in6_pktinfo out of control messages.
func pktinfo(oob []byte) (netip.Addr, int) {
	for len(oob) >= unix.SizeofCmsghdr {
		hdr, data, rest, err := unix.ParseOneSocketControlMessage(oob)
		if err != nil {
			break
		}
		if hdr.Level == unix.IPPROTO_IPV6 && hdr.Type == unix.IPV6_PKTINFO && len(data) >= unix.SizeofInet6Pktinfo {
			a := netip.AddrFrom16([16]byte(data[:16]))
			index := int(binary.NativeEndian.Uint32(data[16:20]))
			if a.IsMulticast() {
				a = netip.Addr{}
			}
			return a, index
		}
		oob = rest
	}
	return netip.Addr{}, 0
}
