package routes

import (
	"context"
	"errors"
	"io/fs"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"bootd.internal/bootd/lease"
	"bootd.internal/bootd/netif"
	"bootd.internal/bootd/site"
	"bootd.internal/bootd/site/sitetest"
	"bootd.internal/bootd/store"
	"bootd.internal/bootd/store/memory"
	"bootd.internal/bootd/timeline"
)

// kernel is a routing table that holds our routes and those of others.
type kernel struct {
	mu     sync.Mutex
	ours   []netif.Route
	others []netip.Prefix
	refuse error
	lists  int
}

func (k *kernel) List() ([]netif.Route, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.lists++
	return slices.Clone(k.ours), nil
}

func (k *kernel) Put(r netif.Route, replace bool) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	same := func(o netif.Route) bool { return o.Prefix == r.Prefix && o.Via.IsValid() == r.Via.IsValid() }
	switch {
	case k.refuse != nil:
		return k.refuse
	case !replace && (slices.Contains(k.others, r.Prefix) || slices.ContainsFunc(k.ours, same)):
		return fs.ErrExist
	}
	k.ours = append(slices.DeleteFunc(k.ours, same), r)
	return nil
}

func (k *kernel) Delete(r netif.Route) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.refuse != nil {
		return k.refuse
	}
	k.ours = slices.DeleteFunc(k.ours, func(o netif.Route) bool { return o == r })
	return nil
}

func (k *kernel) change(f func()) {
	k.mu.Lock()
	defer k.mu.Unlock()
	f()
}

func (k *kernel) text() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	slices.SortFunc(k.ours, netif.Route.Compare)
	var out []string
	for _, r := range k.ours {
		out = append(out, r.String())
	}
	return strings.Join(out, "; ")
}

type seen struct {
	mu  sync.Mutex
	all []timeline.Observation
}

func (s *seen) Observe(o timeline.Observation) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = append(s.all, o)
}

func (s *seen) since(n int) []timeline.Observation {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.all[n:])
}

const text = `serve: {unreachable: "2001:db8::/48"}
networks:
  rack1: {interface: eth1, prefix: "2001:db8:1::/64", unknown: pool, delegate: {pool: "2001:db8:0:100::/56", length: 60}}
`

func facts(t *testing.T) site.Facts {
	return sitetest.Facts(sitetest.Link(t, 7, "eth1", "2001:db8:1::1/64"))
}

func bound(via string, until time.Time) lease.Binding {
	return lease.Binding{Holder: "duid 1", Network: "rack1", State: lease.Bound, Via: netip.MustParseAddr(via), Link: "eth1", ValidUntil: until}
}

func TestWant(t *testing.T) {
	snap, now := sitetest.Snapshot(t, text, facts(t)), sitetest.Now()
	p := netip.MustParsePrefix("2001:db8:0:110::/60")
	change := func(f func(*lease.Binding)) lease.Binding {
		b := bound("fe80::7", now.Add(time.Hour))
		f(&b)
		return b
	}
	const rest = "unreachable 2001:db8::/48; unreachable 2001:db8:0:100::/56"
	const whole = rest + "; 2001:db8:0:110::/60 via fe80::7"
	for _, c := range []struct {
		name, want string
		b          lease.Binding
	}{
		{"bound", whole, change(func(*lease.Binding) {})},
		{"at its end", rest, change(func(b *lease.Binding) { b.ValidUntil = now })},
		{"given back", rest, change(func(b *lease.Binding) { b.State = lease.Resting })},
		{"over no neighbour", rest, change(func(b *lease.Binding) { b.Via = netip.Addr{} })},
		{"on a link that is gone", rest, change(func(b *lease.Binding) { b.Link = "eth9" })},
	} {
		got, until := Want(snap, map[netip.Prefix]lease.Binding{p: c.b}, now)
		k := kernel{ours: got}
		if k.text() != c.want || until.IsZero() != (c.want == rest) {
			t.Errorf("%s: %s until %s, want %s", c.name, k.text(), until, c.want)
		}
	}
	bare, _ := site.Resolve(sitetest.Inventory(t, text), sitetest.Facts(), nil, now)
	if got, _ := Want(bare, map[netip.Prefix]lease.Binding{p: bound("fe80::7", now.Add(time.Hour))}, now); len(got) != 1 {
		t.Errorf("without the link: %v", got)
	}
}

