package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"bootd.internal/bootd/api"
	"bootd.internal/bootd/daemon"
)

// command is one subcommand. setup declares its flags and gives what runs once they are parsed.
type command struct {
	name, args, short string
	// least and most positional arguments; most -1: any number.
	least, most int
	setup       func(a app, fs *flag.FlagSet) func(ctx context.Context, args []string) error
	// text follows the flags in the help.
	text string
}

func commands() []command {
	return []command{
		{"init", "[FILE]", "write a small commented inventory for this machine", 0, 1, initCommand, ""},
		{"check", "[FILE]", "find every fault of an inventory, its templates and files", 0, 1, checkCommand, checkText},
		{"diff", "OLD NEW", "say what another inventory would change", 2, 2, diffCommand, diffText},
		{"serve", "", "run the daemon", 0, 0, serveCommand, serveText},
		{"stop", "", "stop the running daemon for good", 0, 0, stopCommand, ""},
		{"reload", "", "serve the inventory on disk, whole or not at all", 0, 0, reloadCommand, ""},
		{"status", "[HOST...]", "show what every host is doing", 0, -1, statusCommand, statusText},
		{"events", "[HOST|MAC]", "show what happened", 0, 1, eventsCommand, ""},
		{"render", "HOST [script|answers|local|error|phone|common|bootstrap]", "show what a host would be served", 1, 2, renderCommand, ""},
		{"explain", "HOST|MAC|DUID|ADDRESS|PREFIX", "say who it is, what it gets and which line says so", 1, 1, explainCommand, ""},
		{"trace", "[HOST|MAC|DUID]", "show DHCPv6 messages and answers as they happen", 0, 1, traceCommand, traceText},
		{"install", "HOST...", "arm hosts: their next boot installs them", 1, -1, installCommand, installText},
		{"cancel", "HOST...", "disarm hosts and end their installation", 1, -1, cancelCommand, ""},
		{"leases", "[[release] --declined [WHICH] | release ADDRESS]", "list the addresses that are in use, or end a lease", 0, 2, leasesCommand, leasesText},
		{"upstream", "[renew|release] [NAME]", "show the prefixes that this machine was given, ask anew, or give them back", 0, 2, upstreamCommand, upstreamText},
		{"follow", "[NAME...]", "show what Docker and others would be told of their prefixes, and do nothing", 0, -1, followCommand, followText},
		{"discovered", "", "list the machines that asked and that nobody listed", 0, 0, discoveredCommand, discoveredText},
		{"phones", "[ca]", "list the phones, what they are and which files they fetched", 0, 1, phonesCommand, phonesText},
		{"adopt", "MAC NAME", "list a machine: add it to the inventory", 2, 2, adoptCommand, adoptText},
		{"passwd", "", "make the hash of a password", 0, 0, passwdCommand, passwdText},
		{"import", "kea|dhcpd|radvd FILE", "make an inventory of what another server was configured with", 2, 2, importCommand, importText},
		{"prefix", "split|random PREFIX [LENGTH]", "list the prefixes inside one, or make up addresses", 2, 3, prefixCommand, prefixText},
		{"doctor", "", "find what keeps machines from booting, and say what to do", 0, 0, doctorCommand, doctorText},
		{"version", "", "print the version", 0, 0, versionCommand, ""},
	}
}

func commandNames() []string {
	names := []string{"help"}
	for _, c := range commands() {
		names = append(names, c.name)
	}
	return names
}

// call parses flags wherever they stand among the arguments and runs the command.
func (c command) call(ctx context.Context, a app, args []string) error {
	fs, run := c.flags(a)
	var positional []string
	for {
		if err := fs.Parse(args); err != nil {
			if errors.Is(err, flag.ErrHelp) {
				return err
			}
			return usageError{c.flagFault(fs, err)}
		}
		rest := fs.Args()
		if len(rest) == 0 {
			break
		}
		if n := len(args) - len(rest); n > 0 && args[n-1] == "--" {
			positional = append(positional, rest...)
			break
		}
		positional, args = append(positional, rest[0]), rest[1:]
	}
	switch {
	case len(positional) < c.least:
		return usageError{missing(c.args, len(positional))}
	case c.most >= 0 && len(positional) > c.most:
		extra := positional[c.most]
		if fs.Lookup("inventory") != nil && strings.HasSuffix(extra, ".yaml") {
			return usageError{fmt.Sprintf("%q is one argument too many: write --inventory %s", extra, extra)}
		}
		return usageError{fmt.Sprintf("%q is one argument too many", extra)}
	}
	return run(ctx, positional)
}

// missing names the argument that is not there, of those that the usage lists.
func missing(args string, given int) string {
	return strings.TrimSuffix(strings.Fields(args)[given], "...") + " is missing"
}

