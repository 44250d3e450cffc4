// Package heard remembers, within bounds, what was heard on the wire beside the hosts' history: machines that nobody listed,
// the last answers and silences of each card, and other routers and DHCPv6 servers. It is for people (bootd discovered,
// explain, doctor).
//
// The package never decides anything: deleting its file changes no answer. Whatever a flood invents, it stays as large as
// its bounds.
package heard

import (
	"cmp"
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"bootd.internal/bootd/ident"
	"bootd.internal/bootd/reason"
	"bootd.internal/bootd/timeline"
)

const (
	// MaxMachines bounds the unlisted machines; those that said who they are outlive those that did not, then the oldest
	// goes first.
	MaxMachines = 1024
	// MaxCards bounds the cards whose last outcomes are kept, MaxOutcomes those of one card.
	MaxCards    = 4096
	MaxOutcomes = 8
	// MaxForeign bounds the other routers and servers.
	MaxForeign = 64
	// saveEvery is the least time between two writes.
	saveEvery = 10 * time.Second
)

// Machine is an unlisted machine with when it was heard and why it was refused or served last.
type Machine struct {
	timeline.Machine
	First  time.Time     `json:"first"`
	Last   time.Time     `json:"last"`
	Count  int           `json:"count"`
	Reason reason.Reason `json:"reason,omitempty"`
}

// Told reports whether the machine said who it is.
func (m Machine) Told() bool {
	return m.Serial != "" || m.Manufacturer != "" || m.Product != "" || m.UUID.Identifies()
}

// Outcome is one answer or silence.
type Outcome struct {
	Time    time.Time `json:"time"`
	Adapter string    `json:"adapter"`
	Message string    `json:"message,omitempty"`
	reason.Outcome
}

// Foreign is another router or server with when it was heard.
type Foreign struct {
	timeline.Foreign
	First time.Time `json:"first"`
	Last  time.Time `json:"last"`
}

// key names a machine: by its card, else by its DUID.
type key struct {
	mac  ident.MAC
	duid ident.DUID
}

// foreignKey names another router or server on a link.
type foreignKey struct {
	kind timeline.ForeignKind
	link string
	addr string
	duid ident.DUID
}

type trail struct {
	last     time.Time
	outcomes []Outcome
}

// Book is what was heard. It is safe for concurrent use; Run keeps its machines on disk.
type Book struct {
	path  string
	now   func() time.Time
	log   *slog.Logger
	ready chan struct{}

	mu       sync.Mutex
	machines map[key]*Machine
	cards    map[ident.MAC]*trail
	foreign  map[foreignKey]*Foreign
	phones   map[ident.MAC]*Phone
	dirty    bool
	// phonesDirty is dirty for the phones, which have a file of their own.
	phonesDirty bool
}

// Open reads the machines of last time; a file that cannot be read is logged and left behind. path "" keeps nothing.
func Open(path string, now func() time.Time, log *slog.Logger) *Book {
	b := &Book{
		path: path, now: now, log: log, ready: make(chan struct{}), machines: map[key]*Machine{},
		cards: map[ident.MAC]*trail{}, foreign: map[foreignKey]*Foreign{}, phones: map[ident.MAC]*Phone{},
	}
	b.load()
	return b
}

// Observe takes what one observation tells.
func (b *Book) Observe(o timeline.Observation) {
	if o.Heard == nil && o.Foreign == nil && o.Phone == nil && !o.MAC.Valid() {
		return
	}
	now := b.now()
	b.mu.Lock()
	defer b.mu.Unlock()
	if o.Heard != nil {
		b.machine(*o.Heard, o.Outcome.Reason, now)
	}
	if o.Foreign != nil {
		b.other(*o.Foreign, now)
	}
	if o.Phone != nil {
		b.phone(*o.Phone, now)
	}
	if o.MAC.Valid() {
		b.outcome(o, now)
	}
}

func (b *Book) machine(m timeline.Machine, why reason.Reason, now time.Time) {
	k := key{mac: m.MAC}
	if !m.MAC.Valid() {
		k = key{duid: m.DUID}
	}
	b.dirty = true
	old, ok := b.machines[k]
	if !ok {
		makeRoom(b.machines, MaxMachines, func(x, y *Machine) int {
			return cmp.Or(boolean(x.Told(), y.Told()), x.Last.Compare(y.Last))
		})
		b.machines[k] = &Machine{Machine: m, First: now, Last: now, Count: 1, Reason: why}
		return
	}
	old.merge(m)
	old.Last, old.Reason = now, why
	old.Count++
}

