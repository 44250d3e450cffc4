package render_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"bootd.internal/bootd/inventory"
	"bootd.internal/bootd/render"
	"bootd.internal/templates"
	"github.com/google/go-cmp/cmp"
)

// mdMagic is the first field of a Linux RAID superblock as it lies on the disk: 0xa92b4efc, little-endian (md_p.h in the kernel).
const mdMagic = "\xfc\x4e\x2b\xa9"

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
		{"size that both have", inventory.Disk{MinSize: 1 << 20, MaxSize: 1 << 30}, two, "", "2 disks match min_size=1048576 max_size=1073741824: nvme0n1 sda"},
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
		{"md 1.2", serial, func(m *machine) { two(m); m.put("sda", 4096, mdMagic) }, "", "sda carries md data; disk.wipe is not set"},
		{"md 1.1", serial, func(m *machine) { two(m); m.put("sda", 0, mdMagic) }, "", "sda carries md data; disk.wipe is not set"},
		{"md 1.0", serial, func(m *machine) { two(m); m.put("sda", 6<<20-8192, mdMagic) }, "", "sda carries md data; disk.wipe is not set"},
		{"md 0.90", serial, func(m *machine) { two(m); m.put("sda", 6<<20-65536, mdMagic) }, "", "sda carries md data; disk.wipe is not set"},
		{"md 0.90 of a big-endian machine", serial, func(m *machine) { two(m); m.put("sda", 6<<20-65536, "\xa9\x2b\x4e\xfc") }, "", "sda carries md data; disk.wipe is not set"},
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
			m.put("sda", 4096, mdMagic)
			m.put("sda1", 512, "LABELONE")
			m.put("sda1", 3<<20-8192, mdMagic)
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

func answers(t *testing.T, d render.Data) []byte {
	t.Helper()
	b, err := render.New(templates.FS()).Render("preseed/debian13.cfg", d)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
