package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"time"

	"bootd.internal/bootd/daemon"
	"bootd.internal/bootd/site"
)

const followText = `
A dry run of what bootd serve does for the sections docker and follow: the files that would be written, and the commands that
would be run. NAME is docker or an entry of follow. A prefix of an upstream is the one that --prefix gives, else what the running daemon has,
else an example. Exit codes: 0 shown, 1 a file or template has a fault, 2 the command line makes no sense.`

func followCommand(a app, fs *flag.FlagSet) func(context.Context, []string) error {
	var w where
	w.inventoryFlag(fs)
	w.socketFlags(fs)
	prefix := fs.String("prefix", "", "take `PREFIX` for what is followed of upstreams")
	return func(ctx context.Context, args []string) error {
		var given netip.Prefix
		if *prefix != "" {
			var err error
			if given, err = netip.ParsePrefix(*prefix); err != nil || given != given.Masked() || !given.Addr().Is6() || given.Addr().Is4In6() {
				return usageError{fmt.Sprintf("--prefix %q is not a prefix, such as 2001:db8:0:3::/64", *prefix)}
			}
		}
		plan, err := daemon.NewPlan(w.file(), time.Now())
		if err != nil {
			return err
		}
		all := plan.Snapshot.Followers
		for _, name := range args {
			if !slices.ContainsFunc(all, func(f site.Follower) bool { return f.Name == name }) {
				return fmt.Errorf("%q is neither docker nor an entry of follow in %s", name, w.file())
			}
		}
		var errs []error
		for i, f := range all {
			if len(args) > 0 && !slices.Contains(args, f.Name) {
				continue
			}
			if plan.Inventory.Follow[i].From.Set() {
				f.Prefix = w.follows(ctx, f, given)
			}
			errs = append(errs, tryFollower(a.stdout, plan, f))
		}
		return errors.Join(errs...)
	}
}

// follows is the prefix that a follower of an upstream has, as far as anybody here knows.
func (w where) follows(ctx context.Context, f site.Follower, given netip.Prefix) netip.Prefix {
	if given.IsValid() {
		return given
	}
	s, err := w.client().Status(ctx)
	if err != nil { // no daemon runs: the example is as good
		return f.Prefix
	}
	for _, m := range s.Modules {
		if p, err := netip.ParsePrefix(m.Prefix); err == nil && m.Module == "follow" && (m.Name == f.Name || strings.HasPrefix(m.Name, f.Name+", ")) {
			return p
		}
	}
	return f.Prefix
}

func tryFollower(out io.Writer, plan *daemon.Plan, f site.Follower) error {
	if !f.Prefix.IsValid() {
		fmt.Fprintf(out, "%s, %s: %s\n", f.Name, f.Wanted, f.Fault)
		return nil
	}
	fmt.Fprintf(out, "%s, %s: %s\n", f.Name, f.Wanted, f.Prefix)
	p, err := plan.Try(f)
	switch {
	case err != nil:
		return fmt.Errorf("%s: %w", f.Name, err)
	case p.File != "" && !p.Differs:
		fmt.Fprintf(out, "%s is as it should be: nothing is run\n", p.File)
		return nil
	case p.File != "":
		fmt.Fprintf(out, "%s would be:\n%s", p.File, p.New)
	}
	if len(p.Command) > 0 {
		fmt.Fprintf(out, "then: %s\n", strings.Join(p.Command, " "))
	}
	return nil
}
