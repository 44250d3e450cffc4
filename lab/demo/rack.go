package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"bootd.internal/bootd/timeline"
	ipxebuild "bootd.internal/ipxe-build"
	"bootd.internal/lab"
)

const (
	network    = "2001:db8:1::/64"
	serverAddr = "2001:db8:1::1"
)

// inventory is what a person would write for this rack.
const inventory = `# the rack of make demo
serve:
  loaders: {x86_64: snponly.efi}

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
  r1n01: 52:54:00:aa:01:01
  r1n02: 52:54:00:aa:01:02
  r1n03: 52:54:00:aa:01:03
`

// machine is one of the rack's and how far it is.
type machine struct {
	host  string
	how   string // for people
	armed bool
	spec  lab.Machine

	vm    *lab.VM
	state timeline.HostState
	done  time.Time // zero: not there yet
}

// rack is the demo's lab: a server and its machines.
type rack struct {
	lab      *lab.Lab
	link     *lab.Link
	daemon   *lab.Daemon
	machines []*machine
	began    time.Time
}

// build sets up the link, the files and bootd, and arms the machines.
func build(ctx context.Context, l *lab.Lab, binary string) (*rack, error) {
	r := &rack{lab: l}
	var err error
	if r.link, err = l.Link("rack1"); err != nil {
		return nil, err
	}
	server, err := l.Node("server")
	if err != nil {
		return nil, err
	}
	err = server.Attach(r.link, lab.Interface{
		Name: "eth1", Self: lab.NoAddress,
		Addr: []netip.Prefix{netip.MustParsePrefix("fe80::1/64"), netip.MustParsePrefix(serverAddr + "/64")},
	})
	if err != nil {
		return nil, err
	}
	// The installer wants a default router; this one leads nowhere.
	if err := server.Uplink("eth0", netip.MustParsePrefix("2001:db8:ffff::2/64")); err != nil {
		return nil, err
	}
	if err := r.files(); err != nil {
		return nil, err
	}
	r.daemon, err = server.StartDaemon(ctx, lab.DaemonConfig{Binary: binary, Inventory: l.Path("inventory.yaml")})
	if err != nil {
		return nil, err
	}
	_, err = r.daemon.Run(ctx, "install", append([]string{"--yes"}, strings.Fields(r.armed())...)...)
	return r, err
}

// files writes the inventory, what bootd serves, and the machines' own media.
func (r *rack) files() error {
	script, disk := r.lab.Path("v6only.ipxe"), r.lab.Path("r1n03.disk")
	bios := lab.Machine{Mode: lab.BIOSKernel, Kernel: lab.IPXEKernel, Initrd: script}
	uefi := lab.Machine{Mode: lab.UEFIPXE}
	r.machines = []*machine{
		{host: "r1n01", how: "BIOS, iPXE from a stick", armed: true, spec: bios},
		{host: "r1n02", how: "UEFI, PXE over IPv6", armed: true, spec: uefi},
		{host: "r1n03", how: "BIOS, not armed", spec: bios},
	}
	r.machines[2].spec.Disk = disk
	for i, m := range r.machines {
		m.spec.Name, m.spec.MAC = m.host, fmt.Sprintf("52:54:00:aa:01:%02d", i+1)
	}
	return errors.Join(
		os.WriteFile(r.lab.Path("inventory.yaml"), []byte(inventory), 0o644),
		os.WriteFile(script, []byte(ipxebuild.V6Only), 0o644),
		lab.WriteDisk(disk),
		put(r.lab.Path("files/snponly.efi"), lab.SNPOnly),
		put(r.lab.Path("files/debian12/linux"), lab.Installer+"/linux"),
		put(r.lab.Path("files/debian12/initrd.gz"), lab.Installer+"/initrd.gz"),
	)
}

// put copies a file that a package brought to where bootd serves it.
func put(to, from string) (err error) {
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return fmt.Errorf("making a directory to serve: %w", err)
	}
	src, err := os.Open(from)
	if err != nil {
		return fmt.Errorf("copying a packaged file (scripts/deps.sh demo installs them): %w", err)
	}
	defer src.Close()
	dst, err := os.Create(to)
	if err != nil {
		return fmt.Errorf("copying %s: %w", from, err)
	}
	_, err = io.Copy(dst, src)
	return errors.Join(err, dst.Close())
}

