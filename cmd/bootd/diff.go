package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"strings"
	"time"

	"bootd.internal/bootd/change"
	"bootd.internal/bootd/daemon"
)

const diffText = `
Says which hosts and networks change from one inventory to another, and in what: names, addresses, profile, what networks
are told, and whether the rendered script and answers differ; and what changes in the sections dns, serve,
upstreams, anyip, docker, follow and yealink. Hosts that change alike are told of once, with HOST for their
names. Templates are those beside each inventory; secrets are masked. Exit codes: 0 whether they differ or not, 1 an inventory has a fault, 2 the command line makes no sense.`

func diffCommand(a app, fs *flag.FlagSet) func(context.Context, []string) error {
	asJSON := fs.Bool("json", false, "write JSON, with all differences of texts")
	verbose := fs.Bool("v", false, "show how scripts and answers differ, host by host")
	return func(_ context.Context, args []string) error {
		r, err := daemon.Compare(args[0], args[1], *verbose || *asJSON, time.Now())
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
	if len(r.Site) > 0 {
		fmt.Fprint(w, "site changed\n", said(change.Item{Kind: change.Changed, Values: r.Site}, "", verbose))
	}
	for _, group := range []struct {
		what  string
		items []change.Item
	}{{"network", r.Networks}, {"host", r.Hosts}} {
		for _, g := range alike(group.items, verbose) {
			first := g[0]
			if len(g) == 1 {
				fmt.Fprintf(w, "%s %s %s\n", group.what, first.Name, first.Kind)
				fmt.Fprint(w, said(first, first.Name, verbose))
				continue
			}
			fmt.Fprintf(w, "%s %s: %s\n", count(len(g), group.what), first.Kind, some(g))
			fmt.Fprint(w, said(first, "HOST", verbose))
		}
	}
	fmt.Fprintf(w, "%s, %s, %s\n", changes(r.Networks, "network"), changes(r.Hosts, "host"), count(r.Same, "host")+" as before")
}

// alike groups what differs in the same way, in the order of the first of each group; with texts, each stands alone.
func alike(items []change.Item, verbose bool) [][]change.Item {
	var out [][]change.Item
	at := map[string]int{}
	for _, i := range items {
		key := string(i.Kind) + "\n" + said(i, "HOST", false)
		n, ok := at[key]
		if !ok || verbose {
			at[key] = len(out)
			out = append(out, []change.Item{i})
			continue
		}
		out[n] = append(out[n], i)
	}
	return out
}

// said is what is told of one item, which is called name.
func said(i change.Item, name string, verbose bool) string {
	var out strings.Builder
	called := func(v change.Value, text string) string {
		if domain, ok := strings.CutPrefix(text, i.Name+"."); ok && v.Key == "name" {
			return name + "." + domain
		}
		return text
	}
	for _, v := range i.Values {
		switch i.Kind {
		case change.Changed:
			fmt.Fprintf(&out, "  %s: %s -> %s\n", v.Key, or(called(v, v.Old), "none"), or(called(v, v.New), "none"))
		case change.Added:
			fmt.Fprintf(&out, "  %s: %s\n", v.Key, called(v, v.New))
		}
	}
	for _, t := range i.Texts {
		fmt.Fprintf(&out, "  %s changes\n", t.What)
		if verbose {
			out.WriteString(t.Diff)
		}
	}
	return out.String()
}

// some names the first of a group.
func some(g []change.Item) string {
	const most = 8
	names := make([]string, 0, most+1)
	for _, i := range g[:min(most, len(g))] {
		names = append(names, i.Name)
	}
	if len(g) > most {
		names = append(names, fmt.Sprintf("... (%d more: --json)", len(g)-most))
	}
	return strings.Join(names, " ")
}

func changes(items []change.Item, what string) string {
	if len(items) == 1 {
		return "1 " + what + " changes"
	}
	return fmt.Sprintf("%d %ss change", len(items), what)
}
