// Package virtualbox_test runs vbox-lab.sh without VirtualBox: dry runs, whose
// text is compared, and a VBoxManage that only answers.
package virtualbox_test

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the dry runs down anew")

// script is one run of vbox-lab.sh.
type script struct {
	dir  string // VBOX_DIR
	env  []string
	args []string
}

// programEnv is where vbox-lab.sh looks for the program that reads the inventory.
const programEnv = "BOOTD"

func TestMain(m *testing.M) {
	flag.Parse()
	dir, err := os.MkdirTemp("", "vbox-lab-*")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	path := filepath.Join(dir, "bootd")
	out, err := exec.Command("go", "build", "-buildvcs=false", "-o", path, "bootd.internal/cmd/bootd").CombinedOutput()
	code := 1
	if err = errors.Join(err, os.Setenv(programEnv, path)); err == nil {
		code = m.Run()
	} else {
		fmt.Fprintf(os.Stderr, "building bootd: %v\n%s", err, out)
	}
	_ = os.RemoveAll(dir) // in the temporary directory, should it stay
	os.Exit(code)
}

// run gives what the script wrote, with what differs from machine to machine
// replaced, and its exit code.
func (s script) run(t *testing.T) (string, int) {
	t.Helper()
	program := os.Getenv(programEnv)
	rack := inventory(t)
	cmd := exec.CommandContext(t.Context(), "./vbox-lab.sh", s.args...)
	cmd.Env = append(os.Environ(), "VBOX_DIR="+s.dir, "SUDO=sudo", "VBOX_ISO=/media/bootd.iso", "VBOX_INVENTORY="+rack)
	cmd.Env = append(cmd.Env, s.env...)
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil {
		t.Fatal(err)
	}
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	text := strings.NewReplacer(program, "bin/bootd", s.dir, "build/vbox", here+"/", "", here, ".",
		filepath.Dir(rack)+"/", "").Replace(string(out))
	return text, cmd.ProcessState.ExitCode()
}

// inventory is the lab's own, beside a boot loader of no content: the real ones
// are there only after make ipxe.
func inventory(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("inventory.yaml")
	if err != nil {
		t.Fatal(err)
	}
	const files = "files: ../../build/ipxe"
	if !strings.Contains(string(text), files) {
		t.Fatalf("inventory.yaml says nothing of %q", files)
	}
	dir := t.TempDir()
	for name, data := range map[string]string{
		"inventory.yaml": strings.Replace(string(text), files, "files: .", 1),
		"ipxe.efi":       "",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(data), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, "inventory.yaml")
}

