package netns_test

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"bootd.internal/lab"
	"bootd.internal/lab/labtest"
)

// device is a machine of people's: a program, or the kernel alone, that learns from the network.
type device struct {
	name string
	self bool // the kernel takes the router advertisements
	// files are in the program's own directory, DIR in them and in the command.
	files   map[string]string
	command string
	// learned is the resolvers that it learned, as the program tells; empty: not yet.
	learned func(t *testing.T, n *lab.Node, dir string, cmd *exec.Cmd) string
}

// told is what a program's script was told, by the names of its variables.
func told(names string) func(*testing.T, *lab.Node, string, *exec.Cmd) string {
	return func(_ *testing.T, _ *lab.Node, dir string, _ *exec.Cmd) string {
		env, _ := os.ReadFile(dir + "/script.env") // it comes with the first run of the script
		return first(`(?m)^(?:`+names+`)=(.*\S)`, string(env))
	}
}

// first is what stands in the parentheses where the pattern matches first.
func first(pattern, text string) string {
	m := regexp.MustCompile(pattern).FindStringSubmatch(text)
	if m == nil {
		return ""
	}
	return m[1]
}

func devices() []device {
	return []device{
		{
			name: "kernel", self: true,
			learned: func(t *testing.T, n *lab.Node, _ string, _ *exec.Cmd) string {
				return first(`Recursive DNS server\s*: (\S+)`, run(t, n, "rdisc6", "-1", "-w", "2000", "eth0"))
			},
		},
		{
			name: "dhcpcd",
			files: map[string]string{
				"conf": "duid ll\nipv6only\nscript DIR/script\noption dhcp6_name_servers\n", "script": applyScript,
			},
			// What it remembers of another test it would only confirm.
			command: "mkdir -p /var/lib/dhcpcd && mount -t tmpfs tmpfs /var/lib/dhcpcd && exec dhcpcd -6 -B -d -f DIR/conf eth0",
			learned: told(`new_dhcp6_name_servers`),
		},
		{
			name:  "networkd",
			files: map[string]string{"eth0.network": "[Match]\nName=eth0\n[Network]\nIPv6AcceptRA=yes\nLinkLocalAddressing=ipv6\n"},
			command: `mount -t tmpfs tmpfs /run && mount -o remount,ro /sys && mkdir -p /run/systemd/network &&
				cp DIR/eth0.network /run/systemd/network/ && SYSTEMD_LOG_LEVEL=debug exec /lib/systemd/systemd-networkd`,
			learned: func(t *testing.T, _ *lab.Node, _ string, cmd *exec.Cmd) string {
				links, err := filepath.Glob(fmt.Sprintf("/proc/%d/root/run/systemd/netif/links/*", cmd.Process.Pid))
				if err != nil {
					t.Fatal(err)
				}
				for _, link := range links {
					text, _ := os.ReadFile(link) // rewritten meanwhile: the next look finds it
					if dns := first(`(?m)^DNS=(\S.*)`, string(text)); dns != "" {
						return dns
					}
				}
				return ""
			},
		},
		{
			name: "dhcp6c", self: true,
			files: map[string]string{
				"conf":   "interface eth0 { information-only; request domain-name-servers, domain-name; script \"DIR/script\"; };\n",
				"script": applyScript,
			},
			command: "exec dhcp6c -f -D -c DIR/conf -p DIR/pid eth0",
			learned: told("new_domain_name_servers"),
		},
	}
}

// joins lets the device join the network; it returns the node and the resolver that it learned.
func (d device) joins(t *testing.T, r *labtest.Rack, mac string) (*lab.Node, string) {
	t.Helper()
	n, dir := r.Client(t, d.name, mac), r.Path(d.name)
	if d.self {
		if err := n.Sysctl(map[string]string{"net/ipv6/conf/eth0/accept_ra": "1"}); err != nil {
			t.Fatal(err)
		}
	}
	linkLocal(t, n)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, content := range d.files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(strings.ReplaceAll(content, "DIR", dir)), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	var cmd *exec.Cmd
	if d.command != "" {
		cmd = program(t, n, dir+".log", "unshare", "-m", "sh", "-c", strings.ReplaceAll(d.command, "DIR", dir))
	}
	waitAddr(t, n, netip.MustParsePrefix("2001:db8:1::/64").Contains)
	shows(t, n, "ip -6 route show default", "default via fe80::1 dev eth0")
	var resolver string
	err := lab.WaitFor(labtest.Context(t, patience), d.name+" has learned a resolver", func() bool {
		resolver = d.learned(t, n, dir, cmd)
		return resolver != ""
	})
	if err != nil {
		t.Fatal(err)
	}
	return n, resolver
}

