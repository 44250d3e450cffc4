package qemu_test

import (
	"regexp"
	"testing"
	"time"

	"bootd.internal/bootd/timeline"
	"bootd.internal/lab"
	"bootd.internal/lab/labtest"
)

// TestDiscover boots iPXE on a machine that nobody listed: it gets an address and the script, tells who it is in words
// that bootd understands, says what to do on its console, and boots its disk.
func TestDiscover(t *testing.T) {
	discover(t, "bios", func(r *labtest.Rack) lab.Machine { return biosMachine(t, r) })
}

// TestDiscoverUEFI is TestDiscover from OVMF's own PXE on, without the end: TestUEFI boots the disk of a UEFI machine.
func TestDiscoverUEFI(t *testing.T) {
	discover(t, "x86_64", func(*labtest.Rack) lab.Machine { return lab.Machine{Name: "r1n01", Mode: lab.UEFIPXE, MAC: mac} })
}

func discover(t *testing.T, arch string, machine func(*labtest.Rack) lab.Machine) {
	r := labtest.NewRack(t, labtest.RackConfig{
		Inventory: `
serve: {loaders: {x86_64: snponly.efi}}
networks:
  rack1: {interface: eth1, prefix: "2001:db8:1::/64", unknown: discover}
`,
		Files: map[string][]byte{"snponly.efi": readFile(t, lab.SNPOnly)},
	})
	vm := boot(t, r, machine(r))
	waitConsole(t, vm, 5*time.Minute, regexp.MustCompile("^bootd: bootd knows now who this is"))
	waitConsole(t, vm, time.Minute, regexp.MustCompile("bootd adopt "+mac+" NAME"))
	if arch == "bios" {
		waitConsole(t, vm, time.Minute, diskBooted)
	}
	machines, err := r.Daemon.API.Discovered(labtest.Context(t, time.Second*10))
	if err != nil || len(machines) != 1 {
		t.Fatalf("discovered: %+v, %v", machines, err)
	}
	m := machines[0]
	if m.MAC.String() != mac || m.Manufacturer != "Lab" || m.Product != "VM" || m.Serial == "" || m.Arch != arch || !m.UUID.Identifies() || m.Client != "ipxe" {
		t.Errorf("discovered: %+v", m)
	}
	for _, e := range r.Daemon.Events() {
		if e.Kind == timeline.Discovered {
			t.Logf("%s, %.1f s after power-on", e.Detail, e.Time.Sub(vm.Started).Seconds())
		}
	}
}
