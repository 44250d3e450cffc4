package ra

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"bootd.internal/bootd/decide/advert"
	"bootd.internal/bootd/reason"
	"bootd.internal/bootd/site"
	"bootd.internal/bootd/timeline"
)

const (
	// maxRouters bounds the routers that are remembered, so that each makes one event.
	maxRouters = 16
	// forget is when a router that said nothing makes room for another one: the longest time between two advertisements.
	forget = 30 * time.Minute
	// again is the least time between two events of one router: somebody may send thousands of advertisements a second, each
	// another.
	again = advert.MinDelayBetweenRAs
)

// router is what an event was made of, and when it was heard last.
type router struct {
	is         state
	told, last time.Time
}

type state struct {
	managed, other, isDefault, held bool
	// conflicts are their kinds.
	conflicts string
}

// heard notes another router's advertisement, at any time. Near the start, one that is a default router silences us unless
// the inventory insists.
func (t *Task) heard(p packet) {
	d, now := t.decide(), t.cfg.Now()
	wasHeld := t.held
	if p.said.Lifetime > 0 && d.RA != nil && !d.Insist && now.Before(t.started.Add(probation)) {
		t.held = true
		t.asks, t.listenUntil = nil, now
	}
	if until := now.Add(p.said.Lifetime); t.held && until.After(t.heldUntil) {
		t.heldUntil = until
	}
	f := p.said
	f.Link, f.Network, f.Held = t.link.Name, t.network(), t.held
	var conflicts []advert.Conflict
	if n, ok := t.serves(); ok {
		conflicts = advert.Conflicts(n, d.RA, f)
	}
	for _, c := range conflicts {
		if !slices.Contains(f.Conflicts, string(c.Kind)) {
			f.Conflicts = append(f.Conflicts, string(c.Kind))
		}
	}
	o := timeline.Observation{
		Message: kindName(p.kind), Outcome: reason.Outcome{Reason: reason.RouterElsewhere, Network: f.Network},
		Peer: peer(p), Foreign: &f,
	}
	is := state{managed: f.Managed, other: f.Other, isDefault: f.Lifetime > 0, held: t.held, conflicts: strings.Join(f.Conflicts, " ")}
	if t.remember(p.src, is, now) {
		o.Events = []timeline.Event{{
			Kind: timeline.ForeignRouter, Reason: reason.RouterElsewhere, Network: f.Network, MAC: p.from,
			Addr: p.src.String(), Detail: t.foreign(f, d, conflicts),
		}}
	}
	t.observe(o)
	if !t.held || wasHeld {
		return
	}
	t.next = time.Time{}
	t.cfg.Begun.set(t.link.Name, false)
	t.cease()
	for _, a := range t.pending {
		t.refuse(a.packet, reason.RouterElsewhere)
	}
	t.pending = nil
}

// release begins anew, listening first, when the other routers have been silent for as long as they said that they are to be
// used. One that says that it stops may be starting again: its time is waited for, too.
func (t *Task) release(now time.Time) {
	if !t.held || now.Before(t.heldUntil) {
		return
	}
	t.held, t.heldUntil = false, time.Time{}
	clear(t.routers)
	t.observe(timeline.Observation{
		Message: "Listen", Outcome: reason.Outcome{Reason: reason.Changed, Network: t.network()},
		Events: []timeline.Event{{
			Kind: timeline.ForeignRouter, Reason: reason.Changed, Network: t.network(),
			Detail: "hosts have forgotten the other router on " + t.link.Name + ": bootd advertises again, unless one answers now",
		}},
	})
	t.begin()
}

// remember reports whether there is something new to tell of a router. A full memory makes room for a new one only by those that
// have been silent for long.
//
// A change so soon after the last event is told with the next advertisement, if it lasts.
func (t *Task) remember(a netip.Addr, is state, now time.Time) bool {
	was, known := t.routers[a]
	if !known && len(t.routers) >= maxRouters {
		for addr, r := range t.routers {
			if now.Sub(r.last) > forget {
				delete(t.routers, addr)
			}
		}
		if len(t.routers) >= maxRouters {
			return false
		}
	}
	if known && (was.is == is || now.Sub(was.told) < again && was.is.held == is.held) {
		was.last = now
		t.routers[a] = was
		return false
	}
	t.routers[a] = router{is: is, told: now, last: now}
	return true
}

// foreign says of another router what a person needs to know.
func (t *Task) foreign(f timeline.Foreign, d advert.Decision, conflicts []advert.Conflict) string {
	flags := fmt.Sprintf("lifetime %ds, M=%d O=%d", int(f.Lifetime.Seconds()), bit(f.Managed), bit(f.Other))
	text := "another router advertises beside bootd (" + flags + ")"
	switch {
	case t.held:
		text = "another router advertises here (" + flags + "): bootd sends no advertisements until the network says " +
			"`router: self` (or `router: other`)"
	case d.RA == nil && !f.Managed:
		text = "the router of this link (" + flags + ") must set M, or iPXE and firmware ask for no address"
	case d.RA == nil:
		text = "the router of this link (" + flags + ")"
	}
	for i, c := range conflicts {
		switch {
		case c.Kind == advert.DefaultRouter, c.Kind == advert.Managed, c.Kind == advert.Other: // that is said already
		case i < maxTold:
			text += "; " + c.What
		}
	}
	return text
}

// maxTold bounds the contradictions that one event names; bootd doctor names all of them.
const maxTold = 6

func (t *Task) network() string {
	if n, ok := t.serves(); ok {
		return n.Name
	}
	return ""
}

func (t *Task) serves() (*site.Network, bool) { return t.cfg.Snapshot().ServesLink(t.link.Name) }

func bit(b bool) int {
	if b {
		return 1
	}
	return 0
}
