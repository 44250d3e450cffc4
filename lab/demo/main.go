// Command demo shows bootd at work: it builds a rack out of namespaces and
// virtual machines, starts bootd on it, arms two of three machines, switches
// all on and shows where each of them is until two have fetched the answers
// that were rendered for them and the third has booted its own disk.
//
// It is what `make demo` runs. It needs root and touches nothing outside its
// sandbox and its evidence directory. It never fakes a step: firmware, iPXE and
// Debian's installer are the packaged ones.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"bootd.internal/lab"
)

func main() {
	var (
		binary   = flag.String("bootd", "bin/bootd", "the bootd `binary` to show")
		evidence = flag.String("evidence", "", "`directory` for consoles, captures, events and logs (a new one in the temporary directory)")
		keep     = flag.Bool("keep", false, "keep the evidence of a success too")
		limit    = flag.Duration("limit", 8*time.Minute, "give up after this time")
		plain    = flag.Bool("plain", false, "print a line per change, even on a terminal")
	)
	flag.Parse()
	if err := lab.Enter(); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGINT, unix.SIGTERM)
	ctx, cancel := context.WithTimeoutCause(ctx, *limit, fmt.Errorf("not done after %s", *limit))
	terminal := int(os.Stdout.Fd())
	screen := &screen{out: os.Stdout, live: !*plain && term.IsTerminal(terminal), width: func() int {
		width, _, err := term.GetSize(terminal)
		if err != nil {
			return 0
		}
		return width
	}}
	var err error
	if *evidence == "" {
		*evidence, err = os.MkdirTemp("", "bootd-demo-")
	}
	if err == nil {
		err = show(ctx, screen, *binary, *evidence)
	}
	cancel()
	stop()
	if err == nil && !*keep {
		err = os.RemoveAll(*evidence)
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "\ndemo: %v\n", err)
		os.Exit(1)
	}
}

// show runs the whole demo; everything is down again when it returns.
func show(ctx context.Context, s *screen, binary, evidence string) (err error) {
	binary, err = filepath.Abs(binary)
	if err != nil {
		return fmt.Errorf("finding bootd: %w", err)
	}
	l, err := lab.New("demo", evidence)
	if err != nil {
		return err
	}
	defer func() {
		err = errors.Join(err, l.Close())
		s.say("The lab is torn down.")
	}()
	r, err := build(ctx, l, binary)
	if err != nil {
		return err
	}
	s.say("bootd serves %s on %s in a namespace of its own; no IPv4 anywhere. QEMU uses %s.", network, serverAddr, lab.Accelerator())
	s.say("Armed: %s.", r.armed())
	if err := r.powerOn(); err != nil {
		return err
	}
	if err := r.watch(ctx, s); err != nil {
		return err
	}
	s.summary(r)
	return nil
}
