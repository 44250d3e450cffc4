package qemu_test

import (
	"fmt"
	"regexp"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"bootd.internal/bootd/reason"
	"bootd.internal/bootd/timeline"
	"bootd.internal/lab"
	"bootd.internal/lab/labtest"
)

// TestFlags boots iPXE under each combination of the RA's flags M and O. M
// makes it solicit an address; O alone makes it ask for the boot file only, and
// it goes on with the address it made itself; without either it asks nobody,
// and our script starts the local disk.
func TestFlags(t *testing.T) {
	cases := []struct {
		managed, other bool
		want           []timeline.Kind // of the host, without repeats and router solicitations
		console        string
	}{
		{true, true, []timeline.Kind{timeline.DHCPSolicit, timeline.DHCPLease, timeline.ScriptOffered, timeline.ScriptFetched}, "r1n01 is not armed: booting the local disk"},
		{true, false, []timeline.Kind{timeline.DHCPSolicit, timeline.DHCPLease, timeline.ScriptOffered, timeline.ScriptFetched}, "r1n01 is not armed: booting the local disk"},
		{false, true, []timeline.Kind{timeline.ScriptOffered, timeline.ScriptFetched}, "r1n01 is not armed: booting the local disk"},
		{false, false, nil, "no answer, starting the local disk"},
	}
	for _, c := range cases {
		t.Run(fmt.Sprintf("M=%t O=%t", c.managed, c.other), func(t *testing.T) {
			r := labtest.NewRack(t, labtest.RackConfig{Inventory: fmt.Sprintf(`
networks:
  rack1: {interface: eth1, prefix: "2001:db8:1::/64", ra: {managed: %t, other: %t}}
hosts:
  r1n01: {mac: 52:54:00:aa:01:01, address: "::101"}
`, c.managed, c.other)})
			vm := boot(t, r, biosMachine(t, r))
			waitConsole(t, vm, time.Minute, diskBooted)
			waitConsole(t, vm, time.Second, regexp.MustCompile("^bootd: .*"+c.console))
			if n := len(c.want); n > 0 { // the console is sometimes ahead of the stream
				r.WaitEvent(t, 10*time.Second, "r1n01", c.want[n-1])
			}
			if diff := cmp.Diff(c.want, kinds(r.Daemon.Events())); diff != "" {
				t.Errorf("events of r1n01 (-want +got):\n%s", diff)
			}
			t.Logf("disk booted %.1f s after power-on", time.Since(vm.Started).Seconds())
		})
	}
}

// kinds lists what happened to r1n01, each kind once, in the order of its first
// time.
func kinds(events []timeline.Event) []timeline.Kind {
	var out []timeline.Kind
	for _, e := range events {
		if e.Host == "r1n01" && e.Kind != timeline.RouterSolicit && !slices.Contains(out, e.Kind) {
			out = append(out, e.Kind)
		}
	}
	return out
}

// TestUEFI boots OVMF by PXE over IPv6: two DHCPv6 clients of the firmware,
// TFTP, then iPXE and its script. All of them get the host's one address. The
// host is not armed: iPXE leaves with an error and the firmware goes on to its
// next entries, which are HTTP boot over IPv4, in vain for a minute, and the
// disk.
func TestUEFI(t *testing.T) {
	r := labtest.NewRack(t, labtest.RackConfig{
		Inventory: `
serve: {loaders: {x86_64: snponly.efi}}
networks:
  rack1: {interface: eth1, prefix: "2001:db8:1::/64"}
hosts:
  r1n01: {mac: 52:54:00:aa:01:01, address: "::101"}
`,
		Files: map[string][]byte{"snponly.efi": readFile(t, lab.SNPOnly)},
	})
	disk := r.Path("disk.img")
	if err := lab.WriteUEFIDisk(disk); err != nil {
		t.Fatal(err)
	}
	vm := boot(t, r, lab.Machine{Name: "r1n01", Mode: lab.UEFIPXE, MAC: mac, Disk: disk})
	e := r.WaitMachine(t, 2*time.Minute, vm, timeline.ScriptFetched)
	if e.Reason != reason.LocalDisk {
		t.Errorf("the script's reason is %s, want %s", e.Reason, reason.LocalDisk)
	}
	want := []timeline.Kind{
		timeline.DHCPSolicit, timeline.DHCPLease, timeline.LoaderOffered, timeline.DHCPRelease,
		timeline.LoaderFetched, timeline.ScriptOffered, timeline.ScriptFetched,
	}
	got := kinds(r.Daemon.Events())
	slices.Sort(want)
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("events of r1n01 (-want +got):\n%s", diff)
	}
	for _, e := range r.Daemon.Events() {
		if e.Kind == timeline.DHCPLease && e.Addr != "2001:db8:1::101" {
			t.Errorf("event %d leases %s, want 2001:db8:1::101 only", e.Seq, e.Addr)
		}
	}
	waitConsole(t, vm, 10*time.Second, regexp.MustCompile("^bootd: r1n01 is not armed"))
	t.Logf("script fetched %.1f s after power-on", e.Time.Sub(vm.Started).Seconds())
	waitConsole(t, vm, 3*time.Minute, diskBooted)
	t.Logf("disk booted %.1f s after power-on", time.Since(vm.Started).Seconds())
}

// TestInstaller arms a machine and boots it into Debian's installer until it
// has fetched the answers rendered for it, has understood them and calls back
// out of them.
func TestInstaller(t *testing.T) {
	r := labtest.NewRack(t, labtest.RackConfig{
		Inventory: `
defaults: {domain: rack.example.net, profile: debian12}
networks:
  rack1: {interface: eth1, prefix: "2001:db8:1::/64"}
profiles:
  debian12:
    kernel: debian12/linux
    initrd: [debian12/initrd.gz]
    script: ipxe/debian.ipxe
    answers: preseed/debian12.cfg
    console: ttyS0,115200n8
    disk: {min_size: 1G}
    vars: {mirror: "http://mirror.example.net/debian"}
hosts:
  r1n01: {mac: 52:54:00:aa:01:01, address: "::101"}
`,
		Files: map[string][]byte{
			"debian12/linux":     readFile(t, lab.Installer+"/linux"),
			"debian12/initrd.gz": readFile(t, lab.Installer+"/initrd.gz"),
		},
	})
	if _, err := r.Daemon.Run(labtest.Context(t, 10*time.Second), "install", "--yes", "r1n01"); err != nil {
		t.Fatal(err)
	}
	vm := boot(t, r, biosMachine(t, r))
	for _, kind := range []timeline.Kind{timeline.ScriptFetched, timeline.FileFetched, timeline.AnswersServed, timeline.Progress} {
		e := r.WaitMachine(t, 5*time.Minute, vm, kind)
		if kind == timeline.ScriptFetched && e.Reason != reason.Install {
			t.Fatalf("the script's reason is %s, want %s", e.Reason, reason.Install)
		}
		t.Logf("%-16s %5.1f s after power-on", kind, e.Time.Sub(vm.Started).Seconds())
	}
}
