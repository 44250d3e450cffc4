package timeline

import (
	"fmt"
	"time"
)

// Limit is how long a phase may last without a sign of progress until its host counts as stuck; 0: for ever. Real
// machines take a few seconds each; the limits leave room for slow firmware, slow disks and a rack that boots at once.
func (p Phase) Limit() time.Duration {
	switch p {
	case PhaseFirmware, PhaseLoader, PhaseIPXE, PhaseScript:
		return 2 * time.Minute
	case PhaseKernel:
		return 4 * time.Minute // an initrd of 100 MB, and a kernel that looks for its hardware
	case PhaseInstaller:
		return 5 * time.Minute
	case PhaseAnswers:
		return 10 * time.Minute
	case PhaseInstalling:
		return 45 * time.Minute // packages: nothing is heard between two stages of the installer
	case PhaseInstalled:
		return 15 * time.Minute // to the firmware's next word
	}
	return 0
}

// StuckFor is how long the host has shown no progress, once that is too long; 0: all is well.
func (s HostState) StuckFor(now time.Time) time.Duration {
	limit := s.Phase.Limit()
	if limit == 0 {
		return 0
	}
	if d := now.Sub(s.moved); d >= limit {
		return d
	}
	return 0
}

// StuckEvent is the event that says so, once for each time that a host gets stuck. False: there is nothing to say.
func (s HostState) StuckEvent(now time.Time) (Event, bool) {
	d := s.StuckFor(now)
	if d == 0 || s.told {
		return Event{}, false
	}
	return Event{
		Time: now, Kind: Stuck, Host: s.Host, MAC: s.MAC,
		Detail: fmt.Sprintf("at %s for %s; heard last: %s", s.Phase, d.Truncate(time.Second), s.Last.Kind),
	}, true
}

// move notes a sign of progress.
func (s HostState) move(at time.Time) HostState {
	s.moved, s.told = at, false
	return s
}
