package netns_test

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"bootd.internal/bootd/reason"
	"bootd.internal/bootd/timeline"
	"bootd.internal/lab"
	"bootd.internal/lab/labtest"
)

// applyScript is what the DHCPv6 clients run when they have an address: Debian's
// own would also edit resolv.conf. Their variables differ in name only.
const applyScript = `#!/bin/sh
env | sort >>"$0.env"
for address in ${new_ip6_address:-}; do
	ip -6 address replace "$address/128" dev eth0
done
exit 0
`

// client is a DHCPv6 client program: its files and its command line.
type client struct {
	name    string
	files   map[string]string // in its own directory
	command func(dir string) []string
}

func clients() []client {
	return []client{
		{
			name:  "dhclient",
			files: map[string]string{"conf": "send dhcp6.oro 23, 24;\n", "script": applyScript},
			command: func(dir string) []string {
				return []string{
					"dhclient", "-6", "-d", "-v", "-cf", dir + "/conf", "-lf", dir + "/leases",
					"-pf", dir + "/pid", "-sf", dir + "/script", "eth0",
				}
			},
		},
		{
			name: "dhcp6c", // wide-dhcpv6: the client of Debian's installer
			files: map[string]string{
				"conf":   "interface eth0 { send ia-na 0; request domain-name-servers, domain-name; };\nid-assoc na 0 { };\n",
				"script": applyScript,
			},
			command: func(dir string) []string {
				return []string{"dhcp6c", "-f", "-D", "-c", dir + "/conf", "-p", dir + "/pid", "eth0"}
			},
		},
		{
			name: "dibbler",
			files: map[string]string{
				"client.conf": "log-level 7\nlog-mode full\nduid-type duid-ll\niface eth0 {\n ia\n option dns-server\n}\n",
			},
			command: func(dir string) []string {
				// Its directories are built in: it gets its own.
				return []string{"unshare", "-m", "sh", "-c", `
					for d in /etc/dibbler /var/lib /var/log; do mount -t tmpfs tmpfs $d || exit; done
					mkdir /var/lib/dibbler /var/log/dibbler && cp ` + dir + `/client.conf /etc/dibbler/ &&
					exec dibbler-client run`}
			},
		},
		{
			name:  "dhcpcd",
			files: map[string]string{"conf": "duid ll\nipv6only\nnohook resolv.conf hostname\n"},
			command: func(dir string) []string {
				// What it remembers of another test's lease it would only confirm.
				return []string{"unshare", "-m", "sh", "-c", `
					mkdir -p /var/lib/dhcpcd && mount -t tmpfs tmpfs /var/lib/dhcpcd &&
					exec dhcpcd -6 -B -d -f ` + dir + `/conf eth0`}
			},
		},
		{
			name:  "networkd",
			files: map[string]string{"eth0.network": "[Match]\nName=eth0\n[Network]\nDHCP=ipv6\nIPv6AcceptRA=yes\nLinkLocalAddressing=ipv6\n"},
			command: func(dir string) []string {
				// Without udev a read-only /sys makes it take the link as ready.
				return []string{"unshare", "-m", "sh", "-c", `
					mount -t tmpfs tmpfs /run && mount -o remount,ro /sys &&
					mkdir -p /run/systemd/network && cp ` + dir + `/eth0.network /run/systemd/network/ &&
					SYSTEMD_LOG_LEVEL=debug exec /lib/systemd/systemd-networkd`}
			},
		},
	}
}

// start runs the client program in the node until the test ends.
func (c client) start(t *testing.T, r *labtest.Rack, n *lab.Node) {
	t.Helper()
	dir := r.Path(n.Name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, content := range c.files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	log, err := os.Create(r.Path(n.Name + ".log"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	args := c.command(dir)
	cmd := n.Command(ctx, args[0], args[1:]...)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		_ = cmd.Wait() // it was told to end; how it did is in its log
		_ = log.Close()
	})
}

// TestListedHost gives every client the address of its host, whatever DUID and
// IAID it shows.
func TestListedHost(t *testing.T) {
	for _, c := range clients() {
		t.Run(c.name, func(t *testing.T) {
			r := newRack(t)
			n := r.Client(t, c.name, listedMAC)
			linkLocal(t, n)
			c.start(t, r, n)
			e := r.WaitEvent(t, patience, "r1n01", timeline.DHCPLease)
			if e.Addr != listedAddr.String() {
				t.Errorf("bootd leased %s, want %s", e.Addr, listedAddr)
			}
			waitAddr(t, n, func(a netip.Addr) bool { return a == listedAddr })
		})
	}
}

// TestUnlistedHost: a machine that nobody wrote down gets no answer, and the
// events say why.
func TestUnlistedHost(t *testing.T) {
	r := newRack(t)
	n := r.Client(t, "stranger", unlistedMAC)
	linkLocal(t, n)
	clients()[0].start(t, r, n)
	e, err := r.Daemon.Wait(labtest.Context(t, patience), "the stranger's Solicit", func(e timeline.Event) bool {
		return e.Kind == timeline.DHCPIgnored
	})
	if err != nil {
		t.Fatal(err)
	}
	if e.Reason != reason.UnknownHost || e.MAC.String() != unlistedMAC {
		t.Errorf("ignored with reason %s, MAC %s; want %s, %s", e.Reason, e.MAC, reason.UnknownHost, unlistedMAC)
	}
}

// TestSLAAC: the kernel alone makes an address out of the advertised prefix,
// and takes us for its router, because this server forwards and has a default
// route.
func TestSLAAC(t *testing.T) {
	r := newRack(t)
	n := r.Client(t, "kernel", listedMAC)
	if err := n.Sysctl(map[string]string{"net/ipv6/conf/eth0/accept_ra": "2"}); err != nil {
		t.Fatal(err)
	}
	if err := n.SetUp("eth0"); err != nil {
		t.Fatal(err)
	}
	want := netip.MustParseAddr("2001:db8:1:0:5054:ff:feaa:101") // RFC 4291 appendix A
	got := waitAddr(t, n, func(a netip.Addr) bool { return a.IsGlobalUnicast() && !a.IsLinkLocalUnicast() })
	if got.Addr() != want {
		t.Errorf("the kernel made %s, want %s", got, want)
	}
	ctx := labtest.Context(t, patience)
	err := lab.WaitFor(ctx, "there is a default route", func() bool {
		out, err := n.Command(ctx, "ip", "-6", "route", "show", "default").Output()
		return err == nil && len(out) > 0
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestPrograms fails early, and by name, when a client is missing.
func TestPrograms(t *testing.T) {
	for _, name := range []string{
		"dhclient", "dhcp6c", "dhcpcd", "dibbler-client", "perfdhcp", "/lib/systemd/systemd-networkd", "rdisc6", "radvd", "radvdump", "dig", "curl", "tftp", "atftp",
		"baresip", "kamailio", "ss", "kea-dhcp6", "dhcpd", "dhcp6s", "dibbler-server", "nft", "dhcrelay", "dibbler-relay", "dhcp6relay", "unbound", "drill", "ldns-testns", "dnsperf", "tayga", "tcpdump", "ping", "unshare",
	} {
		if _, err := exec.LookPath(name); err != nil {
			t.Error(fmt.Errorf("%w (scripts/deps.sh test installs it)", err))
		}
	}
}
