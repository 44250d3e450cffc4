package daemon

import (
	"context"
	"log/slog"
	"slices"
	"strconv"
	"sync"
	"time"

	"bootd.internal/bootd/heard"
	"bootd.internal/bootd/ident"
	"bootd.internal/bootd/reason"
	"bootd.internal/bootd/timeline"
)

// Recorder takes events.
type Recorder interface{ Record(...timeline.Event) }

// Observer is the one place that learns of every answer and every silence: it feeds the metrics, the log and the history.
type Observer struct {
	metrics *Metrics
	log     *slog.Logger
	history Recorder
	now     func() time.Time
	// book may be nil.
	book *heard.Book

	mu        sync.Mutex
	window    time.Time
	strangers int
	lines     int
	// unkept and unsaid are what was held back in this window.
	unkept, unsaid int
}

// linesPerSecond bounds the log: a site that gets its power back changes thousands of leases a second, and nobody reads
// a line of each. Metrics and history have them all. At debug level nothing is held back.
const linesPerSecond = 200

// strangersPerSecond bounds the events without a listed host that are kept: anybody on the wire can cause them, and a
// flood must not push the hosts' own history out of the ring.
const strangersPerSecond = 20

// NewObserver joins the three.
func NewObserver(m *Metrics, log *slog.Logger, h Recorder, now func() time.Time) *Observer {
	return &Observer{metrics: m, log: log, history: h, now: now}
}

// Also tells a book of everything.
func (o *Observer) Also(b *heard.Book) *Observer {
	o.book = b
	return o
}

// Observe takes one observation. It does not block on a disk.
func (o *Observer) Observe(obs timeline.Observation) {
	o.metrics.observe(obs)
	o.write(obs)
	for i := range obs.Events {
		if obs.Events[i].Adapter == "" {
			obs.Events[i].Adapter = obs.Adapter
		}
	}
	o.history.Record(o.admit(obs.Events)...)
	if o.book != nil {
		o.book.Observe(obs)
	}
}

// admit lets the events of hosts and of the daemon pass, and of strangers so many per second.
func (o *Observer) admit(events []timeline.Event) []timeline.Event {
	if len(events) == 0 || !slices.ContainsFunc(events, fromStranger) {
		return events
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.turn()
	var out []timeline.Event
	for _, e := range events {
		if fromStranger(e) {
			if o.strangers++; o.strangers > strangersPerSecond {
				o.unkept++
				continue
			}
		}
		out = append(out, e)
	}
	return out
}

// turn begins a new window each second and says what the last one held back.
func (o *Observer) turn() {
	now := o.now()
	if now.Sub(o.window) < time.Second && !now.Before(o.window) {
		return
	}
	if o.unkept > 0 {
		o.log.Warn("events of unlisted machines not kept", "count", o.unkept)
	}
	if o.unsaid > 0 {
		o.log.Warn("log lines held back", "count", o.unsaid)
	}
	o.window, o.strangers, o.lines, o.unkept, o.unsaid = now, 0, 0, 0, 0
}

// mayWrite counts a line against the window.
func (o *Observer) mayWrite(ctx context.Context) bool {
	if o.log.Enabled(ctx, slog.LevelDebug) {
		return true
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.turn()
	if o.lines++; o.lines > linesPerSecond {
		o.unsaid++
		return false
	}
	return true
}

func fromStranger(e timeline.Event) bool {
	if e.Host != "" {
		return false
	}
	switch e.Kind {
	case timeline.LinkUp, timeline.LinkDown, timeline.Ready, timeline.Stopping, timeline.UpstreamLease, timeline.UpstreamLost,
		timeline.PrefixBound, timeline.PrefixUnbound, timeline.Followed:
		return false
	case timeline.ForeignRouter, timeline.ForeignServer, timeline.ForeignRelay:
		return false // their adapters bound them, and nobody should miss one in a flood
	case timeline.Warning:
		// What an unlisted machine asked for in vain; some show no card, and only servers meet them. Our own warnings name none.
		return e.MAC != ident.MAC{} || e.Adapter == "http" || e.Adapter == "dhcp6"
	}
	return true
}

// write logs one line: info when something changed, debug otherwise, error for a fault of our own.
func (o *Observer) write(obs timeline.Observation) {
	level := slog.LevelDebug
	switch {
	case obs.Err != nil:
		level = slog.LevelError
	case changes(obs):
		level = slog.LevelInfo
	}
	ctx := context.Background()
	if !o.log.Enabled(ctx, level) || !o.mayWrite(ctx) {
		return
	}
	attrs := make([]slog.Attr, 0, 10)
	attrs = append(attrs, slog.String("adapter", obs.Adapter), slog.String("message", obs.Message),
		slog.String("reason", obs.Outcome.Reason.String()))
	peer, err := strconv.Unquote(obs.Peer)
	if err != nil {
		peer = obs.Peer
	}
	if peer == "" && obs.From.IsValid() {
		peer = obs.From.String()
	}
	for _, a := range []struct{ key, value string }{ // slog quotes what needs it, once
		{"host", obs.Outcome.Host}, {"network", obs.Outcome.Network}, {"rule", obs.Outcome.Rule}, {"peer", peer},
	} {
		if a.value != "" {
			attrs = append(attrs, slog.String(a.key, a.value))
		}
	}
	for _, e := range obs.Events {
		attrs = append(attrs, slog.String("event", string(e.Kind)))
		if e.Addr != "" {
			attrs = append(attrs, slog.String("addr", e.Addr))
		}
		if e.Detail != "" {
			attrs = append(attrs, slog.String("detail", e.Detail))
		}
	}
	if obs.Count > 1 {
		attrs = append(attrs, slog.Int("count", obs.Count))
	}
	if obs.Took > 0 {
		attrs = append(attrs, slog.Duration("took", obs.Took))
	}
	if obs.Err != nil {
		attrs = append(attrs, slog.Any("error", obs.Err))
	}
	o.log.LogAttrs(ctx, level, "observed", attrs...)
}

// changes reports whether people want to read of it without asking.
func changes(obs timeline.Observation) bool {
	switch obs.Outcome.Reason {
	case reason.Changed, reason.Install, reason.Callback, reason.TemplateError, reason.StoreReadOnly:
		return true
	}
	return slices.ContainsFunc(obs.Events, func(e timeline.Event) bool {
		switch e.Kind {
		case timeline.DHCPSolicit, timeline.DHCPLease, timeline.DHCPIgnored, timeline.LoaderOffered, timeline.ScriptOffered, timeline.RouterSolicit:
			return false
		}
		return true
	})
}
