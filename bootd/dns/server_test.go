package dns

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"testing"
	"time"

	"bootd.internal/bootd/reason"
	"bootd.internal/bootd/site"
	"bootd.internal/bootd/site/sitetest"
	"bootd.internal/bootd/timeline"
	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"
)

// long is how long a test waits for what must come.
const long = 20 * time.Second

// recorder passes observations on.
type recorder chan timeline.Observation

func (r recorder) Observe(o timeline.Observation) { r <- o }

func (r recorder) next(t testing.TB) timeline.Observation {
	t.Helper()
	select {
	case o := <-r:
		o.Took = 0
		if o.Count == 1 {
			o.Count = 0
		}
		return o
	case <-time.After(long):
		t.Fatal("nothing was observed")
		return timeline.Observation{}
	}
}

func observed(t testing.TB, r recorder, message string, o reason.Outcome) {
	t.Helper()
	want := timeline.Observation{Adapter: "dns", Message: message, Outcome: o, Peer: `"::1"`}
	if diff := cmp.Diff(want, r.next(t)); diff != "" {
		t.Error(diff)
	}
}

func why(r reason.Reason) reason.Outcome { return reason.Outcome{Reason: r} }

// clock is a clock that tests move.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// rig is a server on loopback, with what a test looks at.
type rig struct {
	*Server
	t     testing.TB
	seen  recorder
	clock *clock
	mu    sync.Mutex
	snap  *site.Snapshot
}

func (r *rig) snapshot() *site.Snapshot {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.snap
}

// forwardTo swaps the snapshot for one with these upstreams.
func (r *rig) forwardTo(servers ...site.Upstream) {
	r.change(func(s *site.Snapshot) { s.DNS.Upstreams = servers })
}

// change swaps the snapshot.
func (r *rig) change(how func(*site.Snapshot)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	snap := *r.snap
	how(&snap)
	r.snap = &snap
}

func start(t testing.TB, upstreams ...site.Upstream) *rig {
	t.Helper()
	return startWith(t, func(*Config) {}, upstreams...)
}

func startWith(t testing.TB, configure func(*Config), upstreams ...site.Upstream) *rig {
	t.Helper()
	r := &rig{t: t, seen: make(recorder, 8192), clock: &clock{now: sitetest.Now()}}
	r.snap = sitetest.Snapshot(t, sitetest.Small(), sitetest.SmallFacts(t))
	r.forwardTo(upstreams...)
	cfg := Config{Snapshot: r.snapshot, Observer: r.seen, Now: r.clock.Now, Listen: netip.AddrPortFrom(netip.IPv6Loopback(), 0)}
	configure(&cfg)
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	r.Server = s
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	<-s.Ready()
	t.Cleanup(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("running: %v", err)
			}
		case <-time.After(long):
			buf := make([]byte, 1<<16)
			t.Errorf("the server does not stop:\n%s", buf[:runtime.Stack(buf, true)])
		}
	})
	return r
}

// dial opens a client's socket.
func (r *rig) dial(network string) net.Conn {
	r.t.Helper()
	c, err := net.Dial(network, r.Addr().String())
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = c.Close() })
	if err := c.SetDeadline(time.Now().Add(long)); err != nil {
		r.t.Fatal(err)
	}
	return c
}

// raw sends octets over UDP and gives the answer's.
func raw(t testing.TB, c net.Conn, p []byte) []byte {
	t.Helper()
	if _, err := c.Write(p); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 65535)
	n, err := c.Read(buf)
	if err != nil {
		t.Fatal(err)
	}
	return buf[:n]
}

func packed(t testing.TB, m *dns.Msg) []byte {
	t.Helper()
	p, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func unpacked(t testing.TB, p []byte) *dns.Msg {
	t.Helper()
	m := new(dns.Msg)
	if err := m.Unpack(p); err != nil {
		t.Fatalf("%v in %x", err, p)
	}
	return m
}

// ask asks over UDP.
func (r *rig) ask(m *dns.Msg) *dns.Msg {
	r.t.Helper()
	return unpacked(r.t, raw(r.t, r.dial("udp6"), packed(r.t, m)))
}

func question(name string, typ uint16) *dns.Msg {
	m := new(dns.Msg).SetQuestion(name, typ)
	m.Id = 0x1234
	return m
}

// writeTCP and readTCP frame messages (RFC 1035 section 4.2.2).
func writeTCP(t testing.TB, c io.Writer, p []byte) {
	t.Helper()
	if _, err := c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(p))), p...)); err != nil {
		t.Fatal(err)
	}
}

