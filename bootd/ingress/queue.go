package ingress

import (
	"encoding/binary"
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"
)

// maxTogether is how many octets go to one peer as one message, below what a UDP datagram can hold.
const maxTogether = 60_000

// queue holds answers until they are sent. Those to one peer become one message, which the kernel cuts into datagrams where they
// leave (UDP_SEGMENT): they take one way through it instead of one each. It wants all but the last to be equally long. A
// resolver in a client asks for A and AAAA from one socket at a time, and one that forwards asks for much.
type queue struct {
	answers []outgoing
	rooms   [][]byte
	n       int
	// hdrs and parts are what sendmmsg gets, groups the first answer of each header, controls theirs.
	hdrs     []unix.Mmsghdr
	parts    []unix.Iovec
	groups   []int
	controls []leaving
	// single sends one answer alone, where the kernel does not cut.
	single []unix.Mmsghdr
	alone  []unix.Iovec
}

// outgoing is one answer, and the group that it begins.
type outgoing struct {
	to unix.RawSockaddrInet6
	// from is where it leaves; all zero: the kernel may choose.
	from unix.Inet6Pktinfo
	data []byte
	// next is the answer after it in its group, -1: none; last is the end of the group that it begins.
	next, last int
	// count, size and octets are the group's: its answers, how long all but the last are, and all of them together.
	count, size, octets int
	// full: the last one is shorter, and none may follow.
	full bool
	// err is what became of it.
	err unix.Errno
}

// segment is a control message with the length of datagrams, as long as CMSG_SPACE makes it.
type segment struct {
	hdr  unix.Cmsghdr
	size uint16
}

// leaving are the control messages of a message, one after the other.
type leaving struct {
	info pktinfo6
	seg  segment
}

func newQueue(n, room int) queue {
	q := queue{
		answers: make([]outgoing, n), rooms: make([][]byte, n), hdrs: make([]unix.Mmsghdr, n), parts: make([]unix.Iovec, n),
		groups: make([]int, 0, n), controls: make([]leaving, n), single: make([]unix.Mmsghdr, 1),
		alone: make([]unix.Iovec, 1),
	}
	for i := range n {
		q.rooms[i] = make([]byte, 0, room)
		c := &q.controls[i]
		c.info.hdr.Level, c.info.hdr.Type = unix.IPPROTO_IPV6, unix.IPV6_PKTINFO
		c.info.hdr.SetLen(unix.CmsgLen(unix.SizeofInet6Pktinfo))
		c.seg.hdr.Level, c.seg.hdr.Type = unix.IPPROTO_UDP, unix.UDP_SEGMENT
		c.seg.hdr.SetLen(unix.CmsgLen(2))
	}
	return q
}

// add queues an answer; its receiver is in it already.
func (q *queue) add(p []byte, to, local netip.Addr, index int) {
	a := &q.answers[q.n]
	a.data, a.from, a.err = p, unix.Inet6Pktinfo{}, 0
	if local.IsValid() && !local.IsMulticast() {
		a.from.Addr = local.As16()
		if local.IsLinkLocalUnicast() || to.IsLinkLocalUnicast() {
			a.from.Ifindex = uint32(index)
		}
	}
	a.next, a.last, a.count, a.size, a.octets, a.full = -1, q.n, 1, len(p), len(p), false
	q.n++
}

// group puts answers to one peer together.
func (q *queue) group() {
	q.groups = q.groups[:0]
next:
	for i := range q.n {
		for g, first := range q.groups {
			if q.append(g, first, i) {
				continue next
			}
		}
		q.groups = append(q.groups, i)
	}
}

// append puts an answer at the end of a group if that can be; the longer of two goes first.
func (q *queue) append(g, first, i int) bool {
	a, b := &q.answers[first], &q.answers[i]
	switch {
	case a.full, a.to.Port != b.to.Port, a.octets+b.size > maxTogether, a.size == 0, b.size == 0, a.to != b.to, a.from != b.from:
		return false
	case b.size <= a.size:
		q.answers[a.last].next = i
		a.last, a.count, a.octets, a.full = i, a.count+1, a.octets+b.size, b.size < a.size
		return true
	case a.count == 1:
		b.next, b.last, b.count, b.octets, b.full = first, first, 2, a.size+b.size, true
		q.groups[g] = i
		return true
	}
	return false
}

// headers writes what sendmmsg gets of all groups.
func (q *queue) headers() []unix.Mmsghdr {
	q.group()
	part := 0
	for n, first := range q.groups {
		begin := part
		for i := first; i >= 0; i = q.answers[i].next {
			q.parts[part].Base = unsafe.SliceData(q.answers[i].data)
			q.parts[part].SetLen(len(q.answers[i].data))
			part++
		}
		q.header(&q.hdrs[n].Hdr, first, q.parts[begin:part])
	}
	return q.hdrs[:len(q.groups)]
}