// TestDryRun compares what would be done on a machine where nothing was made yet.
func TestDryRun(t *testing.T) {
	dir := t.TempDir()
	var got strings.Builder
	for _, args := range [][]string{{"up"}, {"boot", "r1n01"}, {"boot", "r1n02", "efi"}, {"boot", "r1n02", "pxe"}, {"down"}} {
		s := script{dir: dir, env: []string{"VBOX_DRY_RUN=1", "VBOXMANAGE=VBoxManage-none"}, args: args}
		text, code := s.run(t)
		if code != 0 {
			t.Errorf("%v: exit code %d", args, code)
		}
		got.WriteString("$ vbox-lab.sh " + strings.Join(args, " ") + "\n" + text)
	}
	const golden = "testdata/dry-run.txt"
	if *update {
		if err := os.WriteFile(golden, []byte(got.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got.String()); diff != "" {
		t.Errorf("dry run (-want +got; go test ./lab/virtualbox -update writes it):\n%s", diff)
	}
}

// TestAgain compares what a second run does where all is there already.
func TestAgain(t *testing.T) {
	dir, fake := t.TempDir(), t.TempDir()
	for name, text := range map[string]string{
		"list-hostonlyifs":       "Name:            vboxnet0\nIPAddress:       0.0.0.0\n",
		"list-dhcpservers":       "",
		"list-vms":               "\"bootd-r1n01\" {564d0000-0000-4000-8000-080027aa0101}\n\"bootd-other\" {564d0000-0000-4000-8000-080027aa0199}\n",
		"list-runningvms":        "\"bootd-r1n01\" {564d0000-0000-4000-8000-080027aa0101}\n",
		"showvminfo-bootd-r1n01": "CfgFile=\"" + dir + "/bootd-r1n01/bootd-r1n01.vbox\"\n",
		"showvminfo-bootd-other": "CfgFile=\"/home/somebody/bootd-other.vbox\"\n",
	} {
		if err := os.WriteFile(filepath.Join(fake, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "interface"), []byte("vboxnet0\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	env := []string{"VBOX_DRY_RUN=1", "VBOXMANAGE=testdata/VBoxManage", "FAKE_VBOX=" + fake}
	cases := []struct {
		args []string
		want string
	}{
		{[]string{"boot", "r1n01"}, "vbox-lab: bootd-r1n01 runs already\n"},
		{[]string{"down"}, `+ testdata/VBoxManage controlvm bootd-r1n01 poweroff
+ testdata/VBoxManage unregistervm bootd-r1n01 --delete
+ sudo bin/bootd stop --run build/vbox/state --state build/vbox/state
+ testdata/VBoxManage hostonlyif remove vboxnet0
+ rm -f build/vbox/interface
vbox-lab: down; consoles, bootd's log and state stay in build/vbox
`},
	}
	for _, c := range cases {
		got, code := script{dir: dir, env: env, args: c.args}.run(t)
		if diff := cmp.Diff(c.want, got); diff != "" || code != 0 {
			t.Errorf("%v: exit code %d, (-want +got):\n%s", c.args, code, diff)
		}
	}
	if text, err := os.ReadFile(filepath.Join(fake, "done")); err == nil {
		t.Errorf("a dry run did:\n%s", text)
	}
}

// TestRefused has the exact words of every refusal that needs no VirtualBox.
func TestRefused(t *testing.T) {
	const usage = "usage: vbox-lab.sh up | boot HOST [bios|efi|pxe] | down\n"
	cases := []struct {
		name string
		env  []string
		args []string
		want string
		code int
	}{
		{"no command", nil, nil, usage, 2},
		{"unknown command", nil, []string{"start"}, usage, 2},
		{"no host", nil, []string{"boot"}, usage, 2},
		{"unknown firmware", []string{"VBOX_DRY_RUN=1"}, []string{"boot", "r1n01", "coreboot"}, usage, 2},
		{"no VirtualBox", []string{"VBOXMANAGE=VBoxManage-none"}, []string{"up"}, "vbox-lab: VBoxManage-none is missing: install VirtualBox 7 (https://www.virtualbox.org/wiki/Downloads), or say where it is with VBOXMANAGE\n", 1},
		{"no bootd", []string{"VBOX_DRY_RUN=1", "BOOTD=/nonexistent/bootd"}, []string{"up"}, "vbox-lab: /nonexistent/bootd is missing: make build\n", 1},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			got, code := script{dir: t.TempDir(), env: c.env, args: c.args}.run(t)
			if diff := cmp.Diff(c.want, got); diff != "" || code != c.code {
				t.Errorf("exit code %d, want %d (-want +got):\n%s", code, c.code, diff)
			}
		})
	}
}

// TestNetworksConf has the ranges that VirtualBox allows for host-only networks:
// 2001:db8:1::1 must be in one.
func TestNetworksConf(t *testing.T) {
	fake := t.TempDir()
	if err := os.WriteFile(filepath.Join(fake, "list-hostonlyifs"), []byte("Name:            vboxnet0\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	cases := map[string]bool{
		"":                                     false,
		"# * ::/0\n":                           false,
		"* 10.0.0.0/8 192.168.0.0/16\n":        false,
		"* 2001:db8:2::/64\n":                  false,
		"* 2001:db8::/33 fd00::/8\n":           true,
		"* 2001:db8:8000::/33\n":               false,
		"* 192.168.56.0/21\n* 2001:DB8::/32\n": true,
		"* 0.0.0.0/0 ::/0\n":                   true,
		"* 2001:db8:1:0:0:0:0:1\n":             true,
	}
	for text, allowed := range cases {
		t.Run(text, func(t *testing.T) {
			dir := t.TempDir()
			conf := filepath.Join(dir, "networks.conf")
			if err := os.WriteFile(conf, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
			got, code := script{dir: dir, args: []string{"up"}, env: []string{
				"VBOX_DRY_RUN=1", "VBOX_ADOPT=1", "VBOXMANAGE=testdata/VBoxManage", "FAKE_VBOX=" + fake, "VBOX_NETWORKS_CONF=" + conf,
			}}.run(t)
			if allowed == (code != 0) {
				t.Errorf("exit code %d: %s", code, got)
			}
			const refusal = "vbox-lab: VirtualBox refuses 2001:db8:1::1/64: write the line '* 2001:db8:1::/64' into build/vbox/networks.conf (a file of root's; once it exists, IPv4 ranges in use need a line too)\n"
			if _, last, _ := strings.Cut(got, "profiles, 2 hosts\n"); !allowed && last != refusal {
				t.Errorf("it says %q, want %q", last, refusal)
			}
		})
	}
}

// TestShellcheck runs shellcheck over every shell script of the lab and of the
// boot media.
func TestShellcheck(t *testing.T) {
	tool, err := exec.LookPath("shellcheck")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("%v (scripts/deps.sh test installs it)", err)
		}
		t.Skip(err)
	}
	scripts := []string{
		"vbox-lab.sh", "check-real.sh", "testdata/VBoxManage", "testdata/VBoxManage-chroot",
		"../../ipxe-build/media.sh", "../../test/systemd/testdata/pid1.sh", "../../test/systemd/testdata/drive.sh",
	}
	if out, err := exec.CommandContext(t.Context(), tool, scripts...).CombinedOutput(); err != nil {
		t.Errorf("shellcheck: %v\n%s", err, out)
	}
}
