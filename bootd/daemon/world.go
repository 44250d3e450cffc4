package daemon

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"bootd.internal/bootd/inventory"
	"bootd.internal/bootd/netif"
	"bootd.internal/bootd/site"
	"bootd.internal/bootd/timeline"
)

// Kernel tells what this machine's network looks like.
type Kernel interface {
	State() netif.State
	Changed(ctx context.Context) <-chan struct{}
}

// World joins the inventory and the kernel into the snapshot that all adapters see. A change of either makes a new one,
// which replaces the old one whole or not at all.
type World struct {
	kernel  Kernel
	id      Identity
	log     *slog.Logger
	now     func() time.Time
	events  Recorder
	metrics *Metrics
	ready   chan struct{}
	current atomic.Pointer[site.Snapshot]
	// told gives the prefixes that hosts were told of; nil: nobody remembers.
	told func() []site.Advertised

	// wake gets a value when delegated prefixes changed, so that Run minds when they end.
	wake chan struct{}

	mu sync.Mutex
	// delegated are the prefixes that upstreams gave us.
	delegated   map[string][]site.Prefix
	inv         *inventory.Inventory
	problems    []site.Problem
	stale       error
	subscribers map[chan struct{}]struct{}
}

// NewWorld resolves a first snapshot.
func NewWorld(inv *inventory.Inventory, k Kernel, id Identity, log *slog.Logger, now func() time.Time, events Recorder, m *Metrics) *World {
	w := &World{
		kernel: k, id: id, log: log, now: now, events: events, metrics: m, inv: inv, ready: make(chan struct{}),
		subscribers: map[chan struct{}]struct{}{}, wake: make(chan struct{}, 1), delegated: map[string][]site.Prefix{},
	}
	w.Replace(inv)
	return w
}

// Remember adds to the facts which prefixes hosts were told of, now and in earlier lives of the daemon. It is called before Run.
func (w *World) Remember(told func() []site.Advertised) {
	w.mu.Lock()
	w.told = told
	w.mu.Unlock()
	w.refresh()
}

// SetDelegated says which prefixes an upstream gives us now, with their deadlines; none: it gives none any more. All that is
// derived from them follows in one new snapshot. Before Run, it is what a record in the store says.
func (w *World) SetDelegated(upstream string, prefixes []site.Prefix) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if slices.Equal(w.delegated[upstream], prefixes) {
		return
	}
	if len(prefixes) == 0 {
		delete(w.delegated, upstream)
	} else {
		w.delegated[upstream] = slices.Clone(prefixes)
	}
	w.resolve(w.inv)
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// Snapshot is what is known now. It never changes; take it once per packet.
func (w *World) Snapshot() *site.Snapshot { return w.current.Load() }

// Problems lists what does not work now, as of the current snapshot.
func (w *World) Problems() []site.Problem {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.problems)
}

// Stale is the fault that keeps the inventory on disk from being served, nil when there is none.
func (w *World) Stale() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.stale
}

// Links are the links of the networks in the snapshot that exist.
func (w *World) Links() []site.Link {
	var out []site.Link
	for _, n := range w.Snapshot().Networks {
		if n.Link != nil {
			out = append(out, *n.Link)
		}
	}
	return out
}

// transit is the links of the world with those that relays come in on: DHCPv6 is heard there too.
type transit struct{ *World }

// Links are those of the networks, then the transit links that are none of them.
func (t transit) Links() []site.Link {
	out := t.World.Links()
	for _, l := range t.Snapshot().TransitLinks {
		if !slices.ContainsFunc(out, func(x site.Link) bool { return x.Name == l.Name }) {
			out = append(out, l)
		}
	}
	return out
}

// Changed gets a value after each new snapshot; those that nobody took yet become one. It is closed when ctx ends.
func (w *World) Changed(ctx context.Context) <-chan struct{} {
	ch := make(chan struct{}, 1)
	w.mu.Lock()
	w.subscribers[ch] = struct{}{}
	w.mu.Unlock()
	context.AfterFunc(ctx, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.subscribers, ch)
		close(ch)
	})
	return ch
}

// String names the task.
func (w *World) String() string { return "site" }

// Ready is closed at once: a snapshot is there from the beginning.
func (w *World) Ready() <-chan struct{} { return w.ready }

// Run follows the kernel until ctx ends.
func (w *World) Run(ctx context.Context) error {
	changed := w.kernel.Changed(ctx)
	w.refresh() // what changed between NewWorld and here
	close(w.ready)
	ends := time.NewTimer(w.untilEnd())
	defer ends.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
			w.refresh()
		case <-ends.C:
			w.refresh()
		case <-w.wake:
		}
		ends.Reset(w.untilEnd())
	}
}

