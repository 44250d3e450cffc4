package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Mode is what a virtual machine starts from.
type Mode int

const (
	// BIOSKernel starts Machine.Kernel with Machine.Initrd, the way of
	// ipxe.lkrn with a script of our own.
	BIOSKernel Mode = iota + 1
	// BIOSDisk boots Machine.Disk.
	BIOSDisk
	// UEFIPXE boots from the network by the firmware's own PXE over IPv6.
	UEFIPXE
	// UEFIDisk boots Machine.Disk.
	UEFIDisk
)

// Machine describes a virtual machine.
type Machine struct {
	Name   string // names its evidence files
	Mode   Mode
	MAC    string
	UUID   string // empty: derived from the MAC
	Serial string // SMBIOS serial number; empty: derived from the MAC
	Memory int    // MiB; 0: 1024
	Kernel string
	Initrd string
	Append string
	Disk   string         // a raw image that the machine may write to
	NIC    string         // QEMU device; empty: virtio-net-pci
	Fatal  *regexp.Regexp // console lines that mean failure; nil: Fatal
	Extra  []string       // more arguments for QEMU
}

// VM is a running virtual machine.
type VM struct {
	Machine
	Started time.Time

	console *console
	capture *Capture
	cmd     *exec.Cmd
	exited  chan struct{}
	exitErr error
	cancel  context.CancelFunc
	stop    func() error
}

// Boot starts a machine on the link. Its console goes to NAME.console, its
// traffic to NAME.pcap, what QEMU says to NAME.qemu, all in the lab's Dir. It
// runs until it powers off or reboots, or until Stop or Close.
func (k *Link) Boot(m Machine) (*VM, error) {
	l := k.lab
	tap, err := k.tap()
	if err != nil {
		return nil, err
	}
	fatal := m.Fatal
	if fatal == nil {
		fatal = Fatal
	}
	vm := &VM{Machine: m, exited: make(chan struct{})}
	if vm.console, err = newConsole(l.Path(m.Name+".console"), fatal); err != nil {
		return nil, err
	}
	if vm.capture, err = l.capture(tap, l.Path(m.Name+".pcap")); err != nil {
		return nil, errors.Join(err, vm.console.close())
	}
	args, err := l.qemuArgs(m, tap)
	if err == nil {
		err = vm.start(l, args)
	}
	if err != nil {
		return nil, errors.Join(err, vm.capture.Stop(), vm.console.close())
	}
	l.onClose(vm.Stop)
	return vm, nil
}

func (vm *VM) start(l *Lab, args []string) error {
	said, err := os.Create(l.Path(vm.Name + ".qemu"))
	if err != nil {
		return fmt.Errorf("creating QEMU's log: %w", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	vm.cancel, vm.stop = cancel, sync.OnceValue(vm.shutDown)
	vm.cmd = l.links.command(ctx, "qemu-system-x86_64", args...)
	vm.cmd.Stdout, vm.cmd.Stderr = vm.console, said
	fmt.Fprintln(said, strings.Join(vm.cmd.Args, " "))
	vm.Started = time.Now()
	if err := vm.cmd.Start(); err != nil {
		cancel()
		return errors.Join(fmt.Errorf("starting QEMU: %w", err), said.Close())
	}
	go func() {
		vm.exitErr = errors.Join(vm.cmd.Wait(), said.Close())
		vm.console.end(fmt.Errorf("QEMU ended (%v; see %s)", vm.cmd.ProcessState, said.Name()))
		close(vm.exited)
	}()
	return nil
}

// tap makes an interface for a machine on the link.
func (k *Link) tap() (string, error) {
	l := k.lab
	l.mu.Lock()
	name := fmt.Sprintf("tap%d", l.taps)
	l.taps++
	l.mu.Unlock()
	err := l.links.do(func() error {
		attrs := netlink.NewLinkAttrs()
		attrs.Name = name
		t := &netlink.Tuntap{LinkAttrs: attrs, Mode: netlink.TUNTAP_MODE_TAP, Flags: netlink.TUNTAP_DEFAULTS}
		if err := netlink.LinkAdd(t); err != nil {
			return err
		}
		made, err := netlink.LinkByName(name)
		if err != nil {
			return err
		}
		if err := netlink.LinkSetMaster(made, k.br); err != nil {
			return err
		}
		return netlink.LinkSetUp(made)
	})
	if err != nil {
		return "", fmt.Errorf("making %s on %s: %w", name, k.name, err)
	}
	return name, nil
}

// Wait returns the submatches of the first console line that matches re,
// looking from power-on. It fails at once on a fatal line and when QEMU ends.
func (vm *VM) Wait(ctx context.Context, re *regexp.Regexp) ([]string, error) {
	m, err := vm.console.wait(ctx, re)
	if err != nil {
		return nil, fmt.Errorf("machine %s: %w", vm.Name, err)
	}
	return m, nil
}

// Match returns the submatches of the first complete console line that matches
// re, nil if none does so far.
func (vm *VM) Match(re *regexp.Regexp) []string { return vm.console.match(re) }

// Err returns why the machine cannot go on, nil while it may.
func (vm *VM) Err() error {
	vm.console.mu.Lock()
	defer vm.console.mu.Unlock()
	return vm.console.stop
}

// LastLine returns what the console showed last.
func (vm *VM) LastLine() string { return vm.console.last() }

// Exited is closed when QEMU has ended.
func (vm *VM) Exited() <-chan struct{} { return vm.exited }

// Stop switches the machine off and completes its evidence. Further calls do
// nothing and return the same.
func (vm *VM) Stop() error { return vm.stop() }

func (vm *VM) shutDown() error {
	vm.cancel()
	<-vm.exited
	err := errors.Join(vm.capture.Stop(), vm.console.close())
	var exit *exec.ExitError
	if vm.exitErr != nil && !errors.As(vm.exitErr, &exit) && !errors.Is(vm.exitErr, context.Canceled) {
		err = errors.Join(err, vm.exitErr)
	}
	return err
}

// Accelerator returns what QEMU runs machines with here: "kvm" or "tcg".
//
// A /dev/kvm that opens is not enough: kvm-pvm, which runs inside a cloud
// machine, opens, makes a VM and runs SeaBIOS, and then hangs in real mode at
// "Booting from ROM". So the processor must have the real thing.
func Accelerator() string {
	fd, err := unix.Open("/dev/kvm", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return "tcg"
	}
	defer unix.Close(fd)
	cpu, err := os.ReadFile("/proc/cpuinfo")
	if err != nil || !regexp.MustCompile(`(?m)^flags\s*:.*\b(vmx|svm)\b`).Match(cpu) {
		return "tcg"
	}
	return "kvm"
}
