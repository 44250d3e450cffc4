package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"bootd.internal/bootd/api"
	"bootd.internal/bootd/daemon"
	"bootd.internal/bootd/explain"
)

// offline reports whether the daemon is not to be asked: the person named a file, or no daemon runs.
func offline(w where, err error) bool { return w.inventory != "" || errors.Is(err, api.ErrNotRunning) }

func renderCommand(a app, fs *flag.FlagSet) func(context.Context, []string) error {
	var w where
	w.inventoryFlag(fs)
	w.socketFlags(fs)
	secrets := fs.Bool("secrets", false, "show secrets: bootd is not asked, they are read with your own rights")
	return func(ctx context.Context, args []string) error {
		what := "" // what the host boots: a script, or a phone's file
		if len(args) == 2 {
			what = args[1]
		}
		if what != "" && !contains(explain.Texts(), what) {
			return usageError{fmt.Sprintf("%q cannot be shown%s", what, didYouMean(what, explain.Texts()))}
		}
		var out api.Rendered
		var err error
		if w.inventory == "" && !*secrets {
			out, err = w.client().Render(ctx, args[0], what)
		}
		if *secrets || offline(w, err) {
			out, err = renderOffline(w, args[0], what, *secrets)
		}
		if err != nil {
			return err
		}
		for _, n := range out.Notes {
			fmt.Fprintln(a.stderr, "note:", n)
		}
		_, err = io.WriteString(a.stdout, out.Text)
		return err
	}
}

func renderOffline(w where, host, what string, secrets bool) (api.Rendered, error) {
	plan, err := daemon.NewPlan(w.file(), time.Now())
	if err != nil {
		return api.Rendered{}, err
	}
	if secrets {
		for _, f := range plan.Reveal() {
			return api.Rendered{}, errors.New(f.String())
		}
	}
	text, notes, err := explain.Render(plan.Snapshot, plan.Templates, host, what)
	if err != nil {
		return api.Rendered{}, err
	}
	notes = append(notes, "bootd was not asked: each interface is taken to have the first address of its prefix")
	return api.Rendered{Text: string(text), Notes: notes}, nil
}

func explainCommand(a app, fs *flag.FlagSet) func(context.Context, []string) error {
	var w where
	w.inventoryFlag(fs)
	w.socketFlags(fs)
	asJSON := fs.Bool("json", false, "write JSON")
	return func(ctx context.Context, args []string) error {
		var r explain.Report
		var err error
		if w.inventory == "" {
			r, err = w.client().Explain(ctx, args[0])
		}
		if offline(w, err) {
			r, err = explainOffline(w, args[0])
		}
		if err != nil {
			return err
		}
		if *asJSON {
			return writeJSON(a.stdout, r)
		}
		writeExplanation(a.stdout, r)
		return nil
	}
}

func explainOffline(w where, query string) (explain.Report, error) {
	now := time.Now()
	plan, err := daemon.NewPlan(w.file(), now)
	if err != nil {
		return explain.Report{}, err
	}
	r, err := explain.Explain(explain.Source{NoSecret: true, Snapshot: plan.Snapshot, Now: now}, query)
	if err != nil {
		return explain.Report{}, err
	}
	r.Notes = append(r.Notes, "bootd was not asked: leases, arms and events are not known, and each interface is taken to have the first address of its prefix")
	return r, nil
}

func writeExplanation(w io.Writer, r explain.Report) {
	switch {
	case r.Kind == explain.ByHost && r.NIC == "":
		fmt.Fprintf(w, "host %s\n", r.Host)
	case r.Host != "" && r.NIC != "":
		fmt.Fprintf(w, "%s is %s, card %s (known by %s)\n", r.Query, r.Host, r.NIC, r.Rule)
	case r.Host != "":
		fmt.Fprintf(w, "%s is %s (known by %s)\n", r.Query, r.Host, r.Rule)
	case r.Reason.String() != "none":
		fmt.Fprintf(w, "%s is no listed host (%s)\n", r.Query, r.Reason)
	case r.Kind == explain.BySuffix:
		fmt.Fprintf(w, "%s is an address on several networks\n", r.Query)
	default:
		fmt.Fprintf(w, "%s is no listed host\n", r.Query)
	}
	for _, n := range r.Notes {
		fmt.Fprintln(w, "note:", n)
	}
	section(w, "addresses", len(r.Addresses), func(t io.Writer) {
		for _, x := range r.Addresses {
			text := x.Lease
			if text != "" {
				text = "lease: " + text
			}
			place := x.Place
			if place == "" && x.Address != "" {
				place = "computed"
			}
			fmt.Fprintf(t, "  %s\t%s\t%s\t%s\t%s\t%s\n", or(x.Network, "-"), x.NIC, or(x.MAC, "-"), or(x.Address, "-"), place, text)
		}
	})
	section(w, "boot file", len(r.Boot), func(t io.Writer) {
		for _, x := range r.Boot {
			fmt.Fprintf(t, "  %s\t%s\t%s\t%s\n", x.Network, x.Client, or(x.URL, "none"), x.Reason)
		}
	})
	writeInstall(w, r)
	section(w, "learned identities", len(r.Learned), func(t io.Writer) {
		for _, x := range r.Learned {
			fmt.Fprintf(t, "  %s\t%s\n", x.Kind, x.Value)
		}
	})
	section(w, "values", len(r.Values), func(t io.Writer) {
		for _, x := range r.Values {
			fmt.Fprintf(t, "  %s\t%s\t%s\t%s\n", x.Key, or(x.Value, `""`), x.From, x.Place)
		}
	})
	section(w, "last packets", len(r.Outcomes), func(t io.Writer) {
		for _, o := range r.Outcomes {
			fmt.Fprintf(t, "  %s\t%s %s\t%s\t%s\n", o.Time.Local().Format(time.TimeOnly), o.Adapter, o.Message, o.Reason, or(o.Rule, "-"))
		}
	})
	section(w, "last events", len(r.Recent), func(t io.Writer) {
		for _, e := range r.Recent {
			fmt.Fprintf(t, "  %s\n", eventLine(e))
		}
	})
}

func writeInstall(w io.Writer, r explain.Report) {
	if r.Install == nil {
		return
	}
	i := r.Install
	fmt.Fprintf(w, "\nnext boot script: %s\n", i.Reason)
	if !i.ArmedUntil.IsZero() {
		fmt.Fprintf(w, "  armed until %s %s\n", i.ArmedUntil.Local().Format(time.DateTime), strings.TrimSpace("by "+i.By))
	}
	if i.Attempt != "" {
		fmt.Fprintf(w, "  last installation: %s %s\n", i.Attempt, i.Why)
	}
}

// section writes a titled table when there is something in it.
func section(w io.Writer, title string, n int, rows func(io.Writer)) {
	if n == 0 {
		return
	}
	fmt.Fprintf(w, "\n%s\n", title)
	var b strings.Builder
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	rows(t)
	_ = t.Flush() // a strings.Builder takes everything
	for line := range strings.Lines(b.String()) {
		fmt.Fprintln(w, strings.TrimRight(line, " \n"))
	}
}

func or(s, empty string) string {
	if s == "" {
		return empty
	}
	return s
}

func contains(list []string, s string) bool {
	for _, x := range list {
		if x == s {
			return true
		}
	}
	return false
}
