package dhcp6

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"bootd.internal/bootd/decide/address"
	"bootd.internal/bootd/ident"
	"bootd.internal/bootd/netif/netiftest"
	"bootd.internal/bootd/reason"
	"bootd.internal/bootd/site"
	"bootd.internal/bootd/site/sitetest"
	"bootd.internal/bootd/store"
	"bootd.internal/bootd/store/memory"
	"bootd.internal/bootd/timeline"
)

func TestMain(m *testing.M) { netiftest.Main(m) }

// recorder is an Observer that a test can wait on.
type recorder chan timeline.Observation

func (r recorder) Observe(o timeline.Observation) {
	o.Events = slices.Clone(o.Events)
	r <- o
}

// next is the newest observation, without what changes from run to run.
func (r recorder) next(t testing.TB) timeline.Observation {
	t.Helper()
	select {
	case o := <-r:
		return o
	case <-time.After(10 * time.Second):
		t.Fatal("no observation within ten seconds")
		return timeline.Observation{}
	}
}

// start runs a server on a port of loopback, on which rack1 is served.
func start(t testing.TB, s store.Store, change func(*Config)) (net.Conn, recorder, *site.Snapshot) {
	t.Helper()
	netiftest.Kernel(t)
	lo, err := net.InterfaceByName("lo")
	if err != nil {
		t.Fatal(err)
	}
	text := "networks:\n  rack1: {interface: lo, prefix: \"2001:db8::/64\"}\nhosts:\n  node0: {mac: \"52:54:00:00:01:00\", address: \"::100\"}\n"
	snap := sitetest.Snapshot(t, text, sitetest.Facts(sitetest.Link(t, lo.Index, "lo", "2001:db8::1/64")))
	seen := make(recorder, 4096)
	cfg := Config{
		Snapshot: func() *site.Snapshot { return snap }, Store: s, Observer: seen, Neighbours: netiftest.Neighbours{},
		Now: sitetest.Now,
	}
	if change != nil {
		change(&cfg)
	}
	server, err := listen(cfg, 0)
	if err != nil {
		t.Fatal(err)
	}
	run(t, server)
	client, err := net.Dial("udp6", fmt.Sprintf("[::1]:%d", server.conn.LocalAddr().(*net.UDPAddr).Port))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	if err := client.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return client, seen, snap
}

// task is what the daemon runs.
type task interface {
	Run(context.Context) error
	Ready() <-chan struct{}
	fmt.Stringer
}

// run runs a task until the test ends, or until the function is called.
func run(t testing.TB, k task) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- k.Run(ctx) }()
	<-k.Ready()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("%s: %v", k, err)
		}
	})
	t.Cleanup(stop)
	return stop
}

// ask sends one message and waits for the answer.
func ask(t testing.TB, c net.Conn, b []byte) []byte {
	t.Helper()
	if _, err := c.Write(b); err != nil {
		t.Fatal(err)
	}
	in := make([]byte, 4096)
	n, err := c.Read(in)
	if err != nil {
		t.Fatal(err)
	}
	return in[:n]
}

func node0() ident.DUID { return ident.NewDUIDLL(ident.MAC{0x52, 0x54, 0, 0, 1, 0}) }

// TestUnicast: where a datagram went to reaches the decision.
func TestUnicast(t *testing.T) {
	text := "networks:\n  rack1: {interface: eth1, prefix: \"2001:db8::/64\"}\nhosts:\n  node0: {mac: \"52:54:00:00:01:00\", address: \"::100\"}\n"
	snap := sitetest.Snapshot(t, text, sitetest.Facts(sitetest.Link(t, 2, "eth1", "2001:db8::1/64")))
	seen := make(recorder, 1)
	s := &Server{cfg: Config{Snapshot: func() *site.Snapshot { return snap }, Store: memory.New(), Observer: seen, Neighbours: netiftest.Neighbours{}, Now: sitetest.Now}}
	it := &item{queued: -1, d: datagram{link: 2, from: netip.MustParseAddrPort("[2001:db8::100]:546"), dst: netip.MustParseAddr("2001:db8::1")}}
	it.d.octets = encodeRequest(packet{req: address.Request{Msg: address.Solicit, Client: node0(), IAs: []address.IA{{Kind: address.IANA}}}})
	l := &lane{s: s, snap: snap, start: sitetest.Now()}
	it.rooms = l.rooms(it)
	if !l.begin(it) {
		t.Fatal("nothing was decided")
	}
	l.answer(t.Context(), []*item{it})
	if o := seen.next(t); o.Outcome.Reason != reason.UnicastForbidden || o.Err != nil {
		t.Errorf("%s %v", o.Outcome.Reason, o.Err)
	}
}

