package netns_test

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"bootd.internal/bootd/timeline"
	"bootd.internal/lab"
	"bootd.internal/lab/labtest"
)

// engine is a Docker engine of its own: nothing of the machine's is touched. A restart ends the one that runs and starts another,
// as systemctl does; each start is a line of the file starts.
const engine = `#!/bin/sh
set -e
dir=%s
if [ -s "$dir/pid" ]; then
	old=$(cat "$dir/pid")
	kill "$old" || true
	while kill -0 "$old" 2>/dev/null; do sleep 0.1; done
fi
echo "$BOOTD_PREFIX" >>"$dir/starts"
# cgroup2 alone: what Debian's engine takes for the machine's own is mounted over, for it alone.
setsid unshare -m sh -c 'mount -t tmpfs tmpfs /sys/fs/cgroup && mount -t cgroup2 cgroup2 /sys/fs/cgroup && exec "$@"' sh \
	dockerd --config-file "$dir/daemon.json" --data-root "$dir/root" --exec-root /run/bootd-docker --pidfile "$dir/pid" \
	-H unix:///run/bootd-docker.sock >>"$dir/engine.log" 2>&1 </dev/null &
until docker -H unix:///run/bootd-docker.sock version >/dev/null 2>&1; do sleep 0.1; done
`

// dockerHost is a machine behind an ISP, with an engine.
type dockerHost struct {
	*isp
	dir string
	far *lab.Daemon
}

// newDockerHost makes an ISP, which is bootd as well, and a machine with an engine that waits to be started. Its daemon.json has a
// person's keys: vfs is the one storage driver that works wherever tests run.
func newDockerHost(t *testing.T) *dockerHost {
	t.Helper()
	for _, p := range []string{"dockerd", "docker", "busybox"} {
		if _, err := exec.LookPath(p); err != nil {
			if os.Getenv("CI") == "true" {
				t.Fatalf("%v, and in CI nothing may be left out: scripts/deps.sh test", err)
			}
			t.Skipf("%v: scripts/deps.sh test", err)
		}
	}
	h := &dockerHost{isp: newISP(t)}
	h.dir = h.Path("docker")
	h.write(t, "docker/daemon.json", "{\n\t\"storage-driver\": \"vfs\",\n\t\"iptables\": false\n}\n")
	h.write(t, "docker/restart", fmt.Sprintf(engine, h.dir))
	h.far = h.delegate(t)
	return h
}

// delegate makes the ISP one that runs bootd, and the machine a router.
func (i *isp) delegate(t *testing.T) *lab.Daemon {
	t.Helper()
	i.write(t, "isp.yaml", ispInventory("2001:db8:100::/56"))
	i.write(t, "files/readme", "")
	for _, n := range []*lab.Node{i.provider, i.home} {
		if err := n.Sysctl(map[string]string{"net/ipv6/conf/all/forwarding": "1"}); err != nil {
			t.Fatal(err)
		}
	}
	linkLocal(t, i.home)
	run(t, i.home, "ip", "addr", "add", "2001:db8:f::2/64", "dev", "eth0", "nodad")
	far, err := i.provider.StartDaemon(labtest.Context(t, patience), lab.DaemonConfig{
		Name: "isp", Binary: os.Getenv(labtest.BinaryEnv), Inventory: i.Path("isp.yaml"),
	})
	if err != nil {
		t.Fatal(err)
	}
	return far
}

func ispInventory(pool string) string {
	return `networks: {customers: {interface: eth0, prefix: "2001:db8:f::/64", unknown: pool, delegate: {pool: "` + pool + `", length: 60}}}` + "\n"
}

// docker runs the engine's client.
func (h *dockerHost) docker(t *testing.T, args ...string) string {
	t.Helper()
	return strings.TrimSpace(run(t, h.home, "docker", append([]string{"-H", "unix:///run/bootd-docker.sock"}, args...)...))
}

// image makes one out of the host's busybox and its libraries; nothing is pulled.
func (h *dockerHost) image(t *testing.T) {
	t.Helper()
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		t.Fatal(err)
	}
	files := []string{strings.TrimPrefix(busybox, "/")}
	for word := range strings.FieldsSeq(run(t, h.home, "sh", "-c", "ldd "+busybox+" || true")) {
		if strings.HasPrefix(word, "/") {
			files = append(files, strings.TrimPrefix(word, "/"))
		}
	}
	run(t, h.home, "tar", append([]string{"-chf", h.Path("image.tar"), "-C", "/"}, files...)...)
	h.docker(t, "import", h.Path("image.tar"), "small")
}