// merge keeps what was known where nothing new is said.
func (m *Machine) merge(n timeline.Machine) {
	for _, f := range []struct{ to, from *string }{
		{&m.Network, &n.Network},
		{&m.Link, &n.Link},
		{&m.Arch, &n.Arch},
		{&m.Client, &n.Client},
		{&m.Addr, &n.Addr},
		{&m.Serial, &n.Serial},
		{&m.Manufacturer, &n.Manufacturer},
		{&m.Product, &n.Product},
	} {
		*f.to = cmp.Or(*f.from, *f.to)
	}
	m.DUID = cmp.Or(n.DUID, m.DUID)
	if n.UUID.Identifies() {
		m.UUID = n.UUID
	}
}

func (b *Book) outcome(o timeline.Observation, now time.Time) {
	t, ok := b.cards[o.MAC]
	if !ok {
		makeRoom(b.cards, MaxCards, func(x, y *trail) int { return x.last.Compare(y.last) })
		t = &trail{}
		b.cards[o.MAC] = t
	}
	t.last = now
	t.outcomes = append(t.outcomes, Outcome{Time: now, Adapter: o.Adapter, Message: o.Message, Outcome: o.Outcome})
	if n := len(t.outcomes); n > MaxOutcomes {
		t.outcomes = t.outcomes[:copy(t.outcomes, t.outcomes[n-MaxOutcomes:])] // in place: this is done for each packet
	}
}

func (b *Book) other(f timeline.Foreign, now time.Time) {
	k := foreignKey{kind: f.Kind, link: f.Link, duid: f.DUID}
	switch f.Kind {
	case timeline.OtherRouter:
		k.addr = f.Addr.String()
	case timeline.OtherRelay: // one router may be the relay of many links
		k.addr = f.Relay.String()
		if f.Network != "" { // the link is a network's: the address is what is wrong
			k.addr += " " + f.Addr.String()
		}
	}
	old, ok := b.foreign[k]
	if !ok {
		makeRoom(b.foreign, MaxForeign, func(x, y *Foreign) int { return x.Last.Compare(y.Last) })
		b.foreign[k] = &Foreign{Foreign: f, First: now, Last: now}
		return
	}
	old.Foreign, old.Last = f, now
}

// makeRoom drops an eighth of a full map, the least ones first: a flood must not sort the whole map for each packet.
func makeRoom[K comparable, V any](m map[K]V, most int, compare func(x, y V) int) {
	if len(m) < most {
		return
	}
	keys := make([]K, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(x, y K) int { return compare(m[x], m[y]) })
	for _, k := range keys[:max(1, most/8)] {
		delete(m, k)
	}
}

func boolean(x, y bool) int {
	switch {
	case x == y:
		return 0
	case x:
		return 1
	}
	return -1
}

// Machines lists the unlisted machines, the one heard last first. listed says which cards have been listed meanwhile.
func (b *Book) Machines(listed func(ident.MAC) bool) []Machine {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := []Machine{}
	for k, m := range b.machines {
		if !listed(k.mac) {
			out = append(out, *m)
		}
	}
	slices.SortFunc(out, func(x, y Machine) int {
		return cmp.Or(y.Last.Compare(x.Last), cmp.Compare(x.MAC.String(), y.MAC.String()), cmp.Compare(x.DUID, y.DUID))
	})
	return out
}

// Outcomes are the last answers and silences of a card, oldest first.
func (b *Book) Outcomes(m ident.MAC) []Outcome {
	b.mu.Lock()
	defer b.mu.Unlock()
	if t, ok := b.cards[m]; ok {
		return slices.Clone(t.outcomes)
	}
	return nil
}

// Foreign lists other routers and servers in the order of their links.
func (b *Book) Foreign() []Foreign {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := []Foreign{}
	for _, f := range b.foreign {
		out = append(out, *f)
	}
	slices.SortFunc(out, func(x, y Foreign) int {
		return cmp.Or(cmp.Compare(x.Link, y.Link), cmp.Compare(x.Kind, y.Kind), x.Addr.Compare(y.Addr), cmp.Compare(x.DUID, y.DUID))
	})
	return out
}

// String names the task.
func (b *Book) String() string { return "machines heard" }

// Ready is closed when Run has begun.
func (b *Book) Ready() <-chan struct{} { return b.ready }

// Run writes the machines down now and then, and at the end of ctx.
func (b *Book) Run(ctx context.Context) error {
	close(b.ready)
	tick := time.NewTicker(saveEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			b.save()
			b.savePhones()
			return nil
		case <-tick.C:
			b.save()
			b.savePhones()
		}
	}
}
