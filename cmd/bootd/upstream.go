package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"time"

	"bootd.internal/bootd/api"
	"bootd.internal/bootd/upstream"
)

const upstreamText = `
Without an order the upstreams are listed, with what each has given and what it waits for. renew asks now, and not when half of the
lifetime has passed; it also ends a release. release gives everything back, and nothing is asked for until renew, or the next
start of bootd. Without a NAME all upstreams are meant.
`

func upstreamCommand(a app, fs *flag.FlagSet) func(context.Context, []string) error {
	var w where
	w.socketFlags(fs)
	asJSON := fs.Bool("json", false, "write JSON")
	return func(ctx context.Context, args []string) error {
		client := w.client()
		if len(args) > 0 && (args[0] == "renew" || args[0] == "release") {
			req := api.UpstreamRequest{Order: args[0]}
			if len(args) > 1 {
				req.Name = args[1]
			}
			return client.Upstream(ctx, req)
		}
		if len(args) > 0 {
			return usageError{fmt.Sprintf("%q is no order%s", args[0], didYouMean(args[0], []string{"renew", "release"}))}
		}
		s, err := client.Status(ctx)
		if err != nil {
			return err
		}
		if *asJSON {
			return writeJSON(a.stdout, s.Upstreams)
		}
		if len(s.Upstreams) == 0 {
			_, err := fmt.Fprintln(a.stdout, "the inventory lists no upstream")
			return err
		}
		var b bytes.Buffer
		table(&b, "UPSTREAM\tINTERFACE\tSTATE\tHOLDS\tPREFERRED\tVALID\tFROM", func(t io.Writer) {
			for _, u := range s.Upstreams {
				for _, l := range u.Held {
					fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", u.Name, u.Interface, u.State, holding(l), left(l.PreferredUntil, s.Now), left(l.ValidUntil, s.Now), u.From)
				}
				if len(u.Held) == 0 {
					fmt.Fprintf(t, "%s\t%s\t%s\t-\t-\t-\t-\n", u.Name, u.Interface, u.State)
				}
			}
		})
		for _, u := range s.Upstreams {
			if u.Waiting != "" {
				fmt.Fprintf(&b, "! %s\n", waits(u, s.Now))
			}
		}
		_, err = a.stdout.Write(b.Bytes())
		return err
	}
}

func holding(l upstream.Lease) string {
	if l.Address {
		return l.Prefix.Addr().String()
	}
	if l.Exclude.IsValid() {
		return l.Prefix.String() + " without " + l.Exclude.String()
	}
	return l.Prefix.String()
}

// left is how long until a deadline; one that never comes is zero.
func left(until, now time.Time) string {
	if until.IsZero() {
		return "for ever"
	}
	return age(until.Sub(now))
}

// waits says what an upstream waits for, and since when.
func waits(u upstream.Status, now time.Time) string {
	text := u.Name + " waits for " + u.Waiting
	if !u.Asked.IsZero() {
		text += ", for " + age(now.Sub(u.Asked)) + " now"
	}
	return text
}

// drawUpstreams are the lines of bootd status.
func drawUpstreams(b *bytes.Buffer, s api.Status) {
	for _, u := range s.Upstreams {
		for _, l := range u.Held {
			fmt.Fprintf(b, "%s on %s: %s from %s, valid for %s\n", u.Name, u.Interface, holding(l), u.From, left(l.ValidUntil, s.Now))
		}
		if u.Waiting != "" {
			fmt.Fprintf(b, "! %s\n", waits(u, s.Now))
		}
	}
}
