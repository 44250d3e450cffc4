package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"time"

	"bootd.internal/bootd/change"
	"bootd.internal/bootd/daemon"
)

const diffText = `
Says which hosts and networks change from one inventory to another, and in what: names, addresses, profile, what networks
are told, and whether the rendered script and answers differ. Templates are those beside each inventory; secrets are
masked. Exit codes: 0 whether they differ or not, 1 an inventory has a fault, 2 the command line makes no sense.`

func diffCommand(a app, fs *flag.FlagSet) func(context.Context, []string) error {
	asJSON := fs.Bool("json", false, "write JSON, with all differences of texts")
	verbose := fs.Bool("v", false, "show how scripts and answers differ, host by host")
	return func(_ context.Context, args []string) error {
		r, err := daemon.Compare(args[0], args[1], time.Now())
		if err != nil {
			return err
		}
		if *asJSON {
			return writeJSON(a.stdout, r)
		}
		writeReport(a.stdout, r, *verbose)
		return nil
	}
}

func writeReport(w io.Writer, r change.Report, verbose bool) {
	for _, group := range []struct {
		what  string
		items []change.Item
	}{{"network", r.Networks}, {"host", r.Hosts}} {
		for _, i := range group.items {
			fmt.Fprintf(w, "%s %s %s\n", group.what, i.Name, i.Kind)
			for _, v := range i.Values {
				switch i.Kind {
				case change.Changed:
					fmt.Fprintf(w, "  %s: %s -> %s\n", v.Key, or(v.Old, "none"), or(v.New, "none"))
				case change.Added:
					fmt.Fprintf(w, "  %s: %s\n", v.Key, v.New)
				}
			}
			for _, t := range i.Texts {
				fmt.Fprintf(w, "  %s changes\n", t.What)
				if verbose {
					fmt.Fprint(w, t.Diff)
				}
			}
		}
	}
	fmt.Fprintf(w, "%s, %s, %s\n", changes(r.Networks, "network"), changes(r.Hosts, "host"), count(r.Same, "host")+" as before")
}

func changes(items []change.Item, what string) string {
	if len(items) == 1 {
		return "1 " + what + " changes"
	}
	return fmt.Sprintf("%d %ss change", len(items), what)
}
