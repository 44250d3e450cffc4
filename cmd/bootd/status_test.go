package main

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"bootd.internal/bootd/api"
	"bootd.internal/bootd/install"
	"bootd.internal/bootd/reason"
	"bootd.internal/bootd/timeline"
)

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.Local)

func sample() api.Status {
	return api.Status{
		Ready: true, Version: "v1", Started: noon.Add(-time.Hour), Now: noon,
		Inventory: api.InventoryStatus{File: "inventory.yaml", Refused: "inventory.yaml:3:1: broken\ninventory.yaml:4:1: too"},
		Networks: []api.NetworkStatus{
			{
				Name: "rack1", Interface: "eth1", Up: true, Address: "2001:db8:1::1",
				Pool: &api.PoolStatus{Size: 4096, Used: 12, Bound: 10, Resting: 2},
			},
			{Name: "rack2", Interface: "eth2", Pool: &api.PoolStatus{Size: 10, Used: 9, Bound: 7, Declined: 2, Percent: 90}},
		},
		Tasks:    []api.TaskStatus{{Task: "ra", Link: "eth1", Running: true}, {Task: "ra", Link: "eth2", Error: "no carrier"}},
		Problems: []api.Problem{{Place: "inventory.yaml:7:3", Text: "there is no interface eth2"}},
		Hosts: []api.HostStatus{
			{
				Name: "r1n01", Phase: timeline.PhaseFailed, Since: noon.Add(-3*time.Minute - 12*time.Second), Address: "2001:db8:1::101",
				ArmedUntil: noon.Add(2*time.Hour + 59*time.Minute), Last: timeline.Event{Seq: 7, Time: noon.Add(-time.Minute), Kind: timeline.InstallFailed},
			},
			{
				Name: "r1n02", Phase: timeline.PhaseUnseen,
				Last: timeline.Event{Seq: 8, Time: noon.Add(-time.Second), Kind: timeline.DHCPIgnored, Reason: reason.WrongNetwork},
			},
			{
				Name: "r1n03", Phase: timeline.PhaseInstalling, Since: noon.Add(-50 * time.Minute), Stuck: 3000,
				Attempt: install.Fetched, Deadline: noon.Add(5 * time.Hour),
			},
			{Name: "r1n04", Phase: timeline.PhaseLocalDisk, Attempt: install.Failed, Why: "no callback came after the answers were fetched"},
		},
	}
}

func TestDrawStatus(t *testing.T) {
	want := `bootd v1 serving inventory.yaml for 1h00m
rack1 on eth1 (up): 2001:db8:1::1
rack1 pool: 12 of 4096 addresses used (0%)
rack2 on eth2 (down): no address
! rack2 pool: 9 of 10 addresses used (90%), 2 put aside: another machine uses them
! ra on eth2: no carrier
! inventory.yaml:7:3: there is no interface eth2
! the inventory on disk is not served: inventory.yaml:3:1: broken (and 1 more fault: bootd check)
! r1n04: the installation failed: no callback came after the answers were fetched

HOST   PHASE              FOR     ADDRESS          ARMED         LAST EVENT
r1n01  failed             3m12s   2001:db8:1::101  2h59m left    11:59:00 install-failed
r1n02  unseen             -       -                -             11:59:59 dhcp-ignored (wrong-network)
r1n03  installing, stuck  50m00s  -                due in 5h00m  -
r1n04  local-disk         -       -                -             -
`
	if d := cmp.Diff(want, string(drawStatus(sample(), false))); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
	coloured := string(drawStatus(sample(), true))
	if !strings.Contains(coloured, "r1n01  \x1b[31mfailed\x1b[0m             3m12s") || !strings.Contains(coloured, "\x1b[31m! ra on eth2: no carrier\x1b[0m\n") {
		t.Errorf("colours:\n%q", coloured)
	}
	plain := strings.NewReplacer("\x1b[31m", "", "\x1b[32m", "", "\x1b[33m", "", "\x1b[90m", "", "\x1b[0m", "").Replace(coloured)
	if d := cmp.Diff(want, plain); d != "" {
		t.Errorf("colours move the columns:\n%s", d)
	}
}

func TestFitAndRedraw(t *testing.T) {
	text := []byte("\x1b[31mlong line\x1b[0m\nsecond\nthird\n")
	if got, want := string(fit(text, 4, 3)), "\x1b[31mlong\x1b[0m\nseco\nthir\n"; got != want {
		t.Errorf("fit: %q, want %q", got, want)
	}
	if got, want := string(fit(text, 16, 2)), "\x1b[31mlong line\x1b[0m\n... 2 more lines\n"; got != want {
		t.Errorf("fit: %q, want %q", got, want)
	}
	if got, want := string(redraw(2, []byte("a\nb\n"))), "\x1b[2A\ra\x1b[K\nb\x1b[K\n\x1b[J"; got != want {
		t.Errorf("redraw: %q, want %q", got, want)
	}
	if got, want := string(redraw(0, []byte("a\n"))), "a\x1b[K\n\x1b[J"; got != want {
		t.Errorf("first drawing: %q, want %q", got, want)
	}
}

