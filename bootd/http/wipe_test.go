package http

import (
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"bootd.internal/bootd/ident"
	"bootd.internal/bootd/install"
	"bootd.internal/bootd/reason"
	"bootd.internal/bootd/timeline"
	"github.com/google/go-cmp/cmp"
)

// Each test is one way in which a machine could be wiped although nobody wants it.

func TestWipeByLostState(t *testing.T) {
	p := newPlant(t, few)
	p.mustOrder("r1n01")
	answers := p.installs(mac1)
	p.restart(func(dir string) {
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
	})
	p.local(mac1, reason.LocalDisk, "")
	p.calls(mac1, answers, http.StatusForbidden, reason.TokenUnknown)
	p.local(mac1, reason.LocalDisk, "")
}

// TestWipeByAnOldBackup: an arm that was spent comes back with a copy of the state from before.
func TestWipeByAnOldBackup(t *testing.T) {
	for _, tc := range []struct {
		name  string
		later time.Duration
		why   string
	}{
		{"of half an hour ago", 30 * time.Minute, "the arm was last watched over 30m0s ago: bootd was off since, its clock was set, or its state is an old copy"},
		{"of a month ago", 30 * 24 * time.Hour, "the arm ran out"},
		{"of a quarter of an hour, and the host was in the middle of it", 15 * time.Minute, "the arm was last watched over 15m0s ago: bootd was off since, its clock was set, or its state is an old copy"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := newPlant(t, few)
			p.mustOrder("r1n01")
			backup := t.TempDir()
			p.restart(func(dir string) { replace(t, backup, dir) })
			urls := p.fetches(mac1, p.installs(mac1))
			p.calls(mac1, urls["installed"], http.StatusOK, reason.Callback)
			p.jump(tc.later)
			p.restart(func(dir string) { replace(t, dir, backup) })
			events := p.local(mac1, reason.ArmExpired, "")
			want := "r1n01 script-fetched: r1n01 is not armed any more (" + tc.why + ")\nr1n01 arm-expired: " + tc.why + "\n"
			if d := cmp.Diff(want, kinds(events)); d != "" {
				t.Error(d)
			}
			p.calls(mac1, urls["first-boot"], http.StatusForbidden, reason.TokenUnknown)
			p.local(mac1, reason.LocalDisk, "")
		})
	}
}

// replace makes to a copy of from.
func replace(t *testing.T, to, from string) {
	t.Helper()
	if err := os.RemoveAll(to); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(to, os.DirFS(from)); err != nil && !errors.Is(err, fs.ErrExist) {
		t.Fatal(err)
	}
}

// TestArmsOutliveARestart: what stops an old backup does not stop a restart.
func TestArmsOutliveARestart(t *testing.T) {
	p := newPlant(t, few)
	p.mustOrder("r1n01")
	p.wait(3 * time.Hour)
	p.restart(func(string) {})
	p.jump(install.WatchedFor)
	p.installs(mac1)
}

// TestWipeByAPowerCut: a month after its installation a whole rack comes back at once.
func TestWipeByAPowerCut(t *testing.T) {
	const hosts = 180
	var list strings.Builder
	macs := make([]ident.MAC, hosts)
	for i := range macs {
		macs[i] = ident.MAC{0x52, 0x54, 0, 0xbb, 0, byte(i)}
		fmt.Fprintf(&list, "  n%03d: %s\n", i, macs[i])
	}
	p := newPlant(t, head+list.String())
	for i, m := range macs {
		p.whole(fmt.Sprintf("n%03d", i), m)
	}
	p.jump(30 * 24 * time.Hour)
	p.restart(func(string) {})
	p.tidy()
	before := p.size()
	bodies := make(chan string, hosts)
	p.as(ident.MAC{})
	for _, m := range macs {
		go func() { bodies <- p.handles(m, "/boot.ipxe") }()
	}
	for range macs {
		if body := <-bodies; !sendsToDisk(body) {
			t.Errorf("not to the local disk:\n%s", body)
		}
		if o := p.next(); o.Outcome.Reason != reason.LocalDisk || o.Outcome.Host == "" {
			t.Errorf("%+v", o)
		}
	}
	if after := p.size(); after != before {
		t.Errorf("booting a rack from its disks wrote %d octets", after-before)
	}
}

