package netns_test

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"bootd.internal/lab/labtest"
)

// TestFiveLines: the example makes out of a namespace a network without IPv4. A machine that nobody listed has an address, a
// router and a resolver, and finds the printer.
func TestFiveLines(t *testing.T) {
	text, err := os.ReadFile("../../examples/ipv6-only.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if n := len(regexp.MustCompile(`(?m)^[^#\n]`).FindAllString(string(text), -1)); n > 5 {
		t.Errorf("the five lines are %d", n)
	}
	r := labtest.NewRack(t, labtest.RackConfig{Inventory: string(text)})
	n := r.Client(t, "phone", unlistedMAC)
	conf := "net/ipv6/conf/eth0/"
	if err := n.Sysctl(map[string]string{conf + "accept_ra": "2"}); err != nil {
		t.Fatal(err)
	}
	if err := n.SetUp("eth0"); err != nil {
		t.Fatal(err)
	}
	shows(t, n, "ip -6 address show dev eth0 scope global", `2001:db8:1:0:5054:ff:feff:ff01/64 scope global dynamic`)
	shows(t, n, "ip -6 route show default", `default via fe80::1 dev eth0 proto ra`)
	resolver := regexp.MustCompile(`Recursive DNS server\s*: (\S+)`).FindStringSubmatch(run(t, n, "rdisc6", "-1", "-w", "2000", "eth0"))
	if resolver == nil {
		t.Fatal("no resolver is advertised")
	}
	if got := strings.TrimSpace(run(t, n, "dig", "+short", "+tries=5", "@"+resolver[1], "printer.example.net", "AAAA")); got != "2001:db8:1::101" {
		t.Errorf("printer.example.net is %q", got)
	}
	if got := strings.TrimSpace(run(t, n, "dig", "+short", "+tries=5", "@"+resolver[1], "-x", "2001:db8:1::101")); got != "printer.example.net." {
		t.Errorf("2001:db8:1::101 is %q", got)
	}

	// The interface gets another prefix: the network follows, and machines are told to leave the old one.
	run(t, r.Server, "sh", "-ec", "ip address add 2001:db8:2::1/64 dev eth1 nodad; ip address del 2001:db8:1::1/64 dev eth1")
	shows(t, n, "ip -6 address show dev eth0 scope global", `2001:db8:2:0:5054:ff:feff:ff01/64 scope global dynamic`,
		`2001:db8:1:0:5054:ff:feff:ff01/64 scope global deprecated`)

	// An address that ends: nobody is told more than is left of it.
	run(t, r.Server, "sh", "-ec", "ip address add 2001:db8:3::1/64 dev eth1 nodad valid_lft 1000 preferred_lft 0; ip address del 2001:db8:2::1/64 dev eth1")
	shows(t, n, "ip -6 address show dev eth0 scope global", `2001:db8:3:0:5054:ff:feff:ff01/64 scope global deprecated.*\s+valid_lft [1-9]\d\dsec preferred_lft 0sec`)
}
