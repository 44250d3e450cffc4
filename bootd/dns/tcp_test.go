package dns

import (
	"errors"
	"io"
	"net"
	"strings"
	"testing"

	"bootd.internal/bootd/reason"
	"github.com/miekg/dns"
)

func TestTCPPipelining(t *testing.T) {
	release := make(chan struct{})
	u := startUpstream(t, func(q *dns.Msg, tcp bool) [][]byte {
		<-release
		return replying(t, 0, []string{"www.example.org. 300 IN AAAA 2001:db8:9::1"})(q, tcp)
	})
	r := start(t, u.addr)
	c := r.dial("tcp6").(*net.TCPConn)
	writeTCP(t, c, packed(t, question("www.example.org.", dns.TypeAAAA)))
	local := question("r1n02.example.net.", dns.TypeAAAA)
	const many = 3 * backlog
	go func() {
		for range many {
			writeTCP(t, c, packed(t, local))
		}
		_ = c.CloseWrite()
	}()
	for range many { // the local answers overtake the one that waits
		if got := readTCP(t, c); got.Question[0].Name != "r1n02.example.net." {
			t.Fatal(got)
		}
	}
	close(release)
	if got := readTCP(t, c); got.Question[0].Name != "www.example.org." || len(got.Answer) != 1 {
		t.Error(got)
	}
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("after the last answer: %v", err)
	}
}

func TestTCPBadInput(t *testing.T) {
	tests := []struct {
		name, octets string
		why          reason.Reason
	}{
		{"slow drip", "\x00\x1e\x12", reason.TimedOut},
		{"short", "\x00\x0b" + strings.Repeat("x", 11), reason.Malformed},
		{"empty", "\x00\x00", reason.Malformed},
		{"long", "\xff\xff", reason.Oversized},
	}
	r := start(t)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := r.dial("tcp6")
			if _, err := c.Write([]byte(tt.octets)); err != nil {
				t.Fatal(err)
			}
			if n, err := c.Read(make([]byte, 1)); n != 0 || err == nil {
				t.Errorf("read %d octets, %v", n, err)
			}
			observed(t, r.seen, "other", why(tt.why))
		})
	}
}

func TestTCPLimit(t *testing.T) {
	r := start(t)
	for range maxConnsPerPeer {
		c := r.dial("tcp6")
		writeTCP(t, c, packed(t, question("r1n02.example.net.", dns.TypeAAAA)))
		readTCP(t, c)
		r.seen.next(t)
	}
	if _, err := r.dial("tcp6").Read(make([]byte, 1)); err == nil {
		t.Error("one connection too many was served")
	}
	observed(t, r.seen, "other", why(reason.RateLimited))
}
