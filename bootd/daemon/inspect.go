package daemon

import (
	"errors"

	"bootd.internal/bootd/lint"
	"bootd.internal/bootd/render"
	"bootd.internal/bootd/site"
)

// inspect looks at rendered texts as the machines will.
func inspect(script, answers render.Text, others []render.Text) []render.Finding {
	var out []render.Finding
	add := func(t render.Text, faults []lint.Fault) {
		for _, f := range faults {
			out = append(out, render.Finding{Name: t.Name, Line: f.Line, Msg: f.Text})
		}
	}
	for _, t := range others {
		add(t, lint.Script(t.Body))
	}
	if script.Name != "" {
		ofScript, ofAnswers := lint.Host(script.Body, answers.Body)
		add(script, ofScript)
		add(answers, ofAnswers)
	}
	return out
}

// lintHost says what would stop a host from being installed, nil: nothing that is known.
func lintHost(snap *site.Snapshot, set *render.Set, name string) error {
	h, ok := snap.Host(name)
	if !ok {
		return nil
	}
	var errs []error
	for _, p := range render.CheckHost(snap, set, h, inspect) {
		errs = append(errs, p)
	}
	return errors.Join(errs...)
}
