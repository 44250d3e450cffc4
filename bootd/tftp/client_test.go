package tftp

import (
	"bytes"
	"encoding/binary"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"bootd.internal/bootd/files"
	"bootd.internal/bootd/site"
	"bootd.internal/bootd/timeline"
)

// patience is how long a test waits for what must come.
const patience = 10 * time.Second

// recorder passes observations on.
type recorder chan timeline.Observation

func (r recorder) Observe(o timeline.Observation) { r <- o }

// next is the next observation without what changes from run to run.
func (r recorder) next(t *testing.T) timeline.Observation {
	t.Helper()
	select {
	case o := <-r:
		o.Took = 0
		return o
	case <-time.After(patience):
		t.Fatal("nothing was observed")
		return timeline.Observation{}
	}
}

// content is n octets of which no two blocks are alike.
func content(n int) []byte {
	b := make([]byte, n)
	for i := range n {
		b[i] = byte(i>>16) ^ byte(i>>8)*31 ^ byte(i)*7
	}
	return b
}

// serve starts a server over a directory with files, on loopback.
func serve(t *testing.T, change func(*Config)) (*Server, recorder) {
	t.Helper()
	top := t.TempDir()
	root := filepath.Join(top, "files")
	for name, b := range map[string][]byte{
		"files/ipxe.efi": content(5000), "files/debian13/linux": content(300_000), "files/empty": nil,
		"files/block": content(512), "files/text": []byte("one\ntwo\r"), "secret": []byte("secret"),
	} {
		name = filepath.Join(top, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("../secret", filepath.Join(root, "link")); err != nil {
		t.Fatal(err)
	}
	dir, err := files.Open(root)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = dir.Close() })
	seen := make(recorder, 4096)
	snap := &site.Snapshot{Loaders: map[string]string{"x86_64": "ipxe.efi"}}
	cfg := Config{
		Snapshot: func() *site.Snapshot { return snap }, Observer: seen, Now: time.Now, Files: dir,
		Who:    func(site.Arrival) string { return "r1n01" },
		Listen: netip.AddrPortFrom(netip.IPv6Loopback(), 0),
	}
	if change != nil {
		change(&cfg)
	}
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	run(t, s)
	return s, seen
}

// client speaks raw packets.
type client struct {
	t    *testing.T
	conn *net.UDPConn
	// server is where requests go, from where the last packet came.
	server, from netip.AddrPort
}

func dial(t *testing.T, s *Server) *client {
	t.Helper()
	conn, err := net.ListenUDP("udp6", net.UDPAddrFromAddrPort(netip.AddrPortFrom(netip.IPv6Loopback(), 0)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return &client{t: t, conn: conn, server: s.Addr()}
}

func (c *client) send(p []byte, to netip.AddrPort) {
	c.t.Helper()
	if _, err := c.conn.WriteToUDPAddrPort(p, to); err != nil {
		c.t.Fatal(err)
	}
}

// rrq asks for a file; parts are mode and options.
func (c *client) rrq(parts ...string) {
	c.t.Helper()
	c.send([]byte("\x00\x01"+strings.Join(parts, "\x00")+"\x00"), c.server)
}

func (c *client) recv() []byte {
	c.t.Helper()
	buf := make([]byte, 65536)
	if err := c.conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		c.t.Fatal(err)
	}
	n, from, err := c.conn.ReadFromUDPAddrPort(buf)
	if err != nil {
		c.t.Fatal(err)
	}
	c.from = from
	return buf[:n]
}

// expect reads one packet and compares it.
func (c *client) expect(want string) {
	c.t.Helper()
	if got := c.recv(); string(got) != want {
		c.t.Fatalf("received %.60q (%d octets), want %.60q", got, len(got), want)
	}
}

func (c *client) ack(block uint16) {
	c.t.Helper()
	c.send(packACK(block), c.from)
}

// data is a DATA packet.
func data(block uint16, b []byte) string {
	return string(binary.BigEndian.AppendUint16([]byte{0, opDATA}, block)) + string(b)
}

// fetch reads DATA packets until the last one; lose says which packet, counted from 0, is dropped.
func (c *client) fetch(block, window int, lose func(int) bool) []byte {
	c.t.Helper()
	var got bytes.Buffer
	next, inWindow, count := uint16(1), 0, 0
	gap := false
	for {
		p := c.recv()
		if opcode(p) == opOACK && next == 1 {
			c.ack(0) // it was sent again before our acknowledgement came
			continue
		}
		if opcode(p) != opDATA {
			c.t.Fatalf("received %.60q", p)
		}
		if count++; lose(count - 1) {
			continue
		}
		n := binary.BigEndian.Uint16(p[2:])
		if n != next {
			if !gap && window > 1 {
				c.ack(next - 1) // as RFC 7440 section 4 has it: once for each gap
			}
			gap, inWindow = true, 0
			continue
		}
		gap = false
		got.Write(p[4:])
		next++
		inWindow++
		last := len(p) < block+4
		if inWindow == window || last {
			c.ack(n)
			inWindow = 0
		}
		if last {
			return got.Bytes()
		}
	}
}
