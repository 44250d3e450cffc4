package anyip

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"bootd.internal/bootd/netif"
	"bootd.internal/bootd/site"
	"bootd.internal/bootd/timeline"
)

var six, four = netip.MustParsePrefix("2001:db8:100::/64"), netip.MustParsePrefix("192.0.2.0/28")

// fake is a kernel.
type fake struct {
	bound  []netip.Prefix
	others map[netip.Prefix][]netif.Other
	err    error
	// refuse is what Set alone says.
	refuse error
	did    []string
}

func (f *fake) List() ([]netip.Prefix, error) { return slices.Clone(f.bound), f.err }

func (f *fake) Within([]netip.Prefix) (map[netip.Prefix][]netif.Other, error) { return f.others, nil }

func (f *fake) Set(p netip.Prefix, bound bool) error {
	if f.err != nil {
		return f.err
	}
	if f.refuse != nil {
		return f.refuse
	}
	f.did = append(f.did, fmt.Sprint(p, " ", bound))
	f.bound = slices.DeleteFunc(f.bound, func(x netip.Prefix) bool { return x == p })
	if bound {
		f.bound = append(f.bound, p)
	}
	return nil
}

type watcher struct{ events []string }

func (w *watcher) Observe(o timeline.Observation) {
	for _, e := range o.Events {
		w.events = append(w.events, string(e.Kind)+" "+e.Addr+e.Detail)
	}
}

type bench struct {
	*Task
	kernel  *fake
	seen    *watcher
	entries []site.AnyIP
}

func newBench(entries ...site.AnyIP) *bench {
	b := &bench{kernel: &fake{}, seen: &watcher{}, entries: entries}
	known := make(chan struct{})
	close(known)
	b.Task = New(Config{
		Known:    known,
		Snapshot: func() *site.Snapshot { return &site.Snapshot{AnyIP: b.entries} },
		Changed:  func(context.Context) <-chan struct{} { return nil },
		Kernel:   b.kernel, Observer: b.seen, Now: func() time.Time { return time.Unix(1, 0) },
	})
	return b
}

func entry(p netip.Prefix) site.AnyIP { return site.AnyIP{Prefix: p, Wanted: p.String(), Keep: true} }

// want compares all that was done and told.
func (b *bench) want(t *testing.T, did []string, events ...string) {
	t.Helper()
	if diff := cmp.Diff(did, b.kernel.did); diff != "" {
		t.Errorf("the kernel was told (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(events, b.seen.events); diff != "" {
		t.Errorf("people were told (-want +got):\n%s", diff)
	}
	b.kernel.did, b.seen.events = nil, nil
}

// TestReconcile: what a crash left is known again, what moved is unbound before the new place is bound, and nothing is done twice.
func TestReconcile(t *testing.T) {
	old := netip.MustParsePrefix("2001:db8:9::/64")
	b := newBench(entry(six), entry(four))
	b.kernel.bound = []netip.Prefix{old, four}
	b.reconcile()
	b.want(t, []string{"2001:db8:9::/64 false", "2001:db8:100::/64 true"},
		"prefix-unbound 2001:db8:9::/64", "prefix-bound 2001:db8:100::/64", "prefix-bound 192.0.2.0/28")
	b.reconcile()
	b.want(t, nil)
	b.entries = []site.AnyIP{{Wanted: "subnet 2 of isp", Fault: "isp gave none yet"}}
	b.reconcile()
	b.want(t, []string{"192.0.2.0/28 false", "2001:db8:100::/64 false"}, "prefix-unbound 192.0.2.0/28", "prefix-unbound 2001:db8:100::/64")
	if diff := cmp.Diff([]Status{{Wanted: "subnet 2 of isp", Since: time.Unix(1, 0), Fault: "isp gave none yet"}}, b.Status(), prefixes); diff != "" {
		t.Error(diff)
	}
	b.entries = nil
	b.reconcile()
	b.want(t, nil)
}

// TestConflict: what stands there is named once and never hidden; what came later is named, and the prefix stays.
func TestConflict(t *testing.T) {
	for _, x := range []struct {
		name  string
		other netif.Other
		bound bool
		fault string
	}{
		{
			"an address",
			netif.Other{Prefix: six, Type: "unicast", Link: "eth0", Setter: "the kernel", Connected: true},
			false,
			"an address on eth0 has the prefix 2001:db8:100::/64: machines there could not be reached any more; bind another prefix, or take the address off eth0",
		},
		{
			"a local route",
			netif.Other{Prefix: six, Type: "local", Link: "lo", Setter: "a person or a script (ip route)"},
			false,
			"the local route 2001:db8:100::/64 is there already, set by a person or a script (ip route): `ip -6 route del local 2001:db8:100::/64 table local`, or leave it out of anyip",
		},
		{
			"a route",
			netif.Other{Prefix: netip.MustParsePrefix("2001:db8:100:0:8000::/80"), Type: "unicast", Link: "eth1", Setter: "BGP"},
			false,
			"the route 2001:db8:100:0:8000::/80 over eth1 is there, set by BGP, and would not be used any more: `ip -6 route del 2001:db8:100:0:8000::/80`, or bind another prefix",
		},
		{
			"a route that came later",
			netif.Other{Prefix: six, Type: "blackhole", Setter: "bird"},
			true,
			"hides what came after it: the route 2001:db8:100::/64 is there, set by bird, and would not be used any more: `ip -6 route del 2001:db8:100::/64`, or bind another prefix",
		},
	} {
		t.Run(x.name, func(t *testing.T) {
			b := newBench(entry(six))
			if x.bound {
				b.reconcile()
				b.want(t, []string{"2001:db8:100::/64 true"}, "prefix-bound 2001:db8:100::/64")
			}
			b.kernel.others = map[netip.Prefix][]netif.Other{six: {x.other}}
			b.reconcile()
			b.want(t, nil, "warning anyip: 2001:db8:100::/64: "+x.fault)
			b.reconcile()
			b.want(t, nil)
			if diff := cmp.Diff([]Status{{Prefix: six, Wanted: six.String(), Since: time.Unix(1, 0), Bound: x.bound, Fault: x.fault}}, b.Status(), prefixes); diff != "" {
				t.Error(diff)
			}
			b.kernel.others = nil
			b.reconcile()
			if s := b.Status(); !s[0].Bound || s[0].Fault != "" {
				t.Errorf("after it went: %+v", s)
			}
		})
	}
}

var prefixes = cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })

