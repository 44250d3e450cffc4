package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"strings"

	"bootd.internal/bootd/api"
	"bootd.internal/bootd/ident"
	"bootd.internal/bootd/reason"
	"bootd.internal/bootd/timeline"
)

func eventsCommand(a app, fs *flag.FlagSet) func(context.Context, []string) error {
	var w where
	w.socketFlags(fs)
	asJSON := fs.Bool("json", false, "write one JSON object per line")
	follow := fs.Bool("follow", false, "go on with what happens until interrupted")
	since := fs.String("since", "", "`TIME` in RFC 3339, or how long ago, such as 10m")
	limit := fs.Int("limit", 0, "`NUMBER` of past events at most (1000)")
	return func(ctx context.Context, args []string) error {
		q := api.EventQuery{Since: *since, Follow: *follow, Limit: *limit}
		if len(args) == 1 {
			q.Host = args[0]
		}
		out := json.NewEncoder(a.stdout)
		var failed error
		err := w.client().Events(ctx, q, func(e timeline.Event) bool {
			if *asJSON {
				failed = out.Encode(e)
			} else {
				_, failed = fmt.Fprintln(a.stdout, eventLine(e))
			}
			return failed == nil
		})
		if err == nil {
			err = failed
		}
		return err
	}
}

// eventLine is one event for people.
func eventLine(e timeline.Event) string {
	parts := []string{e.Time.Local().Format("2006-01-02 15:04:05.000"), fmt.Sprintf("%-6s", e.Adapter), fmt.Sprintf("%-12s", or(e.Host, "-")), string(e.Kind)}
	if e.Reason != reason.None {
		parts = append(parts, "("+e.Reason.String()+")")
	}
	if e.Host == "" && e.MAC != (ident.MAC{}) {
		parts = append(parts, e.MAC.String())
	}
	for _, s := range []string{e.Network, e.Addr, e.Detail} {
		if s != "" {
			parts = append(parts, s)
		}
	}
	return strings.Join(parts, " ")
}
