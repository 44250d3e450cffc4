// Package systemd_test installs bootd as docs/install.md says and runs its unit
// under a real systemd, process 1 of namespaces of its own.
package systemd_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"bootd.internal/lab/labtest"
)

func TestMain(m *testing.M) { labtest.Main(m) }

const inventory = `networks:
  rack1: {interface: eth1, prefix: "2001:db8:1::/64"}
hosts:
  r1n01: 52:54:00:aa:01:01
`

// want is what testdata/drive.sh finds. Capability 10 is NET_BIND_SERVICE, 13
// NET_RAW. A restart keeps the machines' router, a stop takes it from them.
const want = `started
user: bootd bootd
capabilities: permitted 0000000000002400, bounding 0000000000002400
no new privileges: 1, seccomp: 2
/var/lib/bootd: bootd bootd 700
/run/bootd: bootd bootd 755
/run/bootd/bootd.sock: bootd bootd 660
status: no problem
reloaded
reload refused, active
restarted
came back after kill -9
stopped: success, inactive
msg=stopped final_ra=false
msg=stopped final_ra=true
started with drop-ins
follow docker, the first /80 of 2001:db8:0:3::/64: 2001:db8:0:3::/80: told
anyip 2001:db8:100::/64: bound
bound by 217
{"debug":true,"fixed-cidr-v6":"2001:db8:0:3::/80","ipv6":true} /etc/docker/daemon.json: root root 644
`

// pages hold the drop-ins: what follows each of these lines.
var pages = map[string]string{"admin.conf": "../../docs/install.md", "docker.conf": "../../docs/modules/docker.md"}

// dropIns writes the files that people are told to write.
func dropIns(t *testing.T, dir string) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, page := range pages {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		_, rest, ok := strings.Cut(string(text), "# systemctl edit bootd\n")
		conf, _, end := strings.Cut(rest, "```")
		if !ok || !end {
			t.Fatalf("%s shows no drop-in", page)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(conf), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func TestUnit(t *testing.T) {
	for _, tool := range []string{"/lib/systemd/systemd", "unshare", "make", "systemd-sysusers"} {
		if _, err := exec.LookPath(tool); err != nil {
			if os.Getenv("CI") == "true" {
				t.Fatalf("%v (scripts/deps.sh test installs it)", err)
			}
			t.Skip(err)
		}
	}
	dir := labtest.New(t).Dir
	bin, installed, inv := filepath.Join(dir, "bin"), filepath.Join(dir, "installed"), filepath.Join(dir, "inventory.yaml")
	if err := os.WriteFile(inv, []byte(inventory), 0o644); err != nil {
		t.Fatal(err)
	}
	extra := filepath.Join(dir, "drop-ins")
	dropIns(t, extra)
	// Without the race detector: it wants memory and personality calls that the unit refuses.
	build := exec.CommandContext(t.Context(), "go", "build", "-buildvcs=false", "-o", filepath.Join(bin, "bootd"), "bootd.internal/cmd/bootd")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	run(t, build)
	run(t, exec.CommandContext(t.Context(), "make", "-C", "../..", "install", "BIN="+bin, "DESTDIR="+installed))

	ctx := labtest.Context(t, 3*time.Minute)
	systemd := exec.CommandContext(ctx, "unshare", "--pid", "--fork", "--kill-child", "--mount", "--mount-proc", "--net", "--cgroup",
		"--ipc", "--uts", "testdata/pid1.sh", installed, inv, dir, extra)
	said, err := systemd.CombinedOutput()
	got, _ := os.ReadFile(filepath.Join(dir, "drive"))
	if diff := cmp.Diff(want, string(got)); diff != "" {
		faults, _ := os.ReadFile(filepath.Join(dir, "drive.err"))
		t.Errorf("what drive.sh found (-want +got):\n%s\nsystemd: %v\n%s%s", diff, err, said, faults)
	}
}

func run(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", cmd, err, out)
	}
}