func TestSocket(t *testing.T) {
	client, seen, snap := start(t, memory.New(), nil)
	want := func(m address.Msg, r reason.Reason, events ...timeline.Kind) {
		t.Helper()
		o := seen.next(t)
		var kinds []timeline.Kind
		for _, e := range o.Events {
			kinds = append(kinds, e.Kind)
		}
		expect := timeline.Observation{
			Adapter: "dhcp6", Message: m.String(), From: timeline.Sender{AddrPort: client.LocalAddr().(*net.UDPAddr).AddrPort()},
			Outcome: reason.Outcome{Reason: r, Host: "node0", Network: "rack1", Rule: "duid-mac"},
			MAC:     ident.MAC{0x52, 0x54, 0, 0, 1, 0},
		}
		if diff := cmp.Diff(expect, o, cmpopts.IgnoreFields(timeline.Observation{}, "Events")); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff(events, kinds); diff != "" {
			t.Error(diff)
		}
	}
	q := address.Request{Msg: address.Solicit, Client: node0(), IAs: []address.IA{{Kind: address.IANA, IAID: 7}}}
	advertise := ask(t, client, encodeRequest(packet{xid: [3]byte{1, 2, 3}, req: q}))
	if advertise[0] != byte(address.Advertise) {
		t.Errorf("the answer to a Solicit is of type %d", advertise[0])
	}
	want(address.Solicit, reason.Answered, timeline.DHCPSolicit)

	q.Msg, q.Server = address.RequestMsg, snap.ServerDUID
	request := encodeRequest(packet{xid: [3]byte{1, 2, 4}, req: q})
	first := ask(t, client, request)
	want(address.RequestMsg, reason.Changed, timeline.DHCPLease)
	again := ask(t, client, request)
	want(address.RequestMsg, reason.Retransmit)
	if diff := cmp.Diff(first, again); diff != "" {
		t.Errorf("a retransmit is answered otherwise: %s", diff)
	}
}

// TestSocketRejects sends what no decision is asked for, and looks at what the observer hears.
func TestSocketRejects(t *testing.T) {
	client, seen, _ := start(t, memory.New(), nil)
	stranger := address.Request{Msg: address.Solicit, Client: ident.NewDUIDLL(ident.MAC{2, 0, 0, 0, 0, 9})}
	for _, c := range []struct {
		name    string
		b       []byte
		message string
		want    reason.Outcome
	}{
		{"60 KB", make([]byte, 60000), "unknown", reason.Outcome{Reason: reason.Oversized}},
		{"empty", nil, "unknown", reason.Outcome{Reason: reason.Malformed}},
		{"stranger", encodeRequest(packet{req: stranger}), "Solicit", reason.Outcome{Reason: reason.UnknownHost, Network: "rack1"}},
	} {
		if _, err := client.Write(c.b); err != nil {
			t.Fatal(err)
		}
		o := seen.next(t)
		if o.Message != c.message || o.Outcome != c.want || o.Err != nil {
			t.Errorf("%s: observed %+v", c.name, o)
		}
	}
}

// faulty is a store whose transactions fail.
type faulty struct {
	*memory.Engine
	err error
}

func (f faulty) Start(fn func(store.View) []store.Op) store.Commit {
	f.Read(func(v store.View) { fn(v) })
	return failed{f.err}
}

// failed is a transaction that failed.
type failed struct{ err error }

func (failed) Sync()                        {}
func (failed) Done() bool                   { return true }
func (f failed) Wait(context.Context) error { return f.err }

func TestStoreFaults(t *testing.T) {
	request := func(snap *site.Snapshot) address.Request {
		return address.Request{
			Msg: address.RequestMsg, Client: node0(), Server: snap.ServerDUID, IAs: []address.IA{{Kind: address.IANA, IAID: 7}},
			At: site.Arrival{Link: "lo"},
		}
	}
	broken := errors.New("broken")
	for _, c := range []struct {
		name     string
		err      error
		msg      address.Msg
		want     reason.Reason
		answered bool
	}{
		{"a commit that may have happened is silent", store.ErrUnknown, address.RequestMsg, reason.StoreUnknown, false},
		{"a reserved address is answered from a read-only store", store.ErrReadOnly, address.RequestMsg, reason.Answered, true},
		{"a Release cannot be kept by a read-only store", store.ErrReadOnly, address.Release, reason.StoreReadOnly, false},
		{"any other fault is silent", broken, address.RequestMsg, reason.StoreUnknown, false},
	} {
		engine := memory.New()
		client, seen, snap := start(t, faulty{engine, c.err}, nil)
		q := request(snap)
		q.IAs[0].Addrs = []netip.Addr{netip.MustParseAddr("2001:db8::100")}
		if c.msg == address.Release {
			q := q
			q.Evidence = nil
			seed(t, engine, snap, q)
		}
		q.Msg = c.msg
		if _, err := client.Write(encodeRequest(packet{req: q})); err != nil {
			t.Fatal(err)
		}
		o := seen.next(t)
		if o.Outcome.Reason != c.want || errors.Is(o.Err, broken) != (c.err == broken) {
			t.Errorf("%s: observed %+v", c.name, o)
		}
		if c.answered {
			if _, err := client.Read(make([]byte, 2000)); err != nil {
				t.Errorf("%s: %v", c.name, err)
			}
		}
	}
}