// TestWantDelegated: what an upstream gave leads nowhere, apart from what is made of it, and whatever the links do.
func TestWantDelegated(t *testing.T) {
	const derived = "upstreams: {isp: {interface: eth0}}\nnetworks: {lan: {interface: eth1, prefix: {from: isp, subnet: 0}, delegate: {from: isp, subnet: 1, length: 60, each: 62}}}\n"
	for links, want := range map[int]string{
		0: "unreachable 2001:db8:a:100::/56",
		1: "unreachable 2001:db8:a:100::/56; unreachable 2001:db8:a:110::/60",
	} {
		f := sitetest.Facts(slices.Repeat([]site.Link{sitetest.Link(t, 7, "eth1")}, links)...)
		f.Delegated = map[string][]site.Prefix{"isp": {
			{Prefix: netip.MustParsePrefix("2001:db8:a:100::/56")},
			{Prefix: netip.MustParsePrefix("2001:db8:b:100::/56"), ValidUntil: sitetest.Now()},
		}}
		snap, _ := site.Resolve(sitetest.Inventory(t, derived), f, nil, sitetest.Now())
		got, _ := Want(snap, nil, sitetest.Now())
		k := kernel{ours: got}
		if k.text() != want {
			t.Errorf("%d links: %s", links, k.text())
		}
	}
}

// TestRoutesFollowLeases follows one prefix from its grant over a new next hop to its end, beside what a crash left and what
// another program wrote.
func TestRoutesFollowLeases(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		db, k, said := memory.New(), &kernel{}, &seen{}
		snap := sitetest.Snapshot(t, text, facts(t))
		stray := netif.Route{Prefix: netip.MustParsePrefix("2001:db8:0:1f0::/60"), Via: netip.MustParseAddr("fe80::f"), Link: 7}
		k.ours = []netif.Route{stray}
		task := New(Config{
			Snapshot: func() *site.Snapshot { return snap }, Store: db, Kernel: k, Observer: said, Now: time.Now,
			Changed: func(ctx context.Context) <-chan struct{} {
				ch := make(chan struct{})
				context.AfterFunc(ctx, func() { close(ch) })
				return ch
			},
		})
		done := make(chan error)
		go func() { done <- task.Run(ctx) }()
		<-task.Ready()
		p := netip.MustParsePrefix("2001:db8:0:110::/60")
		put := func(b *lease.Binding) {
			t.Helper()
			op := store.Op{Key: lease.PrefixKey(p)}
			if b != nil {
				op.Value = b.Encode()
			}
			if err := db.Update(ctx, func(store.View) []store.Op { return []store.Op{op} }); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		check := func(when, want string) {
			t.Helper()
			if got := k.text(); got != want {
				t.Errorf("%s: %s, want %s", when, got, want)
			}
		}
		const rest = "unreachable 2001:db8::/48; unreachable 2001:db8:0:100::/56"
		check("at the start", rest)
		b := bound("fe80::7", time.Now().Add(time.Hour))
		put(&b)
		check("granted", rest+"; 2001:db8:0:110::/60 via fe80::7")
		b = bound("fe80::8", time.Now().Add(time.Hour))
		put(&b)
		check("over another next hop", rest+"; 2001:db8:0:110::/60 via fe80::8")
		k.change(func() {
			if k.lists != 1 {
				t.Errorf("the kernel's routes were listed %d times for two leases", k.lists-1)
			}
		})
		k.change(func() { k.ours = nil })
		time.Sleep(lookEvery)
		synctest.Wait()
		check("after the link blinked", rest+"; 2001:db8:0:110::/60 via fe80::8")
		time.Sleep(time.Hour)
		synctest.Wait()
		check("at the end of the lease", rest)

		k.change(func() { k.others = []netip.Prefix{p} })
		b = bound("fe80::7", time.Now().Add(2*time.Hour))
		before := len(said.since(0))
		put(&b)
		time.Sleep(5 * lookEvery)
		synctest.Wait()
		check("another program's route is there", rest)
		if news := said.since(before); len(news) != 1 || news[0].Err == nil || !strings.Contains(news[0].Events[0].Detail, "another program's route is there") {
			t.Errorf("said %+v", news)
		}
		k.change(func() { k.others, k.refuse = nil, syscall.EPERM })
		put(nil)
		b = bound("fe80::7", time.Now().Add(time.Hour))
		put(&b)
		all := said.since(0)
		if last := all[len(all)-1]; last.Err == nil || !strings.Contains(last.Err.Error(), "CAP_NET_ADMIN") {
			t.Errorf("without the capability: %+v", last)
		}
		k.change(func() { k.refuse = nil })
		put(nil)
		check("released", rest)
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		check("after the end", rest)
	})
}

