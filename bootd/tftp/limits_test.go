package tftp

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"bootd.internal/bootd/ident"
	"bootd.internal/bootd/ingress"
	"bootd.internal/bootd/reason"
	"bootd.internal/bootd/timeline"
	"github.com/google/go-cmp/cmp"
)

// TestFlood: 500 identical requests of one port are one transfer and do not grow the process.
func TestFlood(t *testing.T) {
	s, r := serve(t, nil)
	before := runtime.NumGoroutine()
	c := dial(t, s)
	for range 500 {
		c.rrq("ipxe.efi", "octet", "blksize", "1400")
	}
	c.expect("\x00\x06blksize\x001400\x00")
	fence(t, s)
	if n := runtime.NumGoroutine(); n > before+3 {
		t.Errorf("%d goroutines, %d before", n, before)
	}
	c.ack(0)
	if got := c.fetch(1400, 1, never); !bytes.Equal(got, content(5000)) {
		t.Errorf("%d octets", len(got))
	}
	counts := map[reason.Reason]int{}
	for counts[reason.Answered] == 0 {
		counts[r.next(t).Outcome.Reason]++
	}
	delete(counts, reason.ReadOnlyFiles)
	delete(counts, reason.Retransmit) // the socket's buffer decides how many came through
	if diff := cmp.Diff(map[reason.Reason]int{reason.Answered: 1}, counts); diff != "" {
		t.Error(diff)
	}
}

// TestManyClients is a rack that boots at once.
func TestManyClients(t *testing.T) {
	const clients = 200
	s, _ := serve(t, func(c *Config) { c.MaxPerClient = clients })
	failed := make(chan error, clients)
	for range clients {
		go func() {
			n, err := drain(s.Addr(), "debian13/linux", 4)
			if err == nil && n != 300_000 {
				err = fmt.Errorf("%d octets", n)
			}
			failed <- err
		}()
	}
	for range clients {
		if err := <-failed; err != nil {
			t.Error(err)
		}
	}
}

// fence returns when all that was sent to the server before has been read. The socket may be full, so it asks until it is
// answered.
func fence(t *testing.T, s *Server) {
	t.Helper()
	c := dial(t, s)
	buf := make([]byte, 100)
	for range 1000 {
		c.send([]byte("\x00\x02x\x00octet\x00"), c.server)
		if err := c.conn.SetReadDeadline(time.Now().Add(10 * time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		if _, err := c.conn.Read(buf); err == nil {
			return
		}
	}
	t.Fatal("the server does not answer")
}

func TestLimits(t *testing.T) {
	s, r := serve(t, func(c *Config) { c.MaxTransfers, c.MaxPerClient = 3, 2 })
	a, b, c := dial(t, s), dial(t, s), dial(t, s)
	a.rrq("ipxe.efi", "octet")
	a.recv()
	b.rrq("ipxe.efi", "octet")
	b.recv()
	c.rrq("ipxe.efi", "octet")
	observed(t, r, seen("RRQ", reason.RateLimited))
	a.send(packERROR(0, ""), a.from)
	observed(t, r, seen("RRQ", reason.Aborted))
	c.rrq("ipxe.efi", "octet")
	c.expect(data(1, content(512)))

	peer := netip.MustParseAddrPort("[2001:db8::1]:1000")
	if _, why := s.take(peer, ingress.Machine{Addr: peer.Addr()}, "x"); why != reason.None {
		t.Errorf("third place: %v", why)
	}
	peer = netip.MustParseAddrPort("[2001:db8::2]:1000")
	if _, why := s.take(peer, ingress.Machine{Addr: peer.Addr()}, "x"); why != reason.Overload {
		t.Errorf("fourth place: %v, want %v", why, reason.Overload)
	}
}

// TestMachineWithManyAddresses: a card is counted, however many addresses it has.
func TestMachineWithManyAddresses(t *testing.T) {
	card := ingress.Machine{MAC: ident.MAC{0x52, 0x54, 0, 0xaa, 1, 1}}
	s, _ := serve(t, func(c *Config) { c.MaxPerClient = 2 })
	a, b, c := netip.MustParseAddrPort("[2001:db8::1]:1"), netip.MustParseAddrPort("[2001:db8::2]:1"), netip.MustParseAddrPort("[2001:db8::3]:1")
	first, _ := s.take(a, card, "x")
	if _, why := s.take(b, card, "x"); why != reason.None {
		t.Fatal(why)
	}
	if _, why := s.take(c, card, "x"); why != reason.RateLimited {
		t.Errorf("the third got %v", why)
	}
	s.leave(a, first)
	if _, why := s.take(c, card, "x"); why != reason.None {
		t.Errorf("the place was not given back: %v", why)
	}
}

// TestNewRequestFromOldPort: tftp-hpa keeps its port for all files; a new request ends what went before.
func TestNewRequestFromOldPort(t *testing.T) {
	s, r := serve(t, nil)
	c := dial(t, s)
	c.rrq("ipxe.efi", "octet")
	c.expect(data(1, content(512)))
	c.rrq("block", "octet")
	observed(t, r, seen("RRQ", reason.Aborted))
	if got := c.fetch(512, 1, never); !bytes.Equal(got, content(512)) {
		t.Errorf("%d octets", len(got))
	}
	observed(t, r, fetched(timeline.FileFetched, "block", 512))
}

func TestTimedOut(t *testing.T) {
	s, r := serve(t, func(c *Config) { c.Interval = time.Millisecond })
	c := dial(t, s)
	c.rrq("ipxe.efi", "octet")
	for range maxTries {
		c.expect(data(1, content(512)))
	}
	observed(t, r, seen("RRQ", reason.TimedOut))
}

func TestStopTellsPeers(t *testing.T) {
	s, r := serve(t, nil)
	c := dial(t, s)
	c.rrq("ipxe.efi", "octet")
	c.expect(data(1, content(512)))
	s.endAll()
	c.expect("\x00\x05\x00\x00server is stopping\x00")
	observed(t, r, seen("RRQ", reason.Aborted))
}

func TestPortTaken(t *testing.T) {
	s, _ := serve(t, nil)
	cfg := s.cfg
	cfg.Listen = s.Addr()
	_, err := New(cfg)
	if !errors.Is(err, syscall.EADDRINUSE) || !strings.HasPrefix(err.Error(), "listening for TFTP: opening UDP socket: ") {
		t.Errorf("error %v", err)
	}
}
