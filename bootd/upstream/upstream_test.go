package upstream

import (
	"context"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"bootd.internal/bootd/decide/uplink"
	"bootd.internal/bootd/inventory"
	"bootd.internal/bootd/option"
	"bootd.internal/bootd/reason"
	"bootd.internal/bootd/site"
	"bootd.internal/bootd/store"
	"bootd.internal/bootd/store/memory"
	"bootd.internal/bootd/timeline"
)

// wire is a link with a server that is a function of octets to octets.
type wire struct {
	mu     sync.Mutex
	sent   []byte // message types
	answer func(msg []byte) [][]byte
	in     chan []byte
	closed chan struct{}
}

func (w *wire) Send(b []byte) error {
	w.mu.Lock()
	w.sent = append(w.sent, b[0])
	answer := w.answer
	w.mu.Unlock()
	for _, a := range answer(b) {
		select {
		case w.in <- a:
		case <-w.closed:
		}
	}
	return nil
}

func (w *wire) Read(b []byte) (int, netip.Addr, error) {
	select {
	case p := <-w.in:
		return copy(b, p), netip.MustParseAddr("fe80::1"), nil
	case <-w.closed:
		return 0, netip.Addr{}, net.ErrClosed
	}
}

func (w *wire) Close() error { close(w.closed); return nil }

func (w *wire) types() []byte {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.sent)
}

// serverOf answers each message with one prefix for its only IA, for an hour.
func serverOf(prefix string) func([]byte) [][]byte {
	return func(b []byte) [][]byte {
		typ, rapid := byte(uplink.Reply), []byte(nil)
		var id []byte
		_ = option.Each(b[4:], func(code uint16, data []byte) {
			switch code {
			case optIAPD:
				id = data[:4]
			case optRapidCommit:
				rapid = o(optRapidCommit)
			}
		})
		p := netip.MustParsePrefix(prefix)
		ia := o(optIAPD, id, u32(0, 0), o(optIAPrefix, u32(1800, 3600), []byte{byte(p.Bits())}, p.Addr().AsSlice()))
		return [][]byte{slices.Concat([]byte{typ}, b[1:4], o(optClientID, []byte(us)), o(optServerID, []byte(them)), rapid, ia)}
	}
}

func deaf([]byte) [][]byte { return nil }

// home is a module with its surroundings.
type home struct {
	t       *testing.T
	m       *Module
	wire    *wire
	store   store.Store
	final   bool
	changed chan struct{}

	mu        sync.Mutex
	snap      *site.Snapshot
	published []string
	events    []string
	reasons   []reason.Reason
}

func (h *home) load(text string) {
	h.t.Helper()
	inv, faults := inventory.Parse(filepath.Join(h.t.TempDir(), "inventory.yaml"), []byte(text))
	if len(faults) > 0 {
		h.t.Fatal(faults)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.snap = &site.Snapshot{Inventory: inv}
}

func newHome(t *testing.T, s store.Store, text string, answer func([]byte) [][]byte) *home {
	h := &home{t: t, store: s, changed: make(chan struct{}, 1)}
	h.load(text)
	h.m = New(Config{
		Snapshot: func() *site.Snapshot { h.mu.Lock(); defer h.mu.Unlock(); return h.snap },
		Changed:  func(context.Context) <-chan struct{} { return h.changed },
		Store:    s, Observer: h, Client: us, Now: time.Now, Rand: rand.New(rand.NewPCG(1, 2)),
		Final: func() bool { h.mu.Lock(); defer h.mu.Unlock(); return h.final },
		Publish: func(name string, p []site.Prefix) {
			var kept uplink.Held
			s.Read(func(v store.View) {
				if b, ok := v.Get(recordKey(name)); ok {
					_ = json.Unmarshal(b, &kept)
				}
			})
			line := name
			for _, x := range p {
				line += " " + x.Prefix.String()
				if !slices.ContainsFunc(kept.Bindings, func(b uplink.Binding) bool { return b.Prefix == x.Prefix }) {
					t.Errorf("%s is used before it is kept", x.Prefix)
				}
			}
			h.mu.Lock()
			defer h.mu.Unlock()
			if n := len(h.published); n == 0 || h.published[n-1] != line {
				h.published = append(h.published, line)
			}
		},
		Open: func(site.Link) (Socket, error) {
			h.wire = &wire{answer: answer, in: make(chan []byte, 16), closed: make(chan struct{})}
			return h.wire, nil
		},
		Kernel: Kernel{
			Address: func(_ site.Link, a netip.Addr, preferred, valid time.Duration) error {
				h.event("address " + a.String() + " " + preferred.String() + " " + valid.String())
				return nil
			},
			NoAddress:        func(_ site.Link, a netip.Addr) error { h.event("no address " + a.String()); return nil },
			KeepDefaultRoute: func(string) (bool, error) { return false, os.ErrPermission },
		},
	})
	return h
}

func (h *home) event(s string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.events = append(h.events, s)
}

func (h *home) Observe(o timeline.Observation) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if o.Err != nil {
		h.t.Error(o.Err)
	}
	h.reasons = append(h.reasons, o.Outcome.Reason)
	for _, e := range o.Events {
		h.events = append(h.events, strings.Join(strings.Fields(string(e.Kind)+" "+e.Addr+" "+e.Detail), " "))
	}
}

