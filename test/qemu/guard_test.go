package qemu_test

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"bootd.internal/bootd/timeline"
	"bootd.internal/lab"
	"bootd.internal/lab/cpio"
	"bootd.internal/lab/labtest"
)

const guardInventory = `
defaults: {domain: example.net, profile: debian}
networks:
  rack1: {interface: eth1, prefix: "2001:db8:1::/64"}
profiles:
  debian:
    kernel: linux
    initrd: [initrd.gz]
    script: ipxe/debian.ipxe
    answers: preseed/debian12.cfg
    vars: {mirror: "http://mirror.example.net/debian"}
hosts:
`

// guardCases are the machines: the disk that the inventory names, and what the guard says. %s stands for a disk's name.
var guardCases = []struct{ name, disk, stop string }{
	{"right", "{serial: RIGHT}", ""},
	{"two", "{model: TWIN}", `2 disks match model=TWIN: (sd[a-z]) (sd[a-z])`},
	{"data", "{serial: DATA}", `sd[a-z] carries Ceph LVM ZFS md data; disk\.wipe is not set`},
	{"stick", "{serial: STICK}", `sd[a-z]1 is in use: it is the boot medium or mounted`},
	{"wipe", "{serial: OLD, wipe: true}", ""},
}

// content is what lies on a disk, by octet.
type content map[int64]string

const (
	lvmLabel = "LABELONE\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x20\x00\x00\x00LVM2 001"
	mdBlock  = "\xfc\x4e\x2b\xa9\x01\x00\x00\x00" // 0xa92b4efc, version 1
)

// guardDisks are the disks besides the stick.
var guardDisks = []struct {
	serial, model string
	content       content
}{
	{"RIGHT", "TWIN", content{1080: "\x53\xef"}}, // an old ext4 is no obstacle
	{"OTHER", "TWIN", nil},
	{"DATA", "DATA", content{
		0: "bluestore block device\n3f1c7ad2-0000-4000-8000-000000000001\n", 512: lvmLabel, 4096: mdBlock,
		16384 + 116: "\x00\x00\x00\x09vdev_tree\x00\x00\x00",
	}},
	{"OLD", "DATA", content{512: lvmLabel, 4096: mdBlock}},
}

const (
	guardDiskSize = 8 << 20
	mib           = 1 << 20
)

// TestGuard runs the disk guard that bootd renders in the installer's own system, on a machine with five disks: it finds
// the right one, and where it stops, the console and bootd say why and no disk has changed by an octet.
func TestGuard(t *testing.T) {
	inventory, machines := guardInventory, ""
	for i, c := range guardCases {
		mac := fmt.Sprintf("52:54:00:aa:02:%02x", i)
		inventory += fmt.Sprintf("  %s: {mac: \"%s\", disk: %s}\n", c.name, mac, c.disk)
		machines += fmt.Sprintf("%s,%s ", c.name, mac)
	}
	r := labtest.NewRack(t, labtest.RackConfig{
		Inventory: inventory,
		Files:     map[string][]byte{"linux": []byte("kernel"), "initrd.gz": []byte("initrd")},
	})
	if _, err := r.Daemon.Run(labtest.Context(t, time.Minute), "install", "--yes", "*"); err != nil {
		t.Fatal(err)
	}
	extra, images := guardMachine(t, r)
	before := hashes(t, images)
	vm := boot(t, r, lab.Machine{
		Name: "guard", Mode: lab.BIOSKernel, MAC: "52:54:00:aa:02:ff", Kernel: filepath.Join(lab.Installer, "linux"),
		Initrd: guardInitrd(t, r, fmt.Sprintf("disks=%d machines='%s'\n", len(images), machines)),
		Append: "console=ttyS0,115200n8 mitigations=off loglevel=3 rdinit=/guard/init", Extra: extra,
	})
	waitConsole(t, vm, 6*time.Minute, regexp.MustCompile(`^guard test: done`))
	t.Logf("%.1f s after power-on", time.Since(vm.Started).Seconds())
	if err := vm.Stop(); err != nil {
		t.Fatal(err)
	}
	console, err := os.ReadFile(r.Path("guard.console"))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range guardCases {
		guardVerdict(t, r, c.name, c.stop, string(console))
	}
	after := hashes(t, images)
	if after["OLD"] == before["OLD"] {
		t.Error("the disk that may be wiped was not")
	}
	delete(after, "OLD")
	delete(before, "OLD")
	if d := cmp.Diff(before, after); d != "" {
		t.Errorf("disks were written to:\n%s", d)
	}
}