// seed writes the lease that a Request gets.
func seed(t testing.TB, s store.Store, snap *site.Snapshot, q address.Request) {
	t.Helper()
	q.Evidence = append(q.Evidence, evidenceOf(q.Client)...)
	err := s.Update(t.Context(), func(v store.View) []store.Op {
		d := address.Decide(snap, v, q, sitetest.Now())
		if d.Reply == nil {
			t.Fatalf("seeding: %+v", d.Outcome)
		}
		return d.Ops
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestPanic: a packet that meets a bug costs an observation, not the daemon.
func TestPanic(t *testing.T) {
	client, seen, _ := start(t, memory.New(), func(c *Config) {
		c.Neighbours = netiftest.Neighbours{MACFunc: func(int, netip.Addr) (ident.MAC, bool) { panic("boom") }}
	})
	for range 2 {
		if _, err := client.Write(encodeRequest(packet{req: address.Request{Msg: address.Solicit, Client: node0()}})); err != nil {
			t.Fatal(err)
		}
		if o := seen.next(t); o.Err == nil || o.Outcome.Reason != reason.Malformed {
			t.Errorf("observed %+v", o)
		}
	}
}

// TestOverflowIsTold also when the socket was full just after a look, and is no more.
func TestOverflowIsTold(t *testing.T) {
	seen := make(recorder, 4)
	s, err := listen(Config{Observer: seen}, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer s.conn.Close()
	now := sitetest.Now()
	s.overflow(true, now)
	s.lost.count-- // as if one had been lost since
	s.overflow(true, now.Add(lookEvery/2))
	s.overflow(false, now.Add(lookEvery))
	if o := seen.next(t); o.Outcome.Reason != reason.Overload || o.Count != 1 || s.lost.due.Load() {
		t.Errorf("observed %+v", o)
	}
}

// TestOverload fills the socket behind a lane that is held up.
func TestOverload(t *testing.T) {
	entered, gate := make(chan struct{}), make(chan struct{})
	var once sync.Once
	client, seen, _ := start(t, memory.New(), func(c *Config) {
		c.Lanes = 1
		c.Neighbours = netiftest.Neighbours{MACFunc: func(int, netip.Addr) (ident.MAC, bool) {
			once.Do(func() {
				close(entered)
				<-gate
			})
			return ident.MAC{}, false
		}}
	})
	b := encodeRequest(packet{req: address.Request{Msg: address.Solicit, Client: node0()}})
	const many = 30_000 // of them 10,000 fill the buffer
	for i := range many {
		if _, err := client.Write(b); err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			<-entered
		}
	}
	close(gate)
	count := map[reason.Reason]int{}
	for told := 0; told < many; { // none is missing, however it went
		o := seen.next(t)
		count[o.Outcome.Reason] += max(o.Count, 1)
		told += max(o.Count, 1)
	}
	if count[reason.Overload] == 0 || count[reason.Answered] < 1000 || len(count) != 2 {
		t.Errorf("observed %v", count)
	}
}

// TestDrain: what was heard before the end is answered.
func TestDrain(t *testing.T) {
	netiftest.Kernel(t)
	entered, gate := make(chan struct{}), make(chan struct{})
	seen := make(recorder, 8)
	snap := sitetest.Snapshot(t, lab, labFacts(t))
	server, err := listen(Config{
		Snapshot: func() *site.Snapshot { return snap }, Store: memory.New(), Observer: seen, Now: sitetest.Now,
		Neighbours: netiftest.Neighbours{MACFunc: func(int, netip.Addr) (ident.MAC, bool) {
			entered <- struct{}{}
			<-gate
			return ident.MAC{}, false
		}},
	}, 0)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- server.Run(ctx) }()
	client, err := net.Dial("udp6", fmt.Sprintf("[::1]:%d", server.conn.LocalAddr().(*net.UDPAddr).Port))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if _, err := client.Write(encodeRequest(packet{req: address.Request{Msg: address.Solicit, Client: node0()}})); err != nil {
		t.Fatal(err)
	}
	<-entered
	cancel()
	close(gate)
	if o := seen.next(t); o.Outcome.Reason != reason.NotServedLink { // loopback is none of the lab's links
		t.Errorf("observed %+v", o)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// TestPortInUse: two servers on one machine are a mistake that New reports.
func TestPortInUse(t *testing.T) {
	netiftest.Kernel(t)
	a, err := listen(Config{}, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer a.conn.Close()
	port := a.conn.LocalAddr().(*net.UDPAddr).Port
	_, err = listen(Config{}, port)
	want := fmt.Sprintf("opening DHCPv6 socket: listen udp6 [::]:%d: bind: address already in use", port)
	if err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}