// header writes one, of a group or of an answer alone.
func (q *queue) header(h *unix.Msghdr, i int, parts []unix.Iovec) {
	a, c := &q.answers[i], &q.controls[i]
	h.Name, h.Namelen = (*byte)(unsafe.Pointer(&a.to)), unix.SizeofSockaddrInet6
	h.Iov = unsafe.SliceData(parts)
	h.SetIovlen(len(parts))
	c.info.info, c.seg.size = a.from, uint16(a.size)
	from, cut := a.from != unix.Inet6Pktinfo{}, len(parts) > 1
	h.Control = nil
	n := uintptr(0)
	if cut {
		h.Control, n = (*byte)(unsafe.Pointer(&c.seg)), unsafe.Sizeof(c.seg)
	}
	if from {
		h.Control, n = (*byte)(unsafe.Pointer(c)), n+unsafe.Sizeof(c.info)
	}
	h.SetControllen(int(n))
}

// Room is where the next answer is appended to.
func (b *Batch) Room() []byte {
	if b.queue.n == len(b.queue.answers) {
		b.Flush()
	}
	return b.queue.rooms[b.queue.n]
}

// Answer queues what was appended to Room for the sender of a datagram, from the address that it asked, as Conn.Write does.
func (b *Batch) Answer(i int, p []byte) {
	b.queue.answers[b.queue.n].to = b.from[i]
	if info := b.pktinfo(i); info != nil {
		b.queue.add(p, netip.AddrFrom16(b.from[i].Addr), netip.AddrFrom16(info.Addr), int(info.Ifindex))
		return
	}
	b.queue.add(p, netip.Addr{}, netip.Addr{}, 0)
}

// Send queues what was appended to Room for any peer, as Conn.Write does; a link-local one is reached through its Index.
func (b *Batch) Send(p []byte, peer Peer) {
	to := &b.queue.answers[b.queue.n].to
	*to = unix.RawSockaddrInet6{Family: unix.AF_INET6, Addr: peer.Addr.Addr().As16()}
	binary.BigEndian.PutUint16((*[2]byte)(unsafe.Pointer(&to.Port))[:], peer.Addr.Port())
	if peer.Addr.Addr().IsLinkLocalUnicast() {
		to.Scope_id = uint32(peer.Index)
	}
	b.queue.add(p, peer.Addr.Addr(), peer.Local, peer.Index)
}

// SendOn is Send over the interface that the peer's Index names, whatever the routes say.
func (b *Batch) SendOn(p []byte, peer Peer) {
	b.Send(p, peer)
	b.queue.answers[b.queue.n-1].from.Ifindex = uint32(peer.Index)
}

// Failed says why an answer could not be sent; i counts those that the last Flush sent. Nil: it went out.
func (b *Batch) Failed(i int) error {
	if err := b.queue.answers[i].err; err != 0 {
		return err
	}
	return nil
}

// Flush sends what is queued. What cannot be sent to one peer is dropped, the rest goes out. Two answers to one peer may change
// places.
func (b *Batch) Flush() {
	hdrs := b.queue.headers()
	for at := 0; at < len(hdrs) && b.write(hdrs[at:]); {
		if b.failed == 0 && b.n > 0 {
			at += b.n
			continue
		}
		first := b.queue.groups[at] // an error is that of the first that is left
		b.queue.answers[first].err = b.failed
		if at++; b.queue.answers[first].count > 1 && !b.apart(first) {
			break
		}
	}
	b.queue.n, b.rest, b.waited = 0, nil, false
}

// one sends the one answer that is queued, and keeps nothing of it.
func (b *Batch) one() error {
	b.rest = b.queue.headers()
	err := b.conn.Write(b.send)
	if err == nil && b.failed != 0 {
		err = b.failed
	}
	b.queue.answers[0].data, b.queue.parts[0], b.queue.n, b.rest, b.waited = nil, unix.Iovec{}, 0, nil, false
	return err
}

// apart sends the answers of a group one by one: the kernel is too old to cut, or the way out does not allow it.
func (b *Batch) apart(first int) bool {
	q := &b.queue
	for i := first; i >= 0; i = q.answers[i].next {
		q.alone[0].Base = unsafe.SliceData(q.answers[i].data)
		q.alone[0].SetLen(len(q.answers[i].data))
		q.header(&q.single[0].Hdr, i, q.alone)
		if !b.write(q.single) {
			return false
		}
		q.answers[i].err = b.failed
	}
	return true
}

// write makes one system call, and reports false when the socket is closed.
func (b *Batch) write(hdrs []unix.Mmsghdr) bool {
	b.rest = hdrs
	return b.conn.Write(b.send) == nil
}
