package render_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"bootd.internal/bootd/inventory"
	"bootd.internal/bootd/render"
	"bootd.internal/templates"
	"github.com/google/go-cmp/cmp"
)

// shells are those that the installer's scripts must run in: dash always, busybox (the installer's own) where it is.
func shells(t *testing.T) [][]string {
	t.Helper()
	dash, err := exec.LookPath("dash")
	if err != nil {
		t.Fatal("dash is needed: every Debian system has it")
	}
	found := [][]string{{dash}}
	if busybox, err := exec.LookPath("busybox"); err == nil {
		found = append(found, []string{busybox, "sh"})
	}
	return found
}

// unpack takes the scripts out of rendered answers in the way that early_command does, with its own sed.
func unpack(t *testing.T, answers []byte) map[string]string {
	t.Helper()
	_, rest, ok := bytes.Cut(answers, []byte("d-i preseed/early_command string "))
	if !ok {
		t.Fatal("no early_command in the answers")
	}
	line, _, _ := bytes.Cut(rest, []byte("\n"))
	dir := t.TempDir()
	command := strings.ReplaceAll(string(line), "/tmp/bootd", dir)
	command = strings.Replace(command, "wget -q -O "+dir+"/answers", "cp answers "+dir+"/answers; :", 1)
	command, _, _ = strings.Cut(command, " && sh ")
	if err := os.WriteFile(filepath.Join(dir, "../answers"), answers, 0o600); err != nil {
		t.Fatal(err)
	}
	c := exec.Command("dash", "-c", command)
	c.Dir = filepath.Dir(dir)
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", command, err, out)
	}
	scripts := map[string]string{}
	for _, name := range []string{"lib", "early", "guard", "late"} {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil || len(b) == 0 {
			t.Fatalf("script %s: %v, %d octets", name, err, len(b))
		}
		scripts[name] = string(b)
	}
	return scripts
}

// machine is a faked machine: /sys, /dev, and the tools of the installer.
type machine struct {
	t   *testing.T
	dir string
}

// tools write down how they were called.
const tool = `#!/bin/sh
echo "$(basename "$0") $*" >>"$BOOTD_CALLS"
`

func newMachine(t *testing.T, scripts map[string]string) *machine {
	m := &machine{t, t.TempDir()}
	for name, text := range scripts {
		m.file("run/"+name, text)
	}
	m.file("sys/class/tty/console/active", "tty0 ttyS0\n")
	m.file("mounts", "rootfs / rootfs rw 0 0\n")
	m.file("dev/tty0", "")
	m.file("dev/ttyS0", "")
	m.mkdir("sys/block")
	m.mkdir("sys/devices/pci")
	for _, name := range []string{"logger", "wget", "debconf-set-selections", "udevadm", "blkid", "blockdev", "in-target", "chroot", "mdadm", "dmsetup"} {
		m.file("bin/"+name, tool)
		m.chmod("bin/"+name, 0o755)
	}
	return m
}

func (m *machine) path(name string) string { return filepath.Join(m.dir, name) }

func (m *machine) mkdir(name string) {
	m.t.Helper()
	if err := os.MkdirAll(m.path(name), 0o755); err != nil {
		m.t.Fatal(err)
	}
}

func (m *machine) file(name, text string) {
	m.t.Helper()
	m.mkdir(filepath.Dir(name))
	if err := os.WriteFile(m.path(name), []byte(text), 0o644); err != nil {
		m.t.Fatal(err)
	}
}

func (m *machine) chmod(name string, mode os.FileMode) {
	m.t.Helper()
	if err := os.Chmod(m.path(name), mode); err != nil {
		m.t.Fatal(err)
	}
}

func (m *machine) read(name string) string {
	m.t.Helper()
	b, err := os.ReadFile(m.path(name))
	if err != nil && !os.IsNotExist(err) {
		m.t.Fatal(err)
	}
	return string(b)
}

// disk adds a block device of some MiB; attrs are files below /sys/block/NAME.
func (m *machine) disk(name string, mib int, attrs map[string]string) {
	m.t.Helper()
	bus := "pci"
	if attrs["usb"] != "" {
		bus = "pci/usb2/2-1"
	}
	m.mkdir("sys/devices/" + bus)
	real := "sys/devices/" + bus + "/" + name
	m.file(real+"/size", fmt.Sprint(mib<<11)+"\n")
	m.file(real+"/removable", "0\n")
	m.file(real+"/ro", "0\n")
	for k, v := range attrs {
		if k != "usb" {
			m.file(real+"/"+k, v)
		}
	}
	if err := os.Symlink("../../"+real, m.path("sys/block/"+name)); err != nil {
		m.t.Fatal(err)
	}
	m.device(name, mib)
}

