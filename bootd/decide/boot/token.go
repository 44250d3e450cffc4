package boot

import (
	"bootd.internal/bootd/install"
	"bootd.internal/bootd/reason"
	"bootd.internal/bootd/timeline"
)

// token decides what a secret address gives. No answer says which part of it was wrong more than it must.
func (c client) token() Decision {
	p := c.fetch.Path
	if p.Token == "" {
		return refuse(p.Kind, statusNotFound, c.outcome(reason.NotFound), "no such thing")
	}
	scope := install.ScopeInstalled // progress and failures belong to it too: one who may say "done" may say "half done"
	switch p.Leaf {
	case leafAnswers:
		scope = install.ScopeAnswers
	case leafFirstBoot:
		scope = install.ScopeFirstBoot
	}
	g, r := install.Redeem(c.view, p.Token, scope, c.name(), c.now)
	switch {
	case r == reason.TokenSpent && scope != install.ScopeAnswers:
		return c.noted(reason.TokenSpent, nil) // its first answer was lost
	case r == reason.TokenOtherHost:
		d := refuse(p.Kind, statusForbidden, c.outcome(r), "not yours")
		d.Events = []timeline.Event{c.event(timeline.Warning, r, "a machine presented the "+string(scope)+" token of another host")}
		return d
	case r != reason.Answered:
		return refuse(p.Kind, statusForbidden, c.outcome(r), "not any more, or never")
	}
	if c.fetch.Head {
		return c.noted(reason.Answered, nil)
	}
	switch p.Leaf {
	case leafAnswers:
		return c.answers(g)
	case leafInstalled:
		d := c.noted(reason.Callback, c.tell(timeline.Installed, ""))
		d.Ops = install.Done(c.view, g, c.now)
		return d
	case leafFirstBoot:
		d := c.noted(reason.Callback, c.tell(timeline.FirstBoot, ""))
		d.Ops = install.Boot(g, c.now)
		return d
	case leafFailed:
		why := sentence("%q", clip(c.fetch.Why))
		d := c.noted(reason.Callback, c.tell(timeline.InstallFailed, why))
		d.Ops = install.Fail(g, why, c.now)
		return d
	}
	return c.noted(reason.Callback, c.tell(timeline.Progress, sentence("%q", clip(c.fetch.Stage))))
}

func (c client) tell(k timeline.Kind, detail string) []timeline.Event {
	return []timeline.Event{c.event(k, reason.Callback, detail)}
}

// noted answers a callback.
func (c client) noted(r reason.Reason, events []timeline.Event) Decision {
	return Decision{
		Outcome: c.outcome(r), Kind: c.fetch.Path.Kind, Status: statusOK, Type: typeText, Body: []byte("noted\n"), Events: events,
	}
}

// answers hands out the text that was rendered when the attempt began, with its tokens in place.
func (c client) answers(g install.Grant) Decision {
	text, ops, r := install.Answer(c.view, g, c.seen(), c.now)
	d := Decision{Outcome: c.outcome(r), Kind: Answers, Status: statusOK, Type: typeText, Ops: ops}
	switch r {
	case reason.Answered:
		d.Events = []timeline.Event{c.event(timeline.AnswersServed, r, "")}
	case reason.Retransmit:
	case reason.ArmMismatch:
		why := sentence("another machine asked for the answers: it says UUID %s", c.fetch.UUID)
		d = refuse(Answers, statusForbidden, c.outcome(r), "armed is another machine")
		d.Ops = ops
		d.Events = []timeline.Event{c.event(timeline.InstallFailed, r, why)}
		return d
	default:
		return refuse(Answers, statusNotFound, c.outcome(r), "the answers are lost: arm the host again")
	}
	d.Body = reveal(text, install.SecretsOf(c.fetch.Path.Token))
	return d
}
