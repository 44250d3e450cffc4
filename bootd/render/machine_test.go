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
)

// shells are those that the installer's scripts must run in: dash always, busybox (the installer's own) where it is and
// takes commands from PATH. One that prefers its own applets, as Debian's static build does, would run the real wget and
// chroot in the place of the test's.
func shells(t *testing.T) [][]string {
	t.Helper()
	dash, err := exec.LookPath("dash")
	if err != nil {
		t.Fatal("dash is needed: every Debian system has it")
	}
	found := [][]string{{dash}}
	busybox, err := exec.LookPath("busybox")
	switch {
	case err != nil && os.Getenv("CI") == "true":
		t.Fatal("busybox, the installer's shell, is not there: scripts/deps.sh test installs it")
	case err != nil:
		return found
	}
	bin := t.TempDir()
	if err := os.WriteFile(filepath.Join(bin, "wget"), []byte("#!/bin/sh\necho ours\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	c := exec.Command(busybox, "sh", "-c", "wget --help")
	c.Env = []string{"PATH=" + bin + ":" + os.Getenv("PATH")}
	if out, err := c.Output(); err == nil && string(out) == "ours\n" {
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
