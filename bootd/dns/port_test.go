package dns

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"bootd.internal/bootd/reason"
	"bootd.internal/bootd/site"
	"github.com/miekg/dns"
)

// askMany sends questions faster than they can be answered, and waits for all answers.
func (r *rig) askMany(n int) {
	r.t.Helper()
	c := r.dial("udp6")
	for i := range n {
		q := question(fmt.Sprintf("h%d.example.org.", i), dns.TypeAAAA)
		q.Id = uint16(i)
		if _, err := c.Write(packed(r.t, q)); err != nil {
			r.t.Fatal(err)
		}
	}
	buf := make([]byte, 512)
	for range n {
		size, err := c.Read(buf)
		if err != nil {
			r.t.Fatal(err)
		}
		got := unpacked(r.t, buf[:size])
		if want := fmt.Sprintf("h%d.example.org.", got.Id); got.Rcode != 0 || len(got.Answer) != 1 || got.Answer[0].Header().Name != want {
			r.t.Errorf("answer to %s: %v", want, got)
		}
	}
}

// written waits until no port is being written to: the answer may be there before the call that sent its question is over.
func written(t *testing.T, p *upstream) {
	t.Helper()
	for end := time.Now().Add(long); time.Now().Before(end); time.Sleep(time.Millisecond) {
		p.mu.Lock()
		held := slices.ContainsFunc(p.ports, func(c *port) bool { return c.held })
		p.mu.Unlock()
		if !held {
			return
		}
	}
	t.Fatal("a port is held for ever")
}

// TestPorts: a port carries so many questions and no more, and all have an identifier of their own.
func TestPorts(t *testing.T) {
	pc, err := net.ListenPacket("udp6", "[::1]:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = pc.Close() })
	var mu sync.Mutex
	ports, ids := map[string]int{}, map[uint16]bool{}
	go func() {
		buf := make([]byte, 4096)
		for {
			n, from, err := pc.ReadFrom(buf)
			if err != nil {
				return
			}
			q := unpacked(t, buf[:n])
			mu.Lock()
			ports[from.String()]++
			ids[q.Id] = true
			mu.Unlock()
			_, _ = pc.WriteTo(named(t, q), from)
		}
	}()
	r := start(t, overUDP(pc.LocalAddr().(*net.UDPAddr).AddrPort()))
	const many = 5 * portUses
	r.askMany(many)
	mu.Lock()
	defer mu.Unlock()
	for port, n := range ports {
		if n > portUses {
			t.Errorf("%d questions from %s", n, port)
		}
	}
	if len(ports) < many/portUses || len(ids) < many-2 { // two of them may be the same by chance
		t.Errorf("%d ports, %d identifiers", len(ports), len(ids))
	}
	r.landed(t)
	p := r.upstreams.use(r.snapshot().DNS.Upstreams)[0]
	written(t, p)
	p.mu.Lock()
	defer p.mu.Unlock()
	left := 0
	for _, c := range p.ports {
		left += len(c.asked)
		if !c.idle {
			t.Errorf("a port is open that waits for nothing: %+v", c)
		}
	}
	if left != 0 || p.waiting != 0 {
		t.Errorf("%d questions are left, %d are counted", left, p.waiting)
	}
}

// TestPortsGrowOld: one that is open for long carries no further question.
func TestPortsGrowOld(t *testing.T) {
	u := startUpstream(t, func(q *dns.Msg, _ bool) [][]byte { return [][]byte{named(t, q)} })
	r := start(t, u.addr)
	r.askMany(1)
	r.landed(t)
	p := r.upstreams.use([]site.Upstream{u.addr})[0]
	written(t, p)
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.idle) != 1 || len(p.ports) != 1 {
		t.Fatalf("%d idle of %d", len(p.idle), len(p.ports))
	}
	p.expire(time.Now().Add(portLife / 2))
	if len(p.ports) != 1 {
		t.Error("closed before its time")
	}
	p.expire(time.Now().Add(2 * portLife))
	if len(p.idle) != 0 || len(p.ports) != 0 {
		t.Errorf("%d idle of %d", len(p.idle), len(p.ports))
	}
}

// TestManyOverNext: all that was asked from a port goes on to the next upstream when the first is not there.
func TestManyOverNext(t *testing.T) {
	closed := site.Upstream{Transport: "udp", Addr: netip.MustParseAddrPort("[::1]:1")}
	good := startUpstream(t, func(q *dns.Msg, _ bool) [][]byte { return [][]byte{named(t, q)} })
	r := start(t, closed, good.addr)
	r.askMany(3 * portUses)
}