// take gives what happened since the last call.
func (h *home) take() (published, events []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	published, events = h.published, h.events
	h.published, h.events = nil, nil
	return published, events
}

// run lets the module live for as long as do lasts, with its link.
func (h *home) run(do func(link context.CancelFunc)) {
	ctx, cancel := context.WithCancel(h.t.Context())
	linkCtx, linkDown := context.WithCancel(ctx)
	var all sync.WaitGroup
	all.Go(func() {
		if err := h.m.Run(ctx); err != nil {
			h.t.Error(err)
		}
	})
	task, err := h.m.Link(site.Link{Name: "eth0", Index: 2})
	if err != nil {
		h.t.Fatal(err)
	}
	all.Go(func() {
		if err := task.Run(linkCtx); err != nil {
			h.t.Error(err)
		}
	})
	do(linkDown)
	cancel()
	all.Wait()
	linkDown()
}

func want[T any](t *testing.T, what string, want, got T) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s differ (-want +got):\n%s", what, diff)
	}
}

const plain = "upstreams: {isp: {interface: eth0, request: 48}}\n"

// TestLife: given, kept, published, renewed; after a restart it is published at once and asked about; when it ends it is no longer
// there.
func TestLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := memory.New()
		h := newHome(t, s, plain, serverOf("2001:db8:100::/48"))
		h.run(func(context.CancelFunc) {
			time.Sleep(20 * time.Minute)
			st := h.m.Status()
			if len(st) != 1 || st[0].State != uplink.Ready || len(st[0].Held) != 1 || st[0].Server != them || st[0].Waiting != "" {
				t.Errorf("%+v", st)
			}
		})
		pub, events := h.take()
		want(t, "prefixes", []string{"isp", "isp 2001:db8:100::/48"}, pub)
		want(t, "messages", []byte{1, 5}, h.wire.types())
		if len(events) != 3 || !strings.Contains(events[0], "sysctl -w net.ipv6.conf.eth0.accept_ra=2") ||
			!strings.HasPrefix(events[1], "upstream-lease 2001:db8:100::/48 isp: bound, valid until ") || !strings.HasPrefix(events[2], "upstream-lease 2001:db8:100::/48 isp: renewed, ") {
			t.Errorf("%q", events)
		}

		h = newHome(t, s, plain, deaf)
		h.run(func(context.CancelFunc) {
			synctest.Wait()
			pub, _ := h.take()
			want(t, "prefixes at the start", []string{"isp 2001:db8:100::/48"}, pub)
			time.Sleep(30 * time.Second)
			if got := h.wire.types(); len(got) < 3 || slices.ContainsFunc(got, func(b byte) bool { return b != byte(uplink.Rebind) }) {
				t.Errorf("sent %v", got)
			}
			time.Sleep(time.Hour)
			pub, events := h.take()
			want(t, "prefixes", []string{"isp"}, pub)
			if !slices.Contains(events, "upstream-lost 2001:db8:100::/48 isp: expired") || !slices.ContainsFunc(events, func(e string) bool {
				return strings.HasPrefix(e, "warning isp: no answer from any DHCPv6 server on eth0 for ")
			}) {
				t.Errorf("%q", events)
			}
			st := h.m.Status()[0]
			if st.Waiting != "an answer from any DHCPv6 server on eth0" || time.Since(st.Asked) < 30*time.Minute {
				t.Errorf("%+v", st)
			}
		})
	})
}

// TestLinkGoes: what is held outlives its link until it ends.
func TestLinkGoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHome(t, memory.New(), plain, serverOf("2001:db8:100::/48"))
		h.run(func(linkDown context.CancelFunc) {
			time.Sleep(10 * time.Second)
			linkDown()
			time.Sleep(10 * time.Minute)
			want(t, "state", uplink.Detached, h.m.Status()[0].State)
			if err := h.m.Renew(t.Context(), "isp"); !errors.Is(err, errNoLink) {
				t.Errorf("renewing without a link: %v", err)
			}
			time.Sleep(time.Hour)
		})
		pub, _ := h.take()
		want(t, "prefixes", []string{"isp", "isp 2001:db8:100::/48", "isp"}, pub)
	})
}

