package qemu_test

import (
	"context"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"bootd.internal/bootd/reason"
	"bootd.internal/bootd/timeline"
	"bootd.internal/lab"
	"bootd.internal/lab/debian13"
	"bootd.internal/lab/labtest"
	"bootd.internal/lab/mirror"
)

// debianInventory installs Debian 13 by the built-in templates. What it says besides keeps an emulated machine from
// working an hour: a base system of the essential packages, the kernel for virtual machines, no recommended packages,
// and of the installer only what this takes.
const debianInventory = `
serve: {loaders: {x86_64: snponly.efi}}
defaults: {domain: rack.example.net, profile: debian13}
networks:
  rack1: {interface: eth1, prefix: "2001:db8:1::/64"}
profiles:
  debian13:
    kernel: debian13/linux
    initrd: [debian13/initrd.gz, debian13/extra.gz]
    script: ipxe/debian.ipxe
    answers: preseed/debian13.cfg
    console: ttyS0,115200n8
    kernel_args: TERM=dumb mitigations=off init_on_alloc=0 transparent_hugepage=always
    disk: {min_size: 1G}
    users: {root: {password: "$6$labsalt$CJT8kgnFqwD6Jk4wMd7WZPaYxzAw8rbUSmEpcG.WjvHOfzpNXmq8Gx7Vs2g.x/LCjbanxeOKzcaKjPoYUn.Rv."}}
    vars:
      mirror: "http://[2001:db8:1::5]/debian"
      kernel_image: linux-image-cloud-amd64
      tasks: ""
      upgrade: none
      preseed:
        - d-i base-installer/debootstrap_variant string minbase
        - d-i base-installer/includes string init udev kmod ifupdown iproute2 netbase debconf-i18n
        - d-i base-installer/install-recommends boolean false
        - d-i base-installer/initramfs-tools/driver-policy select dep
        - d-i apt-setup/services-select multiselect
        - d-i apt-setup/non-free-firmware boolean false
        - d-i anna/standard_modules boolean false
        - d-i anna/choose_modules multiselect partman-auto, partman-efi, grub-installer, pkgsel, apt-setup-udeb, user-setup-udeb, clock-setup, finish-install
hosts:
  r1n01: {mac: 52:54:00:aa:01:01, address: "::101"}
`

// TestDebian13 installs Debian 13 completely: OVMF by PXE, iPXE, the installer with bootd's own answers, packages from
// this machine's mirror over IPv6, GRUB, the callback, a reboot into what was installed, its first-boot callback, its
// login prompt; and, armed once more, into the installer again. One NVRAM goes through all of it. bootd is killed in the
// middle and starts again.
func TestDebian13(t *testing.T) {
	trusted(t)
	var a debian13.Assets
	packages(t, func(ctx context.Context, url string) (err error) {
		a, err = debian13.Prepare(ctx, url)
		return err
	})
	files := map[string][]byte{
		"snponly.efi": readFile(t, lab.SNPOnly), "debian13/linux": readFile(t, a.Kernel), "debian13/initrd.gz": readFile(t, a.Initrd),
	}
	inventory := debianInventory
	if a.Extra == "" {
		inventory = strings.Replace(inventory, ", debian13/extra.gz", "", 1)
	} else {
		files["debian13/extra.gz"] = readFile(t, a.Extra)
		t.Logf("the mirror lacks %d udebs", len(a.Missing))
	}
	r := labtest.NewRack(t, labtest.RackConfig{Inventory: inventory, Files: files})
	serveMirror(t, r)
	l := &life{t: t, rack: r, machine: uefiMachine(t, r, 3<<30)}
	l.machine.Memory = 2048
	l.machine.Extra = append(l.machine.Extra, "-smp", "2")

	l.arm()
	l.powerOn()
	l.script(3*time.Minute, reason.Install)
	l.event(15*time.Minute, timeline.AnswersServed)
	for _, stage := range []string{"answers", "partman"} {
		l.stage(30*time.Minute, stage)
	}
	l.restart() // the installer goes on with what it was given
	for _, stage := range []string{"base", "packages", "finish"} {
		l.stage(30*time.Minute, stage)
	}
	l.event(5*time.Minute, timeline.Installed)
	l.off(5 * time.Minute)

	l.powerOn()
	l.script(3*time.Minute, reason.LocalDisk)
	l.event(10*time.Minute, timeline.FirstBoot)
	waitConsole(t, l.vm, 5*time.Minute, regexp.MustCompile("^r1n01 login:"))
	t.Logf("login %.1f s after power-on", time.Since(l.vm.Started).Seconds())
	l.cut()

	l.arm("--reinstall")
	l.powerOn()
	l.script(3*time.Minute, reason.Install)
	l.event(15*time.Minute, timeline.AnswersServed)
	l.stage(15*time.Minute, "answers")
	l.cut()
}

// stage waits until the installer says that it has come to a stage.
func (l *life) stage(d time.Duration, name string) {
	l.t.Helper()
	seen := func() bool {
		return slices.ContainsFunc(l.rack.Daemon.Events(), func(e timeline.Event) bool {
			if e.Kind == timeline.InstallFailed && e.Seq > l.since {
				l.t.Fatalf("waiting for the installer's stage %s: it failed: %s", name, e.Detail)
			}
			return e.Kind == timeline.Progress && e.Seq > l.since && e.Detail == `"`+name+`"`
		})
	}
	ctx := labtest.Context(l.t, d)
	for !seen() {
		changed := l.rack.Daemon.Changed()
		if seen() {
			break
		}
		select {
		case <-changed:
		case <-time.After(time.Second): // the console has no event
		case <-ctx.Done():
			l.t.Fatalf("waiting for the installer's stage %s: %v; last on its console: %q", name, context.Cause(ctx), l.vm.LastLine())
		}
		if err := l.vm.Err(); err != nil && !seen() {
			l.t.Fatalf("waiting for the installer's stage %s: %v", name, err)
		}
	}
	l.t.Logf("boot %d: %-16s %-12s %6.1f s after power-on", l.boots, "stage", name, time.Since(l.vm.Started).Seconds())
}

// serveMirror puts a machine with this machine's mirror onto the link: 2001:db8:1::5.
func serveMirror(t *testing.T, r *labtest.Rack) {
	t.Helper()
	n, err := r.Node("mirror")
	if err != nil {
		t.Fatal(err)
	}
	addr := netip.MustParseAddr("2001:db8:1::5")
	if err := n.Attach(r.Link, lab.Interface{Name: "eth0", Self: lab.NoAddress, Addr: []netip.Prefix{netip.PrefixFrom(addr, 64)}}); err != nil {
		t.Fatal(err)
	}
	s, err := mirror.Serve(n.Do, netip.AddrPortFrom(addr, 80))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
}