// TestFaults: what the kernel refuses is said with what to do.
func TestFaults(t *testing.T) {
	for _, x := range []struct {
		err  error
		want string
	}{
		{unix.EPERM, "operation not permitted"},
		{errors.New("netlink is gone"), "netlink is gone"},
	} {
		b := newBench(entry(six))
		b.kernel.err = x.err
		b.reconcile()
		b.reconcile()
		b.want(t, nil, "warning anyip: 2001:db8:100::/64: "+x.want)
	}
	b := newBench()
	b.entries = []site.AnyIP{entry(six)}
	if s := b.bind(entry(six), false, nil); !s.Bound {
		t.Errorf("%+v", s)
	}
	b.kernel.err = fmt.Errorf("binding: %w", unix.EPERM)
	if s := b.bind(entry(six), false, nil); s.Fault != "binding: operation not permitted: give bootd CAP_NET_ADMIN (docs/modules/anyip.md)" {
		t.Error(s.Fault)
	}
	b.kernel.err = unix.EEXIST
	if s := b.bind(entry(six), false, nil); s.Fault != "2001:db8:100::/64 is bound already, by somebody else: `ip route show table local 2001:db8:100::/64`, or leave it out of anyip" {
		t.Error(s.Fault)
	}
}

// TestBlind: while the kernel cannot be asked, what was bound stays so, and it is not told of anew afterwards.
func TestBlind(t *testing.T) {
	b := newBench(entry(six))
	b.reconcile()
	b.want(t, []string{"2001:db8:100::/64 true"}, "prefix-bound 2001:db8:100::/64")
	b.kernel.err = errors.New("dump interrupted")
	b.reconcile()
	b.want(t, nil, "warning anyip: 2001:db8:100::/64: dump interrupted")
	if s := b.Status(); !s[0].Bound || s[0].Fault != "dump interrupted" {
		t.Errorf("%+v", s)
	}
	b.kernel.err = nil
	b.reconcile()
	b.want(t, nil)
}

// TestStuck: a prefix that nobody wants and that cannot be removed is told of once, until it is another fault.
func TestStuck(t *testing.T) {
	b := newBench()
	b.kernel.bound, b.kernel.refuse = []netip.Prefix{six}, errors.New("removing 2001:db8:100::/64: operation not permitted")
	b.reconcile()
	b.want(t, nil, "warning anyip: removing 2001:db8:100::/64: operation not permitted")
	b.reconcile()
	b.want(t, nil)
	b.kernel.refuse = nil
	b.reconcile()
	b.want(t, []string{"2001:db8:100::/64 false"}, "prefix-unbound 2001:db8:100::/64")
	b.kernel.bound, b.kernel.refuse = []netip.Prefix{six}, errors.New("removing 2001:db8:100::/64: operation not permitted")
	b.reconcile()
	b.want(t, nil, "warning anyip: removing 2001:db8:100::/64: operation not permitted")
}

// TestRun: at the end goes what is not to be kept, and only that.
func TestRun(t *testing.T) {
	b := newBench(entry(six), site.AnyIP{Prefix: four, Wanted: four.String()})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- b.Run(ctx) }()
	<-b.Ready()
	cancel()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	b.want(t, []string{"2001:db8:100::/64 true", "192.0.2.0/28 true", "192.0.2.0/28 false"},
		"prefix-bound 2001:db8:100::/64", "prefix-bound 192.0.2.0/28", "prefix-unbound 192.0.2.0/28")
}
