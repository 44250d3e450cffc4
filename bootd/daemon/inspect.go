package daemon

import (
	"errors"
	"strings"
	"sync"

	"bootd.internal/bootd/lint"
	"bootd.internal/bootd/render"
	"bootd.internal/bootd/site"
	"bootd.internal/bootd/yealink"
)

// inspector looks at rendered texts as the machines will. It remembers the scripts that all hosts share.
func inspector() render.Inspect {
	var mu sync.Mutex
	seen := map[string][]lint.Fault{}
	return func(script, answers render.Text, others []render.Text) []render.Finding {
		return inspect(script, answers, others, func(text []byte) []lint.Fault {
			mu.Lock()
			faults, ok := seen[string(text)]
			mu.Unlock()
			if ok {
				return faults
			}
			faults = lint.Script(text)
			mu.Lock()
			defer mu.Unlock()
			if len(seen) < 100 {
				seen[string(text)] = faults
			}
			return faults
		})
	}
}

func inspect(script, answers render.Text, others []render.Text, lintScript func([]byte) []lint.Fault) []render.Finding {
	var out []render.Finding
	add := func(t render.Text, faults []lint.Fault) {
		for _, f := range faults {
			out = append(out, render.Finding{Name: t.Name, Line: f.Line, Msg: f.Text})
		}
	}
	for _, t := range others {
		if strings.HasPrefix(t.Name, "yealink/") {
			out = append(out, phoneFindings(t)...)
			continue
		}
		add(t, lintScript(t.Body))
	}
	if script.Name != "" {
		ofScript, ofAnswers := lint.Host(script.Body, answers.Body)
		add(script, ofScript)
		add(answers, ofAnswers)
	}
	return out
}

// phoneFindings reads a file of a phone as the phone does.
func phoneFindings(t render.Text) []render.Finding {
	var out []render.Finding
	for _, f := range yealink.Lint(t.Body) {
		out = append(out, render.Finding{Name: t.Name, Line: f.Line, Msg: f.Text})
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
	for _, p := range render.CheckHost(snap, set, h, inspector()) {
		errs = append(errs, p)
	}
	return errors.Join(errs...)
}
