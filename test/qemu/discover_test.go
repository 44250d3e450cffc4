package qemu_test

import (
	"regexp"
	"testing"
	"time"

	"bootd.internal/bootd/timeline"
	"bootd.internal/lab/labtest"
)

// TestDiscover boots iPXE on a machine that nobody listed: it gets an address and the script, tells who it is in words
// that bootd understands, says what to do on its console, and boots its disk.
func TestDiscover(t *testing.T) {
	r := labtest.NewRack(t, labtest.RackConfig{Inventory: `
networks:
  rack1: {interface: eth1, prefix: "2001:db8:1::/64", unknown: discover}
`})
	vm := boot(t, r, biosMachine(t, r))
	waitConsole(t, vm, time.Minute, regexp.MustCompile("^bootd: bootd knows now who this is"))
	waitConsole(t, vm, time.Minute, regexp.MustCompile("bootd adopt "+mac+" NAME"))
	waitConsole(t, vm, time.Minute, diskBooted)
	machines, err := r.Daemon.API.Discovered(labtest.Context(t, time.Second*10))
	if err != nil || len(machines) != 1 {
		t.Fatalf("discovered: %+v, %v", machines, err)
	}
	m := machines[0]
	if m.MAC.String() != mac || m.Manufacturer != "Lab" || m.Product != "VM" || m.Serial == "" || m.Arch != "bios" || !m.UUID.Identifies() || m.Client != "ipxe" {
		t.Errorf("discovered: %+v", m)
	}
	for _, e := range r.Daemon.Events() {
		if e.Kind == timeline.Discovered {
			t.Logf("%s, %.1f s after power-on", e.Detail, e.Time.Sub(vm.Started).Seconds())
		}
	}
}
