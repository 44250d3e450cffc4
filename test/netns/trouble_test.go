package netns_test

import (
	"net/netip"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"bootd.internal/bootd/reason"
	"bootd.internal/bootd/timeline"
	"bootd.internal/lab"
	"bootd.internal/lab/labtest"
)

// TestLateInterface: bootd is ready although a served interface does not exist,
// and serves it from the moment it has an address.
func TestLateInterface(t *testing.T) {
	r := labtest.NewRack(t, labtest.RackConfig{Inventory: `
networks:
  rack1: {interface: eth1, prefix: "2001:db8:1::/64"}
  rack2: {interface: eth2, prefix: "2001:db8:2::/64"}
hosts:
  r2n01: {mac: 52:54:00:aa:02:01, address: "2001:db8:2::201"}
`})
	link, err := r.Lab.Link("rack2")
	if err != nil {
		t.Fatal(err)
	}
	err = r.Server.Attach(link, lab.Interface{
		Name: "eth2", Self: lab.NoAddress,
		Addr: []netip.Prefix{netip.MustParsePrefix("fe80::1/64"), netip.MustParsePrefix("2001:db8:2::1/64")},
	})
	if err != nil {
		t.Fatal(err)
	}
	_, err = r.Daemon.Wait(labtest.Context(t, patience), "rack2 to be served", func(e timeline.Event) bool {
		return e.Kind == timeline.LinkUp && e.Network == "rack2" && e.Addr == "2001:db8:2::1"
	})
	if err != nil {
		t.Fatal(err)
	}
	n, err := r.Node("client")
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Attach(link, lab.Interface{Name: "eth0", MAC: "52:54:00:aa:02:01", Down: true}); err != nil {
		t.Fatal(err)
	}
	linkLocal(t, n)
	clients()[0].start(t, r, n)
	want := netip.MustParseAddr("2001:db8:2::201")
	waitAddr(t, n, func(a netip.Addr) bool { return a == want })
}

// TestSecondDaemon: what cannot be bound is named, with what to do.
func TestSecondDaemon(t *testing.T) {
	r := newRack(t)
	cmd := r.Server.Command(labtest.Context(t, patience), os.Getenv(labtest.BinaryEnv),
		"serve", "--inventory", r.Path("inventory.yaml"), "--state", r.Path("other.state"))
	out, err := cmd.CombinedOutput()
	if err == nil {
		t.Fatalf("a second bootd runs beside the first:\n%s", out)
	}
	if cmd.ProcessState.ExitCode() != 1 {
		t.Errorf("exit code %d, want 1", cmd.ProcessState.ExitCode())
	}
	for _, port := range []string{"HTTP: tcp port 80", "DHCPv6: udp port 547", "TFTP: udp port 69", "DNS: tcp port 53"} {
		if !strings.Contains(string(out), port+" is in use by ") {
			t.Errorf("the message does not say %q:\n%s", port+" is in use by", out)
		}
	}
}

// TestTokens: the answers of an armed host are for that host only, however the
// URL got around, and for its own addresses only.
func TestTokens(t *testing.T) {
	r := labtest.NewRack(t, labtest.RackConfig{
		Inventory: `
defaults: {domain: rack.example.net, profile: debian12}
networks:
  rack1: {interface: eth1, prefix: "2001:db8:1::/64"}
profiles:
  debian12:
    kernel: linux
    initrd: [initrd.gz]
    script: ipxe/debian.ipxe
    answers: preseed/debian12.cfg
    disk: {min_size: 1G}
    vars: {mirror: "http://mirror.example.net/debian"}
hosts:
  r1n01: {mac: 52:54:00:aa:01:01, address: "::101"}
  r1n02: {mac: 52:54:00:aa:01:02, address: "::102"}
`,
		Files: map[string][]byte{"linux": []byte("kernel\n"), "initrd.gz": []byte("initrd\n")},
	})
	if _, err := r.Daemon.Run(labtest.Context(t, patience), "install", "--yes", "r1n01"); err != nil {
		t.Fatal(err)
	}
	armed := host(t, r)
	other := r.Client(t, "other", "52:54:00:aa:01:02")
	linkLocal(t, other)
	if err := other.AddAddress("eth0", netip.MustParsePrefix("2001:db8:1::102/64")); err != nil {
		t.Fatal(err)
	}

	script := get(t, armed, "http://[2001:db8:1::1]/boot.ipxe")
	url := regexp.MustCompile(`url=(\S+/t/\S+/preseed\.cfg)\?`).FindStringSubmatch(script)
	if url == nil {
		t.Fatalf("the armed host's script names no answers:\n%s", script)
	}
	if s := get(t, other, "http://[2001:db8:1::1]/boot.ipxe"); strings.Contains(s, "/t/") {
		t.Errorf("a host that is not armed got a token:\n%s", s)
	}
	if diff := cmp.Diff("403", status(t, other, url[1])); diff != "" {
		t.Errorf("another host with that URL (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff("403", status(t, armed, "http://[2001:db8:1::1]/t/AAAAAAAAAAAAAAAAAAAAAA/preseed.cfg")); diff != "" {
		t.Errorf("a token that nobody minted (-want +got):\n%s", diff)
	}
	answers := get(t, armed, url[1])
	if !strings.Contains(answers, "# r1n01.rack.example.net, rendered by bootd") {
		t.Errorf("the answers are not those of r1n01:\n%.300s", answers)
	}
	_, err := r.Daemon.Wait(labtest.Context(t, patience), "the refusal", func(e timeline.Event) bool {
		return e.Reason == reason.TokenOtherHost && e.Host != "r1n01"
	})
	if err != nil {
		t.Error(err)
	}
}

func get(t *testing.T, n *lab.Node, url string) string {
	t.Helper()
	return run(t, n, "curl", "-sS", "-g", "-m", "10", url)
}

func status(t *testing.T, n *lab.Node, url string) string {
	t.Helper()
	return run(t, n, "curl", "-sS", "-g", "-m", "10", "-o", "/dev/null", "-w", "%{http_code}", url)
}
