package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"path"
	"strings"
	"text/tabwriter"
	"time"

	"golang.org/x/term"

	"bootd.internal/bootd/api"
	"bootd.internal/bootd/install"
	"bootd.internal/bootd/reason"
	"bootd.internal/bootd/timeline"
)

const statusText = `
HOST is a name or a pattern in quotes ('r1n*'); without one all are shown.`

func statusCommand(a app, fs *flag.FlagSet) func(context.Context, []string) error {
	var w where
	w.socketFlags(fs)
	asJSON := fs.Bool("json", false, "write JSON")
	watch := fs.Bool("watch", false, "draw it again each second until interrupted")
	return func(ctx context.Context, args []string) error {
		ask := func() (api.Status, error) {
			s, err := w.client().Status(ctx)
			if err != nil {
				return s, err
			}
			s.Hosts, err = named(s.Hosts, args, s.Inventory.File)
			return s, err
		}
		if *watch {
			return a.watch(ctx, ask)
		}
		s, err := ask()
		if err != nil {
			return err
		}
		if *asJSON {
			return writeJSON(a.stdout, s)
		}
		_, err = a.stdout.Write(drawStatus(s, a.colour()))
		return err
	}
}

// named are the hosts that one of the patterns means, all without a pattern.
func named(hosts []api.HostStatus, patterns []string, file string) ([]api.HostStatus, error) {
	if len(patterns) == 0 {
		return hosts, nil
	}
	chosen := make([]bool, len(hosts))
	for _, p := range patterns {
		found := false
		for i, h := range hosts {
			ok, err := path.Match(p, h.Name)
			if err != nil {
				return nil, fmt.Errorf("%q is not a pattern: %w", p, err)
			}
			if ok {
				chosen[i], found = true, true
			}
		}
		if !found {
			return nil, fmt.Errorf("%q names no host of %s", p, file)
		}
	}
	out := []api.HostStatus{}
	for i, h := range hosts {
		if chosen[i] {
			out = append(out, h)
		}
	}
	return out, nil
}

// terminal reports whether people look at the output.
func (a app) terminal() (fd int, ok bool) {
	f, ok := a.stdout.(*os.File)
	if !ok {
		return 0, false
	}
	return int(f.Fd()), term.IsTerminal(int(f.Fd()))
}

// colour follows no-color.org.
func (a app) colour() bool {
	_, ok := a.terminal()
	return ok && a.getenv("NO_COLOR") == "" && a.getenv("TERM") != "dumb"
}