// TestOrders: renewed and given back by a person's word.
func TestOrders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHome(t, memory.New(), plain, serverOf("2001:db8:100::/48"))
		h.run(func(context.CancelFunc) {
			time.Sleep(10 * time.Second)
			for _, err := range []error{h.m.Renew(t.Context(), ""), h.m.Release(t.Context(), "isp")} {
				if err != nil {
					t.Error(err)
				}
			}
			if err := h.m.Renew(t.Context(), "ips"); !errors.Is(err, ErrUnknown) {
				t.Error(err)
			}
			time.Sleep(time.Hour)
			want(t, "messages", []byte{1, 5, 8}, h.wire.types())
			want(t, "what it waits for", "bootd upstream renew isp", h.m.Status()[0].Waiting)
			if err := h.m.Renew(t.Context(), "isp"); err != nil {
				t.Error(err)
			}
			synctest.Wait()
			want(t, "messages", []byte{1, 5, 8, 1}, h.wire.types())
		})
		if err := h.m.Renew(t.Context(), "isp"); !errors.Is(err, ErrEnding) {
			t.Errorf("after the end: %v", err)
		}
	})
}

// TestEnd: a daemon that is started again gives nothing back, and one that ends for good only where the inventory says so.
func TestEnd(t *testing.T) {
	for _, c := range []struct {
		text  string
		final bool
		want  []byte
	}{
		{"upstreams: {isp: {interface: eth0, release: true}}\n", true, []byte{1, 8}},
		{"upstreams: {isp: {interface: eth0, release: true}}\n", false, []byte{1}},
		{"upstreams: {isp: {interface: eth0}}\n", true, []byte{1}},
	} {
		synctest.Test(t, func(t *testing.T) {
			h := newHome(t, memory.New(), c.text, serverOf("2001:db8:100::/48"))
			h.final = c.final
			h.run(func(context.CancelFunc) { time.Sleep(10 * time.Second) })
			want(t, "messages", c.want, h.wire.types())
		})
	}
}

// TestReload: an upstream that asks for something else does so at once, one that is as before is left alone, one that is gone has
// no prefix.
func TestReload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHome(t, memory.New(), plain, serverOf("2001:db8:100::/48"))
		h.run(func(context.CancelFunc) {
			time.Sleep(10 * time.Second)
			h.load("# a comment\n" + plain)
			h.changed <- struct{}{}
			time.Sleep(10 * time.Second)
			want(t, "messages", []byte{1}, h.wire.types())
			h.load("upstreams: {isp: {interface: eth0, request: 56}}\n")
			h.changed <- struct{}{}
			time.Sleep(10 * time.Second)
			want(t, "messages", []byte{1, 6}, h.wire.types())
			h.load("upstreams: {other: {interface: eth9}}\n")
			h.changed <- struct{}{}
			synctest.Wait()
			pub, _ := h.take()
			slices.Sort(pub)
			want(t, "prefixes", []string{"isp", "isp", "isp 2001:db8:100::/48", "other"}, pub)
		})
	})
}

// TestForeign: junk and forgeries are counted by reason, and change nothing.
func TestForeign(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := serverOf("2001:db8:100::/48")
		h := newHome(t, memory.New(), plain, func(b []byte) [][]byte {
			good := server(b)[0]
			bad := slices.Clone(good)
			bad[1] ^= 1
			return [][]byte{{7}, bad, {10, 1, 2, 3}, good, good}
		})
		h.run(func(context.CancelFunc) { time.Sleep(10 * time.Second) })
		h.mu.Lock()
		defer h.mu.Unlock()
		got := slices.DeleteFunc(h.reasons, func(r reason.Reason) bool { return r == reason.None })
		want(t, "reasons", []reason.Reason{reason.Malformed, reason.WrongTransaction, reason.Unauthenticated, reason.Changed, reason.WrongTransaction}, got)
	})
}

// TestIAIDs never change: a server knows a prefix by them.
func TestIAIDs(t *testing.T) {
	if a, b := iaid("isp", "pd", 0), iaid("isp", "pd", 1); a != 0xe13ff936 || a == b || iaid("lte", "pd", 0) == a {
		t.Errorf("%s and %s", a, b)
	}
}