// part adds a partition.
func (m *machine) part(disk, name string, mib int) {
	m.t.Helper()
	m.file("sys/block/"+disk+"/"+name+"/size", fmt.Sprint(mib<<11)+"\n")
	m.device(name, mib)
}

func (m *machine) device(name string, mib int) {
	m.t.Helper()
	m.file("dev/"+name, "")
	if err := os.Truncate(m.path("dev/"+name), int64(mib)<<20); err != nil {
		m.t.Fatal(err)
	}
}

// put writes octets on a device.
func (m *machine) put(device string, offset int64, octets string) {
	m.t.Helper()
	f, err := os.OpenFile(m.path("dev/"+device), os.O_WRONLY, 0)
	if err != nil {
		m.t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt([]byte(octets), offset); err != nil {
		m.t.Fatal(err)
	}
}

// applets are the programs that the scripts call; in the installer all of them are busybox.
func (m *machine) applets(busybox string) {
	m.t.Helper()
	m.mkdir("applets")
	for _, name := range strings.Fields("cat chmod dd grep ls mkdir printf readlink sed sort tr ln sleep basename") {
		if err := os.Symlink(busybox, m.path("applets/"+name)); err != nil && !os.IsExist(err) {
			m.t.Fatal(err)
		}
	}
}

// run runs one of the scripts and gives what it printed and whether it ended well.
func (m *machine) run(shell []string, script string) (string, bool) {
	m.t.Helper()
	if len(shell) > 1 {
		m.applets(shell[0])
	}
	c := exec.Command(shell[0], append(slices.Clone(shell[1:]), m.path("run/"+script))...)
	c.Env = []string{
		"PATH=" + m.path("bin") + ":" + m.path("applets") + ":/usr/bin:/bin:/usr/sbin:/sbin", "BOOTD_TEST=1", "BOOTD_DIR=" + m.path("run"), "BOOTD_SYS=" + m.path("sys"),
		"BOOTD_DEV=" + m.path("dev"), "BOOTD_MOUNTS=" + m.path("mounts"), "BOOTD_CALLS=" + m.path("calls"),
		"BOOTD_TARGET=" + m.path("target"), "BOOTD_ROOT=" + m.path("root"), "LC_ALL=C",
	}
	out, err := c.CombinedOutput()
	return string(out), err == nil
}

// calls are the tools that were called, one per line, without the temporary directory.
func (m *machine) calls(only string) []string {
	var found []string
	for line := range strings.Lines(strings.ReplaceAll(m.read("calls"), m.dir, "")) {
		if strings.HasPrefix(line, only+" ") {
			found = append(found, strings.TrimSpace(strings.TrimPrefix(line, only)))
		}
	}
	return found
}

const (
	mdMagic = "\xa9\x2b\x4e\xfc"
	gib     = 1 << 30
)

// two is a machine with the two disks that most cases need.
func two(m *machine) {
	m.disk("sda", 6, map[string]string{"device/model": "ACME 100        \n", "device/vpd_pg80": "\x00\x80\x00\x08   S-ONE"})
	m.disk("nvme0n1", 8, map[string]string{"device/model": "FAST 9000\n", "device/serial": "S-TWO  \n"})
	m.disk("sr0", 8, map[string]string{"removable": "1\n"})
	m.disk("loop0", 8, nil)
	m.disk("md127", 8, nil)
	m.disk("sdz", 0, nil)
}

func TestGuard(t *testing.T) {
	serial := inventory.Disk{Serial: "S-ONE"}
	for _, tc := range []struct {
		name  string
		disk  inventory.Disk
		setup func(m *machine)
		// disk is what was chosen; stop why not.
		want, stop string
	}{
		{"serial of a SCSI disk", serial, two, "sda", ""},
		{"serial of an NVMe disk", inventory.Disk{Serial: "S-TWO"}, two, "nvme0n1", ""},
		{"serial of a virtio disk", inventory.Disk{Serial: "V1"}, func(m *machine) { m.disk("vda", 8, map[string]string{"serial": "V1"}) }, "vda", ""},
		{"serial that udev alone knows", inventory.Disk{Serial: "UDEV-1"}, func(m *machine) {
			m.disk("sda", 8, nil)
			m.disk("sdb", 8, nil)
			m.file("bin/udevadm", "#!/bin/sh\ncase $* in *sdb) echo ID_SERIAL_SHORT=UDEV-1;; esac\n")
			m.chmod("bin/udevadm", 0o755)
		}, "sdb", ""},
		{"serial with other characters", inventory.Disk{Serial: "it's * $HOME"}, func(m *machine) { m.disk("vda", 8, map[string]string{"serial": "it's * $HOME"}) }, "vda", ""},
		{"part of a serial is none", inventory.Disk{Serial: "S-"}, two, "", "no disk matches serial=S-; there are: nvme0n1 sda"},
		{"model", inventory.Disk{Model: "FAST 9000"}, two, "nvme0n1", ""},
		{"by id", inventory.Disk{ByID: "ata-x"}, func(m *machine) {
			two(m)
			m.mkdir("dev/disk/by-id")
			if err := os.Symlink("../../sda", m.path("dev/disk/by-id/ata-x")); err != nil {
				m.t.Fatal(err)
			}
		}, "sda", ""},
		{"by id that is not there", inventory.Disk{ByID: "ata-y"}, two, "", "no disk matches by-id=ata-y; there are: nvme0n1 sda"},
		{"smallest size", inventory.Disk{MinSize: 7 << 20}, two, "nvme0n1", ""},
		{"largest size", inventory.Disk{MaxSize: 7 << 20}, two, "sda", ""},
		{"size that both have", inventory.Disk{MinSize: 1 << 20, MaxSize: gib}, two, "", "2 disks match min_size=1048576 max_size=1073741824: nvme0n1 sda"},
		{"two of one serial", inventory.Disk{Serial: "S"}, func(m *machine) {
			m.disk("sda", 8, map[string]string{"serial": "S"})
			m.disk("sdb", 8, map[string]string{"serial": "S"})
		}, "", "2 disks match serial=S: sda sdb"},
		{"no disks", serial, func(*machine) {}, "", "no disk matches serial=S-ONE; there are: none"},
		{"removable", inventory.Disk{Serial: "R"}, func(m *machine) { m.disk("sda", 8, map[string]string{"serial": "R", "removable": "1"}) }, "", "sda is a removable medium"},
		{"write-protected", inventory.Disk{Serial: "R"}, func(m *machine) { m.disk("sda", 8, map[string]string{"serial": "R", "ro": "1"}) }, "", "sda cannot be written"},
		{"USB by size", inventory.Disk{MinSize: 1}, func(m *machine) { m.disk("sda", 8, map[string]string{"usb": "1"}) }, "", "sda is on USB: name it by serial or by_id"},
		{"USB by serial", inventory.Disk{Serial: "U"}, func(m *machine) { m.disk("sda", 8, map[string]string{"usb": "1", "serial": "U"}) }, "sda", ""},
		{"boot medium", serial, func(m *machine) {
			two(m)
			m.part("sda", "sda1", 3)
			m.file("mounts", m.path("dev/sda1")+" /hd-media vfat ro 0 0\n")
		}, "", "sda1 is in use: it is the boot medium or mounted"},
		{"an old ext4 system is no obstacle", serial, func(m *machine) {
			two(m)
			m.part("sda", "sda1", 3)
			m.put("sda1", 1080, "\x53\xef")
		}, "sda", ""},
		{"LVM on a partition", serial, func(m *machine) {
			two(m)
			m.part("sda", "sda1", 3)
			m.part("sda", "sda2", 3)
			m.put("sda2", 512, "LABELONE")
		}, "", "sda2 carries LVM data; disk.wipe is not set"},
		{"LVM on the disk", serial, func(m *machine) { two(m); m.put("sda", 512, "LABELONE") }, "", "sda carries LVM data; disk.wipe is not set"},
		{"md 1.2", serial, func(m *machine) { two(m); m.put("sda", 4096, raidBytes()) }, "", "sda carries md data; disk.wipe is not set"},
		{"md 1.1", serial, func(m *machine) { two(m); m.put("sda", 0, raidBytes()) }, "", "sda carries md data; disk.wipe is not set"},
		{"md 1.0", serial, func(m *machine) { two(m); m.put("sda", 6<<20-8192, raidBytes()) }, "", "sda carries md data; disk.wipe is not set"},
		{"md 0.90", serial, func(m *machine) { two(m); m.put("sda", 6<<20-65536, raidBytes()) }, "", "sda carries md data; disk.wipe is not set"},
		{"Ceph", serial, func(m *machine) { two(m); m.put("sda", 0, "bluestore block device\n") }, "", "sda carries Ceph data; disk.wipe is not set"},
		{"ZFS", serial, func(m *machine) { two(m); m.put("sda", 16384+900, "vdev_tree") }, "", "sda carries ZFS data; disk.wipe is not set"},
		{"what blkid alone knows", serial, func(m *machine) {
			two(m)
			m.file("bin/blkid", "#!/bin/sh\necho ddf_raid_member\n")
			m.chmod("bin/blkid", 0o755)
		}, "", "sda carries md data; disk.wipe is not set"},
		{"in use without a signature", serial, func(m *machine) { two(m); m.mkdir("sys/block/sda/holders/dm-0") }, "", "sda is in use by dm-0"},
		{"data, but wipe", inventory.Disk{Serial: "S-ONE", Wipe: true}, func(m *machine) {
			two(m)
			m.part("sda", "sda1", 3)
			m.put("sda", 4096, raidBytes())
			m.put("sda1", 512, "LABELONE")
			m.put("sda1", 3<<20-8192, raidBytes())
		}, "sda", ""},
		{"in use, and wipe does not release it", inventory.Disk{Serial: "S-ONE", Wipe: true}, func(m *machine) {
			two(m)
			m.part("sda", "sda1", 3)
			m.mkdir("sys/block/sda/sda1/holders/md0")
		}, "", "sda1 is in use by md0"},
	} {
		for _, shell := range shells(t) {
			t.Run(tc.name+"/"+filepath.Base(shell[0]), func(t *testing.T) {
				t.Parallel()
				d := sample()
				d.Disk = tc.disk
				m := newMachine(t, unpack(t, answers(t, d)))
				tc.setup(m)
				before := m.devices()
				out, ok := m.run(shell, "guard")
				if ok != (tc.want != "") || out != "" {
					t.Errorf("ended well: %t, printed:\n%s", ok, out)
				}
				console := m.read("dev/ttyS0")
				told := m.calls("wget")
				if tc.stop != "" {
					m.stopped(tc.stop, console, told, before)
					return
				}
				m.chose(tc.want, console, told, tc.disk.Wipe, before)
			})
		}
	}
}

// stopped checks that the guard said why on the console and to bootd, and that nothing was written.
func (m *machine) stopped(why, console string, told []string, before map[string]string) {
	t := m.t
	t.Helper()
	if last := console[strings.LastIndex(strings.TrimSpace(console), "\n")+1:]; last != "bootd: STOPPED: "+why+"\n" {
		t.Errorf("the console ends in %q, want %q", last, why)
	}
	url := "-q -O /dev/null http://[2001:db8:1::1]/t/" + render.PlaceholderInstalled + "/failed?why="
	if len(told) != 1 || !strings.HasPrefix(told[0], url) || strings.ContainsAny(strings.TrimPrefix(told[0], url), " ;'\"*$/") {
		t.Errorf("bootd was told %q", told)
	}
	if diff := cmp.Diff(before, m.devices()); diff != "" {
		t.Errorf("a disk was written:\n%s", diff)
	}
	if set := m.calls("debconf-set-selections"); len(set) > 0 {
		t.Errorf("the installer was told to go on: %q", set)
	}
}

func (m *machine) chose(disk, console string, told []string, wipe bool, before map[string]string) {
	t := m.t
	t.Helper()
	if !strings.HasSuffix(console, "bootd: installing on "+disk+"\n") {
		t.Errorf("the console says\n%s", console)
	}
	want := strings.ReplaceAll(`d-i partman-auto/disk string DISK
d-i grub-installer/bootdev string DISK
d-i partman/confirm boolean true
d-i partman/confirm_nooverwrite boolean true
`, "DISK", m.path("dev/"+disk))
	if diff := cmp.Diff(want, m.read("run/disk.cfg")); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"/run/disk.cfg"}, m.calls("debconf-set-selections")); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"-q -O /dev/null http://[2001:db8:1::1]/t/" + render.PlaceholderInstalled + "/progress?stage=partman"}, told); diff != "" {
		t.Error(diff)
	}
	for name, is := range m.devices() {
		mine := strings.HasPrefix(name, disk)
		if is != before[name] && (!wipe || !mine) {
			t.Errorf("%s was written", name)
		}
		if wipe && mine && (strings.Contains(is, "LABELONE") || strings.Contains(is, mdMagic)) {
			t.Errorf("%s still carries a signature", name)
		}
	}
}

// devices is the content of every block device.
func (m *machine) devices() map[string]string {
	m.t.Helper()
	all := map[string]string{}
	names, err := filepath.Glob(m.path("dev/[a-su-z]*"))
	if err != nil {
		m.t.Fatal(err)
	}
	for _, name := range names {
		if info, err := os.Stat(name); err == nil && info.Mode().IsRegular() {
			b, err := os.ReadFile(name)
			if err != nil {
				m.t.Fatal(err)
			}
			all[filepath.Base(name)] = strings.TrimRight(string(b), "\x00")
		}
	}
	return all
}

// raidBytes is the superblock's magic as it lies on the disk, little-endian.
func raidBytes() string { return mdMagic + "\x01\x00\x00\x00" }

func answers(t *testing.T, d render.Data) []byte {
	t.Helper()
	b, err := render.New(templates.FS()).Render("preseed/debian13.cfg", d)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