// armed lists the hosts that are to be installed.
func (r *rack) armed() string {
	var names []string
	for _, m := range r.machines {
		if m.armed {
			names = append(names, m.host)
		}
	}
	return strings.Join(names, " ")
}

// powerOn switches all machines on at once.
func (r *rack) powerOn() error {
	r.began = time.Now()
	for _, m := range r.machines {
		var err error
		if m.vm, err = r.link.Boot(m.spec); err != nil {
			return err
		}
	}
	return nil
}

// watch follows the machines until each is where it belongs, or one cannot get
// there.
func (r *rack) watch(ctx context.Context, s *screen) error {
	tick := time.NewTicker(250 * time.Millisecond)
	defer tick.Stop()
	for {
		open := 0
		events, gone := r.daemon.Events(), r.daemon.Err()
		states := timeline.Fold(events)
		for _, m := range r.machines {
			if !m.done.IsZero() {
				continue
			}
			m.state = states[m.host]
			open++
			if at, ok := m.arrived(events); ok {
				m.done = at
				open--
				if err := m.vm.Stop(); err != nil {
					return err
				}
			} else if err := m.stuck(gone); err != nil {
				s.draw(r)
				return r.failure(m, err)
			}
		}
		s.draw(r)
		if open == 0 {
			return nil
		}
		select {
		case <-tick.C:
		case <-r.daemon.Changed():
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.Canceled) {
				return context.Cause(ctx) // somebody pressed Ctrl-C: nothing failed
			}
			return r.late(context.Cause(ctx))
		}
	}
}

var diskBooted = regexp.MustCompile("^" + lab.DiskMarker + "$")

// arrived reports whether, and when, the machine reached what the demo is to
// show: an armed one has fetched its answers, another has booted its disk after
// bootd had sent it there.
func (m *machine) arrived(events []timeline.Event) (time.Time, bool) {
	if !m.armed {
		return time.Now(), m.state.Phase == timeline.PhaseLocalDisk && m.vm.Match(diskBooted) != nil
	}
	for _, e := range events {
		if e.Kind == timeline.AnswersServed && e.Host == m.host {
			return e.Time, true
		}
	}
	return time.Time{}, false
}

// stuck says why the machine will not get any further, nil if it may.
func (m *machine) stuck(daemon error) error {
	switch {
	case daemon != nil:
		return daemon
	case m.vm.Err() != nil:
		return m.vm.Err()
	case m.state.Phase == timeline.PhaseFailed:
		return fmt.Errorf("bootd says %s: %s", m.state.Reason, m.state.Last.Detail)
	case m.armed && m.state.Phase == timeline.PhaseLocalDisk:
		return errors.New("it is armed, but was sent to its local disk")
	case !m.armed && m.state.Phase == timeline.PhaseScript:
		return errors.New("it is not armed, but was sent to the installer")
	default:
		return nil
	}
}

// stage names where the machine is, for people.
func (m *machine) stage() string {
	if m.state.Phase == "" || m.state.Phase == timeline.PhaseUnseen {
		return "power on"
	}
	return string(m.state.Phase)
}

// failure says which stage of which host went wrong, and where to look.
func (r *rack) failure(m *machine, why error) error {
	return fmt.Errorf("%s (%s) failed in stage %q, %.0f s after power-on: %w\n"+
		"  last on its console: %s\n  console: %s\n  capture: %s\n  events:  %s\n  bootd:   %s",
		m.host, m.how, m.stage(), time.Since(m.vm.Started).Seconds(), why, m.vm.LastLine(),
		r.lab.Path(m.host+".console"), r.lab.Path(m.host+".pcap"), r.lab.Path("bootd.events"), r.daemon.Log)
}

// late is the failure of every machine that is not there when the time is up.
func (r *rack) late(why error) error {
	var errs []error
	for _, m := range r.machines {
		if m.done.IsZero() {
			errs = append(errs, r.failure(m, why))
		}
	}
	return errors.Join(errs...)
}
