package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"bootd.internal/bootd/api"
)

const installText = `
HOST is a name or a pattern in quotes ('r1n*', 'rack?-0[1-4]'). The hosts that are meant are shown first; one host is
confirmed with "yes", more by typing their number, and a protected host by typing its name. An arm lasts four hours and
installs once; a host that is known as installed needs --reinstall.`

func installCommand(a app, fs *flag.FlagSet) func(context.Context, []string) error {
	var w where
	w.socketFlags(fs)
	reinstall := fs.Bool("reinstall", false, "wipe hosts that are known as installed")
	yes := fs.Bool("yes", false, "do not ask; protected hosts are still refused")
	asJSON := fs.Bool("json", false, "write JSON")
	return func(ctx context.Context, args []string) error {
		client := w.client()
		req := api.InstallRequest{Hosts: args, Reinstall: *reinstall, By: a.who()}
		found, err := client.Install(ctx, req)
		if err != nil {
			return err
		}
		req.Confirm = len(found.Hosts)
		if !*yes {
			if *asJSON {
				return usageError{"--json needs --yes: nobody is asked"}
			}
			if req.Typed, err = a.confirm(found.Hosts); err != nil {
				return err
			}
		}
		done, err := client.Install(ctx, req)
		if err != nil {
			return err
		}
		if *asJSON {
			return writeJSON(a.stdout, done)
		}
		for _, h := range done.Hosts {
			fmt.Fprintf(a.stdout, "%s is armed until %s: reset it\n", h.Name, done.Until.Local().Format(time.TimeOnly))
		}
		return nil
	}
}

// confirm shows the hosts and asks; it gives the names of protected ones that were typed.
func (a app) confirm(hosts []api.Candidate) (typed []string, err error) {
	section(a.stdout, "to be installed, everything on their disks will be lost", len(hosts), func(t io.Writer) {
		for _, h := range hosts {
			var marks []string
			for _, m := range []struct {
				set  bool
				text string
			}{{h.Installed, "installed"}, {h.Armed, "armed already"}, {h.Protected, "protected"}} {
				if m.set {
					marks = append(marks, m.text)
				}
			}
			fmt.Fprintf(t, "  %s\t%s\t%s\t%s\n", h.Name, h.MAC, or(h.Profile, "no profile"), strings.Join(marks, ", "))
		}
	})
	in := bufio.NewReader(a.stdin)
	want, ask := "yes", "install this host? Type yes: "
	if len(hosts) > 1 {
		want, ask = strconv.Itoa(len(hosts)), fmt.Sprintf("install these %d hosts? Type their number: ", len(hosts))
	}
	if len(hosts) != 1 || !hosts[0].Protected { // one that is protected is asked for once, below
		if err := a.ask(in, ask, want); err != nil {
			return nil, err
		}
	}
	for _, h := range hosts {
		if h.Protected {
			if err := a.ask(in, h.Name+" is protected. Type its name: ", h.Name); err != nil {
				return nil, err
			}
			typed = append(typed, h.Name)
		}
	}
	return typed, nil
}

var errNotConfirmed = errors.New("not confirmed, nothing was armed")

func (a app) ask(in *bufio.Reader, question, want string) error {
	fmt.Fprint(a.stdout, question)
	line, err := in.ReadString('\n')
	if err != nil {
		fmt.Fprintln(a.stdout)
	}
	if strings.TrimSpace(line) != want {
		return errNotConfirmed
	}
	return nil
}

// who is the person, for the record.
func (a app) who() string { return or(a.getenv("SUDO_USER"), a.getenv("USER")) }

func cancelCommand(a app, fs *flag.FlagSet) func(context.Context, []string) error {
	var w where
	w.socketFlags(fs)
	asJSON := fs.Bool("json", false, "write JSON")
	return func(ctx context.Context, args []string) error {
		r, err := w.client().Cancel(ctx, api.CancelRequest{Hosts: args, By: a.who()})
		if err != nil {
			return err
		}
		if *asJSON {
			return writeJSON(a.stdout, r)
		}
		for _, h := range r.Cancelled {
			fmt.Fprintf(a.stdout, "%s is disarmed: it boots its local disk\n", h)
		}
		for _, h := range r.Idle {
			fmt.Fprintf(a.stdout, "%s was neither armed nor being installed\n", h)
		}
		return nil
	}
}

func stopCommand(a app, fs *flag.FlagSet) func(context.Context, []string) error {
	var w where
	w.socketFlags(fs)
	keep := fs.Bool("keep-router", false, "send no final router advertisement: bootd will be back soon")
	return func(ctx context.Context, _ []string) error {
		if err := w.client().Stop(ctx, api.StopRequest{FinalRA: !*keep}); err != nil {
			return err
		}
		_, err := fmt.Fprintln(a.stdout, "stopping")
		return err
	}
}

func reloadCommand(a app, fs *flag.FlagSet) func(context.Context, []string) error {
	var w where
	w.socketFlags(fs)
	return func(ctx context.Context, _ []string) error {
		if err := w.client().Reload(ctx); err != nil {
			return err
		}
		_, err := fmt.Fprintln(a.stdout, "the inventory on disk is served")
		return err
	}
}
