package timeline_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"bootd.internal/bootd/ident"
	"bootd.internal/bootd/reason"
	"bootd.internal/bootd/timeline"
)

var (
	start = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	mac   = ident.MAC{0x52, 0x54, 0, 0xaa, 1, 1}
)

// at is one event of host r1n01, seconds after start.
func at(sec float64, k timeline.Kind, r reason.Reason) timeline.Event {
	return timeline.Event{
		Time: start.Add(time.Duration(sec * float64(time.Second))), Kind: k, Reason: r, Host: "r1n01", MAC: mac,
	}
}

// ovmf is the sequence of a real OVMF 2022.11: the IP stack's own DHCPv6 client, then PXE's, the release of both
// claims, and iPXE on the same address.
func ovmf() []timeline.Event {
	return []timeline.Event{
		at(0, timeline.RouterSolicit, reason.Answered),
		at(1, timeline.DHCPSolicit, reason.Answered),
		at(1.1, timeline.DHCPLease, reason.Changed),
		at(2, timeline.DHCPSolicit, reason.BootLoader),
		at(2, timeline.LoaderOffered, reason.BootLoader),
		at(2.1, timeline.DHCPLease, reason.Changed),
		at(2.1, timeline.LoaderOffered, reason.BootLoader),
		at(4, timeline.DHCPRelease, reason.Changed),
		at(6, timeline.LoaderFetched, reason.Answered),
		at(6.1, timeline.DHCPRelease, reason.Changed),
		at(8, timeline.DHCPSolicit, reason.BootScript),
		at(8, timeline.ScriptOffered, reason.BootScript),
		at(9, timeline.DHCPLease, reason.Changed),
		at(9, timeline.ScriptOffered, reason.BootScript),
	}
}

func installer() []timeline.Event {
	return []timeline.Event{
		at(10, timeline.ScriptFetched, reason.Install),
		at(11, timeline.FileFetched, reason.Answered),
		at(13, timeline.FileFetched, reason.Answered),
		at(20, timeline.RouterSolicit, reason.Answered),
		at(21, timeline.DHCPSolicit, reason.Answered),
		at(22, timeline.DHCPLease, reason.Changed),
		at(24, timeline.DHCPRelease, reason.Changed),
		at(30, timeline.AnswersServed, reason.Answered),
		at(40, timeline.Progress, reason.Callback),
		at(300, timeline.Installed, reason.Callback),
	}
}

// seen is a state without what every case repeats.
type seen struct {
	Phase  timeline.Phase
	Boots  int
	Stages []string
}

func brief(s timeline.HostState, now time.Time) seen {
	out := seen{Phase: s.Phase, Boots: s.Boots}
	for _, g := range s.Stages {
		out.Stages = append(out.Stages, string(g.Phase)+" "+time.Duration(g.Seconds(now)*float64(time.Second)).Round(100*time.Millisecond).String())
	}
	return out
}

func TestFold(t *testing.T) {
	cases := []struct {
		name   string
		events []timeline.Event
		now    float64
		want   seen
	}{
		{"nothing", nil, 0, seen{Phase: timeline.PhaseUnseen}},
		{"the firmware's own stack is not yet a running system", ovmf()[:3], 3, seen{Phase: timeline.PhaseUnseen}},
		{
			"a lease that nothing follows is a running system", ovmf()[:3], 30,
			seen{timeline.PhaseRunning, 0, []string{"running 29s"}},
		},
		{
			"firmware begins with the stack's first word", ovmf()[:7], 3,
			seen{timeline.PhaseFirmware, 1, []string{"firmware 2s"}},
		},
		{
			"boot loader", ovmf()[:10], 7,
			seen{timeline.PhaseLoader, 1, []string{"firmware 5s", "loader 1s"}},
		},
		{
			"ipxe", ovmf(), 9,
			seen{timeline.PhaseIPXE, 1, []string{"firmware 5s", "loader 2s", "ipxe 1s"}},
		},
		{
			"not armed", append(ovmf(), at(10, timeline.ScriptFetched, reason.LocalDisk)), 12,
			seen{timeline.PhaseLocalDisk, 1, []string{"firmware 5s", "loader 2s", "ipxe 2s", "local-disk 2s"}},
		},
		{
			"a template error is a failure",
			append(ovmf(), at(10, timeline.ScriptFetched, reason.TemplateError)), 12,
			seen{timeline.PhaseFailed, 1, []string{"firmware 5s", "loader 2s", "ipxe 2s", "failed 2s"}},
		},
		{
			"a whole installation", append(ovmf(), installer()...), 305,
			seen{timeline.PhaseInstalled, 1, []string{
				"firmware 5s", "loader 2s", "ipxe 2s", "script 1s", "kernel 9s", "installer 10s", "answers 10s", "installing 4m20s", "installed 5s",
			}},
		},
		{
			"the reboot after it, from its disk, to the first boot",
			append(append(ovmf(), installer()...),
				at(310, timeline.DHCPSolicit, reason.Answered), at(310.5, timeline.DHCPLease, reason.Changed),
				at(311, timeline.LoaderOffered, reason.BootLoader), at(315, timeline.LoaderFetched, reason.Answered),
				at(317, timeline.ScriptOffered, reason.BootScript), at(318, timeline.ScriptFetched, reason.LocalDisk),
				at(340, timeline.FirstBoot, reason.Callback)), 341,
			seen{timeline.PhaseFirstBoot, 2, []string{"firmware 5s", "loader 2s", "ipxe 1s", "local-disk 22s", "first-boot 1s"}},
		},
		{
			"BIOS iPXE with its own script comes without firmware", ovmf()[10:], 9,
			seen{timeline.PhaseIPXE, 1, []string{"ipxe 1s"}},
		},
		{
			"an installation that gave up",
			append(append(ovmf(), installer()[:9]...), at(50, timeline.InstallFailed, reason.Callback), at(51, timeline.DHCPLease, reason.Changed)), 100,
			seen{timeline.PhaseFailed, 1, []string{
				"firmware 5s", "loader 2s", "ipxe 2s", "script 1s", "kernel 9s", "installer 10s", "answers 10s", "installing 10s", "failed 50s",
			}},
		},
		{
			"a reset in the middle of the kernel",
			append(append(ovmf(), installer()[:2]...), at(12, timeline.DHCPSolicit, reason.Answered), at(13, timeline.LoaderOffered, reason.BootLoader)), 14,
			seen{timeline.PhaseFirmware, 2, []string{"firmware 1s"}},
		},
		{
			"SLAAC only: the installer's router solicitation tells", append(ovmf(), installer()[:4]...), 21,
			seen{timeline.PhaseInstaller, 1, []string{"firmware 5s", "loader 2s", "ipxe 2s", "script 1s", "kernel 9s", "installer 1s"}},
		},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			now := start.Add(time.Duration(c.now * float64(time.Second)))
			got := brief(timeline.Fold(c.events)["r1n01"].At(now), now)
			if d := cmp.Diff(c.want, got); d != "" {
				t.Errorf("-want +got:\n%s", d)
			}
		})
	}
}

