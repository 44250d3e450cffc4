package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"time"

	"bootd.internal/bootd/daemon"
	"bootd.internal/bootd/site"
)

const checkText = `
Reads the inventory, renders every template of every host, and looks for every kernel, initrd and boot loader. It needs
neither root nor the machine that will serve. Exit codes: 0 nothing found, 1 faults, 2 the command line makes no sense.`

type checkReport struct {
	OK        bool           `json:"ok"`
	Inventory string         `json:"inventory"`
	Networks  int            `json:"networks"`
	Profiles  int            `json:"profiles"`
	Hosts     int            `json:"hosts"`
	Faults    []daemon.Fault `json:"faults"`
	// Notes are what is not known yet; they are no faults.
	Notes []string `json:"notes,omitempty"`
}

func checkCommand(a app, fs *flag.FlagSet) func(context.Context, []string) error {
	var w where
	w.inventoryFlag(fs)
	asJSON := fs.Bool("json", false, "write JSON")
	return func(_ context.Context, args []string) error {
		if len(args) == 1 {
			w.inventory = args[0]
		}
		plan, faults, err := daemon.Check(w.file(), time.Now())
		if err != nil {
			return err
		}
		report := checkReport{OK: len(faults) == 0, Inventory: w.file(), Faults: faults}
		if report.Faults == nil {
			report.Faults = []daemon.Fault{}
		}
		if plan != nil {
			report.count(plan.Snapshot)
			report.Notes = plan.Notes()
		}
		if *asJSON {
			if err := writeJSON(a.stdout, report); err != nil {
				return err
			}
		} else {
			report.write(a.stdout, a.stderr)
		}
		if !report.OK {
			return errSilent
		}
		return nil
	}
}

func (r *checkReport) count(s *site.Snapshot) {
	r.Networks, r.Profiles, r.Hosts = len(s.Networks), len(s.Profiles), len(s.Hosts)
}

func (r *checkReport) write(stdout, stderr io.Writer) {
	for _, f := range r.Faults {
		fmt.Fprintln(stderr, f)
	}
	for _, n := range r.Notes {
		fmt.Fprintln(stdout, "note:", n)
	}
	if r.OK {
		fmt.Fprintf(stdout, "%s: ok: %s, %s, %s\n", r.Inventory, count(r.Networks, "network"), count(r.Profiles, "profile"), count(r.Hosts, "host"))
		return
	}
	fmt.Fprintf(stderr, "%s: %s\n", r.Inventory, count(len(r.Faults), "fault"))
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func writeJSON(w io.Writer, v any) error {
	out := json.NewEncoder(w)
	out.SetIndent("", "  ")
	return out.Encode(v)
}
