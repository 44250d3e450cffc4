package tftp

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"
	"time"

	"bootd.internal/bootd/reason"
	"bootd.internal/bootd/site"
	"bootd.internal/bootd/timeline"
	"github.com/google/go-cmp/cmp"
)

// run runs a server until the test ends.
func run(t *testing.T, s *Server) {
	t.Helper()
	t.Cleanup(background(t, s))
}

// background runs a server until stop is called, which fails the test when the server does not end well.
func background(t testing.TB, s *Server) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	<-s.Ready()
	return func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("running: %v", err)
			}
		case <-time.After(patience):
			buf := make([]byte, 1<<16)
			t.Errorf("the server does not stop:\n%s", buf[:runtime.Stack(buf, true)])
		}
	}
}

// seen is the observation of a request.
func seen(message string, why reason.Reason) timeline.Observation {
	return timeline.Observation{
		Adapter: "tftp", Message: message, Outcome: reason.Outcome{Reason: why, Host: "r1n01"}, Peer: `"::1"`,
	}
}

// fetched is that of a whole file.
func fetched(kind timeline.Kind, name string, octets int) timeline.Observation {
	o := seen("RRQ", reason.Answered)
	o.Events = []timeline.Event{{
		Adapter: "tftp", Kind: kind, Reason: reason.Answered, Host: "r1n01", Addr: "::1",
		Detail: fmt.Sprintf("%q, %d octets", name, octets),
	}}
	return o
}

func observed(t *testing.T, r recorder, want timeline.Observation) {
	t.Helper()
	if diff := cmp.Diff(want, r.next(t), cmp.Comparer(func(a, b error) bool { return errors.Is(a, b) })); diff != "" {
		t.Error(diff)
	}
}

func never(int) bool { return false }

// TestFirmware replays OVMF 2022.11 as captured: a request that only learns the size, then the real one.
func TestFirmware(t *testing.T) {
	s, r := serve(t, nil)
	probe := dial(t, s)
	probe.rrq("ipxe.efi", "octet", "tsize", "0", "blksize", "1228", "windowsize", "4")
	probe.expect("\x00\x06tsize\x005000\x00blksize\x001228\x00windowsize\x004\x00")
	probe.send(packERROR(8, "User aborted the transfer"), probe.from)
	observed(t, r, seen("RRQ", reason.Aborted))

	c := dial(t, s)
	c.rrq("ipxe.efi", "octet", "blksize", "1228", "windowsize", "4")
	c.expect("\x00\x06blksize\x001228\x00windowsize\x004\x00")
	c.ack(0)
	if got := c.fetch(1228, 4, never); !bytes.Equal(got, content(5000)) {
		t.Errorf("%d octets", len(got))
	}
	observed(t, r, fetched(timeline.LoaderFetched, "ipxe.efi", 5000))
}

