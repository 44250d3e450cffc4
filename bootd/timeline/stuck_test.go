package timeline_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"bootd.internal/bootd/reason"
	"bootd.internal/bootd/timeline"
)

func TestStuck(t *testing.T) {
	whole := append(ovmf(), installer()...)
	for _, tc := range []struct {
		name   string
		events []timeline.Event
		now    float64
		want   string
	}{
		{"nothing heard", nil, 1e6, ""},
		{"a boot loader that is on its way", ovmf()[:7], 60, ""},
		{"a boot loader that never comes", ovmf()[:7], 122, "at firmware for 2m1s; heard last: loader-offered"},
		{"an initrd that never comes", whole[:16], 13 + 240, "at kernel for 4m2s; heard last: file-fetched"},
		{"the second file counts too", whole[:17], 13 + 239, ""},
		{"an installer that asks for nothing", whole[:21], 24 + 300, "at installer for 5m4s; heard last: dhcp-release"},
		{"an installation that goes on", append(whole[:23:23], at(2600, timeline.Progress, reason.Callback)), 4000, ""},
		{"an installation that does not", append(whole[:23:23], at(2600, timeline.Progress, reason.Callback)), 5300, "at installing for 45m0s; heard last: progress"},
		{"a renewed lease is no progress", append(whole[:23:23], at(2600, timeline.DHCPLease, reason.Changed)), 2740, "at installing for 45m0s; heard last: dhcp-lease"},
		{"a machine that does not come back", whole, 300 + 900, "at installed for 15m0s; heard last: installed"},
		{"a running system is never stuck", append(whole[:0:0], at(0, timeline.FirstBoot, reason.Callback)), 1e6, ""},
		{"said once", append(ovmf()[:7:7], at(130, timeline.Stuck, reason.None)), 500, ""},
		{"and again, if it got stuck again", append(ovmf()[:9:9], at(130, timeline.Stuck, reason.None), at(131, timeline.LoaderFetched, reason.Answered)), 500, "at loader for 6m9s; heard last: loader-fetched"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			now := start.Add(time.Duration(tc.now * float64(time.Second)))
			e, ok := timeline.Fold(tc.events)["r1n01"].At(now).StuckEvent(now)
			want := timeline.Event{}
			if tc.want != "" {
				want = timeline.Event{Time: now, Kind: timeline.Stuck, Host: "r1n01", MAC: mac, Detail: tc.want}
			}
			if d := cmp.Diff(want, e); d != "" || ok != (tc.want != "") {
				t.Errorf("%t, -want +got:\n%s", ok, d)
			}
		})
	}
}