func TestWipeByALostCallback(t *testing.T) {
	p := newPlant(t, few)
	p.mustOrder("r1n01")
	p.fetches(mac1, p.installs(mac1))
	p.wait(20 * time.Minute)
	p.local(mac1, reason.AlreadyFetched, "") // it reboots, and nobody heard that it was done
	want := "r1n01 install-failed: no callback came after the answers were fetched\n"
	if d := cmp.Diff(want, kinds(p.wait(install.CallbackFor))); d != "" {
		t.Error(d)
	}
	if got := p.stage("r1n01"); got != install.Failed {
		t.Errorf("stage %s", got)
	}
	p.local(mac1, reason.LocalDisk, "")
}

// TestLostCallbackIsMadeUpFor: the installed system's own word counts, whatever was lost before.
func TestLostCallbackIsMadeUpFor(t *testing.T) {
	p := newPlant(t, few)
	p.mustOrder("r1n01")
	urls := p.fetches(mac1, p.installs(mac1))
	p.wait(20 * time.Minute)
	p.calls(mac1, urls["first-boot"], http.StatusOK, reason.Callback)
	if got := p.stage("r1n01"); got != install.Booted {
		t.Errorf("stage %s", got)
	}
	p.calls(mac1, urls["installed"], http.StatusOK, reason.TokenSpent)
	p.local(mac1, reason.LocalDisk, "")
	if err := p.order("r1n01", false); !errors.Is(err, install.ErrInstalled) {
		t.Errorf("arming it again: %v", err)
	}
}

func TestWipeByACallbackTwice(t *testing.T) {
	p := newPlant(t, few)
	p.mustOrder("r1n01")
	urls := p.fetches(mac1, p.installs(mac1))
	p.calls(mac1, urls["installed"], http.StatusOK, reason.Callback)
	for range 3 {
		p.calls(mac1, urls["installed"], http.StatusOK, reason.TokenSpent)
	}
	if err := p.order("r1n01", true); err != nil { // somebody wants it again
		t.Fatal(err)
	}
	p.calls(mac1, urls["installed"], http.StatusForbidden, reason.TokenUnknown)
	p.calls(mac1, urls["failed"], http.StatusForbidden, reason.TokenUnknown)
	p.installs(mac1)
}

func TestWipeByCallbacksOutOfOrder(t *testing.T) {
	p := newPlant(t, few)
	p.mustOrder("r1n01")
	answers := p.installs(mac1)
	urls := p.fetches(mac1, answers)
	p.calls(mac1, urls["first-boot"], http.StatusOK, reason.Callback)
	p.calls(mac1, urls["failed"]+"?why=late", http.StatusOK, reason.TokenSpent)
	p.calls(mac1, urls["progress"]+"?stage=partman", http.StatusOK, reason.TokenSpent)
	p.calls(mac1, urls["installed"], http.StatusOK, reason.TokenSpent)
	p.calls(mac1, answers, http.StatusForbidden, reason.TokenExpired)
	if got := p.stage("r1n01"); got != install.Booted {
		t.Errorf("stage %s", got)
	}
	p.local(mac1, reason.LocalDisk, "")
}

func TestWipeByACallbackBeforeTheAnswers(t *testing.T) {
	p := newPlant(t, few)
	p.mustOrder("r1n01")
	first := p.installs(mac1)
	second := p.installs(mac1) // it was reset in between
	urls := p.fetches(mac1, second)
	p.calls(mac1, urls["installed"], http.StatusOK, reason.Callback)
	p.calls(mac1, first, http.StatusForbidden, reason.TokenExpired)
	p.local(mac1, reason.LocalDisk, "")
}

func TestWipeByAnotherHost(t *testing.T) {
	p := newPlant(t, few)
	p.mustOrder("r1n01")
	answers := p.installs(mac1)
	p.calls(mac2, answers, http.StatusForbidden, reason.TokenOtherHost)
	urls := p.fetches(mac1, answers)
	for _, leaf := range []string{"installed", "first-boot", "failed", "progress"} {
		events := p.calls(mac2, urls[leaf], http.StatusForbidden, reason.TokenOtherHost)
		if len(events) != 1 || events[0].Kind != timeline.Warning || events[0].Host != "r1n02" {
			t.Errorf("%s: %s", leaf, kinds(events))
		}
		p.calls(ident.MAC{0x52, 0x54, 0, 0xaa, 1, 9}, urls[leaf], http.StatusForbidden, reason.TokenOtherHost)
	}
	if got := p.stage("r1n01"); got != install.Fetched {
		t.Errorf("stage %s", got)
	}
	p.local(mac2, reason.LocalDisk, "")
}