// guardVerdict checks what one machine's guard said.
func guardVerdict(t *testing.T, r *labtest.Rack, name, stop, console string) {
	t.Helper()
	_, part, ok := strings.Cut(strings.ReplaceAll(console, "\r", ""), "guard test: "+name+" begins\n")
	part, _, ok2 := strings.Cut(part, "guard test: "+name+" ends")
	if !ok || !ok2 {
		t.Errorf("%s did not run", name)
		return
	}
	if stop == "" {
		serial := map[string]string{"right": "RIGHT", "wipe": "OLD"}[name]
		disk := regexp.MustCompile(`bootd: disk (sd[a-z]): serial ` + serial + `,`).FindStringSubmatch(part)
		if disk == nil || !strings.Contains(part, "bootd: installing on "+disk[1]+"\n") ||
			!strings.Contains(part, "d-i partman-auto/disk string /dev/"+disk[1]+"\n") {
			t.Errorf("%s did not choose the disk %s:\n%s", name, serial, part)
		}
		return
	}
	if !regexp.MustCompile(`(?m)^bootd: STOPPED: ` + stop + `$`).MatchString(part) {
		t.Errorf("%s did not stop with %q:\n%s", name, stop, part)
	}
	e := r.WaitEvent(t, 10*time.Second, name, timeline.InstallFailed)
	// The address of the callback has blanks for what an address cannot hold.
	said := regexp.MustCompile(`^"` + strings.NewReplacer(";", " ", `\(`, " ").Replace(stop) + ` ?"$`)
	if !said.MatchString(e.Detail) {
		t.Errorf("%s: the event says %s, want %s", name, e.Detail, said)
	}
}

// guardMachine makes the disks and gives QEMU's arguments for them, all on USB: those are the disks that the installer's
// initial system has drivers for.
func guardMachine(t *testing.T, r *labtest.Rack) (args []string, images map[string]string) {
	t.Helper()
	images = map[string]string{}
	args = []string{"-device", "qemu-xhci", "-device", "usb-uas,id=uas"}
	for i, d := range guardDisks {
		path := r.Path(d.serial + ".img")
		b := make([]byte, guardDiskSize)
		for at, data := range d.content {
			copy(b[at:], data)
		}
		writeFile(t, path, b)
		images[d.serial] = path
		args = append(args, "-drive", fmt.Sprintf("if=none,id=g%d,format=raw,file=%s", i, path),
			"-device", fmt.Sprintf("scsi-hd,bus=uas.0,scsi-id=0,lun=%d,drive=g%d,serial=%s,product=%s", i, i, d.serial, d.model))
	}
	path := r.Path("stick.img")
	writeFile(t, path, guardStick())
	images["STICK"] = path
	for _, c := range [][]string{
		{"mformat", "-i", path + "@@1M", "-T", fmt.Sprint((guardDiskSize - mib) / 512), "-h", "16", "-s", "63", "::"},
		{"mmd", "-i", path + "@@1M", "::/boot"},
	} {
		if out, err := exec.Command(c[0], c[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v (scripts/deps.sh test installs it)\n%s", c[0], err, out)
		}
	}
	return append(args, "-drive", "if=none,id=stick,format=raw,file="+path, "-device", "usb-storage,drive=stick,serial=STICK"), images
}

// guardStick is a disk with one partition from 1 MiB to its end.
func guardStick() []byte {
	b := make([]byte, guardDiskSize)
	copy(b[446:], []byte{0x80, 0, 0, 0, 0x06, 0, 0, 0})
	binary.LittleEndian.PutUint32(b[454:], mib/512)
	binary.LittleEndian.PutUint32(b[458:], (guardDiskSize-mib)/512)
	copy(b[510:], "\x55\xaa")
	return b
}

// guardInitrd is the installer's initial system, without the drivers that this machine has no use for, and with another
// first process.
func guardInitrd(t *testing.T, r *labtest.Rack, settings string) string {
	t.Helper()
	z, err := gzip.NewReader(bytes.NewReader(readFile(t, filepath.Join(lab.Installer, "initrd.gz"))))
	if err != nil {
		t.Fatal(err)
	}
	all, err := cpio.Read(z)
	if err != nil {
		t.Fatal(err)
	}
	var entries []cpio.Entry
	driver := regexp.MustCompile(`/kernel/(drivers|sound|net)/.*\.ko$`)
	wanted := regexp.MustCompile(`/kernel/(net/core/|drivers/(virtio/|usb/|scsi/|net/virtio_net|net/net_failover))`)
	for _, e := range all {
		if !driver.MatchString(e.Name) || wanted.MatchString(e.Name) {
			entries = append(entries, e)
		}
	}
	first, rest, _ := bytes.Cut(readFile(t, "testdata/guard.sh"), []byte("\n"))
	entries = append(
		entries, cpio.Entry{Name: "guard", Mode: cpio.Dir | 0o755},
		cpio.Entry{Name: "guard/init", Mode: cpio.Regular | 0o755, Body: bytes.Join([][]byte{first, []byte(settings), rest}, []byte("\n"))},
		cpio.Entry{Name: "guard/debconf-set-selections", Mode: cpio.Regular | 0o755, Body: []byte("#!/bin/sh\ncat \"$1\"\n")},
	)
	path := r.Path("guard.initrd")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := cpio.Write(f, entries); err != nil {
		t.Fatal(err)
	}
	return path
}

func hashes(t *testing.T, images map[string]string) map[string]string {
	t.Helper()
	sums := map[string]string{}
	for name, path := range images {
		sums[name] = fmt.Sprintf("%x", sha256.Sum256(readFile(t, path)))
	}
	return sums
}

func writeFile(t *testing.T, path string, b []byte) {
	t.Helper()
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}