// watch draws the table in place on a terminal, and elsewhere whenever a line other than the clock changes.
func (a app) watch(ctx context.Context, ask func() (api.Status, error)) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	fd, screen := a.terminal()
	var lines int
	var last string
	for {
		s, err := ask()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		switch text := drawStatus(s, a.colour()); {
		case screen:
			width, height, err := term.GetSize(fd)
			if err != nil || width <= 0 || height <= 0 {
				width, height = 80, 24
			}
			drawn := fit(text, width, height-1)
			if _, err := a.stdout.Write(redraw(lines, drawn)); err != nil {
				return err
			}
			lines = bytes.Count(drawn, []byte("\n"))
		case phases(s) != last:
			last = phases(s)
			if _, err := a.stdout.Write(append(text, '\n')); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// redraw goes up over what was drawn, writes the new lines and clears what is left.
func redraw(lines int, text []byte) []byte {
	var b bytes.Buffer
	if lines > 0 {
		fmt.Fprintf(&b, "\x1b[%dA\r", lines)
	}
	b.Write(bytes.ReplaceAll(text, []byte("\n"), []byte("\x1b[K\n")))
	b.WriteString("\x1b[J")
	return b.Bytes()
}

// fit cuts the text to a screen and says how much is missing. Colours do not count as width.
func fit(text []byte, width, height int) []byte {
	height = max(height, 1)
	if n := bytes.Count(text, []byte("\n")); n > height {
		shown := bytes.SplitAfterN(text, []byte("\n"), height)
		shown[height-1] = fmt.Appendf(nil, "... %s: bootd status --watch 'HOSTS*' shows some hosts only\n", count(n-height+1, "more line"))
		text = bytes.Join(shown, nil)
	}
	var b bytes.Buffer
	for line := range bytes.Lines(text) {
		visible, escape := 0, false
		for _, r := range strings.TrimRight(string(line), "\n") {
			switch {
			case r == '\x1b':
				escape = true
			case escape:
				escape = r != 'm'
			default:
				if visible++; visible > width {
					continue
				}
			}
			b.WriteRune(r)
		}
		b.WriteByte('\n')
	}
	return b.Bytes()
}

// phases is what has to change for a new drawing where there is no screen.
func phases(s api.Status) string {
	var b strings.Builder
	for _, h := range s.Hosts {
		fmt.Fprintln(&b, h.Name, h.Phase, h.Address, h.ArmedUntil.IsZero(), h.Last.Seq)
	}
	for _, m := range s.Modules {
		b.WriteString(moduleLine(m))
	}
	fmt.Fprintln(&b, s.Ready, s.Inventory.Hash, len(s.Problems), s.Inventory.Refused)
	return b.String()
}

func drawStatus(s api.Status, colour bool) []byte {
	var b bytes.Buffer
	state := "serving"
	if !s.Ready {
		state = "not ready"
	}
	fmt.Fprintf(&b, "bootd %s %s %s for %s\n", s.Version, state, s.Inventory.File, age(s.Now.Sub(s.Started)))
	for _, n := range s.Networks {
		up := "down"
		if n.Up {
			up = "up"
		}
		where := n.Interface
		for _, a := range n.Relays {
			where = strings.TrimPrefix(where+", relay "+a, ", ")
		}
		fmt.Fprintf(&b, "%s on %s (%s): %s\n", n.Name, where, up, or(n.Address, "no address"))
		if p := n.Pool; p != nil {
			mark := ""
			if p.Percent >= 90 {
				mark = "! "
			}
			fmt.Fprintf(&b, "%s%s pool: %d of %d addresses used (%d%%)", mark, n.Name, p.Used, p.Size, p.Percent)
			if p.Declined > 0 {
				fmt.Fprintf(&b, ", %d put aside: another machine uses them", p.Declined)
			}
			b.WriteByte('\n')
		}
	}
	drawUpstreams(&b, s)
	for _, t := range s.Tasks {
		if t.Error != "" {
			fmt.Fprintf(&b, "! %s on %s: %s\n", t.Task, t.Link, t.Error)
		}
	}
	for _, m := range s.Modules {
		b.WriteString(moduleLine(m))
	}
	for _, p := range s.Problems {
		fmt.Fprintf(&b, "! %s\n", strings.TrimPrefix(p.Place+": "+p.Text, ": "))
	}
	if s.Store != "" {
		fmt.Fprintf(&b, "! store: %s\n", s.Store)
	}
	if s.Inventory.Refused != "" {
		first, rest, more := strings.Cut(s.Inventory.Refused, "\n")
		if more {
			first += fmt.Sprintf(" (and %s: bootd check)", count(strings.Count(rest, "\n")+1, "more fault"))
		}
		fmt.Fprintf(&b, "! the inventory on disk is not served: %s\n", first)
	}
	for _, h := range s.Hosts {
		if h.Attempt == install.Failed && h.ArmedUntil.IsZero() { // else somebody has armed it again
			fmt.Fprintf(&b, "! %s: the installation failed: %s\n", h.Name, h.Why)
		}
	}
	b.WriteByte('\n')
	table(&b, "HOST\tPHASE\tFOR\tADDRESS\tARMED\tLAST EVENT", func(t io.Writer) {
		for _, h := range s.Hosts {
			since, armed := "", ""
			if !h.Since.IsZero() {
				since = age(s.Now.Sub(h.Since))
			}
			if !h.ArmedUntil.IsZero() {
				armed = age(h.ArmedUntil.Sub(s.Now)) + " left"
			} else if !h.Deadline.IsZero() && h.Attempt != install.Failed { // no longer armed: the installer has its answers, and its callback is awaited
				armed = "due in " + age(h.Deadline.Sub(s.Now))
			}
			phase := string(h.Phase)
			if h.Firmware != "" {
				phase += " (" + h.Model + " " + h.Firmware + ")"
			}
			if h.Stuck > 0 {
				phase += ", stuck"
			}
			fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\n", h.Name, phase, or(since, "-"), or(h.Address, "-"), or(armed, "-"), lastEvent(h.Last))
		}
	})
	if s.Unlisted > 0 {
		fmt.Fprintf(&b, "\n%s in the last hour (bootd discovered, bootd adopt MAC NAME)\n", count(s.Unlisted, "unlisted machine"))
		table(&b, "MAC\tNETWORK\tARCH\tMACHINE\tAGO", func(t io.Writer) {
			for _, m := range s.Discovered {
				fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", nameOf(m), onLink(m), or(m.Arch, "-"), or(board(m), "-"), age(s.Now.Sub(m.Last)))
			}
		})
	}
	if !colour {
		return b.Bytes()
	}
	return paint(b.Bytes(), s)
}

// moduleLine is what a module did with one entry.
func moduleLine(m api.ModuleStatus) string {
	text := m.Module + " " + m.Name
	if m.Prefix != "" && m.Prefix != m.Name {
		text += ": " + m.Prefix
	}
	if m.State != "" {
		text += ": " + m.State
	}
	if m.Fault != "" {
		return "! " + text + ": " + m.Fault + "\n"
	}
	return text + "\n"
}

func lastEvent(e timeline.Event) string {
	if e.Seq == 0 {
		return "-"
	}
	text := e.Time.Local().Format(time.TimeOnly) + " " + string(e.Kind)
	if e.Reason != reason.None && e.Reason != reason.Answered && e.Reason != reason.Changed {
		text += " (" + e.Reason.String() + ")"
	}
	return strings.TrimSpace(text)
}

// paint colours the phase of each host; the table is laid out before, so widths stay right.
func paint(text []byte, s api.Status) []byte {
	colours := map[timeline.Phase]string{
		timeline.PhaseFailed: "31", timeline.PhaseInstalled: "32", timeline.PhaseFirstBoot: "32", timeline.PhaseRunning: "32",
		timeline.PhaseLocalDisk: "32", timeline.PhaseUnseen: "90",
	}
	lines := strings.SplitAfter(string(text), "\n")
	for i, line := range lines {
		for _, h := range s.Hosts {
			if rest, ok := strings.CutPrefix(line, h.Name+" "); ok {
				code := or(colours[h.Phase], "33")
				rest = strings.Replace(rest, string(h.Phase), "\x1b["+code+"m"+string(h.Phase)+"\x1b[0m", 1)
				lines[i] = h.Name + " " + rest
				break
			}
		}
		if strings.HasPrefix(line, "! ") {
			lines[i] = "\x1b[31m" + strings.TrimSuffix(line, "\n") + "\x1b[0m\n"
		}
	}
	return []byte(strings.Join(lines, ""))
}

// age is a duration for people: 4s, 3m12s, 5h02m, 3d04h.
func age(d time.Duration) string {
	d = max(0, d).Truncate(time.Second)
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds", int(d.Minutes()), int(d.Seconds())%60)
	case d < 24*time.Hour:
		return fmt.Sprintf("%dh%02dm", int(d.Hours()), int(d.Minutes())%60)
	}
	return fmt.Sprintf("%dd%02dh", int(d.Hours())/24, int(d.Hours())%24)
}

// table writes aligned columns under a head.
func table(w io.Writer, head string, rows func(io.Writer)) {
	var b strings.Builder
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, head)
	rows(t)
	_ = t.Flush() // a strings.Builder takes everything
	for line := range strings.Lines(b.String()) {
		fmt.Fprintln(w, strings.TrimRight(line, " \n"))
	}
}
