// Command bootd boots and provisions racks of servers on IPv6-only networks.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
)

// version is set by the linker.
var version = "unknown"

// The exit codes, the same for every command.
const (
	exitOK    = 0
	exitFault = 1 // it was refused or failed: what and why is on standard error
	exitUsage = 2 // the command line makes no sense
	exitPart  = 3 // it was done in part: what is missing is on standard error
)

// app is what commands use of the world.
type app struct {
	stdin  io.Reader
	stdout io.Writer
	stderr io.Writer
	getenv func(string) string
}

// usageError is a command line that makes no sense.
type usageError struct{ msg string }

func (e usageError) Error() string { return e.msg }

// errSilent ends with exitFault after everything was said.
var errSilent = errors.New("said already")

// errPartly ends with exitPart after everything was said.
var errPartly = errors.New("done in part")

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	a := app{stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr, getenv: os.Getenv}
	code := a.run(ctx, os.Args[1:])
	stop()
	os.Exit(code)
}

// run finds the command and gives the exit code.
func (a app) run(ctx context.Context, args []string) int {
	if len(args) == 0 {
		fmt.Fprint(a.stderr, overview())
		return exitUsage
	}
	name, rest := args[0], args[1:]
	switch name {
	case "help", "-h", "-help", "--help":
		return a.help(rest)
	case "-v", "-version", "--version":
		name = "version"
	}
	for _, c := range commands() {
		if c.name == name {
			return a.exit(c, c.call(ctx, a, rest))
		}
	}
	fmt.Fprintf(a.stderr, "bootd: unknown command %q%s\nbootd help lists the commands.\n", name, didYouMean(name, commandNames()))
	return exitUsage
}

// exit says what went wrong, once, and gives the code.
func (a app) exit(c command, err error) int {
	var usage usageError
	switch {
	case err == nil:
		return exitOK
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprint(a.stdout, c.help())
		return exitOK
	case errors.Is(err, errSilent):
		return exitFault
	case errors.Is(err, errPartly):
		return exitPart
	case errors.As(err, &usage):
		fmt.Fprintf(a.stderr, "bootd %s: %s\nusage: bootd %s\n", c.name, usage.msg, strings.TrimSpace(c.name+" "+c.args))
		return exitUsage
	case errors.Is(err, syscall.EPIPE):
		return exitFault // whoever read went away
	}
	fmt.Fprintf(a.stderr, "bootd %s: %v\n", c.name, err)
	return exitFault
}
