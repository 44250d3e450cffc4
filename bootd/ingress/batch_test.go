package ingress

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// TestBatch: many datagrams at once, each with its sender, and their answers from the address that was asked.
func TestBatch(t *testing.T) {
	c, err := Listen(loopback)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	client, err := net.Dial("udp6", netip.AddrPortFrom(netip.IPv6Loopback(), c.LocalAddr().Port()).String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if err := client.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
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
