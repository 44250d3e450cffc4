package upstream

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"bootd.internal/bootd/decide/uplink"
	"bootd.internal/bootd/ident"
	"bootd.internal/bootd/reason"
	"bootd.internal/bootd/timeline"
)

// Status is how one upstream does.
type Status struct {
	Name      string       `json:"name"`
	Interface string       `json:"interface"`
	State     uplink.State `json:"state"`
	Since     time.Time    `json:"since,omitzero"`
	Held      []Lease      `json:"held"`
	// Server is who gave it, From the address it answered from.
	Server ident.DUID `json:"server,omitempty"`
	From   netip.Addr `json:"from,omitzero"`
	// RenewAt is when the server is asked again, zero: never.
	RenewAt time.Time `json:"renew_at,omitzero"`
	// Waiting says what for, and why; empty: for nothing. Asked is since when nobody answers.
	Waiting string    `json:"waiting,omitempty"`
	Asked   time.Time `json:"asked,omitzero"`
}

// Lease is one prefix or address.
type Lease struct {
	Prefix         netip.Prefix `json:"prefix"`
	Exclude        netip.Prefix `json:"exclude,omitzero"`
	Address        bool         `json:"address,omitempty"`
	PreferredUntil time.Time    `json:"preferred_until,omitzero"`
	ValidUntil     time.Time    `json:"valid_until,omitzero"`
}

// Status lists the upstreams by name.
func (m *Module) Status() []Status {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.status)
}

// report brings the status up to date.
func (m *Module) report() {
	all := make([]Status, 0, len(m.clients))
	for _, c := range m.clients {
		all = append(all, c.status())
	}
	slices.SortFunc(all, func(a, b Status) int { return cmp.Compare(a.Name, b.Name) })
	m.mu.Lock()
	m.status = all
	m.mu.Unlock()
}

func (c *client) status() Status {
	h := c.machine.Held()
	s := Status{Name: c.conf.Name, Interface: c.conf.Interface.V, Server: h.Server, From: h.From, RenewAt: h.RenewAt, Held: []Lease{}}
	s.State, s.Since = c.machine.State()
	for _, b := range h.Bindings {
		s.Held = append(s.Held, Lease{b.Prefix, b.Exclude, b.Address, b.PreferredUntil, b.ValidUntil})
	}
	if s.Waiting = c.waiting(s.State); c.link != nil {
		s.Asked = c.asked
	}
	return s
}

// waiting says what an upstream waits for. Times are said by whoever shows it: Since.
func (c *client) waiting(s uplink.State) string {
	why := ""
	if c.note != "" {
		why = ": " + c.note
	}
	switch s {
	case uplink.Detached:
		return c.conf.Interface.V + ", which is not there, is down, or has no link-local address"
	case uplink.Ready:
		return ""
	case uplink.Idle:
		return "bootd upstream renew " + c.conf.Name
	case uplink.Holding:
		return "another try" + why
	}
	if why != "" {
		return "a better answer" + why
	}
	return "an answer from any DHCPv6 server on " + c.conf.Interface.V
}

// patience is after how long people are told that nobody answers.
const patience = 2 * time.Minute

// silence tells once that nobody answers.
func (c *client) silence(now time.Time) {
	switch s, _ := c.machine.State(); {
	case s == uplink.Ready || s == uplink.Idle:
		c.asked = time.Time{}
		return
	case c.told || c.asked.IsZero() || now.Sub(c.asked) < patience || c.link == nil || c.note != "":
		return
	}
	c.told = true
	c.observe("Notice", reason.None, timeline.Event{
		Kind:   timeline.Warning,
		Detail: fmt.Sprintf("no answer from any DHCPv6 server on %s for %s", c.conf.Interface.V, now.Sub(c.asked).Round(time.Second)),
	})
}

// say tells of something worth a word, once until another thing is said.
func (c *client) say(text string) {
	c.note = text
	if c.said == text {
		return
	}
	c.said = text
	c.observe("Notice", reason.None, timeline.Event{Kind: timeline.Warning, Detail: text})
}

func (c *client) observe(message string, why reason.Reason, events ...timeline.Event) {
	for i := range events {
		events[i].Network = "" // an upstream is none
		events[i].Detail = c.conf.Name + ": " + events[i].Detail
	}
	c.module.cfg.Observer.Observe(timeline.Observation{
		Adapter: adapter, Message: message, Outcome: reason.Outcome{Reason: why, Rule: c.conf.Name}, Events: events,
	})
}

// tell makes events of a change.
func (c *client) tell(cause uplink.Cause, before, held uplink.Held) {
	has := func(h uplink.Held, b uplink.Binding) bool {
		return slices.ContainsFunc(h.Bindings, func(x uplink.Binding) bool { return x.IAID == b.IAID && x.Prefix == b.Prefix })
	}
	var events []timeline.Event
	for _, b := range before.Bindings {
		if !has(held, b) {
			events = append(events, timeline.Event{Kind: timeline.UpstreamLost, Addr: b.Prefix.String(), Detail: cause.String()})
		}
	}
	for _, b := range held.Bindings {
		detail := cause.String() + ", valid for ever"
		if !b.ValidUntil.IsZero() {
			detail = cause.String() + ", valid until " + b.ValidUntil.UTC().Format(time.RFC3339)
		}
		if b.Exclude.IsValid() {
			detail += ", without " + b.Exclude.String()
		}
		if has(before, b) && strings.HasPrefix(detail, uplink.Expired.String()) {
			continue
		}
		events = append(events, timeline.Event{Kind: timeline.UpstreamLease, Addr: b.Prefix.String(), Detail: detail})
	}
	c.observe("Lease", reason.None, events...)
}

// keepRoute looks after the default route of the link.
func (c *client) keepRoute() {
	if c.link == nil {
		return
	}
	name := c.link.link.Name
	changed, err := c.module.cfg.Kernel.KeepDefaultRoute(name)
	fault := ""
	switch {
	case err != nil:
		fault = fmt.Sprintf("this machine forwards, and loses its default route on %s: sysctl -w net.ipv6.conf.%s.accept_ra=2 (%v)", name, name, err)
	case changed:
		fault = fmt.Sprintf("accept_ra=2 was set on %s: this machine forwards, and would lose its default route there", name)
	}
	if fault != "" && fault != c.routeFault {
		c.observe("Notice", reason.None, timeline.Event{Kind: timeline.Warning, Detail: fault})
	}
	c.routeFault = fault
}