// TestLateAnswer: an answer counts that takes longer than the first look.
func TestLateAnswer(t *testing.T) {
	u := startUpstream(t, func(q *dns.Msg, _ bool) [][]byte {
		time.Sleep(2 * moments)
		return [][]byte{named(t, q)}
	})
	r := start(t, u.addr)
	r.askMany(1)
	observed(t, r.seen, "AAAA", why(reason.Forwarded))
	if n := u.count(); n != 1 {
		t.Errorf("asked %d times", n)
	}
}

// TestForgottenUpstream: whoever waits for an upstream that the inventory no longer names does not wait for ever.
func TestForgottenUpstream(t *testing.T) {
	u := startUpstream(t, func(*dns.Msg, bool) [][]byte { return nil })
	r := start(t, u.addr)
	c := r.dial("udp6")
	if _, err := c.Write(packed(t, question("www.example.org.", dns.TypeAAAA))); err != nil {
		t.Fatal(err)
	}
	<-u.arrived
	r.upstreams.use([]site.Upstream{u.addr})[0].close()
	buf := make([]byte, 512)
	if n, err := c.Read(buf); err != nil || unpacked(t, buf[:n]).Rcode != dns.RcodeServerFailure {
		t.Errorf("%v %x", err, buf[:n])
	}
	r.landed(t)
}

// askingTo is a question whose outcome goes to a channel.
func askingTo(to chan error) *asking {
	q := &query{question: []byte("\x01a\x00\x00\x1c\x00\x01")}
	return &asking{out: upstreamQuery(q, form{}), began: time.Now(), done: func(_ []byte, err error) { to <- err }}
}

// TestNoPort: nobody waits for what could not be sent, and who stops waiting at that moment finds nothing to take back.
func TestNoPort(t *testing.T) {
	r := start(t, startUpstream(t, func(*dns.Msg, bool) [][]byte { return nil }).addr)
	p := r.upstreams.use([]site.Upstream{{Transport: "udp", Addr: netip.MustParseAddrPort("[fe80::1%nosuchlink]:53")}})[0]
	to := make(chan error, 1)
	a := askingTo(to)
	p.send([]*asking{a})
	if err := <-to; err == nil {
		t.Error("sent")
	}
	if done := p.forget(a, true); done != nil {
		t.Error("it was ended already")
	}
}

// TestClosedWhileSending: what is sent while its upstream is forgotten ends, too.
func TestClosedWhileSending(t *testing.T) {
	addr := startUpstream(t, func(*dns.Msg, bool) [][]byte { return nil }).addr
	r := start(t, addr)
	for i := range 300 {
		p := newUpstream(addr, r.upstreams.secret[:])
		p.sockets = r.upstreams.sockets
		const each = 3
		to := make(chan error, 2*each)
		for range 2 {
			go func() {
				for range each {
					p.send([]*asking{askingTo(to)})
				}
			}()
		}
		time.Sleep(time.Duration(i%40) * time.Microsecond)
		p.close()
		for range cap(to) {
			select {
			case <-to:
			case <-time.After(20 * time.Second):
				t.Fatal("a question is never ended")
			}
		}
	}
}

// TestOneFaultOfMany: what one refusal ends counts once against the upstream.
func TestOneFaultOfMany(t *testing.T) {
	r := start(t, startUpstream(t, func(*dns.Msg, bool) [][]byte { return nil }).addr)
	gone, err := net.ListenUDP("udp6", &net.UDPAddr{IP: net.IPv6loopback})
	if err != nil {
		t.Fatal(err)
	}
	p := r.upstreams.use([]site.Upstream{{Transport: "udp", Addr: gone.LocalAddr().(*net.UDPAddr).AddrPort()}})[0]
	to := make(chan error, portUses)
	var all []*asking
	for range portUses {
		all = append(all, askingTo(to))
	}
	p.send(all)
	p.mu.Lock()
	c := p.ports[0]
	p.mu.Unlock()
	c.fail(net.ErrClosed)
	fails := &upstream{}
	one := &race{upstreams: &upstreams{now: time.Now}, ctx: t.Context()}
	for range portUses {
		err := <-to
		if err == nil {
			t.Error("no fault")
		}
		_, _ = one.judge(fails, time.Now(), true, func() ([]byte, error) { return nil, err })
	}
	if fails.fails != 1 {
		t.Errorf("%d failures", fails.fails)
	}
	_ = gone.Close()
}

// TestGuarded: a panic is an error.
func TestGuarded(t *testing.T) {
	if a, err := guarded(func() (*answer, error) { panic("broken") }); a != nil || err == nil {
		t.Errorf("%v, %v", a, err)
	}
}
