package netns_test

import (
	"encoding/json"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"bootd.internal/bootd/api"
	"bootd.internal/bootd/timeline"
	"bootd.internal/lab"
	"bootd.internal/lab/labtest"
)

// house is a router that gets its prefix from an ISP, with two networks: on the lan a machine with dhclient, one that asks for a
// prefix of its own, and one with the kernel's SLAAC; on the office another of those.
type house struct {
	*isp
	server                  *lab.Daemon
	dhclient, router, slaac *lab.Node
	office                  *lab.Node
}

// houseScript notes what dhclient says, and does with addresses what dhclient-script does.
const houseScript = `#!/bin/sh
echo "$reason $new_ip6_address$new_ip6_prefix" >>"$0.log"
case $reason in
BOUND6|RENEW6|REBIND6)
	[ -z "$new_ip6_address" ] || ip -6 address replace "$new_ip6_address/128" dev "$interface" valid_lft "$new_max_life" preferred_lft "$new_preferred_life" nodad ;;
EXPIRE6|DEPREF6|RELEASE6|STOP6)
	[ -z "$cur_ip6_address$old_ip6_address" ] || ip -6 address del "${cur_ip6_address:-$old_ip6_address}/128" dev "$interface" ;;
esac
exit 0
`

func newHouse(t *testing.T) *house {
	t.Helper()
	h := &house{isp: newISP(t)}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(h.provider.Sysctl(map[string]string{"net/ipv6/conf/all/forwarding": "1"}))
	must(h.home.Sysctl(map[string]string{"net/ipv6/conf/all/forwarding": "1"}))
	run(t, h.home, "ip", "-6", "route", "add", "default", "via", "fe80::1", "dev", "eth0")
	lan, err := h.Link("lan")
	must(err)
	office, err := h.Link("office")
	must(err)
	must(h.home.Attach(lan, lab.Interface{Name: "eth1", MAC: "52:54:00:00:01:01"}))
	must(h.home.Attach(office, lab.Interface{Name: "eth2", MAC: "52:54:00:00:01:02"}))
	join := func(name string, link *lab.Link, mac string, settings map[string]string) *lab.Node {
		n, err := h.Node(name)
		must(err)
		must(n.Attach(link, lab.Interface{Name: "eth0", MAC: mac, Down: true}))
		must(n.Sysctl(settings))
		must(n.SetUp("eth0"))
		linkLocal(t, n)
		return n
	}
	ra := map[string]string{"net/ipv6/conf/eth0/accept_ra": "2"}
	h.dhclient = join("desk", lan, "52:54:00:aa:01:01", nil)
	h.router = join("router", lan, "52:54:00:aa:01:02", nil)
	h.slaac = join("phone", lan, "52:54:00:aa:01:03", ra)
	h.office = join("laptop", office, "52:54:00:aa:01:04", ra)
	return h
}

// gives makes the ISP delegate out of a pool.
func (h *house) gives(t *testing.T, pool string) {
	t.Helper()
	h.write(t, "isp/inventory.yaml", `defaults: {unknown: pool, preferred: 30m, valid: 1h}
networks: {wan: {interface: eth0, prefix: "2001:db8:f::/64", delegate: {pool: "`+pool+`", length: 48}}}
`)
	if h.server != nil {
		if _, err := h.server.Run(labtest.Context(t, patience), "reload"); err != nil {
			t.Fatal(err)
		}
		return
	}
	var err error
	h.server, err = h.provider.StartDaemon(labtest.Context(t, time.Minute), lab.DaemonConfig{
		Name: "isp", Binary: os.Getenv(labtest.BinaryEnv), Inventory: h.Path("isp/inventory.yaml"), State: h.Path("isp.state"),
	})
	if err != nil {
		t.Fatal(err)
	}
}

// asks runs dhclient on a machine until the test ends.
func (h *house) asks(t *testing.T, n *lab.Node, args ...string) {
	t.Helper()
	dir := filepath.Join(h.Dir, n.Name)
	h.write(t, n.Name+"/conf", "")
	h.write(t, n.Name+"/script", houseScript)
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := n.Command(t.Context(), "dhclient", append(append([]string{"-6"}, args...),
		"-d", "-v", "-cf", dir+"/conf", "-lf", dir+"/leases", "-pf", dir+"/pid", "-sf", dir+"/script", "eth0")...)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Wait() // the end of the test's context ended it
		_ = log.Close()
	})
}

// part is what the router has of the pool of a /48.
func (h *house) part(t *testing.T, whole netip.Prefix) netip.Prefix {
	t.Helper()
	var part netip.Prefix
	err := lab.WaitFor(labtest.Context(t, patience), "the router's part of "+whole.String(), func() bool {
		out, err := h.daemon.Run(labtest.Context(t, patience), "leases", "--prefixes", "--json")
		var leases []api.Lease
		if err != nil || json.Unmarshal(out, &leases) != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		for _, l := range leases {
			if p, err := netip.ParsePrefix(l.Prefix); err == nil && whole.Contains(p.Addr()) && l.State == "bound" {
				part = p
			}
		}
		return part.IsValid()
	})
	if err != nil {
		t.Fatal(err)
	}
	return part
}