// lookAgain is the longest time between looks at the deadlines of delegated prefixes: the clock may have been set.
const lookAgain = time.Hour

// untilEnd is how long nothing that is delegated is deprecated or ends.
func (w *World) untilEnd() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := w.now()
	next := site.NextEnd(w.delegated, now)
	if next.IsZero() {
		return lookAgain
	}
	return min(max(next.Sub(now), time.Millisecond), lookAgain)
}

// refresh resolves the inventory that is served. It reads which one under the lock that Replace takes: else a change of
// links during a reload could bring the old one back.
func (w *World) refresh() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.resolve(w.inv)
}

// Replace serves another inventory; the caller has checked it.
func (w *World) Replace(inv *inventory.Inventory) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.resolve(inv)
}

// Refuse notes that the inventory on disk cannot be served.
func (w *World) Refuse(err error) {
	w.mu.Lock()
	w.stale = err
	w.mu.Unlock()
	w.metrics.set(gaugeStale, 1)
	w.log.Error("keeping the inventory that is served", "error", err)
	w.events.Record(timeline.Event{Adapter: "daemon", Kind: timeline.Warning, Detail: "inventory refused: " + firstLine(err)})
}

func firstLine(err error) string {
	line, _, _ := strings.Cut(err.Error(), "\n")
	return line
}

// Facts joins what the kernel says with the server's identity.
func (w *World) Facts() site.Facts {
	s := w.kernel.State()
	var told []site.Advertised
	if w.told != nil {
		told = w.told()
	}
	return site.Facts{
		Advertised: told, Delegated: maps.Clone(w.delegated),
		Links: s.Links, Forwarding: s.Forwarding, DefaultRoute: s.DefaultRoute, Secret: w.id.Secret, ServerDUID: w.id.DUID,
	}
}

// resolve makes a snapshot and swaps it in. The caller holds mu, so that it runs one at a time and the last change wins.
func (w *World) resolve(inv *inventory.Inventory) {
	prev := w.current.Load()
	if inv != w.inv {
		w.stale = nil
		w.metrics.set(gaugeStale, 0)
	}
	snap, problems := site.Resolve(inv, w.Facts(), prev, w.now())
	w.inv = inv
	w.current.Store(snap)
	w.metrics.set(gaugeHosts, float64(len(snap.Hosts)))
	w.metrics.set(gaugeProblems, float64(len(problems)))
	w.tellLinks(prev, snap)
	w.tellProblems(problems)
	w.problems = problems
	for ch := range w.subscribers {
		select {
		case ch <- struct{}{}:
		default:
		}
	}
}

// tellLinks records which networks came and went.
func (w *World) tellLinks(prev, snap *site.Snapshot) {
	for _, n := range snap.Networks {
		var was *site.Network
		if prev != nil {
			was, _ = prev.Network(n.Name)
		}
		before, after := serves(was), serves(n)
		if before == after && (was == nil || was.Own == n.Own) {
			continue
		}
		e := timeline.Event{Adapter: "daemon", Kind: timeline.LinkUp, Network: n.Name, Detail: n.Where()}
		if n.Own.IsValid() {
			e.Addr = n.Own.String()
		}
		if !after {
			e.Kind = timeline.LinkDown
		}
		w.log.Info("network changed", "network", n.Name, "on", n.Where(), "up", after, "address", e.Addr)
		w.events.Record(e)
	}
}

func serves(n *site.Network) bool { return n != nil && n.Served() }

func (w *World) tellProblems(now []site.Problem) {
	for _, p := range now {
		if !slices.Contains(w.problems, p) {
			w.log.Warn("part of the site does not work", "network", p.Network, "host", p.Host, "problem", p.Msg)
		}
	}
	for _, p := range w.problems {
		if !slices.Contains(now, p) {
			w.log.Info("problem is gone", "network", p.Network, "host", p.Host, "problem", p.Msg)
		}
	}
}

// Load reads and parses an inventory. The error of a file with faults is Faults.
func Load(file string) (*inventory.Inventory, error) {
	data, err := readBounded(file, maxInventory)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("reading inventory (bootd init writes a first one): %w", err)
	}
	if err != nil {
		return nil, fmt.Errorf("reading inventory: %w", err)
	}
	inv, faults := inventory.Parse(file, data)
	if len(faults) > 0 {
		return nil, Faults(faults)
	}
	return inv, nil
}

// maxInventory is the largest inventory in octets; 10,000 hosts take about two million.
const maxInventory = 32 << 20

// Faults is every fault of an inventory as one error, one line each.
type Faults []inventory.Fault

// Error is one line per fault.
func (f Faults) Error() string {
	lines := make([]string, len(f))
	for i, x := range f {
		lines[i] = x.Error()
	}
	return strings.Join(lines, "\n")
}
