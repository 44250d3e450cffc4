package ingress

import (
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestGroup: what goes out as one message: to one peer, from one address, all but the last equally long.
func TestGroup(t *testing.T) {
	b := &Batch{queue: newQueue(16, 16)}
	mine, other := netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::2")
	add := func(port uint16, local netip.Addr, text string) {
		b.Send(append(b.Room(), text...), Peer{Addr: netip.AddrPortFrom(netip.MustParseAddr("2001:db8::53"), port), Local: local})
	}
	add(1, mine, "aa")
	add(2, mine, "b") // shorter than what comes: it goes last
	add(1, mine, "cc")
	add(1, mine, "d") // shorter: the end of its group
	add(1, mine, "ee")
	add(2, mine, "ff")
	add(2, mine, "gg") // its group has its end
	add(1, other, "hh")
	add(3, mine, "")
	add(3, mine, "")
	add(1, mine, "iii") // before the one that is shorter
	var got []string
	for _, h := range b.queue.headers() {
		got = append(got, "")
		for i := b.queue.groups[len(got)-1]; i >= 0; i = b.queue.answers[i].next {
			got[len(got)-1] += string(b.queue.answers[i].data) + " "
			h.Hdr.Iovlen--
		}
		if h.Hdr.Iovlen != 0 {
			t.Errorf("%s: %d parts too many", got[len(got)-1], h.Hdr.Iovlen)
		}
	}
	if diff := cmp.Diff([]string{"aa cc d ", "ff b ", "iii ee ", "gg ", "hh ", " ", " "}, got); diff != "" {
		t.Error(diff)
	}
}

// TestTogether: each answer arrives by itself, whether the kernel cuts what goes to one peer or cannot.
func TestTogether(t *testing.T) {
	c, client := socket(t), unconnected(t)
	const most = 64
	b := c.Batch(most, 1232, 1232)
	to := Peer{Addr: client.LocalAddr().(*net.UDPAddr).AddrPort(), Local: netip.IPv6Loopback(), Index: loopbackIndex}
	for name, send := range map[string]func(){
		"cut": b.Flush,
		"apart": func() {
			_ = b.queue.headers()
			for _, first := range b.queue.groups {
				b.apart(first)
			}
			b.queue.n = 0
		},
	} {
		var want, got []string
		for i := range most {
			text := strings.Repeat(string(rune('0'+i)), []int{1232, 1232, 40, 60}[i/8%4])
			want = append(want, text)
			b.Send(append(b.Room(), text...), to)
		}
		send()
		buf := make([]byte, 2000)
		for range most {
			n, from, err := client.ReadFromUDPAddrPort(buf)
			if err != nil || from.Addr() != to.Local {
				t.Fatalf("%s: answer %d from %v, %v", name, len(got), from, err)
			}
			got = append(got, string(buf[:n]))
		}
		slices.Sort(want)
		slices.Sort(got)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}
