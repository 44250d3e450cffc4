// Package boot answers one question: what does this machine boot, and what may it fetch on the way? It decides HTTP
// requests: boot scripts by who asks, answers and callbacks by token, everything else a file. It is pure: snapshot, store
// view, request, templates, time and chance go in, one Decision comes out.
//
// The package never opens a file or a socket, and never lets anything but a live arm lead to an installer.
package boot

import (
	"fmt"
	"strings"
	"time"

	"bootd.internal/bootd/decide/who"
	"bootd.internal/bootd/ident"
	"bootd.internal/bootd/install"
	"bootd.internal/bootd/reason"
	"bootd.internal/bootd/render"
	"bootd.internal/bootd/site"
	"bootd.internal/bootd/store"
	"bootd.internal/bootd/timeline"
)

// Kind says what a request is about. The set is closed: it is the Message of an observation.
type Kind string

// The kinds of requests.
const (
	Script   Kind = "script"
	Answers  Kind = "answers"
	Callback Kind = "callback"
	File     Kind = "file"
	// Discovered: an unlisted machine says who it is.
	Discovered Kind = "discovered"
)

// Fetch is one request, as far as it decides anything.
type Fetch struct {
	At site.Arrival
	// Network is that of the link it came in on, nil on the machine's own loopback.
	Network  *site.Network
	Path     Path
	Head     bool
	Evidence []who.Evidence
	// UUID and Serial are what the machine says of itself; they can only narrow what it gets.
	UUID   ident.UUID
	Serial string
	// Said is the rest of what it says of itself.
	Said Said
	// Stage and Why are what a callback tells.
	Stage, Why string
}

// Renderer is the templates in force; *render.Set is one.
type Renderer interface {
	Render(name string, d render.Data) ([]byte, error)
}

// Decision is everything that follows from a Fetch. File set: the file of that path answers, and Status, Body and Type
// mean nothing.
type Decision struct {
	reason.Outcome
	Kind   Kind
	Status int
	Type   string
	Body   []byte
	File   string
	Ops    []store.Op
	Events []timeline.Event
	// MAC is who asked, as far as it can be seen; Heard what a machine that nobody listed tells of itself.
	MAC   ident.MAC
	Heard *timeline.Machine
}

// Types of what we write ourselves.
const (
	typeText = "text/plain; charset=utf-8"
)

// HTTP status codes (RFC 9110 section 15).
const (
	statusOK          = 200
	statusForbidden   = 403
	statusNotFound    = 404
	statusUnavailable = 503
)

// Decide answers a request. random is used for the tokens of at most one script.
func Decide(snap *site.Snapshot, v store.View, f Fetch, r Renderer, now time.Time, random [16]byte) Decision {
	n := f.Network
	switch {
	case f.Path.Kind == File:
		d := Decision{Outcome: reason.Outcome{Reason: reason.Answered}, Kind: File, File: f.Path.File}
		if n != nil {
			d.Network = n.Name
		}
		return d
	case n == nil:
		return refuse(f.Path.Kind, statusForbidden, reason.Outcome{Reason: reason.NotServedLink}, "this link has no network")
	}
	c := client{snap: snap, view: v, net: n, fetch: f, render: r, now: now, random: random}
	c.match = who.Identify(snap, v, n, f.Evidence)
	if c.match.Reason == reason.None && c.match.Host != nil {
		c.host = c.match.Host
	}
	d := c.decide()
	d.MAC = c.mac()
	return d
}

func (c client) decide() Decision {
	switch {
	case c.fetch.Path.Kind == Discovered:
		return c.discovered()
	case c.fetch.Path.Kind != Script:
		return c.token()
	case c.fetch.Path.Autoexec && c.net.Own.IsValid():
		return c.autoexec()
	}
	return c.script()
}

// client is one request with what was found out about it.
type client struct {
	snap   *site.Snapshot
	view   store.View
	net    *site.Network
	fetch  Fetch
	render Renderer
	now    time.Time
	random [16]byte
	match  who.Match
	// host is nil when nobody listed the machine, or not for this network.
	host *site.Host
}

