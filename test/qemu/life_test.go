package qemu_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"bootd.internal/bootd/reason"
	"bootd.internal/bootd/timeline"
	"bootd.internal/lab"
	"bootd.internal/lab/emulator"
	"bootd.internal/lab/labtest"
	"bootd.internal/lab/mini"
	"bootd.internal/lab/mirror"
)

// life is one machine that is switched on again and again.
type life struct {
	t       *testing.T
	rack    *labtest.Rack
	machine lab.Machine

	vm    *lab.VM
	boots int
	since uint64 // the number of the last event before the machine was switched on
}

// powerOn switches the machine on. Each time has evidence of its own.
func (l *life) powerOn() {
	l.t.Helper()
	if events := l.rack.Daemon.Events(); len(events) > 0 {
		l.since = events[len(events)-1].Seq
	}
	l.boots++
	m := l.machine
	m.Name = fmt.Sprintf("%s-%d", l.machine.Name, l.boots)
	l.vm = boot(l.t, l.rack, m)
}

// event waits for the first event of that kind since power-on.
func (l *life) event(d time.Duration, kind timeline.Kind) timeline.Event {
	l.t.Helper()
	ctx, cancel := context.WithCancelCause(labtest.Context(l.t, d))
	defer cancel(nil)
	go func() {
		select {
		case <-l.vm.Exited():
			// The machine says that it is done, and then it reboots: its last word may still be on the way.
			time.AfterFunc(5*time.Second, func() { cancel(fmt.Errorf("the machine ended; last on its console: %q", l.vm.LastLine())) })
		case <-ctx.Done():
		}
	}()
	go func() {
		// It fails at once when the console shows that nobody will go on: a prompt, a panic.
		if _, err := l.vm.Wait(ctx, regexp.MustCompile(`[^\s\S]`)); err != nil && !exited(l.vm) {
			cancel(err)
		}
	}()
	e, err := l.rack.Daemon.Wait(ctx, string(kind)+" of "+l.machine.Name, func(e timeline.Event) bool {
		return e.Host == l.machine.Name && (e.Kind == kind || e.Kind == timeline.InstallFailed) && e.Seq > l.since
	})
	if err == nil && e.Kind != kind {
		err = fmt.Errorf("waiting for %s: %s says %s: %s", kind, e.Adapter, e.Kind, e.Detail)
	}
	if err != nil {
		l.t.Fatalf("%v; console: %s", err, l.rack.Path(l.vm.Name+".console"))
	}
	l.t.Logf("boot %d: %-16s %-12s %6.1f s after power-on", l.boots, kind, e.Reason, e.Time.Sub(l.vm.Started).Seconds())
	return e
}

func exited(vm *lab.VM) bool {
	select {
	case <-vm.Exited():
		return true
	default:
		return false
	}
}

// off waits until the machine has ended by itself: it rebooted, or switched itself off.
func (l *life) off(d time.Duration) {
	l.t.Helper()
	select {
	case <-l.vm.Exited():
	case <-labtest.Context(l.t, d).Done():
		l.t.Fatalf("the machine still runs after %s; last on its console: %q", d, l.vm.LastLine())
	}
	if err := l.vm.Stop(); err != nil {
		l.t.Fatal(err)
	}
}

// cut takes the machine's power away.
func (l *life) cut() {
	l.t.Helper()
	if err := l.vm.Stop(); err != nil {
		l.t.Fatal(err)
	}
}

// arm orders the installation.
func (l *life) arm(args ...string) {
	l.t.Helper()
	args = append([]string{"--yes"}, append(args, l.machine.Name)...)
	if _, err := l.rack.Daemon.Run(labtest.Context(l.t, 10*time.Second), "install", args...); err != nil {
		l.t.Fatal(err)
	}
}

// script waits for the machine's boot script and checks why it got that one.
func (l *life) script(d time.Duration, want reason.Reason) {
	l.t.Helper()
	if e := l.event(d, timeline.ScriptFetched); e.Reason != want {
		l.t.Fatalf("the script's reason is %s (%s), want %s", e.Reason, e.Detail, want)
	}
}

// install follows an armed machine that has been switched on until it reboots.
func (l *life) install() {
	l.t.Helper()
	l.script(2*time.Minute, reason.Install)
	l.event(time.Minute, timeline.AnswersServed)
	l.event(2*time.Minute, timeline.Installed)
	l.off(30 * time.Second)
}