func TestClients(t *testing.T) {
	tests := []struct {
		name, oack    string
		request       []string
		block, window int
		file          string
		octets        int
	}{
		{
			"ipxe", "\x00\x06blksize\x001428\x00tsize\x00300000\x00",
			[]string{"debian13/linux", "octet", "blksize", "1432", "tsize", "0"},
			1428, 1, "debian13/linux", 300_000,
		},
		{"shim", "\x00\x06blksize\x00512\x00", []string{"/ipxe.efi", "octet", "blksize", "512"}, 512, 1, "ipxe.efi", 5000},
		{
			"grub", "\x00\x06blksize\x001024\x00tsize\x005000\x00",
			[]string{"/ipxe.efi", "octet", "blksize", "1024", "tsize", "0"},
			1024, 1, "ipxe.efi", 5000,
		},
		{"tftp-hpa", "", []string{"ipxe.efi", "octet"}, 512, 1, "ipxe.efi", 5000},
		{
			"curl", "\x00\x06tsize\x005000\x00blksize\x00512\x00timeout\x006\x00",
			[]string{"ipxe.efi", "octet", "tsize", "0", "blksize", "512", "timeout", "6"},
			512, 1, "ipxe.efi", 5000,
		},
		{
			"atftp", "\x00\x06tsize\x00300000\x00timeout\x005\x00blksize\x001428\x00windowsize\x0016\x00",
			[]string{
				"debian13/linux", "octet", "tsize", "0", "timeout", "5", "blksize", "65464", "windowsize", "64",
				"multicast", "",
			},
			1428, 16, "debian13/linux", 300_000,
		},
		{"upper case", "\x00\x06BLKSIZE\x00600\x00", []string{"ipxe.efi", "OCTET", "BLKSIZE", "600"}, 600, 1, "ipxe.efi", 5000},
		{"whole block", "", []string{"block", "octet"}, 512, 1, "block", 512},
		{"empty", "\x00\x06tsize\x000\x00", []string{"empty", "octet", "tsize", "0"}, 512, 1, "empty", 0},
		{
			"windows only", "\x00\x06windowsize\x003\x00",
			[]string{"ipxe.efi", "octet", "windowsize", "3"},
			512, 3, "ipxe.efi", 5000,
		},
		{"bad values", "", []string{"block", "octet", "blksize", "0", "windowsize", "0", "timeout", "0"}, 512, 1, "block", 512},
		{"negative", "", []string{"block", "octet", "blksize", "-1", "tsize", "-1"}, 512, 1, "block", 512},
		{
			"huge", "",
			[]string{"block", "octet", "blksize", "99999999999", "windowsize", "65536", "timeout", "256"},
			512, 1, "block", 512,
		},
		{"small", "", []string{"block", "octet", "blksize", "8"}, 512, 1, "block", 512},
		{"unknown option", "", []string{"block", "octet", "rollover", "0"}, 512, 1, "block", 512},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, r := serve(t, nil)
			c := dial(t, s)
			c.rrq(tt.request...)
			if tt.oack != "" {
				c.expect(tt.oack)
				c.ack(0)
			}
			if got := c.fetch(tt.block, tt.window, never); !bytes.Equal(got, content(tt.octets)) {
				t.Errorf("%d octets", len(got))
			}
			kind := timeline.FileFetched
			if tt.file == "ipxe.efi" {
				kind = timeline.LoaderFetched
			}
			observed(t, r, fetched(kind, tt.request[0], tt.octets))
		})
	}
}

func TestNetascii(t *testing.T) {
	s, r := serve(t, nil)
	c := dial(t, s)
	c.rrq("text", "netascii", "tsize", "0")
	if got, want := string(c.fetch(512, 1, never)), "one\r\ntwo\r\x00"; got != want {
		t.Errorf("received %q, want %q", got, want)
	}
	observed(t, r, fetched(timeline.FileFetched, "text", 10))
}

// TestLoss drops packets, one in seven, with and without a window. Not each seventh: seven packets at the end of a file would
// lose the same one whenever they are sent again.
func TestLoss(t *testing.T) {
	for _, window := range []int{1, 4, 16} {
		t.Run(fmt.Sprint(window), func(t *testing.T) {
			t.Parallel()
			// Six tries take six seconds: a busy machine is no lost peer.
			s, r := serve(t, func(c *Config) { c.Interval = 100 * time.Millisecond })
			c := dial(t, s)
			c.rrq("debian13/linux", "octet", "blksize", "1400", "windowsize", fmt.Sprint(window))
			c.expect(fmt.Sprintf("\x00\x06blksize\x001400\x00windowsize\x00%d\x00", window))
			c.ack(0)
			chance := rand.New(rand.NewPCG(7, uint64(window)))
			got := c.fetch(1400, window, func(int) bool { return chance.IntN(7) == 3 })
			if !bytes.Equal(got, content(300_000)) {
				t.Errorf("%d octets", len(got))
			}
			observed(t, r, fetched(timeline.FileFetched, "debian13/linux", 300_000))
		})
	}
}

