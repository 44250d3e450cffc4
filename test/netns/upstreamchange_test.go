package netns_test

import (
	"bytes"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"bootd.internal/bootd/timeline"
	"bootd.internal/lab"
	"bootd.internal/lab/labtest"
)

// envHook writes what it finds in its environment.
const envHook = `#!/bin/sh
{ echo "== $reason"; env | sort; } >>"$(dirname "$0")/env"
`

// hooked are the runs of an envHook: of each its variables.
func hooked(t *testing.T, file string) (runs []map[string]string) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range bytes.Split(data, []byte("== "))[1:] {
		run := map[string]string{}
		for line := range strings.Lines(string(part)) {
			if k, v, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "="); ok {
				run[k] = v
			}
		}
		runs = append(runs, run)
	}
	return runs
}

// TestUpstreamChanges: an address beside the prefix, a link that blinks, another server with other prefixes, and what hooks are told
// of all that: variables of the same names as dhclient's.
func TestUpstreamChanges(t *testing.T) {
	i := newISP(t)
	kea := dhcpServers()[0]
	stop := i.serve(t, kea)
	if err := i.home.Sysctl(map[string]string{"net/ipv6/conf/all/forwarding": "1", "net/ipv6/conf/eth0/accept_ra": "1"}); err != nil {
		t.Fatal(err)
	}
	hook := i.write(t, "hooks/isp", envHook)
	i.start(t, "upstreams: {isp: {interface: eth0, request: 48, address: true, hooks: hooks/isp}}\n")
	first := i.lease(t, time.Time{}, "bound")
	addr := waitAddr(t, i.home, netip.MustParsePrefix("2001:db8:f::/64").Contains)
	if addr.Bits() != 128 {
		t.Errorf("the address is %s", addr)
	}
	if routes := run(t, i.home, "ip", "-6", "route", "show", "dev", "eth0"); strings.Contains(routes, addr.Addr().String()) {
		t.Errorf("a route that would outlive the address %s:\n%s", addr.Addr(), routes)
	}
	if got := strings.TrimSpace(run(t, i.home, "cat", "/proc/sys/net/ipv6/conf/eth0/accept_ra")); got != "2" {
		t.Errorf("accept_ra is %s on the upstream of a machine that forwards", got)
	}
	i.event(t, timeline.Warning, "accept_ra=2 was set on eth0")

	blinked := time.Now()
	if err := i.home.SetDown("eth0"); err != nil {
		t.Fatal(err)
	}
	linkLocal(t, i.home)
	if again := i.lease(t, blinked, "rebound"); again != first {
		t.Errorf("%s, after the link blinked %s", first, again)
	}
	if again := waitAddr(t, i.home, netip.MustParsePrefix("2001:db8:f::/64").Contains); again != addr {
		t.Errorf("%s, after the link blinked %s", addr, again)
	}

	stop()
	replaced := time.Now()
	kea.name, kea.conf = "kea-of-another", strings.Replace(keaISP("2001:db8:a00::"), "525400000099", "525400000098", 1)
	i.serve(t, kea)
	i.event(t, timeline.UpstreamLost, first.String())
	second := i.lease(t, replaced, "bound", "rebound", "renewed")
	for pool := netip.MustParsePrefix("2001:db8:a00::/40"); !pool.Contains(second.Addr()); {
		replaced = time.Now()
		second = i.lease(t, replaced, "bound", "rebound", "renewed")
	}
	var told []string
	err := lab.WaitFor(labtest.Context(t, patience), "the hook is told of the new prefix", func() bool {
		told = nil
		for _, h := range hooked(t, i.Path("hooks/env")) {
			if p := h["old_ip6_prefix"] + " " + h["new_ip6_prefix"]; p != " " && h["reason"] != "RENEW6" {
				told = append(told, h["reason"]+" "+p)
			}
		}
		return slices.ContainsFunc(told, func(s string) bool { return strings.HasSuffix(s, second.String()) })
	})
	if err != nil {
		t.Fatalf("%v: %q", err, told)
	}
	if told[0] != "BOUND6  "+first.String() || !slices.Contains(told, "EXPIRE6 "+first.String()+" ") {
		t.Errorf("the hook was told %q of %s, then %s", told, first, second)
	}
	likeDhclient(t, i, hook)
}

// likeDhclient compares the variables of a first lease with those that dhclient gives the same program.
func likeDhclient(t *testing.T, i *isp, hook string) {
	t.Helper()
	for _, name := range []string{"pid", "leases"} {
		i.write(t, "dhclient/"+name, "")
	}
	script := i.write(t, "dhclient/script", envHook)
	if err := i.daemon.Kill(); err != nil { // it has the port
		t.Fatal(err)
	}
	dir := i.Path("dhclient")
	cmd := i.home.Command(t.Context(), "dhclient", "-6", "-P", "-1", "-d", "-cf", "/dev/null", "-lf", dir+"/leases", "-pf", dir+"/pid", "-sf", script, "eth0")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Wait() }) // the end of the test's context ended it
	bound := func(file string) (names []string, ok bool) {
		if _, err := os.Stat(file); err != nil {
			return nil, false
		}
		for _, h := range hooked(t, file) {
			if h["reason"] == "BOUND6" && h["new_ip6_prefix"] != "" {
				for k := range h {
					names = append(names, k)
				}
				slices.Sort(names)
				return names, true
			}
		}
		return nil, false
	}
	ours, _ := bound(strings.TrimSuffix(hook, "isp") + "env")
	var theirs []string
	err := lab.WaitFor(labtest.Context(t, patience), "dhclient has a prefix", func() (ok bool) {
		theirs, ok = bound(dir + "/env")
		return ok
	})
	if err != nil {
		t.Fatal(err)
	}
	theirs = slices.DeleteFunc(theirs, func(s string) bool { return s == "pid" }) // it is dhclient's own
	if diff := cmp.Diff(theirs, ours); diff != "" {
		t.Errorf("variables differ (-dhclient's +ours):\n%s", diff)
	}
}