// container starts one and gives its address, which a ping from the ISP reaches by the delegated route.
func (h *dockerHost) container(t *testing.T, name string) netip.Addr {
	t.Helper()
	h.docker(t, "run", "-d", "--name", name, "small", "busybox", "sleep", "100000")
	a, err := netip.ParseAddr(h.docker(t, "inspect", "-f", "{{.NetworkSettings.Networks.bridge.GlobalIPv6Address}}", name))
	if err != nil {
		t.Fatal(err)
	}
	err = lab.WaitFor(labtest.Context(t, patience), name+" answers", func() bool {
		return h.provider.Command(labtest.Context(t, patience), "ping", "-6", "-c", "1", "-W", "2", a.String()).Run() == nil
	})
	if err != nil {
		t.Fatalf("%v\n%s", err, run(t, h.provider, "ip", "-6", "route"))
	}
	return a
}

func (h *dockerHost) content(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestDocker: of a delegated /60 the first /80 is the containers', by the inventory of examples/docker.yaml; a container has an address of it that the
// ISP reaches. The prefix changes: a new container has one of the new. The engine is restarted once for each prefix, and a second
// program follows, by a template and a command.
func TestDocker(t *testing.T) {
	h := newDockerHost(t)
	text := strings.Replace(h.content(t, "../../examples/docker.yaml"), "inner: 80}", fmt.Sprintf("inner: 80, config: %s/daemon.json, restart: %[1]s/restart}", h.dir), 1)
	text += fmt.Sprintf("follow: {nginx: {from: isp, subnet: 0, inner: 80, file: %s/prefix.conf, template: nginx/prefix.conf, command: [sh, -c, 'cp %[1]s/prefix.conf %[1]s/reloaded.conf']}}\n", h.dir)
	h.write(t, "templates/nginx/prefix.conf", "geo $internal { default 0; {{.Prefix}} 1; }\n")
	h.start(t, text)
	told := func(n int) netip.Prefix {
		t.Helper()
		var p netip.Prefix
		seen := 0
		_, err := h.daemon.Wait(labtest.Context(t, 2*patience), "Docker and nginx are told", func(e timeline.Event) bool {
			if e.Kind == timeline.Followed {
				seen++
				p = netip.MustParsePrefix(e.Addr)
			}
			return seen == n
		})
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	first := told(2)
	if first.Bits() != 80 || !netip.MustParsePrefix("2001:db8:100::/56").Contains(first.Addr()) {
		t.Errorf("Docker was told of %s", first)
	}
	want := fmt.Sprintf("{\n\t\"storage-driver\": \"vfs\",\n\t\"iptables\": false,\n\t\"fixed-cidr-v6\": %q,\n\t\"ipv6\": true\n}\n", first)
	if got := h.content(t, filepath.Join(h.dir, "daemon.json")); got != want {
		t.Errorf("daemon.json is\n%s", got)
	}
	h.image(t)
	if a := h.container(t, "one"); !first.Contains(a) {
		t.Errorf("the container has %s of %s", a, first)
	}

	h.write(t, "isp.yaml", ispInventory("2001:db8:200::/56"))
	if _, err := h.far.Run(labtest.Context(t, patience), "reload"); err != nil {
		t.Fatal(err)
	}
	if _, err := h.daemon.Run(labtest.Context(t, patience), "upstream", "renew"); err != nil {
		t.Fatal(err)
	}
	second := told(4)
	if second.Bits() != 80 || !netip.MustParsePrefix("2001:db8:200::/56").Contains(second.Addr()) {
		t.Errorf("Docker was told of %s", second)
	}
	if a := h.container(t, "two"); !second.Contains(a) {
		t.Errorf("the new container has %s of %s", a, second)
	}
	if got := h.content(t, filepath.Join(h.dir, "starts")); got != first.String()+"\n"+second.String()+"\n" {
		t.Errorf("the engine was started for\n%s", got)
	}
	if got := h.content(t, filepath.Join(h.dir, "reloaded.conf")); got != "geo $internal { default 0; "+second.String()+" 1; }\n" {
		t.Errorf("nginx has\n%s", got)
	}
	out, err := h.daemon.Run(labtest.Context(t, patience), "status")
	line := "follow docker, the first /80 of {from: isp, subnet: 0, length: 64}: " + second.String() + ": told\n"
	if err != nil || !strings.Contains(string(out), line) {
		t.Errorf("%v:\n%s", err, out)
	}
}
