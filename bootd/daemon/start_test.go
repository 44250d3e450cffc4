package daemon

import (
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"bootd.internal/bootd/inventory"
	"bootd.internal/bootd/site"
	"bootd.internal/bootd/store"
	"bootd.internal/bootd/store/memory"
)

func TestIdentityIsMadeOnce(t *testing.T) {
	s := memory.New()
	first, err := LoadIdentity(t.Context(), s, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if u, ok := first.DUID.UUID(); !ok || u[6]>>4 != 4 || first.Secret == [32]byte{} {
		t.Errorf("identity %+v", first)
	}
	again, err := LoadIdentity(t.Context(), s, rand.Reader)
	if d := cmp.Diff(first, again); d != "" || err != nil {
		t.Errorf("%v: -first +again:\n%s", err, d)
	}
	if err := s.Update(t.Context(), func(store.View) []store.Op {
		return []store.Op{{Key: store.Key{Table: store.TableMeta, ID: metaSecret}}}
	}); err != nil {
		t.Fatal(err)
	}
	third, err := LoadIdentity(t.Context(), s, rand.Reader)
	if err != nil || third.DUID != first.DUID || third.Secret == first.Secret {
		t.Errorf("a lost secret: %v, DUID kept %v, secret new %v", err, third.DUID == first.DUID, third.Secret != first.Secret)
	}
	_, err = LoadIdentity(t.Context(), s, iotest.ErrReader(errors.New("no chance")))
	if want := "making the server's DUID: no chance"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestStateDirectory(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "state")
	if err := prepareState(dir); err != nil {
		t.Fatal(err)
	}
	st, err := os.Stat(dir)
	if err != nil || st.Mode().Perm()&0o007 != 0 {
		t.Errorf("mode %v: others can read it", st.Mode())
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("the probe left %v behind, %v", left, err)
	}
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	err = prepareState(file)
	if err == nil || !strings.HasPrefix(err.Error(), "making the state directory (give another one with --state): ") {
		t.Errorf("a file in the way: %v", err)
	}
}

// TestPipeForAFile: an inventory may come through a pipe (bootd check <(...)), and a FIFO that nobody writes to does not stop
// the daemon.
func TestPipeForAFile(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	go func() {
		_, _ = w.WriteString("networks: {}\n")
		_ = w.Close()
	}()
	if got, err := readBounded(fmt.Sprintf("/proc/self/fd/%d", r.Fd()), 100); err != nil || string(got) != "networks: {}\n" {
		t.Errorf("a pipe gives %q, %v", got, err)
	}
	fifo := filepath.Join(t.TempDir(), "inventory.yaml")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := readBounded(fifo, 100); err != nil || len(got) != 0 {
		t.Errorf("a FIFO that nobody writes to gives %q, %v", got, err)
	}
}

// fakeProc has one process that holds one UDP socket on port 547.
func fakeProc(t *testing.T) string {
	t.Helper()
	proc := t.TempDir()
	write := func(name, text string) {
		path := filepath.Join(proc, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("net/udp6", `  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops
 1209: 00000000000000000000000000000000:0223 00000000000000000000000000000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 4242 2 0000000000000000 0
`)
	write("net/tcp6", `  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000000000000000000000000000:0050 00000000000000000000000000000000:0000 01 00000000:00000000 00:00000000 00000000     0        0 4243 1 0000000000000000 100 0 0 10 0
`)
	write("412/comm", "kea-dhcp6\n")
	if err := os.MkdirAll(filepath.Join(proc, "412/fd"), 0o755); err != nil {
		t.Fatal(err)
	}
	for fd, target := range []string{"/dev/null", "socket:[4242]", "socket:[4243]"} {
		if err := os.Symlink(target, filepath.Join(proc, "412/fd", strconv.Itoa(fd))); err != nil {
			t.Fatal(err)
		}
	}
	return proc
}

func TestSocketErrorsSayWhatToDo(t *testing.T) {
	proc := fakeProc(t)
	wrap := func(e error) error { return fmt.Errorf("opening socket: %w", &net.OpError{Op: "listen", Err: e}) }
	for _, c := range []struct {
		name string
		got  error
		want string
	}{
		{"held by a process", port{"udp", 547, "DHCPv6"}.explain(proc, wrap(syscall.EADDRINUSE)), "DHCPv6: udp port 547 is in use by kea-dhcp6 (process 412): stop it, or keep it off IPv6: opening socket: listen: address already in use"},
		{"nobody to be seen", port{"udp", 69, "TFTP"}.explain(proc, wrap(syscall.EADDRINUSE)), "TFTP: udp port 69 is in use by another process: stop it, or keep it off IPv6: opening socket: listen: address already in use"},
		{"a connection is no listener", port{"tcp", 80, "HTTP"}.explain(proc, wrap(syscall.EADDRINUSE)), "HTTP: tcp port 80 is in use by another process: stop it, or keep it off IPv6: opening socket: listen: address already in use"},
		{"no capability", port{"tcp", 80, "HTTP"}.explain(proc, wrap(syscall.EACCES)), "HTTP: tcp port 80 may not be bound: run as root, or give bootd CAP_NET_BIND_SERVICE: opening socket: listen: permission denied"},
		{"raw sockets", capability("following links", wrap(syscall.EPERM)), "following links: the kernel refuses it: run as root, or give bootd CAP_NET_RAW, CAP_NET_ADMIN and CAP_NET_BIND_SERVICE: opening socket: listen: operation not permitted"},
	} {
		if c.got == nil || c.got.Error() != c.want {
			t.Errorf("%s:\n got %v\nwant %s", c.name, c.got, c.want)
		}
	}
	if err := (port{}).explain(proc, nil); err != nil {
		t.Errorf("no error became %v", err)
	}
}

func TestNotify(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notify")
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := errors.Join(notify("", "READY=1"), notify(path, "READY=1")); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 100)
	n, err := c.Read(b)
	if err != nil || string(b[:n]) != "READY=1" {
		t.Errorf("got %q, %v", b[:n], err)
	}
}

const planText = `defaults: {domain: example.net}
serve: {loaders: {arm64: arm.efi}}
networks:
  rack1: {interface: eth1, prefix: "2001:db8:1::/64"}
profiles:
  own: {kernel: k, initrd: [i1, i2], script: own.ipxe, answers: own.cfg}
hosts:
  a: {mac: 52:54:00:aa:01:01, profile: own}
  b: {mac: 52:54:00:aa:01:02, profile: own}
  c: {mac: 52:54:00:aa:01:03, loader: special.efi}
`

func writeTree(t testing.TB, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// TestCheckWithoutBoots: a network whose hosts have addresses and names alone needs no files, with or without a directory for them.
func TestCheckWithoutBoots(t *testing.T) {
	text, err := os.ReadFile("../../examples/ipv6-only.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, also := range []string{"notes", "files/notes"} {
		dir := writeTree(t, map[string]string{"inventory.yaml": string(text), also: ""})
		if _, faults, err := Check(filepath.Join(dir, "inventory.yaml"), noon); err != nil || len(faults) > 0 {
			t.Errorf("with %s: %v, %v", also, faults, err)
		}
	}
}

func TestCheckNamesWhatIsMissingAndWhoNeedsIt(t *testing.T) {
	dir := writeTree(t, map[string]string{
		"inventory.yaml": planText, "files/i2": "", "templates/own.ipxe": "#!ipxe\n{{.Vars.flavour}}\n",
	})
	_, faults, err := Check(filepath.Join(dir, "inventory.yaml"), noon)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range faults {
		got = append(got, strings.ReplaceAll(f.String(), dir, "DIR"))
	}
	want := []string{
		"own.cfg: no such template for a, b",
		"own.ipxe:2: vars.flavour is not set for a, b (set it in defaults, the network, the profile or the host)",
		"files: arm.efi is missing in DIR/files: it is the boot loader for arm64",
		"files: i1 is missing in DIR/files: it is an initrd of profile own, needed by a, b",
		"files: ipxe.efi is missing in DIR/files: it is the boot loader for x86_64, which UEFI firmware asks for (make ipxe makes it), needed by a, b",
		"files: k is missing in DIR/files: it is the kernel of profile own, needed by a, b",
		"files: special.efi is missing in DIR/files: it is the boot loader, needed by c",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
}

func TestCheckGivesInventoryFaultsTheirPlace(t *testing.T) {
	dir := writeTree(t, map[string]string{"inventory.yaml": "networks:\n  rack1: {interface: eth1, prefix: \"2001:db8:1::5/64\"}\n"})
	file := filepath.Join(dir, "inventory.yaml")
	_, faults, err := Check(file, noon)
	want := []Fault{{
		File: file, Line: 2, Column: 36, Path: "networks.rack1.prefix", Text: "2001:db8:1::5/64 has host bits set, did you mean 2001:db8:1::/64?",
	}}
	if d := cmp.Diff(want, faults); d != "" || err != nil {
		t.Errorf("%v: -want +got:\n%s", err, d)
	}
	_, _, err = Check(filepath.Join(dir, "nothing.yaml"), noon)
	if !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no inventory: %v", err)
	}
}

func TestMissingFilesNamesWhatAnInstallerNeeds(t *testing.T) {
	dir := t.TempDir()
	text := `networks:
  rack1: {interface: eth1, prefix: "2001:db8:1::/64"}
profiles:
  own: {kernel: own/k, initrd: own/i, script: ipxe/debian.ipxe}
hosts:
  a: {mac: 52:54:00:aa:01:01, profile: own}
  b: 52:54:00:aa:01:02
`
	inv, faults := inventory.Parse(filepath.Join(dir, "inventory.yaml"), []byte(text))
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	snap, _ := site.Resolve(inv, assume(inv), nil, time.Unix(0, 0))
	want := "own/k is missing in " + dir + "/files: profile own boots it\nown/i is missing in " + dir + "/files: profile own boots it"
	if err := missingFiles(snap, "a"); err == nil || err.Error() != want {
		t.Errorf("without files: %v\nwant %s", err, want)
	}
	if err := missingFiles(snap, "b"); err != nil {
		t.Errorf("a host without a profile needs nothing: %v", err)
	}
	if err := os.MkdirAll(filepath.Join(dir, "files", "own"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, f := range []string{"k", "i"} {
		if err := os.WriteFile(filepath.Join(dir, "files", "own", f), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := missingFiles(snap, "a"); err != nil {
		t.Errorf("with files: %v", err)
	}
}