func TestFoldKeepsWhatPeopleLookFor(t *testing.T) {
	lease := at(2, timeline.DHCPLease, reason.Changed)
	lease.Addr = "2001:db8:1::101"
	got := timeline.Fold([]timeline.Event{at(1, timeline.DHCPSolicit, reason.Answered), lease, {Kind: timeline.Warning}})
	want := map[string]timeline.HostState{"r1n01": {
		Host: "r1n01", Phase: timeline.PhaseUnseen, MAC: mac, Addr: "2001:db8:1::101", Last: lease, Reason: reason.Changed,
	}}
	if d := cmp.Diff(want, got, cmp.FilterPath(func(p cmp.Path) bool { return p.String() == "lone" || p.String() == "moved" || p.String() == "told" }, cmp.Ignore())); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
}

func TestFoldTakesTheAddressOfAHostWithoutALease(t *testing.T) {
	script := at(1, timeline.ScriptFetched, reason.Install)
	script.Addr = "2001:db8:1::5054:ff:feaa:101"
	if got := timeline.Fold([]timeline.Event{script})["r1n01"].Addr; got != script.Addr {
		t.Errorf("got %q, want %q", got, script.Addr)
	}
}

// TestRecordedBoot folds what bootd recorded of OVMF 2022.11 that loads iPXE and is sent to its disk.
func TestRecordedBoot(t *testing.T) {
	events := []timeline.Event{
		at(26.304, timeline.RouterSolicit, reason.Answered),
		at(28.171, timeline.DHCPSolicit, reason.None),
		at(28.192, timeline.DHCPLease, reason.Changed),
		at(32.574, timeline.DHCPSolicit, reason.None),
		at(32.595, timeline.DHCPLease, reason.Changed),
		at(32.595, timeline.LoaderOffered, reason.BootLoader),
		at(32.600, timeline.DHCPRelease, reason.Changed),
		at(35.564, timeline.LoaderFetched, reason.Answered),
		at(35.627, timeline.DHCPRelease, reason.Changed),
		at(43.003, timeline.RouterSolicit, reason.Answered),
		at(43.006, timeline.DHCPSolicit, reason.None),
		at(43.022, timeline.DHCPLease, reason.Changed),
		at(43.022, timeline.ScriptOffered, reason.BootScript),
		at(62.490, timeline.ScriptFetched, reason.LocalDisk),
	}
	now := start.Add(72 * time.Second)
	want := seen{timeline.PhaseLocalDisk, 1, []string{"firmware 7.4s", "loader 7.5s", "ipxe 19.5s", "local-disk 9.5s"}}
	if d := cmp.Diff(want, brief(timeline.Fold(events)["r1n01"].At(now), now)); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
}

func TestStatesAreValues(t *testing.T) {
	s := timeline.Fold(ovmf())["r1n01"]
	before := brief(s, start)
	s.Next(at(10, timeline.ScriptFetched, reason.Install))
	if d := cmp.Diff(before, brief(s, start)); d != "" {
		t.Errorf("a later event changed an earlier state:\n%s", d)
	}
}