// TestNothingDelegated: a site that delegates nothing is not looked at again and again.
func TestNothingDelegated(t *testing.T) {
	k := &kernel{}
	task := New(Config{
		Snapshot: func() *site.Snapshot {
			return sitetest.Snapshot(t, strings.Replace(strings.Replace(text, `unreachable: "2001:db8::/48"`, "", 1), `, delegate: {pool: "2001:db8:0:100::/56", length: 60}`, "", 1), facts(t))
		},
		Kernel: k, Observer: &seen{}, Now: sitetest.Now,
	})
	for range 3 {
		task.reconcile()
	}
	if diff := cmp.Diff(1, k.lists); diff != "" {
		t.Errorf("times the kernel was asked: %s", diff)
	}
}

// TestWantOnce: what is written as unreachable and is a pool as well is one route.
func TestWantOnce(t *testing.T) {
	both := strings.Replace(text, `"2001:db8::/48"`, `["2001:db8:0:100::/56", "2001:db8::/48"]`, 1)
	got, _ := Want(sitetest.Snapshot(t, both, facts(t)), nil, sitetest.Now())
	k := kernel{ours: got}
	if want := "unreachable 2001:db8::/48; unreachable 2001:db8:0:100::/56"; k.text() != want {
		t.Errorf("%s, want %s", k.text(), want)
	}
}

// TestWait: the kernel is looked at when the first lease ends, and else now and then.
func TestWait(t *testing.T) {
	now := sitetest.Now()
	for _, c := range []struct {
		until time.Time
		want  time.Duration
	}{
		{time.Time{}, lookEvery},
		{now.Add(10 * time.Second), 10 * time.Second},
		{now.Add(time.Hour), lookEvery},
		{now, time.Millisecond},
		{now.Add(-time.Hour), time.Millisecond},
	} {
		task := Task{until: c.until}
		if got := task.wait(now); got != c.want {
			t.Errorf("a lease until %s: %s, want %s", c.until, got, c.want)
		}
	}
}

// TestFollowMany: of many leases that changed at once all are looked at, and each once.
func TestFollowMany(t *testing.T) {
	snap, k, now := sitetest.Snapshot(t, text, facts(t)), &kernel{}, sitetest.Now()
	task := New(Config{
		Snapshot: func() *site.Snapshot { return snap }, Store: memory.New(), Kernel: k, Observer: &seen{}, Now: func() time.Time { return now },
	})
	lease := func(i int, via string) {
		p := netip.PrefixFrom(netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 0, 0, 1, byte(i << 4)}), 60)
		task.leases[p], task.touched[p] = bound(via, now.Add(time.Hour)), true
	}
	for i := range 16 {
		lease(i, "fe80::7")
	}
	task.reconcile()
	for i := range 16 {
		via := "fe80::7"
		if i%2 == 1 {
			via = "fe80::8"
		}
		lease(i, via)
	}
	for i := range byte(16) { // what ended leads nowhere, and does not end the look at the others
		p := netip.PrefixFrom(netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 0, 0, 2, i << 4}), 60)
		b := bound("fe80::9", now)
		task.leases[p] = b
	}
	if want, until := Want(snap, task.leases, now); len(want) != 18 || until != now.Add(time.Hour) {
		t.Errorf("%d routes until %s", len(want), until)
	}
	soon := netip.MustParsePrefix("2001:db8:0:1f0::/60") // one of those that change, and the first to end now
	task.leases[soon] = bound("fe80::8", now.Add(time.Minute))
	if task.follow(); task.until != now.Add(time.Minute) {
		t.Errorf("the first lease ends %s, want in a minute", task.until)
	}
	got := k.text()
	if strings.Count(got, "via fe80::7") != 8 || strings.Count(got, "via fe80::8") != 8 || len(task.touched) != 0 || k.lists != 1 {
		t.Errorf("%s; %d are to be looked at again, the kernel was asked %d times", got, len(task.touched), k.lists)
	}
}

// TestManyFail: one that cannot be written is told of, with how many more there are.
func TestManyFail(t *testing.T) {
	var f failures
	for i, want := range []string{"no room", "no room (and 1 more)", "no room (and 2 more)"} {
		if n := f.count(errors.New("no room")); n != 0 || f.err().Error() != want {
			t.Errorf("fault %d: %d, %v", i, n, f.err())
		}
	}
	if n := f.count(nil); n != 1 {
		t.Errorf("one that was written counts %d", n)
	}
}

// TestTakeAddress: the lease of an address is no route.
func TestTakeAddress(t *testing.T) {
	task := New(Config{})
	b := bound("fe80::7", sitetest.Now())
	for _, p := range []string{"2001:db8:1::101/128", "2001:db8:0:110::/60"} {
		task.take(store.Change{Key: lease.PrefixKey(netip.MustParsePrefix(p)), Value: b.Encode()})
	}
	if len(task.leases) != 1 || len(task.touched) != 1 {
		t.Errorf("%v, %v", task.leases, task.touched)
	}
}
