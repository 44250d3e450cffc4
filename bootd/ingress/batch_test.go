package ingress

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
)

// TestBatch: many datagrams at once, each with its sender, and their answers from the address that was asked.
func TestBatch(t *testing.T) {
	c := socket(t)
	client := connected(t, c)
	b := c.Batch(4, 16, 16)
	const many = 10
	for round := range 2 { // buffers are used again
		for i := range many {
			msg := fmt.Sprint("question ", i)
			if i == 5 {
				msg += " is longer than the buffer"
			}
			if _, err := client.Write([]byte(msg)); err != nil {
				t.Fatal(err)
			}
		}
		for seen := 0; seen < many; {
			n, err := b.Read()
			if err != nil {
				t.Fatal(err)
			}
			for i := range n {
				p, from, cut := b.Datagram(i)
				want := Peer{Addr: client.LocalAddr().(*net.UDPAddr).AddrPort(), Local: netip.IPv6Loopback(), Index: loopbackIndex}
				if from != want || cut != (seen == 5) || !strings.HasPrefix(string(p), fmt.Sprint("question ", seen)) {
					t.Errorf("round %d: %q from %v, cut %v", round, p, from, cut)
				}
				b.Answer(i, fmt.Append(b.Room(), "answer ", seen))
				seen++
			}
			b.Flush()
		}
		buf := make([]byte, 64)
		for i := range many {
			if n, err := client.Read(buf); err != nil || string(buf[:n]) != fmt.Sprint("answer ", i) {
				t.Errorf("round %d: answer %q, %v", round, buf[:n], err)
			}
		}
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if n, err := b.Read(); err == nil || n != 0 {
		t.Errorf("read %d after close", n)
	}
}

// TestBatchSend: answers to others than those who asked, more of them than one call takes.
func TestBatchSend(t *testing.T) {
	c, client := socket(t), unconnected(t)
	b := c.Batch(3, 16, 16)
	const many = 7
	to := Peer{Addr: client.LocalAddr().(*net.UDPAddr).AddrPort(), Local: netip.IPv6Loopback(), Index: loopbackIndex}
	nowhere := Peer{Addr: to.Addr, Local: netip.MustParseAddr("2001:db8::77")} // not an address of this machine
	for i := range many {
		b.Send(fmt.Append(b.Room(), "lost ", i), nowhere)
		b.Send(fmt.Append(b.Room(), "answer ", i), to)
	}
	b.Flush()
	buf := make([]byte, 64)
	for i := range many {
		n, from, err := client.ReadFromUDPAddrPort(buf)
		want := netip.AddrPortFrom(netip.IPv6Loopback(), c.LocalAddr().Port())
		if err != nil || string(buf[:n]) != fmt.Sprint("answer ", i) || from != want {
			t.Errorf("%q from %v, %v; want answer %d from %v", buf[:n], from, err, i, want)
		}
	}
}

// TestBatchZone: a link-local sender has the name of its interface, its number when that is gone.
func TestBatchZone(t *testing.T) {
	b := &Batch{zones: map[uint32]zone{}}
	for range 2 {
		if got := b.zone(loopbackIndex); got != loopbackName {
			t.Errorf("interface %d is %q, want %q", loopbackIndex, got, loopbackName)
		}
		if got := b.zone(1 << 30); got != "1073741824" {
			t.Errorf("an interface that is gone is %q", got)
		}
	}
	for i := range uint32(1000) {
		b.zone(1<<20 + i)
	}
	if len(b.zones) > 256 {
		t.Errorf("%d names of interfaces are kept", len(b.zones))
	}
}

// TestBatchAllocates nothing for a datagram and its answer.
func TestBatchAllocates(t *testing.T) {
	c := socket(t)
	client := connected(t, c)
	b := c.Batch(4, 16, 16)
	msg, buf := []byte("question"), make([]byte, 16)
	if n := testing.AllocsPerRun(100, func() {
		if _, err := client.Write(msg); err != nil {
			t.Fatal(err)
		}
		n, err := b.Read()
		if err != nil {
			t.Fatal(err)
		}
		for i := range n {
			p, _, _ := b.Datagram(i)
			b.Answer(i, append(b.Room(), p...))
		}
		b.Flush()
		if _, err := client.Read(buf); err != nil {
			t.Fatal(err)
		}
	}); n > 0 {
		t.Errorf("%v allocations for a datagram and its answer", n)
	}
}
