package lab_test

import (
	"bytes"
	"context"
	"net"
	"net/netip"
	"os"
	"regexp"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"bootd.internal/lab"
	"bootd.internal/lab/labtest"
)

func TestMain(m *testing.M) { labtest.Main(m) }

// TestNodesTalk sends a datagram from one node to another and finds it in the
// capture of their link.
func TestNodesTalk(t *testing.T) {
	l := labtest.New(t)
	link, err := l.Link("rack1")
	if err != nil {
		t.Fatal(err)
	}
	capture, err := link.Capture("rack1.pcap")
	if err != nil {
		t.Fatal(err)
	}
	server := node(t, l, link, "server", "2001:db8:1::1/64")
	client := node(t, l, link, "client", "2001:db8:1::2/64")

	var in net.PacketConn
	err = server.Do(func() (err error) {
		in, err = net.ListenPacket("udp6", "[2001:db8:1::1]:9999")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	err = client.Do(func() error {
		out, err := net.Dial("udp6", "[2001:db8:1::1]:9999")
		if err != nil {
			return err
		}
		defer out.Close()
		_, err = out.Write([]byte("over the link"))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := in.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 100)
	n, from, err := in.ReadFrom(buf)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff("over the link", string(buf[:n])); diff != "" {
		t.Errorf("datagram (-want +got):\n%s", diff)
	}
	got := from.(*net.UDPAddr).AddrPort().Addr()
	if want := netip.MustParseAddr("2001:db8:1::2"); got != want {
		t.Errorf("came from %s, want %s", got, want)
	}
	if err := capture.Stop(); err != nil {
		t.Fatal(err)
	}
	pcap, err := os.ReadFile(l.Path("rack1.pcap"))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(pcap, []byte("over the link")) {
		t.Errorf("the datagram is not among the %d bytes of the capture", len(pcap))
	}
}

// TestSandboxIsAlone makes sure that nothing of the host's network is in reach.
func TestSandboxIsAlone(t *testing.T) {
	links, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, l := range links {
		names = append(names, l.Name)
	}
	if diff := cmp.Diff([]string{"lo"}, names); diff != "" {
		t.Errorf("interfaces of the sandbox (-want +got):\n%s", diff)
	}
	l := labtest.New(t)
	link, err := l.Link("rack1")
	if err != nil {
		t.Fatal(err)
	}
	n := node(t, l, link, "server", "2001:db8:1::1/64")
	out, err := n.Command(labtest.Context(t, 10*time.Second), "ip", "-4", "addr", "show", "scope", "global").Output()
	if err != nil {
		t.Fatal(err)
	}
	if len(out) != 0 {
		t.Errorf("the node has IPv4:\n%s", out)
	}
}

// TestMachineBoots proves console, fatal lines and Stop on real machines: iPXE
// runs a script that needs no network.
func TestMachineBoots(t *testing.T) {
	l := labtest.New(t)
	link, err := l.Link("rack1")
	if err != nil {
		t.Fatal(err)
	}
	script := l.Path("hello.ipxe")
	err = os.WriteFile(script, []byte("#!ipxe\necho HELLO ${net0/mac} ${uuid} ${serial}\nshell\n"), 0o644)
	if err != nil {
		t.Fatal(err)
	}
	vm, err := link.Boot(lab.Machine{
		Name: "hello", Mode: lab.BIOSKernel, MAC: "52:54:00:aa:01:01", Kernel: lab.IPXEKernel, Initrd: script,
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx := labtest.Context(t, time.Minute)
	got, err := vm.Wait(ctx, regexp.MustCompile(`HELLO .*`))
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"HELLO 52:54:00:aa:01:01 564d0000-0000-4000-8000-525400aa0101 SER-525400aa0101"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("console (-want +got):\n%s", diff)
	}
	_, err = vm.Wait(ctx, regexp.MustCompile("never printed"))
	if want := `machine hello: waiting for /never printed/ on the console: the console says "iPXE> "`; err == nil || err.Error() != want {
		t.Errorf("waiting in vain: %v\nwant: %s", err, want)
	}
	if err := vm.Stop(); err != nil {
		t.Errorf("stopping: %v", err)
	}
	select {
	case <-vm.Exited():
	case <-ctx.Done():
		t.Error(context.Cause(ctx))
	}
}

func node(t *testing.T, l *lab.Lab, link *lab.Link, name, addr string) *lab.Node {
	t.Helper()
	n, err := l.Node(name)
	if err != nil {
		t.Fatal(err)
	}
	err = n.Attach(link, lab.Interface{Name: "eth1", Addr: []netip.Prefix{netip.MustParsePrefix(addr)}})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestDisksBoot proves that the marker which other tests rely on comes from the
// disk's own boot sector, or its own UEFI program.
func TestDisksBoot(t *testing.T) {
	cases := []struct {
		name  string
		mode  lab.Mode
		write func(path string) error
	}{
		{"BIOS", lab.BIOSDisk, lab.WriteDisk},
		{"UEFI", lab.UEFIDisk, lab.WriteUEFIDisk},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			l := labtest.New(t)
			link, err := l.Link("rack1")
			if err != nil {
				t.Fatal(err)
			}
			disk := l.Path("disk.img")
			if err := c.write(disk); err != nil {
				t.Fatal(err)
			}
			vm, err := link.Boot(lab.Machine{Name: "disk", Mode: c.mode, MAC: "52:54:00:aa:01:01", Disk: disk})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := vm.Wait(labtest.Context(t, time.Minute), regexp.MustCompile("^"+lab.DiskMarker+"$")); err != nil {
				t.Fatal(err)
			}
		})
	}
}