// fromDisk switches the machine on and follows it to its disk: the network first, which says "your disk", and then the
// installed system. first: it is that system's first boot, which it reports.
func (l *life) fromDisk(want reason.Reason, first bool) {
	l.t.Helper()
	l.powerOn()
	l.script(2*time.Minute, want)
	waitConsole(l.t, l.vm, 2*time.Minute, regexp.MustCompile("^mini: "+l.machine.Name+" "+mini.Running))
	if first {
		l.event(10*time.Second, timeline.FirstBoot)
	}
	got := slices.ContainsFunc(l.rack.Daemon.Events(), func(e timeline.Event) bool { return e.Kind == timeline.FirstBoot && e.Seq > l.since })
	if got != first {
		l.t.Errorf("boot %d: a first boot was reported: %t, want %t", l.boots, got, first)
	}
	l.t.Logf("boot %d: runs from its disk %6.1f s after power-on", l.boots, time.Since(l.vm.Started).Seconds())
	l.cut()
}

// restart kills bootd and starts it anew on the same state.
func (l *life) restart() {
	l.t.Helper()
	if err := l.rack.Daemon.Kill(); err != nil {
		l.t.Fatal(err)
	}
	d, err := l.rack.Server.StartDaemon(labtest.Context(l.t, time.Minute), lab.DaemonConfig{
		Binary: os.Getenv(labtest.BinaryEnv), Inventory: l.rack.Path("inventory.yaml"),
	})
	if err != nil {
		l.t.Fatal(err)
	}
	l.rack.Daemon = d
	l.since = 0
}

// packages gives the URL of this machine's mirror inside the sandbox, for the time that f takes.
func packages(t *testing.T, f func(ctx context.Context, url string) error) {
	t.Helper()
	server, err := mirror.Serve(nil, netip.MustParseAddrPort("[::1]:0"))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f(labtest.Context(t, 10*time.Minute), server.URL()), server.Close()); err != nil {
		t.Fatal(err)
	}
}

// trusted makes the test use a QEMU that emulates recent kernels well.
func trusted(t *testing.T) {
	t.Helper()
	packages(t, func(ctx context.Context, url string) error {
		path, err := emulator.Path(ctx, url)
		t.Setenv("PATH", path)
		return err
	})
}

// miniFiles are what a rack that installs the stand-in serves, its templates among them: the inventory says
// serve: {templates: files/templates}.
func miniFiles(t *testing.T) map[string][]byte {
	t.Helper()
	var a mini.Assets
	packages(t, func(ctx context.Context, url string) (err error) {
		a, err = mini.Prepare(ctx, url)
		return err
	})
	dir := t.TempDir()
	if err := mini.WriteTemplates(dir); err != nil {
		t.Fatal(err)
	}
	return map[string][]byte{
		"mini/linux": readFile(t, a.Kernel), "mini/initrd.gz": readFile(t, a.Initrd), "mini/root.tar": readFile(t, a.Root),
		"templates/ipxe/mini.ipxe": readFile(t, filepath.Join(dir, "ipxe/mini.ipxe")), "templates/mini/answers.sh": readFile(t, filepath.Join(dir, "mini/answers.sh")),
	}
}

// blank makes an empty disk, sparse.
func blank(t *testing.T, path string, octets int64) string {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.Truncate(octets), f.Close()); err != nil {
		t.Fatal(err)
	}
	return path
}

const miniInventory = `
serve: {templates: files/templates}
defaults: {domain: rack.example.net, profile: mini}
networks:
  rack1: {interface: eth1, prefix: "2001:db8:1::/64"}
profiles:
` + mini.Profile + `
hosts:
  r1n01: {mac: 52:54:00:aa:01:01, address: "::101"}
`

// TestLife takes a BIOS machine, whose network comes first, through its life: armed, installed, its first boot from its
// disk, further boots; a second installation is refused until somebody says that it is meant. In the middle of the
// first, bootd is killed and starts again.
func TestLife(t *testing.T) {
	trusted(t)
	r := labtest.NewRack(t, labtest.RackConfig{Inventory: miniInventory, Files: miniFiles(t)})
	l := &life{t: t, rack: r, machine: biosMachine(t, r)}
	l.machine.Disk = blank(t, r.Path("disk.img"), 256<<20)

	l.arm()
	l.powerOn()
	l.script(time.Minute, reason.Install)
	l.event(time.Minute, timeline.AnswersServed)
	l.restart()
	l.event(2*time.Minute, timeline.Installed)
	l.off(30 * time.Second)

	l.fromDisk(reason.LocalDisk, true)
	l.fromDisk(reason.LocalDisk, false)

	if out, err := r.Daemon.Run(labtest.Context(t, 10*time.Second), "install", "--yes", "r1n01"); err == nil || !strings.Contains(err.Error(), "--reinstall") {
		t.Fatalf("arming an installed host: %v %s, want a refusal that names --reinstall", err, out)
	}
	l.arm("--reinstall")
	l.powerOn()
	l.install()
	l.fromDisk(reason.LocalDisk, true)
}

