package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"bootd.internal/bootd/timeline"
)

// screen shows the rack: on a terminal a table that is drawn anew in its place,
// elsewhere a line for each change.
type screen struct {
	out  io.Writer
	live bool
	// width is the terminal's in columns: a row that wraps would not be drawn
	// over. 0: unknown.
	width func() int

	drawn int               // lines of the table that are on the terminal
	said  map[string]string // the last line of each host
}

func (s *screen) say(format string, args ...any) {
	s.drawn = 0
	fmt.Fprintf(s.out, format+"\n", args...)
}

// draw shows where the machines are now.
func (s *screen) draw(r *rack) {
	if !s.live {
		s.changes(r)
		return
	}
	var b strings.Builder
	if s.drawn > 0 {
		fmt.Fprintf(&b, "\x1b[%dA", s.drawn)
	}
	lines := table(r)
	for _, line := range lines {
		if width := s.width(); width > 0 {
			line = cut(line, width-1)
		}
		b.WriteString("\r\x1b[K" + line + "\n")
	}
	s.drawn = len(lines)
	_, _ = io.WriteString(s.out, b.String()) // a screen that is gone is nobody's failure
}

// changes prints what is new since the last call.
func (s *screen) changes(r *rack) {
	if s.said == nil {
		s.said = map[string]string{}
	}
	for _, m := range r.machines {
		if now := m.progress(); s.said[m.host] != now {
			s.said[m.host] = now
			fmt.Fprintf(s.out, "%6.1f s  %s  %s\n", time.Since(r.began).Seconds(), m.host, now)
		}
	}
}

// progress names the stage and, at the end, how it came out.
func (m *machine) progress() string {
	switch {
	case m.done.IsZero():
		return m.stage()
	case m.armed:
		return "done: the installer has the answers of " + m.host
	default:
		return "done: booted its own disk"
	}
}

func table(r *rack) []string {
	now := time.Now()
	lines := []string{
		fmt.Sprintf("%-7s %-24s %-12s %6s  %s", "HOST", "BOOTS BY", "STAGE", "SINCE", fmt.Sprintf("%.0f s after power-on", now.Sub(r.began).Seconds())),
	}
	for _, m := range r.machines {
		since, last := now.Sub(m.began()), m.vm.LastLine()
		if !m.done.IsZero() {
			since, last = m.done.Sub(m.vm.Started), m.progress()
		}
		lines = append(lines, fmt.Sprintf("%-7s %-24s %-12s %4.0f s  %s", m.host, m.how, m.stage(), since.Seconds(), cut(last, 44)))
	}
	return lines
}

// began is when the machine's present stage did.
func (m *machine) began() time.Time {
	if m.state.Since.IsZero() {
		return m.vm.Started
	}
	return m.state.Since
}

// cut shortens a line to n characters, so that a table's row stays one.
func cut(line string, n int) string {
	runes := []rune(strings.Map(func(r rune) rune {
		if r < ' ' {
			return -1
		}
		return r
	}, line))
	if len(runes) <= n {
		return string(runes)
	}
	return string(runes[:n-1]) + "…"
}

// summary lists the seconds of each stage of each machine.
func (s *screen) summary(r *rack) {
	s.say("")
	for _, m := range r.machines {
		parts := []string{fmt.Sprintf("power-on %.1f", m.firstSeen().Sub(m.vm.Started).Seconds())}
		for _, g := range m.state.Stages {
			if g.Since.Before(m.done) && g.Phase != timeline.PhaseAnswers {
				parts = append(parts, fmt.Sprintf("%s %.1f", g.Phase, g.Seconds(m.done)))
			}
		}
		s.say("%s  %6.1f s  %s\n            %s", m.host, m.done.Sub(m.vm.Started).Seconds(), m.progress(), strings.Join(parts, " · "))
	}
	s.say("\nAll three are where they belong, %.0f s after power-on.", time.Since(r.began).Seconds())
}

// firstSeen is when bootd first heard of the machine.
func (m *machine) firstSeen() time.Time {
	if len(m.state.Stages) == 0 {
		return m.done
	}
	return m.state.Stages[0].Since
}