func readTCP(t testing.TB, c io.Reader) *dns.Msg {
	t.Helper()
	var size [2]byte
	if _, err := io.ReadFull(c, size[:]); err != nil {
		t.Fatal(err)
	}
	p := make([]byte, binary.BigEndian.Uint16(size[:]))
	if _, err := io.ReadFull(c, p); err != nil {
		t.Fatal(err)
	}
	return unpacked(t, p)
}

// resolver is an upstream that answers as a test says: each element is one packet; over TCP only the first is sent.
type resolver struct {
	addr site.Upstream
	mu   sync.Mutex
	got  []*dns.Msg
	// arrived has one element for each question.
	arrived chan *dns.Msg
}

func (u *resolver) count() int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return len(u.got)
}

// bothPorts listens on a port that is free for UDP and TCP.
func bothPorts(t testing.TB) (net.PacketConn, net.Listener) {
	t.Helper()
	var err error
	for range 20 {
		var l net.Listener
		if l, err = net.Listen("tcp6", "[::1]:0"); err != nil {
			break
		}
		var pc net.PacketConn
		if pc, err = net.ListenPacket("udp6", l.Addr().String()); err == nil {
			return pc, l
		}
		_ = l.Close()
	}
	t.Fatal(err)
	return nil, nil
}

func overUDP(a netip.AddrPort) site.Upstream { return site.Upstream{Transport: "udp", Addr: a} }

func startUpstream(t testing.TB, answer func(q *dns.Msg, tcp bool) [][]byte) *resolver {
	t.Helper()
	pc, l := bothPorts(t)
	u := &resolver{addr: overUDP(l.Addr().(*net.TCPAddr).AddrPort()), arrived: make(chan *dns.Msg, 4096)}
	note := func(p []byte) *dns.Msg {
		q := new(dns.Msg)
		if err := q.Unpack(p); err != nil {
			t.Errorf("upstream received %x: %v", p, err)
		}
		u.mu.Lock()
		u.got = append(u.got, q)
		u.mu.Unlock()
		u.arrived <- q
		return q
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		buf := make([]byte, 65535)
		for {
			n, from, err := pc.ReadFrom(buf)
			if err != nil {
				return
			}
			for _, p := range answer(note(buf[:n]), false) {
				_, _ = pc.WriteTo(p, from)
			}
		}
	})
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			var size [2]byte
			if _, err := io.ReadFull(c, size[:]); err == nil {
				p := make([]byte, binary.BigEndian.Uint16(size[:]))
				if _, err := io.ReadFull(c, p); err == nil {
					for _, p := range answer(note(p), true)[:1] {
						_, _ = c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(p))), p...))
					}
				}
			}
			_ = c.Close()
		}
	})
	t.Cleanup(func() { _ = pc.Close(); _ = l.Close(); wg.Wait() })
	return u
}

// rr reads a record in zone file form.
func rr(t testing.TB, s string) dns.RR {
	t.Helper()
	r, err := dns.NewRR(s)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// replying answers each question with these records.
func replying(t testing.TB, code int, answer []string, authority ...string) func(*dns.Msg, bool) [][]byte {
	return func(q *dns.Msg, _ bool) [][]byte {
		m := new(dns.Msg).SetReply(q)
		m.Rcode, m.RecursionAvailable, m.AuthenticatedData = code, true, true
		for _, s := range answer {
			m.Answer = append(m.Answer, rr(t, s))
		}
		for _, s := range authority {
			m.Ns = append(m.Ns, rr(t, s))
		}
		m.SetEdns0(4096, false)
		return [][]byte{packed(t, m)}
	}
}
