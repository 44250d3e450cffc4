package ingress

import (
	"encoding/binary"
	"fmt"
	"net"

	"golang.org/x/net/ipv6"
	"golang.org/x/sys/unix"
)

// controlSpace is what the kernel writes of struct in6_pktinfo: a header, 16 octets of address, 4 of interface number.
func controlSpace() int { return unix.CmsgSpace(unix.SizeofInet6Pktinfo) }

// Batch reads and answers many datagrams with one system call each way (recvmmsg(2), sendmmsg(2)). It belongs to one goroutine;
// several may read one Conn, each with a Batch of its own.
type Batch struct {
	pc      *ipv6.PacketConn
	in, out []ipv6.Message
	got     int
	queued  int
}

// Batch makes one that reads up to n datagrams of up to size octets, and answers each with up to room octets.
func (c *Conn) Batch(n, size, room int) *Batch {
	b := &Batch{pc: ipv6.NewPacketConn(c.udp), in: make([]ipv6.Message, n), out: make([]ipv6.Message, n)}
	for i := range n {
		b.in[i] = ipv6.Message{Buffers: [][]byte{make([]byte, size)}, OOB: make([]byte, controlSpace())}
		b.out[i] = ipv6.Message{Buffers: [][]byte{make([]byte, 0, room)}, OOB: make([]byte, 0, controlSpace())}
	}
	return b
}

// Read waits for datagrams and says how many there are.
func (b *Batch) Read() (int, error) {
	for i := range b.in {
		b.in[i].OOB = b.in[i].OOB[:controlSpace()]
	}
	var err error
	if b.got, err = b.pc.ReadBatch(b.in, 0); err != nil {
		b.got = 0
		return 0, fmt.Errorf("reading datagrams: %w", err)
	}
	return b.got, nil
}

// Datagram gives one of those that were read: its octets until the next Read, its sender, and whether it was longer than the
// buffer.
func (b *Batch) Datagram(i int) ([]byte, Peer, bool) {
	m := &b.in[i]
	p := Peer{Addr: m.Addr.(*net.UDPAddr).AddrPort()}
	p.Local, p.Index = pktinfo(m.OOB[:m.NN])
	return m.Buffers[0][:m.N], p, m.Flags&unix.MSG_TRUNC != 0
}

// Room is where the next answer is appended to.
func (b *Batch) Room() []byte { return b.out[b.queued].Buffers[0][:0] }

// Answer queues what was appended to Room for the sender of a datagram, from the address that it asked, as Conn.Write does.
func (b *Batch) Answer(i int, p []byte) {
	in, out := &b.in[i], &b.out[b.queued]
	b.queued++
	out.Buffers[0], out.Addr, out.OOB = p, in.Addr, out.OOB[:0]
	local, index := pktinfo(in.OOB[:in.NN])
	if !local.IsValid() || in.NN < controlSpace() {
		return
	}
	if !local.IsLinkLocalUnicast() && !in.Addr.(*net.UDPAddr).AddrPort().Addr().IsLinkLocalUnicast() {
		index = 0
	}
	out.OOB = append(out.OOB, in.OOB[:controlSpace()]...)
	at := unix.CmsgLen(0) + net.IPv6len
	binary.NativeEndian.PutUint32(out.OOB[at:], uint32(index))
}

// Flush sends what is queued. What cannot be sent to one peer is dropped, the rest goes out.
func (b *Batch) Flush() {
	rest := b.out[:b.queued]
	for len(rest) > 0 {
		n, err := b.pc.WriteBatch(rest, 0)
		if err != nil || n <= 0 { // it says so of the first that is left
			n = max(n, 1)
		}
		rest = rest[n:]
	}
	b.queued = 0
}