// TestLifeLost loses a machine in the middle of its installation: before its disk is written, after, and when only the
// callback was missing. Whatever bootd believes of it, the machine is not installed once more: it boots its disk, if there
// is something to boot, and a person arms it again.
func TestLifeLost(t *testing.T) {
	trusted(t)
	files := miniFiles(t)
	for _, stage := range []string{"disk", "unpack", "finish"} {
		t.Run(stage, func(t *testing.T) {
			inventory := strings.Replace(miniInventory, `address: "::101"`, `address: "::101", vars: {die: `+stage+`}`, 1)
			r := labtest.NewRack(t, labtest.RackConfig{Inventory: inventory, Files: files})
			l := &life{t: t, rack: r, machine: biosMachine(t, r)}
			if stage != "disk" { // else the disk keeps what it had
				l.machine.Disk = blank(t, r.Path("disk.img"), 256<<20)
			}
			l.arm()
			l.powerOn()
			l.script(time.Minute, reason.Install)
			l.event(time.Minute, timeline.AnswersServed)
			waitConsole(t, l.vm, 2*time.Minute, regexp.MustCompile("^"+mini.Dead+" "+stage))
			l.off(30 * time.Second)
			if stage == "finish" {
				l.fromDisk(reason.AlreadyFetched, true)
				return
			}
			l.powerOn()
			l.script(2*time.Minute, reason.AlreadyFetched)
			if stage == "disk" {
				waitConsole(t, l.vm, time.Minute, diskBooted)
			}
			l.cut()
			out, err := r.Daemon.Run(labtest.Context(t, 10*time.Second), "status", "r1n01")
			if err != nil || !strings.Contains(string(out), "failed") {
				t.Errorf("status: %v\n%s", err, out)
			}
		})
	}
}

// TestLifeUEFI is TestLife with UEFI on one NVRAM, whose boot order is nobody's but the installer's: it booted from the
// network, and after the installation the network is still first and the new disk entry behind it.
func TestLifeUEFI(t *testing.T) {
	trusted(t)
	r := labtest.NewRack(t, labtest.RackConfig{
		Inventory: strings.Replace(miniInventory, "serve: {", "serve: {loaders: {x86_64: snponly.efi}, ", 1), Files: withLoader(t, miniFiles(t)),
	})
	l := &life{t: t, rack: r, machine: uefiMachine(t, r, 256<<20)}
	l.arm()
	l.powerOn()
	l.install()
	order := l.vm.Match(regexp.MustCompile(`^BootOrder: (\w{4}),(\w{4})`))
	if order == nil {
		t.Fatal("the installer printed no boot order")
	}
	got := []string{l.entry(order[1]), l.entry(order[2])}
	if d := cmp.Diff([]string{"network", "mini"}, got); d != "" {
		t.Errorf("the first two boot entries (-want +got):\n%s", d)
	}
	l.fromDisk(reason.LocalDisk, true)
	l.arm("--reinstall")
	l.powerOn()
	l.install()
	l.fromDisk(reason.LocalDisk, true)
}

// entry tells what a boot entry that efibootmgr printed is.
func (l *life) entry(number string) string {
	l.t.Helper()
	m := l.vm.Match(regexp.MustCompile(`^Boot` + number + `[* ] (.*)`))
	switch {
	case m == nil:
		return "missing"
	case strings.Contains(m[1], "PXEv6"):
		return "network"
	default:
		name, _, _ := strings.Cut(m[1], "\t")
		return name
	}
}

func withLoader(t *testing.T, files map[string][]byte) map[string][]byte {
	files["snponly.efi"] = readFile(t, lab.SNPOnly)
	return files
}

// uefiMachine is r1n01 with UEFI, a blank disk, and variables that outlive its boots. QEMU says nothing of what to boot
// first: with a bootindex it would rewrite the boot order at each start.
func uefiMachine(t *testing.T, r *labtest.Rack, octets int64) lab.Machine {
	t.Helper()
	vars := r.Path("nvram.fd")
	if err := os.WriteFile(vars, readFile(t, "/usr/share/OVMF/OVMF_VARS_4M.fd"), 0o644); err != nil {
		t.Fatal(err)
	}
	return lab.Machine{
		Name: "r1n01", Mode: lab.BIOSDisk, MAC: mac,
		// The last -machine counts: this is a BIOSDisk machine with other firmware.
		Extra: []string{
			"-machine", "q35",
			"-drive", "if=pflash,format=raw,unit=0,readonly=on,file=/usr/share/OVMF/OVMF_CODE_4M.fd",
			"-drive", "if=pflash,format=raw,unit=1,file=" + vars,
			"-fw_cfg", "name=opt/org.tianocore/IPv4PXESupport,string=n",
			"-drive", "if=none,id=d0,format=raw,cache=unsafe,discard=unmap,file=" + blank(t, r.Path("disk.img"), octets),
			"-device", "virtio-blk-pci,drive=d0",
		},
	}
}