// in is the address or prefix that a suffix makes of the first 48 bits of one.
func in(whole netip.Prefix, suffix string) string {
	return strings.TrimSuffix(whole.Addr().String(), "::") + suffix
}

// lives looks at the whole house: every machine uses what is out of one prefix, and what is out of another, where there was one,
// is deprecated or gone.
func (h *house) lives(t *testing.T, now, old netip.Prefix) {
	t.Helper()
	const ip, routes = "ip -6 address show dev ", "ip -6 route show proto 217"
	both := func(suffix, flags string) []string {
		all := []string{in(now, suffix) + `/64 scope global ` + flags + `dynamic`}
		if old.IsValid() {
			all = append(all, in(old, suffix)+`/64 scope global `+flags+`deprecated`)
		}
		return all
	}
	ours := func(suffix string) []string { return both(suffix, "nodad ") }
	hosts := func(suffix string) []string { return both(suffix, "") }
	shows(t, h.home, ip+"eth1 scope global", ours("::1")...)
	shows(t, h.home, ip+"eth2 scope global", ours(":1::1")...)
	shows(t, h.slaac, ip+"eth0 scope global", hosts(":0:5054:ff:feaa:103")...)
	shows(t, h.office, ip+"eth0 scope global", hosts(":1:5054:ff:feaa:104")...)
	shows(t, h.dhclient, ip+"eth0 scope global", in(now, "::102")+"/128")
	part := h.part(t, now)
	want := []string{
		"unreachable " + now.String(), "unreachable " + in(now, ":100::/56"), part.String() + " via fe80::5054:ff:feaa:102 dev eth1",
	}
	shows(t, h.home, routes, want...)
	if part.Bits() != 60 || !netip.MustParsePrefix(in(now, ":100::/56")).Contains(part.Addr()) {
		t.Errorf("the router has %s", part)
	}
	log, err := os.ReadFile(h.Path("router/script.log"))
	if err != nil || !strings.Contains(string(log), "6 "+part.String()+"\n") {
		t.Errorf("%v; the router, which has %s, was told:\n%s", err, part, log)
	}
	if old.IsValid() {
		gone := strings.TrimSuffix(old.Addr().String(), "::") + ":"
		err := lab.WaitFor(labtest.Context(t, patience), "no route into what was", func() bool {
			return !strings.Contains(run(t, h.home, "ip", "-6", "route", "show", "proto", "217"), gone)
		})
		if err != nil {
			t.Error(err)
		}
		if out := run(t, h.dhclient, "ip", "-6", "address", "show", "dev", "eth0", "scope", "global"); strings.Contains(out, gone) {
			t.Errorf("the desk still has\n%s", out)
		}
	}
	for _, question := range [][]string{{"@" + in(now, "::1"), "desk.example.net", "AAAA"}, {"@" + in(now, ":1::1"), "desk.example.net", "AAAA"}} {
		n := h.slaac
		if strings.Contains(question[0], ":1::1") {
			n = h.office
		}
		if got := strings.TrimSpace(run(t, n, "dig", append([]string{"+short", "+tries=5"}, question...)...)); got != in(now, "::102") {
			t.Errorf("%v: %q", question, got)
		}
	}
	// From the new address, through the router, to the ISP and back.
	run(t, h.slaac, "ping", "-6", "-n", "-c", "1", "-w", "20", "-I", in(now, ":0:5054:ff:feaa:103"), "2001:db8:f::1")
}

// TestRenumbering: an ISP gives a house another prefix. All that was made of the old one follows at once; a crash in the middle of it,
// and one more change, end the same way.
func TestRenumbering(t *testing.T) {
	text, err := os.ReadFile("../../examples/general-prefix.yaml")
	if err != nil {
		t.Fatal(err)
	}
	soon := strings.Replace(string(text), "defaults: {", "defaults: {t1: 2s, t2: 4s, ", 1)
	h := newHouse(t)
	h.gives(t, "2001:db8:100::/48")
	h.start(t, soon)
	first := h.lease(t, time.Time{}, "bound")
	h.asks(t, h.dhclient, "-N")
	h.asks(t, h.router, "-P")
	h.lives(t, first, netip.Prefix{})

	renumber := func(pool string) netip.Prefix {
		t.Helper()
		h.gives(t, pool)
		if _, err := h.daemon.Run(labtest.Context(t, patience), "upstream", "renew", "isp"); err != nil {
			t.Fatal(err)
		}
		e, err := h.daemon.Wait(labtest.Context(t, patience), "another prefix", func(e timeline.Event) bool {
			return e.Kind == timeline.UpstreamLease && e.Addr == pool
		})
		if err != nil {
			t.Fatalf("%v; %+v", err, h.status(t))
		}
		return netip.MustParsePrefix(e.Addr)
	}
	second := renumber("2001:db8:200::/48")
	h.lives(t, second, first)

	third := renumber("2001:db8:300::/48")
	if err := h.daemon.Kill(); err != nil {
		t.Fatal(err)
	}
	h.start(t, soon)
	h.lives(t, third, second)
}
