package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"bootd.internal/bootd/api"
	"bootd.internal/bootd/lease"
)

const leasesText = `
Without an argument the leases in force are listed. "bootd leases release ADDRESS" (or PREFIX) ends one: it is free at
once, but its client goes on using it until it asks again, so end only what nobody uses. It is shown first and confirmed with "yes".

"bootd leases --declined" lists the leases that are put aside because their clients found another machine using the address, with
WHICH those of a network, an interface, a host, or a card by its MAC; "bootd leases release --declined" ends them. Find that machine first.`

func leasesCommand(a app, fs *flag.FlagSet) func(context.Context, []string) error {
	var w where
	w.socketFlags(fs)
	asJSON := fs.Bool("json", false, "write JSON")
	expired := fs.Bool("expired", false, "list those too that ended within the last week")
	prefixes := fs.Bool("prefixes", false, "list delegated prefixes, and over which neighbour each is reached")
	declined := fs.Bool("declined", false, "list, or release, only what is put aside because another machine uses it")
	yes := fs.Bool("yes", false, "release: do not ask")
	return func(ctx context.Context, args []string) error {
		switch {
		case len(args) > 0 && args[0] == "release" && *declined:
			return a.releaseDeclined(ctx, w.client(), strings.Join(args[1:], ""), *yes, *asJSON)
		case len(args) == 2 && args[0] == "release":
			return a.release(ctx, w.client(), args[1], *yes, *asJSON)
		case len(args) == 1 && args[0] == "release":
			return usageError{"ADDRESS is missing"}
		case len(args) == 1 && *declined:
			found, err := w.client().ReleaseDeclined(ctx, api.ReleaseDeclinedRequest{Of: args[0]})
			if err != nil {
				return err
			}
			if *asJSON {
				return writeJSON(a.stdout, found.Leases)
			}
			a.leaseTable(found.Leases)
			return nil
		case len(args) > 0:
			meant := didYouMean(args[0], []string{"release"})
			return usageError{fmt.Sprintf("%q is not known%s", args[0], or(meant, ": bootd leases, or bootd leases release ADDRESS"))}
		}
		leases, err := w.client().Leases(ctx, *expired)
		if err != nil {
			return err
		}
		if *prefixes {
			leases = slices.DeleteFunc(leases, func(l api.Lease) bool { return l.Address != "" })
		}
		if *declined {
			leases = slices.DeleteFunc(leases, func(l api.Lease) bool { return l.State != lease.Declined.String() })
		}
		if *asJSON {
			return writeJSON(a.stdout, leases)
		}
		if *prefixes {
			table(a.stdout, "PREFIX\tHOST\tNETWORK\tVIA\tDUID\tSTATE\tUNTIL", func(t io.Writer) {
				for _, l := range leases {
					fmt.Fprintln(t, leaseRow(l, strings.TrimSpace(or(l.Via, "-")+" "+l.Link)))
				}
			})
			return nil
		}
		a.leaseTable(leases)
		return nil
	}
}

func (a app) leaseTable(leases []api.Lease) {
	table(a.stdout, "ADDRESS\tHOST\tNETWORK\tMAC\tDUID\tSTATE\tUNTIL", func(t io.Writer) {
		for _, l := range leases {
			fmt.Fprintln(t, leaseRow(l, mac(l)))
		}
	})
}

func mac(l api.Lease) string {
	if l.MAC.Valid() {
		return l.MAC.String()
	}
	return "-"
}

// leaseRow is one line; where is a card or a next hop, the DUID is the newest client's, with how many more there are.
func leaseRow(l api.Lease, where string) string {
	duid, state := "-", l.State
	if n := len(l.Clients); n > 0 {
		if duid = l.Clients[n-1].DUID.String(); n > 1 {
			duid += fmt.Sprintf(" (+%d)", n-1)
		}
	}
	if l.State == api.StateDamaged { // nothing more is known of it
		return or(l.Address, l.Prefix) + "\t-\t-\t-\t-\tdamaged: bootd leases release ends it\t-"
	}
	if l.Expired {
		state = "expired"
	}
	return fmt.Sprintf("%s\t%s\t%s\t%s\t%s\t%s\t%s",
		or(l.Address, l.Prefix), or(l.Host, "-"), l.Network, where, duid, state, l.ValidUntil.Local().Format(time.DateTime))
}

func (a app) release(ctx context.Context, c *api.Client, addr string, yes, asJSON bool) error {
	req := api.ReleaseRequest{Address: addr, By: a.who()}
	found, err := c.Release(ctx, req)
	if err != nil {
		return err
	}
	if !yes {
		if asJSON {
			return usageError{"--json needs --yes: nobody is asked"}
		}
		l := found.Lease
		if l.State == api.StateDamaged {
			fmt.Fprintf(a.stdout, "the record of %s is damaged: who has it is not known\n", or(l.Address, l.Prefix))
		} else {
			fmt.Fprintf(a.stdout, "%s is %s by %s until %s\n", or(l.Address, l.Prefix), l.State, l.Holder, l.ValidUntil.Local().Format(time.DateTime))
		}
		if a.ask(bufio.NewReader(a.stdin), "end this lease? Its client may still use the address. Type yes: ", "yes") != nil {
			return errors.New("not confirmed, nothing was released")
		}
	}
	req.Confirm, req.Holder = true, found.Lease.Holder
	done, err := c.Release(ctx, req)
	if err != nil {
		return err
	}
	if asJSON {
		return writeJSON(a.stdout, done)
	}
	_, err = fmt.Fprintf(a.stdout, "%s is free\n", or(done.Lease.Address, done.Lease.Prefix))
	return err
}

// releaseDeclined ends all leases that are put aside.
func (a app) releaseDeclined(ctx context.Context, c *api.Client, of string, yes, asJSON bool) error {
	req := api.ReleaseDeclinedRequest{Of: of, By: a.who()}
	if !yes {
		if asJSON {
			return usageError{"--json needs --yes: nobody is asked"}
		}
		found, err := c.ReleaseDeclined(ctx, req)
		switch {
		case err != nil:
			return err
		case len(found.Leases) == 0:
			_, err := fmt.Fprintln(a.stdout, "nothing is put aside")
			return err
		}
		a.leaseTable(found.Leases)
		ask := fmt.Sprintf("give all %d back? Another machine may still use them. Type yes: ", len(found.Leases))
		if a.ask(bufio.NewReader(a.stdin), ask, "yes") != nil {
			return errors.New("not confirmed, nothing was released")
		}
	}
	req.Confirm = true
	done, err := c.ReleaseDeclined(ctx, req)
	if err != nil {
		return err
	}
	if asJSON {
		return writeJSON(a.stdout, done)
	}
	for _, l := range done.Leases {
		fmt.Fprintf(a.stdout, "%s is free\n", l.Address)
	}
	if len(done.Leases) == 0 {
		fmt.Fprintln(a.stdout, "nothing is put aside")
	}
	return nil
}
