package phone

import (
	"fmt"
	"strings"

	"bootd.internal/bootd/reason"
	"bootd.internal/bootd/timeline"
	"bootd.internal/bootd/yealink"
)

func (a *asker) outcome(r reason.Reason) reason.Outcome {
	o := reason.Outcome{Reason: r}
	if a.req.Network != nil {
		o.Network = a.req.Network.Name
	}
	if a.match.Host != nil {
		o.Host, o.Rule = a.match.Host.Name, a.match.Rule.String()
	}
	return o
}

func (a *asker) refuse(r reason.Reason, status int, text string) Decision {
	return Decision{Outcome: a.outcome(r), Status: status, Type: typeText, Body: []byte("bootd: " + text + "\n")}
}

// thief refuses one who asks for what is another's.
func (a *asker) thief(r reason.Reason, detail string) Decision {
	d := a.refuse(r, statusForbidden, "not yours")
	d.Events = []timeline.Event{a.event(timeline.Warning, r, detail)}
	return d
}

func (a *asker) failed(err error) Decision {
	d := a.refuse(reason.TemplateError, statusUnavailable, "this file cannot be made")
	d.Events = []timeline.Event{a.event(timeline.Warning, reason.TemplateError, err.Error())}
	return d
}

func (a *asker) answer(r reason.Reason, body []byte) Decision {
	return Decision{Outcome: a.outcome(r), Status: statusOK, Type: typeText, Body: body}
}

func (a *asker) event(k timeline.Kind, r reason.Reason, detail string) timeline.Event {
	e := timeline.Event{
		Time: a.now, Adapter: "http", Kind: k, Reason: r, MAC: a.match.Observed, Addr: a.req.At.Source.String(), Detail: clip(detail),
	}
	if a.req.Network != nil {
		e.Network = a.req.Network.Name
	}
	if a.match.Host != nil {
		e.Host = a.match.Host.Name
	}
	return e
}

// tell notes what the phone says of itself, and where that does not fit what the inventory says.
func (a *asker) tell(d *Decision) {
	h := a.match.Host
	listed := h != nil && h.Phone != nil
	if !listed && (h != nil || !a.isOne && !yealink.Listed(d.MAC)) {
		return
	}
	f := a.req.Path.File
	d.Seen = &timeline.Phone{
		MAC: d.MAC, Network: d.Network, Addr: a.req.At.Source.String(), Model: a.agent.Model, Firmware: a.agent.Firmware,
		Agent: printable(a.req.Agent), File: string(f.Kind), Reason: d.Reason, TLS: a.req.TLS, Put: a.req.Put,
	}
	if listed {
		d.Seen.Host = h.Name
	}
	if d.Reason == reason.PhoneFile || d.Reason == reason.PhoneBootstrap || d.Reason == reason.Changed {
		d.Events = append(d.Events, a.event(timeline.PhoneFetched, d.Reason, a.fetched(f)))
	}
	if !listed || f.Kind != yealink.Own && f.Kind != yealink.Common {
		return
	}
	switch {
	case a.isOne && !yealink.Fits(a.agent.Model, h.Phone.Model.Name):
		d.Events = append(d.Events, a.event(timeline.Warning, d.Reason,
			fmt.Sprintf("%s is listed as a %s, and says it is a %s", h.Name, h.Phone.Model.Name, a.agent.Model)))
	case a.isOne && a.agent.MAC.Valid() && a.agent.MAC != h.MAC():
		d.Events = append(d.Events, a.event(timeline.Warning, d.Reason,
			fmt.Sprintf("%s says that its MAC is %s", h.Name, a.agent.MAC)))
	case f.Kind == yealink.Common && f.Number != h.Phone.Model.Number:
		d.Events = append(d.Events, a.event(timeline.Warning, d.Reason,
			fmt.Sprintf("%s is listed as a %s, and asked for y%012d.cfg", h.Name, h.Phone.Model.Name, f.Number)))
	}
}

func (a *asker) fetched(f yealink.File) string {
	over, verb := "http", "fetched"
	if a.req.TLS {
		over = "https"
	}
	if a.req.Put {
		verb = "uploaded"
	}
	return fmt.Sprintf("%s %s over %s, says %q", verb, f.Kind, over, printable(a.req.Agent))
}

// printable keeps what a phone says short and fit for a terminal.
func printable(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return -1
		}
		return r
	}, s)
	const most = 128
	return s[:min(len(s), most)]
}

func clip(s string) string {
	const most = 200
	if len(s) > most {
		return strings.ToValidUTF8(s[:most-3], "") + "..."
	}
	return s
}