func TestNamed(t *testing.T) {
	hosts := []api.HostStatus{{Name: "r1n01"}, {Name: "r1n02"}, {Name: "r2n01"}}
	for _, c := range []struct {
		patterns []string
		want     []api.HostStatus
		err      string
	}{
		{nil, hosts, ""},
		{[]string{"r2n01", "r*n01"}, []api.HostStatus{{Name: "r1n01"}, {Name: "r2n01"}}, ""},
		{[]string{"r1n01", "r3*"}, nil, `"r3*" names no host of inventory.yaml`},
		{[]string{"["}, nil, `"[" is not a pattern: syntax error in pattern`},
	} {
		got, err := named(hosts, c.patterns, "inventory.yaml")
		if said := fmt.Sprint(err); err != nil && said != c.err || err == nil && c.err != "" {
			t.Errorf("%v: error %v, want %s", c.patterns, err, c.err)
		}
		if d := cmp.Diff(c.want, got); d != "" {
			t.Errorf("%v: -want +got:\n%s", c.patterns, d)
		}
	}
}

func TestAge(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second: "0s", 4*time.Second + 999*time.Millisecond: "4s", 192 * time.Second: "3m12s", 5*time.Hour + 2*time.Minute: "5h02m",
		76 * time.Hour: "3d04h",
	} {
		if got := age(d); got != want {
			t.Errorf("age(%v) = %s, want %s", d, got, want)
		}
	}
}

func TestDidYouMean(t *testing.T) {
	for got, want := range map[string]string{
		"chekc": ", did you mean check?", "instal": ", did you mean install?", "Status": ", did you mean status?", "frobnicate": "", "": "",
	} {
		if text := didYouMean(got, commandNames()); text != want {
			t.Errorf("%q: %q, want %q", got, text, want)
		}
	}
}

func TestConfirm(t *testing.T) {
	one := []api.Candidate{{Name: "r1n01", MAC: "52:54:00:aa:01:01", Profile: "debian13"}}
	three := append(one, api.Candidate{Name: "r1n02", MAC: "52:54:00:aa:01:02", Installed: true, Armed: true}, api.Candidate{Name: "bare", MAC: "52:54:00:aa:01:05", Profile: "debian13", Protected: true})
	for _, c := range []struct {
		name, typed string
		hosts       []api.Candidate
		want        []string
		err         error
	}{
		{"one", "yes\n", one, nil, nil},
		{"one, no", "no\n", one, nil, errNotConfirmed},
		{"one, silence", "", one, nil, errNotConfirmed},
		{"one that is protected", "bare\n", three[2:], []string{"bare"}, nil},
		{"one that is protected, yes is not enough", "yes\n", three[2:], nil, errNotConfirmed},
		{"three, yes is not enough", "yes\n", three, nil, errNotConfirmed},
		{"three, and the protected one", "3\nbare\n", three, []string{"bare"}, nil},
		{"three, the protected one misspelt", "3\nbear\n", three, nil, errNotConfirmed},
	} {
		var out bytes.Buffer
		a := app{stdin: strings.NewReader(c.typed), stdout: &out}
		got, err := a.confirm(c.hosts)
		if err != c.err {
			t.Errorf("%s: error %v, want %v", c.name, err, c.err)
		}
		if d := cmp.Diff(c.want, got); d != "" {
			t.Errorf("%s: -want +got:\n%s", c.name, d)
		}
		if c.name == "three, and the protected one" {
			want := `
to be installed, everything on their disks will be lost
  r1n01  52:54:00:aa:01:01  debian13
  r1n02  52:54:00:aa:01:02  no profile  installed, armed already
  bare   52:54:00:aa:01:05  debian13    protected
install these 3 hosts? Type their number: bare is protected. Type its name: `
			if d := cmp.Diff(want, out.String()); d != "" {
				t.Errorf("-want +got:\n%s", d)
			}
		}
	}
}

func TestEventLine(t *testing.T) {
	e := timeline.Event{Seq: 1, Time: noon, Adapter: "http", Kind: timeline.Warning, Detail: "full"}
	if got, want := eventLine(e), fmt.Sprintf("%s http   -            warning full", noon.Format("2006-01-02 15:04:05.000")); got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