func (c command) flags(a app) (*flag.FlagSet, func(context.Context, []string) error) {
	fs := flag.NewFlagSet(c.name, flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	return fs, c.setup(a, fs)
}

// flagFault names the flag that was probably meant, or what the value of one has to be.
func (c command) flagFault(fs *flag.FlagSet, err error) string {
	msg := err.Error()
	name, ok := strings.CutPrefix(msg, "flag provided but not defined: ")
	if !ok {
		return valueFault(fs, msg)
	}
	var known []string
	fs.VisitAll(func(f *flag.Flag) { known = append(known, f.Name) })
	meant := didYouMean(strings.TrimLeft(name, "-"), known)
	return fmt.Sprintf("unknown option -%s%s", name, strings.Replace(meant, "mean ", "mean --", 1))
}

// valueFault says what a flag wants, of which package flag says only that it could not read it.
func valueFault(fs *flag.FlagSet, msg string) string {
	_, rest, ok := strings.Cut(msg, "value ")
	quoted, err := strconv.QuotedPrefix(rest)
	if !ok || err != nil {
		return msg
	}
	_, rest, _ = strings.Cut(rest[len(quoted):], " -")
	name, fault, _ := strings.Cut(rest, ": ")
	f := fs.Lookup(name)
	if f == nil {
		return msg
	}
	dashes, want := "--", "true or false"
	if len(name) == 1 {
		dashes = "-"
	}
	switch g, _ := f.Value.(flag.Getter); g.Get().(type) {
	case bool:
	case uint64:
		want = "a number from 0"
	default:
		want = "a number"
	}
	if fault == "value out of range" {
		want = "a smaller number"
	}
	return fmt.Sprintf("%s%s %s: want %s", dashes, name, quoted, want)
}

func (c command) help() string {
	var b bytes.Buffer
	fmt.Fprintf(&b, "bootd %s - %s\n\nusage: bootd %s\n", c.name, c.short, strings.TrimSpace(c.name+" "+c.args))
	fs, _ := c.flags(app{})
	first := true
	fs.VisitAll(func(f *flag.Flag) {
		if first {
			fmt.Fprintf(&b, "\noptions:\n")
			first = false
		}
		kind, text := flag.UnquoteUsage(f)
		fmt.Fprintf(&b, "  %-20s %s\n", strings.TrimSpace("--"+f.Name+" "+kind), text)
	})
	if c.text != "" {
		fmt.Fprintf(&b, "\n%s\n", strings.TrimSpace(c.text))
	}
	return b.String()
}

func overview() string {
	var b bytes.Buffer
	fmt.Fprint(&b, "bootd boots and provisions racks of servers on IPv6-only networks.\n\nusage: bootd COMMAND [options]\n\n")
	for _, c := range commands() {
		fmt.Fprintf(&b, "  %-11s %s\n", c.name, c.short)
	}
	fmt.Fprint(&b, "\nbootd help COMMAND says more. Exit codes: 0 done, 1 refused or failed, 2 the command line makes no sense,\n3 done in part (import).\n")
	return b.String()
}

func (a app) help(args []string) int {
	if len(args) == 0 {
		fmt.Fprint(a.stdout, overview())
		return exitOK
	}
	for _, c := range commands() {
		if c.name == args[0] {
			fmt.Fprint(a.stdout, c.help())
			return exitOK
		}
	}
	fmt.Fprintf(a.stderr, "bootd help: unknown command %q%s\n", args[0], didYouMean(args[0], commandNames()))
	return exitUsage
}

// where finds the daemon and the inventory.
type where struct{ inventory, state, run string }

func (w *where) inventoryFlag(fs *flag.FlagSet) {
	fs.StringVar(&w.inventory, "inventory", "", "`FILE` to read (./inventory.yaml, else /etc/bootd/inventory.yaml)")
}

func (w *where) socketFlags(fs *flag.FlagSet) {
	fs.StringVar(&w.run, "run", "", "`DIR` of the daemon's socket (/run/bootd, or the state directory)")
	fs.StringVar(&w.state, "state", "", "state `DIR` of the daemon (/var/lib/bootd)")
}

const (
	systemInventory = "/etc/bootd/inventory.yaml"
	localInventory  = "inventory.yaml"
	systemState     = "/var/lib/bootd"
	systemRun       = "/run/bootd"
)

// file is the inventory to read.
func (w where) file() string {
	if w.inventory != "" {
		return w.inventory
	}
	if _, err := os.Stat(localInventory); err == nil {
		return localInventory
	}
	return systemInventory
}

// socket is where the daemon listens.
func (w where) socket() string {
	if w.run != "" || w.state != "" {
		return daemon.Socket(w.run, w.state)
	}
	for _, dir := range []string{systemRun, systemState} {
		path := daemon.Socket(dir, "")
		if _, err := os.Stat(path); err == nil {
			return path
		}
	}
	return daemon.Socket(systemRun, "")
}

func (w where) client() *api.Client { return api.NewClient(w.socket()) }

// didYouMean names what was probably meant, or nothing.
func didYouMean(got string, known []string) string {
	best, least := "", max(2, len(got)/3)+1
	for _, k := range known {
		if d := distance(got, k); d < least {
			best, least = k, d
		}
	}
	if best == "" {
		return ""
	}
	return ", did you mean " + best + "?"
}

// distance counts the letters to change, add, drop or swap with their neighbour (optimal string alignment).
func distance(a, b string) int {
	prev, row := make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		before := prev
		prev, row = row, slices.Clone(row)
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(row[j-1]+1, prev[j]+1, prev[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
	}
	return row[len(b)]
}

func versionCommand(a app, _ *flag.FlagSet) func(context.Context, []string) error {
	return func(context.Context, []string) error {
		_, err := fmt.Fprintln(a.stdout, "bootd", version)
		return err
	}
}
