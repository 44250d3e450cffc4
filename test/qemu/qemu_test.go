// Package qemu_test boots real firmware, real iPXE and Debian's own installer
// against the real binary. The daemon's event stream is the oracle, and the
// machine's console where the machine alone can know; console, capture and
// events of a test that fails are kept.
package qemu_test

import (
	"fmt"
	"os"
	"regexp"
	"testing"
	"time"

	ipxebuild "bootd.internal/ipxe-build"
	"bootd.internal/lab"
	"bootd.internal/lab/labtest"
	"bootd.internal/lab/mirror"
)

func TestMain(m *testing.M) {
	// Installations need packages: what fetches them has to stay outside the sandbox.
	if err := mirror.Outside(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	labtest.MainWithBootd(m)
}

const mac = "52:54:00:aa:01:01" // r1n01

var diskBooted = regexp.MustCompile("^" + lab.DiskMarker + "$")

// biosMachine is r1n01 started from a stick with iPXE and our script; its disk
// says when it boots.
func biosMachine(t *testing.T, r *labtest.Rack) lab.Machine {
	t.Helper()
	script, disk := r.Path("v6only.ipxe"), r.Path("disk.img")
	if err := os.WriteFile(script, []byte(ipxebuild.V6Only), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := lab.WriteDisk(disk); err != nil {
		t.Fatal(err)
	}
	return lab.Machine{Name: "r1n01", Mode: lab.BIOSKernel, MAC: mac, Kernel: lab.IPXEKernel, Initrd: script, Disk: disk}
}

func boot(t *testing.T, r *labtest.Rack, m lab.Machine) *lab.VM {
	t.Helper()
	vm, err := r.Link.Boot(m)
	if err != nil {
		t.Fatal(err)
	}
	return vm
}

func waitConsole(t *testing.T, vm *lab.VM, d time.Duration, re *regexp.Regexp) []string {
	t.Helper()
	m, err := vm.Wait(labtest.Context(t, d), re)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func readFile(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v (scripts/deps.sh test installs it)", err)
	}
	return b
}
