package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"time"

	"bootd.internal/bootd/daemon"
	"bootd.internal/bootd/doctor"
)

const doctorText = `
Looks for what keeps machines from booting: other routers and DHCPv6 servers, flags that stop a client, forwarding and the
default route, limits of the kernel, MTU, capabilities, links, templates and files, resolvers. Without a running bootd it
looks at this machine only. Exit codes: 0 no error (warnings and notes at most), 1 an error that keeps some machine from
booting, or nothing could be examined, 2 the command line makes no sense.`

func doctorCommand(a app, fs *flag.FlagSet) func(context.Context, []string) error {
	var w where
	w.inventoryFlag(fs)
	w.socketFlags(fs)
	asJSON := fs.Bool("json", false, "write JSON")
	return func(ctx context.Context, _ []string) error {
		var r doctor.Report
		var err error
		if w.inventory == "" {
			r, err = w.client().Doctor(ctx)
		}
		if offline(w, err) {
			r, err = daemon.Examine(ctx, w.file(), time.Now())
		}
		if err != nil {
			return err
		}
		if *asJSON {
			err = writeJSON(a.stdout, r)
		} else {
			writeDiagnosis(a.stdout, r)
		}
		if err == nil && r.Sick() {
			err = errSilent
		}
		return err
	}
}

func writeDiagnosis(w io.Writer, r doctor.Report) {
	for _, f := range r.Findings {
		text := f.Text
		if f.Network != "" {
			text = f.Network + ": " + text
		}
		fmt.Fprintf(w, "%s: %s\n", f.Severity, text)
		if f.Consequence != "" {
			fmt.Fprintf(w, "  so: %s\n", f.Consequence)
		}
		if f.Do != "" {
			fmt.Fprintf(w, "  do: %s\n", f.Do)
		}
	}
	if len(r.Findings) == 0 {
		fmt.Fprintln(w, "nothing found")
	}
	if !r.Running {
		fmt.Fprintln(w, "bootd was not asked: other routers and DHCPv6 servers are not known")
	}
}