// TestPeople: on the network of examples/people.yaml each device that nobody listed has an address, a router and a resolver, and
// reaches by its name a web server that has IPv4 only.
func TestPeople(t *testing.T) {
	text, err := os.ReadFile("../../examples/people.yaml")
	if err != nil {
		t.Fatal(err)
	}
	ours := strings.NewReplacer("2001:db8:6::/64", "2001:db8:1::/64", `["tls://[2001:db8:53::53]#dns.example.net", "2001:db8:53::54"]`, `"[2001:db8:1::64]:5353"`)
	r := labtest.NewRack(t, labtest.RackConfig{Inventory: ours.Replace(string(text))})
	// The well-known prefix reaches public addresses only (RFC 6052 section 3.1): one of a block that nobody has any more (RFC 7526).
	newNAT64(t, r, nat64{
		prefix: "64:ff9b::/96", web: netip.MustParsePrefix("192.88.99.80/24"), router: netip.MustParsePrefix("192.88.99.1/24"),
		names: scripted("opcode qtype qname", "QR RD RA NOERROR", "web.example.org.", "A", "web.example.org. 300 IN A 192.88.99.80") +
			scripted("opcode qtype qname", "QR RD RA NOERROR", "web.example.org.", "AAAA") +
			scripted("opcode qtype qname", "QR RD RA NOERROR", "six.example.org.", "AAAA", "six.example.org. 300 IN AAAA 2001:db8:80::80") +
			scripted("opcode qtype qname", "QR RD RA NOERROR", "six.example.org.", "A", "six.example.org. 300 IN A 192.88.99.80") +
			scripted("opcode", "QR RD RA NXDOMAIN", "none.example.org.", "A"),
	})
	for i, d := range devices() {
		t.Run(d.name, func(t *testing.T) {
			n, resolver := d.joins(t, r, fmt.Sprintf("52:54:00:ff:ff:%02x", i+1))
			if resolver != "2001:db8:1::1" {
				t.Errorf("the resolver is %q", resolver)
			}
			file := r.Path(d.name + ".resolv.conf")
			if err := os.WriteFile(file, []byte("nameserver "+resolver+"\noptions timeout:5\n"), 0o644); err != nil {
				t.Fatal(err)
			}
			if got := inside(t, n, file, "getent", "ahosts", "six.example.org"); !strings.Contains(got, "2001:db8:80::80 ") {
				t.Errorf("six.example.org is\n%s", got)
			}
			got := inside(t, n, file, "curl", "-sSf", "-m", "20", "-w", "from [%{remote_ip}]", "http://web.example.org/")
			t.Logf("%s: resolver %s, %q", d.name, resolver, got)
			if !strings.HasPrefix(got, "hello web.example.org from 192.168.255.") || !strings.HasSuffix(got, "from [64:ff9b::c058:6350]") {
				t.Errorf("curl got %q", got)
			}
		})
	}
}

// TestPortal: a captive portal reaches devices in router advertisements (RFC 8910, option 37) and by DHCPv6 (option 103), where an
// encrypted resolver (RFC 9463, option 144) goes, too. Debian's programs take them as octets.
func TestPortal(t *testing.T) {
	const portal = "https://portal.example.net/api"
	r := labtest.NewRack(t, labtest.RackConfig{Inventory: `
networks:
  people:
    interface: eth1
    prefix: "2001:db8:1::/64"
    unknown: pool
    ra: {managed: false, other: true, captive_portal: "` + portal + `"}
    options: {dnr: {name: dns.example.net, priority: 1, addresses: "2001:db8::53", alpn: dot}}
`})
	n := r.Client(t, "device", unlistedMAC)
	linkLocal(t, n)
	heard := r.Path("heard")
	program(t, n, heard, "tcpdump", "-l", "-n", "-v", "-x", "-i", "eth0", "icmp6 && ip6[40] == 134")
	// Type 37, 4 units of 8 octets, the URI. (tcpdump may have missed what came before it listened.)
	shows(t, n, `rdisc6 -1 -w 2000 eth0 >/dev/null; sed -n 's/^\s*0x[0-9a-f]*: *//p' `+heard+` | tr -d ' \n'`, fmt.Sprintf("2504%x", portal))

	c := clients()[0]
	c.files["conf"] = `
option dhcp6.portal code 103 = text;
option dhcp6.dnr code 144 = string;
request dhcp6.name-servers, dhcp6.portal, dhcp6.dnr;
`
	command := c.command
	c.command = func(dir string) []string { return append([]string{"dhclient", "-S"}, command(dir)[1:]...) }
	c.start(t, r, n)
	shows(t, n, "cat "+r.Path("device/script.env"), `(?m)^new_dhcp6_portal=`+portal+`$`,
		// Priority 1, the name, one address, alpn (key 1) with dot.
		`(?m)^new_dhcp6_dnr=0:1:0:11:3:64:6e:73:7:65:78:61:6d:70:6c:65:3:6e:65:74:0:0:10:20:1:d:b8:0:0:0:0:0:0:0:0:0:0:0:53:0:1:0:4:3:64:6f:74$`)
}
