package timeline

import (
	"time"

	"bootd.internal/bootd/ident"
	"bootd.internal/bootd/reason"
)

// SettleAfter is how long a lease without any boot file must stand alone before its host counts as running: EDK2's own
// IP stack leases an address a moment before PXE asks for its boot loader, and both look like an installed system.
const SettleAfter = 15 * time.Second

// Stage is one phase of one boot. A zero Until: it lasts.
type Stage struct {
	Phase Phase     `json:"phase"`
	Since time.Time `json:"since"`
	Until time.Time `json:"until,omitzero"`
}

// Seconds is how long the stage took, up to now where it lasts.
func (s Stage) Seconds(now time.Time) float64 {
	if !s.Until.IsZero() {
		now = s.Until
	}
	return max(0, now.Sub(s.Since).Seconds())
}

// HostState is what a host's events tell of it. The zero value is a host that nobody heard of.
type HostState struct {
	Host  string    `json:"host"`
	Phase Phase     `json:"phase"`
	Since time.Time `json:"since,omitzero"`
	// Boot is when the current boot began; Boots counts them.
	Boot  time.Time `json:"boot,omitzero"`
	Boots int       `json:"boots"`
	// Stages are those of the current boot, oldest first.
	Stages []Stage   `json:"stages,omitempty"`
	MAC    ident.MAC `json:"mac,omitzero"`
	// Addr is the address that was promised last, or that it spoke from where none was.
	Addr string `json:"addr,omitempty"`
	// Last is the newest event of the host, Reason the newest that an answer had.
	Last   Event         `json:"last"`
	Reason reason.Reason `json:"reason,omitempty"`

	// lone is when a DHCPv6 exchange without a boot file began that nothing followed yet.
	lone time.Time
	// moved is the last sign of progress; told: that there was none for too long has been said.
	moved time.Time
	told  bool
}

// Fold reads events in their order and gives the state of each host they name, as of the last event.
func Fold(events []Event) map[string]HostState {
	states := map[string]HostState{}
	for _, e := range events {
		if e.Host != "" {
			states[e.Host] = states[e.Host].Next(e)
		}
	}
	return states
}

// At is the state as it stands at a time: a lone lease settles into PhaseRunning.
func (s HostState) At(now time.Time) HostState {
	if s.Phase == "" {
		s.Phase = PhaseUnseen
	}
	if s.lone.IsZero() || now.Sub(s.lone) < SettleAfter {
		return s
	}
	at := s.lone
	s.lone = time.Time{}
	if s.Phase == PhaseRunning || s.Phase == PhaseFailed {
		return s
	}
	return s.enter(PhaseRunning, at)
}

// Next is the state after one more event of the host.
func (s HostState) Next(e Event) HostState {
	s = s.At(e.Time)
	s.Host, s.Last = e.Host, e
	if e.MAC != (ident.MAC{}) {
		s.MAC = e.MAC
	}
	if e.Reason != reason.None {
		s.Reason = e.Reason
	}
	if e.Addr != "" && (e.Kind == DHCPLease || s.Addr == "" && (e.Kind == ScriptFetched || e.Kind == AnswersServed)) {
		s.Addr = e.Addr
	}
	switch e.Kind {
	case DHCPSolicit, DHCPLease, RouterSolicit:
		return s.bare(e)
	case LoaderOffered, LoaderFetched, ScriptOffered, ScriptFetched, FileFetched:
		return s.booting(e)
	case AnswersServed:
		return s.enter(PhaseAnswers, e.Time)
	case Progress:
		if s.Phase == PhaseInstalled {
			return s
		}
		return s.enter(PhaseInstalling, e.Time)
	case Installed:
		return s.enter(PhaseInstalled, e.Time)
	case PhoneFetched:
		return s.enter(PhaseRunning, e.Time)
	case FirstBoot:
		return s.enter(PhaseFirstBoot, e.Time)
	case InstallFailed:
		return s.enter(PhaseFailed, e.Time)
	case Stuck:
		s.told = true
	}
	return s
}

// bare reads an exchange that offers nothing to boot: an installer where a kernel was fetched, else perhaps an installed
// system, which only time can tell.
func (s HostState) bare(e Event) HostState {
	switch s.Phase {
	case PhaseScript, PhaseKernel:
		return s.enter(PhaseInstaller, e.Time)
	case PhaseUnseen, PhaseLocalDisk, PhaseInstalled, PhaseFirstBoot, PhaseRunning:
		if e.Kind != RouterSolicit && s.lone.IsZero() {
			s.lone = e.Time
		}
	}
	return s
}

// booting reads what a boot is made of, up to the kernel.
func (s HostState) booting(e Event) HostState {
	switch e.Kind {
	case LoaderOffered:
		if s.Phase == PhaseFirmware {
			return s
		}
		return s.begin(PhaseFirmware, e.Time)
	case LoaderFetched:
		switch s.Phase {
		case PhaseFirmware, PhaseLoader:
			return s.enter(PhaseLoader, e.Time)
		case PhaseUnseen, PhaseLocalDisk, PhaseInstalled, PhaseFirstBoot, PhaseRunning, PhaseFailed:
			return s.begin(PhaseLoader, e.Time)
		}
	case ScriptOffered:
		switch s.Phase {
		case PhaseFirmware, PhaseLoader, PhaseIPXE:
			return s.enter(PhaseIPXE, e.Time)
		}
		return s.begin(PhaseIPXE, e.Time)
	case ScriptFetched:
		phase := scriptPhase(e.Reason)
		switch s.Phase {
		case PhaseFirmware, PhaseLoader, PhaseIPXE, phase:
			return s.enter(phase, e.Time)
		}
		return s.begin(phase, e.Time)
	case FileFetched:
		if s.Phase == PhaseScript || s.Phase == PhaseKernel {
			return s.enter(PhaseKernel, e.Time)
		}
	}
	return s
}

// scriptPhase is where a script sends its host.
func scriptPhase(r reason.Reason) Phase {
	switch r {
	case reason.Install:
		return PhaseScript
	case reason.TemplateError, reason.AttemptsSpent, reason.AlreadyFetched, reason.ArmMismatch:
		return PhaseFailed
	}
	return PhaseLocalDisk
}

// begin starts a new boot; a lone exchange just before it belongs to it.
func (s HostState) begin(p Phase, at time.Time) HostState {
	start := at
	if !s.lone.IsZero() {
		start = s.lone
	}
	s.Boots++
	s.Boot, s.Stages, s.Phase = start, nil, ""
	if p == PhaseLoader && start.Before(at) {
		s = s.enter(PhaseFirmware, start)
		start = at
	}
	return s.enter(p, start)
}

// enter moves into a phase; a phase that lasts already goes on.
func (s HostState) enter(p Phase, at time.Time) HostState {
	s.lone = time.Time{}
	s = s.move(at)
	if s.Phase == p {
		return s
	}
	stages := make([]Stage, len(s.Stages), len(s.Stages)+1) // a copy: states are values that readers keep
	copy(stages, s.Stages)
	if n := len(stages); n > 0 && stages[n-1].Until.IsZero() {
		stages[n-1].Until = at
	}
	if len(stages) >= maxStages {
		stages = stages[1:]
	}
	s.Stages = append(stages, Stage{Phase: p, Since: at})
	s.Phase, s.Since = p, at
	return s
}

// maxStages bounds the stages that are kept of one boot.
const maxStages = 24
