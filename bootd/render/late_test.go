package render_test

import (
	"bufio"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"bootd.internal/bootd/render"
	"github.com/google/go-cmp/cmp"
)

const efibootmgr = `BootCurrent: 0003
Timeout: 0 seconds
BootOrder: 0006,0000,0001,0002,0003,0004
Boot0000* UiApp	FvVol(7cb8bdc9)/FvFile(462caa21)
Boot0001* UEFI Misc Device	PciRoot(0x0)/Pci(0x4,0x0)
Boot0002* UEFI PXEv4 (MAC:525400AA0101)	PciRoot(0x0)/Pci(0x2,0x0)/MAC(525400aa0101,1)/IPv4(0.0.0.0)
Boot0003* UEFI PXEv6 (MAC:525400AA0101)	PciRoot(0x0)/Pci(0x2,0x0)/MAC(525400aa0101,1)/IPv6([::])
Boot0004* UEFI HTTPv6 (MAC:525400AA0101)	PciRoot(0x0)/Pci(0x2,0x0)/MAC(525400aa0101,1)/IPv6([::])/Uri()
Boot0006* debian	HD(1,GPT,8a3d)/File(\EFI\debian\shimx64.efi)
`

func TestLate(t *testing.T) {
	snap := goldenSite(t)
	for _, shell := range shells(t) {
		for host, template := range map[string]string{"r1n01": "preseed/debian13.cfg", "r1n02": "preseed/debian12.cfg"} {
			t.Run(host+"/"+filepath.Base(shell[0]), func(t *testing.T) {
				h, _ := snap.Host(host)
				text, err := render.New(builtin()).Render(template, render.Preview(snap, h))
				if err != nil {
					t.Fatal(err)
				}
				m := newMachine(t, unpack(t, text))
				m.file("sys/class/net/lo/address", "00:00:00:00:00:00\n")
				m.file("sys/class/net/enp1s0/address", "52:54:00:aa:01:01\n")
				m.file("sys/class/net/enp2s0/address", "52:54:00:aa:01:03\n")
				m.file("target/etc/passwd", "root:x:0:0:root:/root:/bin/bash\nops:x:1000:1000::/home/ops:/bin/bash\ndeploy:x:1001:1001::/home/deploy:/bin/bash\n")
				m.file("target/usr/bin/efibootmgr", "")
				m.chmod("target/usr/bin/efibootmgr", 0o755)
				m.mkdir("sys/firmware/efi")
				// The target's /sys is empty when late_command runs; mounting it shows an empty efivars.
				m.file("bin/mount", tool+`case $2 in sysfs) mkdir -p "$4/firmware/efi/efivars";; esac
`)
				m.chmod("bin/mount", 0o755)
				m.file("bin/umount", tool)
				m.chmod("bin/umount", 0o755)
				entries := efibootmgr
				if host == "r1n02" { // booted from a USB stick with iPXE
					entries = strings.Replace(entries, "BootCurrent: 0003", "BootCurrent: 0001", 1)
				}
				m.file("bin/chroot", tool+`case "$*" in *efibootmgr\ -v) cat <<'END'
`+entries+`END
;; *chpasswd*) cat >>"$BOOTD_CALLS";; esac
`)
				m.chmod("bin/chroot", 0o755)
				if out, ok := m.run(shell, "late"); !ok || out != "" {
					t.Fatalf("ended well: %t, printed:\n%s", ok, out)
				}
				m.golden(host)
			})
		}
	}
}

// golden compares everything that the script left: files of the target, calls, console.
func (m *machine) golden(host string) {
	t := m.t
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(m.path("target"), func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasSuffix(path, "/etc/passwd") || strings.HasSuffix(path, "/efibootmgr") {
			return err
		}
		info, err := os.Lstat(path)
		if err != nil {
			return err
		}
		name := strings.TrimPrefix(path, m.path("target"))
		if info.Mode()&os.ModeSymlink != 0 {
			to, err := os.Readlink(path)
			b.WriteString("=== " + name + " -> " + to + "\n")
			return err
		}
		text, err := os.ReadFile(path)
		b.WriteString("=== " + name + " " + info.Mode().String() + "\n" + string(text))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	b.WriteString("=== calls\n" + strings.ReplaceAll(m.read("calls"), m.dir, "") + "=== console\n" + m.read("dev/ttyS0"))
	name := filepath.Join("testdata", "late", host+".txt")
	if *update {
		if err := os.WriteFile(name, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), b.String()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestEarly(t *testing.T) {
	for _, shell := range shells(t) {
		m := newMachine(t, unpack(t, answers(t, sample())))
		if out, ok := m.run(shell, "early"); !ok || out != "" {
			t.Fatalf("ended well: %t, printed:\n%s", ok, out)
		}
		want := "#!/bin/sh\n. " + m.path("run") + "/lib\nprogress base\ntrue\n"
		if diff := cmp.Diff(want, m.read("root/usr/lib/post-base-installer.d/99bootd")); diff != "" {
			t.Error(diff)
		}
		if got := m.read("dev/tty0"); got != "bootd: installing debian13 on r1n01\n" {
			t.Errorf("the console says %q", got)
		}
	}
}

// TestFirstBoot runs the installed system's callback against a listener.
func TestFirstBoot(t *testing.T) {
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Fatal("bash is needed: every Debian system has it")
	}
	for _, answer := range []string{"HTTP/1.1 200 OK\r\n\r\nnoted\n", "HTTP/1.1 403 Forbidden\r\n\r\n"} {
		l, err := net.Listen("tcp6", "[::1]:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		d := sample()
		d.Addr, d.Port = "::1", l.Addr().(*net.TCPAddr).Port
		d.Server = "[::1]:" + strconv.Itoa(d.Port)
		d.URL.FirstBoot = "http://" + d.Server + "/t/secret/first-boot"
		text, err := render.New(builtin()).Render("preseed/first-boot.sh", d)
		if err != nil {
			t.Fatal(err)
		}
		m := newMachine(t, map[string]string{"first-boot": string(text)})
		m.file("bin/systemctl", tool)
		m.chmod("bin/systemctl", 0o755)
		got := make(chan string, 1)
		go func() {
			c, err := l.Accept()
			if err != nil {
				got <- err.Error()
				return
			}
			defer c.Close()
			r := bufio.NewReader(c)
			line, err := r.ReadString('\n')
			for rest := line; err == nil && rest != "\r\n"; {
				rest, err = r.ReadString('\n')
			}
			_, _ = c.Write([]byte(answer))
			got <- line
		}()
		if out, ok := m.run([]string{bash}, "first-boot"); !ok || out != "" {
			t.Errorf("ended well: %t, printed %q", ok, out)
		}
		if line := <-got; line != "GET /t/secret/first-boot HTTP/1.0\r\n" {
			t.Errorf("the server saw %q", line)
		}
		if diff := cmp.Diff([]string{"disable bootd-first-boot.service"}, m.calls("systemctl")); diff != "" {
			t.Error(diff)
		}
	}
}