func TestWipeByAnOldToken(t *testing.T) {
	p := newPlant(t, few)
	p.mustOrder("r1n01")
	answers := p.installs(mac1)
	p.mustOrder("r1n01") // armed again, because the first try seemed to hang
	p.calls(mac1, answers, http.StatusForbidden, reason.TokenUnknown)
	urls := p.fetches(mac1, p.installs(mac1))
	p.calls(mac1, urls["installed"], http.StatusOK, reason.Callback)
	p.calls(mac1, answers, http.StatusForbidden, reason.TokenUnknown)
	p.wait(install.FirstBootFor)
	p.calls(mac1, urls["first-boot"], http.StatusForbidden, reason.TokenUnknown)
	p.local(mac1, reason.LocalDisk, "")
}

func TestWipeByAHostThatIsNotListedAnyMore(t *testing.T) {
	p := newPlant(t, few)
	p.mustOrder("r1n01")
	answers := p.installs(mac1)
	p.list(t, head+"  r1n02: 52:54:00:aa:01:02\n")
	p.local(mac1, reason.UnknownHost, "")
	p.calls(mac1, answers, http.StatusForbidden, reason.TokenOtherHost)
	p.list(t, head+"  r1n01: 52:54:00:aa:01:02\n") // its name goes to another machine
	p.local(mac1, reason.UnknownHost, "")
	p.local(mac2, reason.ArmMismatch, "")
	p.list(t, head+"  other: 52:54:00:aa:01:01\n") // its card gets another name
	p.local(mac1, reason.LocalDisk, "")
}

func TestWipeByASwappedBoard(t *testing.T) {
	p := newPlant(t, few)
	p.mustOrder("r1n01")
	fresh := ident.MAC{0x52, 0x54, 0, 0xaa, 1, 9}
	events := p.local(fresh, reason.UnknownHost, "?serial=BOARD1&uuid="+uuid2)
	want := ` script-fetched: this machine (52:54:00:aa:01:09) is not in the inventory
 board-changed: this machine says serial "BOARD1", which is that of r1n01: if its board was replaced, change 52:54:00:aa:01:01 to 52:54:00:aa:01:09 in inventory.yaml line 12
`
	if d := cmp.Diff(want, kinds(events)); d != "" {
		t.Error(d)
	}
	// The card was put into another machine: it is not the one that was armed.
	p.local(mac1, reason.ArmMismatch, "?serial=BOARD2")
	p.local(mac1, reason.ArmMismatch, "?uuid="+uuid2)
	// And nothing of that spends the arm of the right one.
	p.installs(mac1)
}

func TestWipeByADoubledUUID(t *testing.T) {
	p := newPlant(t, few)
	p.mustOrder("r1n01")
	events := p.local(mac2, reason.LocalDisk, "?uuid="+uuid1)
	want := "r1n02 script-fetched: r1n02 is not armed\n" +
		"r1n02 warning: r1n02 says UUID " + uuid1 + ", which is listed for r1n01; its MAC decides\n"
	if d := cmp.Diff(want, kinds(events)); d != "" {
		t.Error(d)
	}
	p.installs(mac1)
}

func TestWipeByAClockThatJumps(t *testing.T) {
	for _, tc := range []struct {
		name string
		by   time.Duration
		lost bool
	}{
		{"a little on", time.Minute, false},
		{"a little back", -time.Minute, false},
		{"an hour on", time.Hour, true},
		{"an hour back", -time.Hour, true},
		{"to the time before there were clocks", -50 * 365 * 24 * time.Hour, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := newPlant(t, few)
			p.mustOrder("r1n01")
			p.wait(20 * time.Minute)
			p.jump(tc.by)
			if tc.lost {
				p.local(mac1, reason.ArmExpired, "")
				return
			}
			p.installs(mac1)
		})
	}
}

// TestAThousandWrongTokens: guessing is answered, counted, and costs neither disk nor history.
func TestAThousandWrongTokens(t *testing.T) {
	p := newPlant(t, few)
	p.mustOrder("r1n01")
	p.installs(mac1)
	before, began := p.size(), time.Now()
	for i := range 1000 {
		p.calls(mac2, fmt.Sprintf("/t/%032x/preseed.cfg", i), http.StatusForbidden, reason.TokenUnknown)
	}
	if took := time.Since(began); took > time.Minute {
		t.Errorf("1000 wrong tokens took %s", took)
	}
	if after := p.size(); after != before {
		t.Errorf("wrong tokens wrote %d octets", after-before)
	}
	if entries, err := os.ReadDir(filepath.Join(p.dir, "store")); err != nil || len(entries) > 4 {
		t.Errorf("%v, %v", entries, err)
	}
}