func (c client) name() string {
	if c.host == nil {
		return ""
	}
	return c.host.Name
}

func (c client) outcome(r reason.Reason) reason.Outcome {
	o := reason.Outcome{Reason: r, Network: c.net.Name, Host: c.name()}
	if c.host != nil {
		o.Rule = c.match.Rule.String()
	}
	return o
}

// mac is the card that asks: the one that was recognised, else what was observed.
func (c client) mac() ident.MAC {
	if c.match.NIC != nil {
		return c.match.NIC.MAC
	}
	return c.match.Observed
}

func (c client) seen() install.Seen {
	return install.Seen{MAC: c.mac(), UUID: c.fetch.UUID, Serial: c.fetch.Serial}
}

func (c client) event(k timeline.Kind, r reason.Reason, detail string) timeline.Event {
	return timeline.Event{
		Time: c.now, Adapter: "http", Kind: k, Reason: r, Host: c.name(), Network: c.net.Name,
		MAC: c.mac(), Addr: c.fetch.At.Source.String(), Detail: clip(detail),
	}
}

// clip keeps a detail short.
func clip(s string) string {
	const most = 200
	if len(s) > most {
		return strings.ToValidUTF8(s[:most-3], "") + "..."
	}
	return s
}

func refuse(k Kind, status int, o reason.Outcome, text string) Decision {
	return Decision{Outcome: o, Kind: k, Status: status, Type: typeText, Body: []byte("bootd: " + text + "\n")}
}

// Unsaved is what goes out when the Ops of a decision could not be made durable: r is reason.StoreReadOnly or
// reason.StoreUnknown. A machine that boots its disk does so; nobody gets an installer or answers.
func Unsaved(d Decision, r reason.Reason, tmpl Renderer) Decision {
	d.Ops = nil
	switch {
	case d.Kind == Script && d.Reason != reason.Install:
		return d
	case d.Kind == Script:
		d.Reason = r
		d.Body = plain(tmpl, render.ErrorScript, render.Data{Host: d.Host, Network: d.Network},
			d.Host+" is armed, but bootd cannot write down that it starts to install")
		for i := range d.Events {
			d.Events[i].Reason = r
		}
		return d
	}
	d.Reason, d.Events = r, nil
	return refuse(d.Kind, statusUnavailable, d.Outcome, "cannot write anything down, try again later")
}

// Subject is a host as install.Order wants it.
func Subject(h *site.Host) install.Subject {
	s := install.Subject{Host: h.Name, UUID: h.UUID, Serial: h.Serial, Protected: h.Protected}
	if h.Profile != nil {
		s.Profile = h.Profile.Name
	}
	for _, nic := range h.NICs {
		if nic.MAC.Valid() {
			s.MACs = append(s.MACs, nic.MAC)
		}
	}
	return s
}

// Tidy is install.Tidy with the events that people see.
func Tidy(v store.View, host string, now time.Time) ([]store.Op, []timeline.Event) {
	t := install.Tidy(v, host, now)
	var events []timeline.Event
	if t.Expired != "" {
		events = append(events, timeline.Event{
			Time: now, Adapter: "daemon", Kind: timeline.ArmExpired, Reason: reason.ArmExpired, Host: host, Detail: t.Expired,
		})
	}
	if t.Failed != "" {
		events = append(events, timeline.Event{Time: now, Adapter: "daemon", Kind: timeline.InstallFailed, Host: host, Detail: t.Failed})
	}
	return t.Ops, events
}

// Delisted ends what is under way for a host that the inventory does not list any more: who lists it again, perhaps as
// another machine, arms it again.
func Delisted(v store.View, host string, now time.Time) ([]store.Op, []timeline.Event) {
	ops, had := install.Cancel(v, host, "bootd: it is not in the inventory any more", now)
	if !had {
		return Tidy(v, host, now)
	}
	return ops, []timeline.Event{{
		Time: now, Adapter: "daemon", Kind: timeline.Cancelled, Host: host, Detail: "it is not in the inventory any more",
	}}
}

func sentence(format string, args ...any) string { return fmt.Sprintf(format, args...) }