// TestRollover sends more than 65535 blocks.
func TestRollover(t *testing.T) {
	big := content(65540 * 512)
	s, r := serve(t, func(c *Config) {
		c.Virtual = func(context.Context, site.Arrival, string) ([]byte, bool) { return big, true }
	})
	c := dial(t, s)
	c.rrq("big", "octet", "windowsize", "16")
	c.expect("\x00\x06windowsize\x0016\x00")
	c.ack(0)
	if got := c.fetch(512, 16, never); !bytes.Equal(got, big) {
		t.Errorf("%d octets, want %d", len(got), len(big))
	}
	observed(t, r, fetched(timeline.FileFetched, "big", len(big)))
}

// TestDuplicateACK: the sorcerer's apprentice must not wake (RFC 1123 section 4.2.3.1).
func TestDuplicateACK(t *testing.T) {
	s, r := serve(t, nil)
	c := dial(t, s)
	c.rrq("ipxe.efi", "octet")
	want := content(5000)
	c.expect(data(1, want[:512]))
	for range 5 {
		c.ack(1)
	}
	c.expect(data(2, want[512:1024]))
	c.ack(1)
	c.ack(2)
	c.expect(data(3, want[1024:1536]))
	c.send(packERROR(0, "enough"), c.from)
	observed(t, r, seen("RRQ", reason.Aborted))
}

func TestStrayPackets(t *testing.T) {
	s, r := serve(t, nil)
	c := dial(t, s)
	c.rrq("ipxe.efi", "octet")
	c.recv()
	foreign := dial(t, s)
	foreign.from = c.from
	foreign.ack(1)
	foreign.expect("\x00\x05\x00\x05unknown transfer\x00")
	observed(t, r, seen("ACK", reason.BadSource))
	for _, p := range []string{"", "\x00", "\x00\x04", "\x00\x04\x00", "\x00\x04\x00\x09", "\x00\x03\x00\x01x", "\x00\x06a\x00b\x00", "\xff\xff"} {
		c.send([]byte(p), c.from)
		observed(t, r, seen(message(opcode([]byte(p))), reason.Malformed))
	}
	c.ack(1)
	c.expect(data(2, content(1024)[512:]))
}

