package qemu_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"bootd.internal/bootd/reason"
	"bootd.internal/bootd/timeline"
	"bootd.internal/lab"
	"bootd.internal/lab/labtest"
)

// TestMedia boots bootd.iso as a CD and bootd.usb as a stick, each by BIOS and
// by UEFI. A BIOS machine goes on to its own disk, which is the second one
// where the first is the stick.
func TestMedia(t *testing.T) {
	dir := t.TempDir()
	scripted := makeMedia(t, dir)
	cases := []struct {
		name   string
		mode   lab.Mode
		medium []string // QEMU's arguments
	}{
		{"CD by BIOS", lab.BIOSDisk, cd(dir)},
		{"stick by BIOS", lab.BIOSDisk, stick(dir, "bootd.usb")},
		{"CD by UEFI", lab.UEFIDisk, cd(dir)},
		{"stick by UEFI", lab.UEFIDisk, stick(dir, "bootd.usb")},
		{"ISO on a stick, by UEFI", lab.UEFIDisk, stick(dir, "bootd.iso")},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			r := labtest.NewRack(t, labtest.RackConfig{Inventory: `
networks:
  rack1: {interface: eth1, prefix: "2001:db8:1::/64"}
hosts:
  r1n01: {mac: 52:54:00:aa:01:01, address: "::101"}
`})
			m := biosMachine(t, r)
			m.Mode, m.Extra = c.mode, c.medium
			vm := boot(t, r, m)
			e := r.WaitMachine(t, 2*time.Minute, vm, timeline.ScriptFetched)
			if e.Reason != reason.LocalDisk {
				t.Errorf("the script's reason is %s, want %s", e.Reason, reason.LocalDisk)
			}
			waitConsole(t, vm, 20*time.Second, regexp.MustCompile("^bootd: r1n01 is not armed: booting the local disk"))
			if c.mode == lab.BIOSDisk {
				waitConsole(t, vm, 20*time.Second, diskBooted)
			}
			if c.mode == lab.BIOSDisk || scripted {
				if vm.Match(regexp.MustCompile("^bootd: round 1, net0 "+mac)) == nil {
					t.Error("the console shows nothing of the medium's script")
				}
			}
			t.Logf("script fetched %.1f s after power-on", e.Time.Sub(vm.Started).Seconds())
		})
	}
}

// makeMedia runs media.sh and reports whether UEFI machines get the script. The
// sandbox has no network: a newer iPXE comes from the machine, or from what
// make ipxe fetched before.
func makeMedia(t *testing.T, dir string) bool {
	t.Helper()
	cache, err := filepath.Abs("../../build/ipxe/cache")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(labtest.Context(t, time.Minute), "../../ipxe-build/media.sh", dir)
	cmd.Env = append(os.Environ(), "IPXE_CACHE="+cache)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("media.sh: %v\n%s", err, out)
	}
	sources := string(readFile(t, filepath.Join(dir, "SOURCES")))
	t.Log(strings.TrimSpace(sources))
	return strings.Contains(sources, "autoexec.ipxe")
}

func cd(dir string) []string {
	return []string{
		"-drive", "if=none,id=medium,format=raw,media=cdrom,readonly=on,file=" + filepath.Join(dir, "bootd.iso"),
		"-device", "ide-cd,drive=medium,bootindex=0",
	}
}

func stick(dir, image string) []string {
	return []string{
		"-drive", fmt.Sprintf("if=none,id=medium,format=raw,readonly=on,file=%s", filepath.Join(dir, image)),
		"-device", "qemu-xhci", "-device", "usb-storage,drive=medium,bootindex=0",
	}
}