// TestBadRequests are those of the well-known port. A silence is proved by the answer to the next request coming first.
func TestBadRequests(t *testing.T) {
	long := "\x00\x01" + strings.Repeat("x", 60_000) + "\x00octet\x00"
	tests := []struct {
		name, packet, answer string
		message              string
		why                  reason.Reason
	}{
		{"nothing", "", "", "other", reason.Malformed},
		{"one octet", "\x00", "", "other", reason.Malformed},
		{"two octets", "\x00\x01", "\x00\x05\x00\x04malformed request\x00", "RRQ", reason.Malformed},
		{"three octets", "\x00\x01a", "\x00\x05\x00\x04malformed request\x00", "RRQ", reason.Malformed},
		{"name without NUL", "\x00\x01ipxe.efi", "\x00\x05\x00\x04malformed request\x00", "RRQ", reason.Malformed},
		{"mode without NUL", "\x00\x01ipxe.efi\x00octet", "\x00\x05\x00\x04malformed request\x00", "RRQ", reason.Malformed},
		{"no mode", "\x00\x01ipxe.efi\x00", "\x00\x05\x00\x04malformed request\x00", "RRQ", reason.Malformed},
		{"mail", "\x00\x01ipxe.efi\x00mail\x00", "\x00\x05\x00\x04malformed request\x00", "RRQ", reason.Malformed},
		{
			"odd options", "\x00\x01ipxe.efi\x00octet\x00blksize\x00", "\x00\x05\x00\x04malformed request\x00",
			"RRQ", reason.Malformed,
		},
		{
			"option twice", "\x00\x01ipxe.efi\x00octet\x00blksize\x00512\x00BLKSIZE\x00600\x00",
			"\x00\x05\x00\x08bad options\x00", "RRQ", reason.Malformed,
		},
		{
			"many options", "\x00\x01ipxe.efi\x00octet\x00" + strings.Repeat("a\x00b\x00", 17),
			"\x00\x05\x00\x08bad options\x00", "RRQ", reason.Malformed,
		},
		{"60 KB name", long, "", "RRQ", reason.Oversized},
		{
			"1400 octet name", "\x00\x01" + strings.Repeat("x", 1400) + "\x00octet\x00",
			"\x00\x05\x00\x01file not found\x00", "RRQ", reason.NotFound,
		},
		{"empty name", "\x00\x01\x00octet\x00", "\x00\x05\x00\x01file not found\x00", "RRQ", reason.NotFound},
		{"ERROR", "\x00\x05\x00\x01no\x00", "", "ERROR", reason.Malformed},
		{"ACK", "\x00\x04\x00\x01", "", "ACK", reason.Malformed},
		{"DATA", data(1, content(512)), "", "DATA", reason.Malformed},
		{"OACK", "\x00\x06a\x00b\x00", "", "OACK", reason.Malformed},
		{"opcode 7", "\x00\x07abcd", "", "other", reason.Malformed},
		{
			"write", "\x00\x02new\x00octet\x00", "\x00\x05\x00\x02nothing can be written here\x00",
			"WRQ", reason.ReadOnlyFiles,
		},
		{"dots", "\x00\x01../secret\x00octet\x00", "\x00\x05\x00\x02access violation\x00", "RRQ", reason.OutsideRoot},
		{"encoded", "\x00\x01%2e%2e/secret\x00octet\x00", "\x00\x05\x00\x02access violation\x00", "RRQ", reason.OutsideRoot},
		{"link", "\x00\x01link\x00octet\x00", "\x00\x05\x00\x02access violation\x00", "RRQ", reason.OutsideRoot},
		{"absolute", "\x00\x01/etc/passwd\x00octet\x00", "\x00\x05\x00\x01file not found\x00", "RRQ", reason.NotFound},
		{"directory", "\x00\x01debian13\x00octet\x00", "\x00\x05\x00\x01file not found\x00", "RRQ", reason.NotFound},
		{
			"shim's probe", "\x00\x01/dirrevocations_sbat.efi\x00octet\x00blksize\x00512\x00",
			"\x00\x05\x00\x01file not found\x00", "RRQ", reason.NotFound,
		},
	}
	s, r := serve(t, nil)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := dial(t, s)
			c.send([]byte(tt.packet), c.server)
			observed(t, r, seen(tt.message, tt.why))
			if tt.answer != "" {
				c.expect(tt.answer)
			}
			c.send([]byte("\x00\x02silent?\x00octet\x00"), c.server)
			c.expect("\x00\x05\x00\x02nothing can be written here\x00")
			observed(t, r, seen("WRQ", reason.ReadOnlyFiles))
		})
	}
}

// TestNotServed: a link that no network names gets nothing but a count.
func TestNotServed(t *testing.T) {
	s, r := serve(t, func(c *Config) { c.Snapshot = func() *site.Snapshot { return nil } })
	c := dial(t, s)
	c.rrq("ipxe.efi", "octet")
	o := seen("RRQ", reason.NotServedLink)
	o.Outcome.Host = ""
	observed(t, r, o)
}

func TestVirtual(t *testing.T) {
	s, r := serve(t, func(c *Config) {
		c.Virtual = func(_ context.Context, at site.Arrival, name string) ([]byte, bool) {
			if name == "panic" {
				panic("a fault in a template")
			}
			return []byte("#!ipxe from " + at.Link + "\n"), name == "autoexec.ipxe"
		}
	})
	c := dial(t, s)
	c.rrq("/autoexec.ipxe", "octet", "tsize", "0")
	c.expect("\x00\x06tsize\x0015\x00")
	c.ack(0)
	c.expect(data(1, []byte("#!ipxe from lo\n")))
	c.ack(1)
	observed(t, r, fetched(timeline.FileFetched, "/autoexec.ipxe", 15))
	c.rrq("panic", "octet")
	if o := r.next(t); o.Err == nil || !strings.Contains(o.Err.Error(), "a fault in a template") {
		t.Errorf("observed %+v", o)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.active != 0 {
		t.Errorf("%d places taken", s.active)
	}
}
