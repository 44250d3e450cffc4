package netns_test

import (
	"context"
	"encoding/json"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"bootd.internal/bootd/reason"
	"bootd.internal/bootd/timeline"
	"bootd.internal/lab"
	"bootd.internal/lab/labtest"
)

const openInventory = `
networks:
  rack1: {interface: eth1, prefix: "2001:db8:1::/64", unknown: discover}
hosts:
  r1n01: {mac: 52:54:00:aa:01:01, address: "::101"} # the only one
`

// loaders are the boot loaders, without which no inventory is taken at a reload.
func loaders() map[string][]byte { return map[string][]byte{"ipxe.efi": []byte("MZ")} }

// waitFor waits for an event; the test fails when it does not come.
func waitFor(t *testing.T, d *lab.Daemon, what string, ok func(timeline.Event) bool) timeline.Event {
	t.Helper()
	e, err := d.Wait(labtest.Context(t, patience), what, ok)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// TestDiscover: a machine that nobody listed gets an address, says who it is, is adopted, and is a host after a reload.
func TestDiscover(t *testing.T) {
	r := labtest.NewRack(t, labtest.RackConfig{Inventory: openInventory, Files: loaders()})
	n := r.Client(t, "stranger", unlistedMAC)
	linkLocal(t, n)
	clients()[0].start(t, r, n)
	a := waitAddr(t, n, func(a netip.Addr) bool { return a.IsGlobalUnicast() && listedAddr != a })
	run(t, n, "ip", "-6", "route", "add", "2001:db8:1::/64", "dev", "eth0") // as the advertisement would
	script := run(t, n, "curl", "-sf", "-g", "http://[2001:db8:1::1]/boot.ipxe")
	if !strings.Contains(script, "bootd adopt 52:54:00:ff:ff:01 NAME") {
		t.Errorf("the script of %s is\n%s", a, script)
	}
	got := run(t, n, "curl", "-sf", "-g", "http://[2001:db8:1::1]/discovered?mac=52-54-00-aa-01-01&uuid=00112233-4455-6677-8899-aabbccddeeff"+
		"&serial=S%201&manufacturer=QEMU&product=Standard%20PC%1b&arch=x86_64&platform=efi")
	if diff := cmp.Diff("#!ipxe\necho bootd: bootd knows now who this is\n", got); diff != "" {
		t.Error(diff)
	}
	ctx := labtest.Context(t, patience)
	machines, err := r.Daemon.API.Discovered(ctx)
	if err != nil || len(machines) != 1 {
		t.Fatalf("discovered: %v, %v", machines, err)
	}
	m := machines[0]
	if m.MAC.String() != unlistedMAC || m.Serial != "S 1" || m.Product != "Standard PC" || m.Arch != "x86_64" || m.Link != "eth1" {
		t.Errorf("discovered: %+v", m)
	}
	if _, err := r.Daemon.Run(ctx, "adopt", unlistedMAC, "new1"); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(r.Path("inventory.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	want := openInventory + `  new1: {mac: 52:54:00:ff:ff:01, uuid: 00112233-4455-6677-8899-aabbccddeeff, serial: "S 1"}` + "\n"
	if diff := cmp.Diff(want, string(text)); diff != "" {
		t.Error(diff)
	}
	if _, err := r.Daemon.Run(ctx, "reload"); err != nil {
		t.Fatal(err)
	}
	if got := run(t, n, "curl", "-sf", "-g", "http://[2001:db8:1::1]/boot.ipxe"); !strings.Contains(got, "new1 is not armed") {
		t.Errorf("the script of new1 is\n%s", got)
	}
	if machines, err := r.Daemon.API.Discovered(ctx); err != nil || len(machines) != 0 {
		t.Errorf("after the adoption: %v, %v", machines, err)
	}
}

// other is another server on the rack's link; it serves once its log holds ready.
func other(t *testing.T, r *labtest.Rack, files map[string]string, ready, name string, args ...string) {
	t.Helper()
	n, err := r.Node("other")
	if err != nil {
		t.Fatal(err)
	}
	err = n.Attach(r.Link, lab.Interface{
		Name: "eth0", MAC: "52:54:00:00:00:99", Self: lab.NoAddress,
		Addr: []netip.Prefix{netip.MustParsePrefix("fe80::99/64"), netip.MustParsePrefix("2001:db8:1::99/64")},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Sysctl(map[string]string{"net/ipv6/conf/all/forwarding": "1"}); err != nil {
		t.Fatal(err)
	}
	for path, content := range files {
		if err := os.WriteFile(r.Path(path), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	log, err := os.Create(r.Path("other.log"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cmd := n.Command(ctx, name, args...)
	cmd.Env = append(os.Environ(), "KEA_PIDFILE_DIR="+r.Dir, "KEA_LOCKFILE_DIR="+r.Dir)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		_ = cmd.Wait() // it was told to end
		_ = log.Close()
	})
	err = lab.WaitFor(labtest.Context(t, patience), name+" serves", func() bool {
		text, err := os.ReadFile(log.Name())
		return err == nil && strings.Contains(string(text), ready)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// restarted is bootd, started again on the rack's link.
func restarted(t *testing.T, r *labtest.Rack) *lab.Daemon {
	t.Helper()
	d, err := r.Server.StartDaemon(labtest.Context(t, time.Minute), lab.DaemonConfig{
		Name: "again", Binary: os.Getenv(labtest.BinaryEnv), Inventory: r.Path("inventory.yaml"),
	})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// TestForeignServer puts Kea on the link before bootd: a machine that nobody listed gets nothing from bootd, a listed one
// does, the doctor names Kea, and `router:` ends it.
func TestForeignServer(t *testing.T) {
	r := labtest.NewRack(t, labtest.RackConfig{Inventory: openInventory, Files: loaders()})
	if err := r.Daemon.Stop(); err != nil {
		t.Fatal(err)
	}
	const kea = `{"Dhcp6": {
		"interfaces-config": {"interfaces": ["eth0"], "re-detect": false},
		"lease-database": {"type": "memfile", "persist": false},
		"server-id": {"type": "LL", "htype": 1, "identifier": "525400000099", "persist": false},
		"subnet6": [{"id": 1, "subnet": "2001:db8:1::/64", "interface": "eth0", "pools": [{"pool": "2001:db8:1::f:0/112"}]}],
		"loggers": [{"name": "kea-dhcp6", "severity": "INFO", "output_options": [{"output": "stdout"}]}]}}`
	other(t, r, map[string]string{"kea.json": kea}, "DHCP6_STARTED", "kea-dhcp6", "-c", r.Path("kea.json"))
	d := restarted(t, r)
	e := waitFor(t, d, "another server", func(e timeline.Event) bool { return e.Kind == timeline.ForeignServer })
	if e.Reason != reason.ServerElsewhere || e.Network != "rack1" || !strings.Contains(e.Detail, "00:03:00:01:52:54:00:00:00:99") {
		t.Errorf("got %+v", e)
	}
	n := r.Client(t, "stranger", unlistedMAC)
	linkLocal(t, n)
	clients()[0].start(t, r, n)
	waitFor(t, d, "the stranger's silence", func(e timeline.Event) bool {
		return e.Kind == timeline.DHCPIgnored && e.Reason == reason.ServerElsewhere && e.MAC.String() == unlistedMAC
	})
	listed := r.Client(t, "listed", listedMAC)
	linkLocal(t, listed)
	clients()[0].start(t, r, listed)
	waitAddr(t, listed, func(a netip.Addr) bool { return a == listedAddr })

	out, err := d.Run(labtest.Context(t, patience), "doctor", "--json")
	if err == nil || !strings.Contains(string(out), "00:03:00:01:52:54:00:00:00:99") {
		t.Errorf("the doctor says %s, %v", out, err)
	}
	text := strings.Replace(openInventory, "unknown: discover", "unknown: discover, router: self", 1)
	if err := os.WriteFile(r.Path("inventory.yaml"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	ctx := labtest.Context(t, patience)
	if err := d.API.Reload(ctx); err != nil {
		t.Fatal(err)
	}
	second := r.Client(t, "second", "52:54:00:ff:ff:02")
	linkLocal(t, second)
	clients()[0].start(t, r, second)
	waitFor(t, d, "the second stranger's lease", func(e timeline.Event) bool {
		return (e.Kind == timeline.DHCPLease || e.Kind == timeline.DHCPSolicit) && e.MAC.String() == "52:54:00:ff:ff:02"
	})
}

// TestServerThatKnowsItsClients puts a Kea on the link that answers only machines it has listed, so that looking for it finds
// nothing: it is noticed when such a machine takes its offer.
func TestServerThatKnowsItsClients(t *testing.T) {
	r := labtest.NewRack(t, labtest.RackConfig{Inventory: inventory, Files: loaders()})
	const kea = `{"Dhcp6": {
		"interfaces-config": {"interfaces": ["eth0"], "re-detect": false},
		"lease-database": {"type": "memfile", "persist": false},
		"server-id": {"type": "LL", "htype": 1, "identifier": "525400000099", "persist": false},
		"client-classes": [{"name": "DROP", "test": "not member('KNOWN')"}], "early-global-reservations-lookup": true,
		"reservations-global": true, "reservations": [{"hw-address": "` + unlistedMAC + `", "hostname": "theirs"}],
		"subnet6": [{"id": 1, "subnet": "2001:db8:1::/64", "interface": "eth0", "pools": [{"pool": "2001:db8:1::f:0/112"}]}],
		"loggers": [{"name": "kea-dhcp6", "severity": "INFO", "output_options": [{"output": "stdout"}]}]}}`
	other(t, r, map[string]string{"kea.json": kea}, "DHCP6_STARTED", "kea-dhcp6", "-c", r.Path("kea.json"))
	n := r.Client(t, "theirs", unlistedMAC)
	linkLocal(t, n)
	clients()[0].start(t, r, n)
	waitAddr(t, n, func(a netip.Addr) bool { return netip.MustParsePrefix("2001:db8:1::f:0/112").Contains(a) })
	e := waitFor(t, r.Daemon, "another server", func(e timeline.Event) bool { return e.Kind == timeline.ForeignServer })
	if want := "another DHCPv6 server (DUID 00:03:00:01:52:54:00:00:00:99) serves machines here: " + unlistedMAC + " took its offer"; e.Detail != want {
		t.Errorf("got %+v, want %s", e, want)
	}
	out, _ := r.Daemon.Run(labtest.Context(t, patience), "doctor")
	if !strings.Contains(string(out), "a DHCPv6 server with DUID 00:03:00:01:52:54:00:00:00:99 serves machines on eth1") {
		t.Errorf("the doctor says\n%s", out)
	}
}

// TestForeignRouter puts a router on the link before bootd: bootd sends no advertisement, and the doctor says what the
// other's flags do to iPXE.
func TestForeignRouter(t *testing.T) {
	r := labtest.NewRack(t, labtest.RackConfig{Inventory: inventory, Files: loaders()})
	if err := r.Daemon.Stop(); err != nil {
		t.Fatal(err)
	}
	other(t, r, nil, "RTR-ADVERT(eth0)", "dnsmasq", "-d", "-C", "/dev/null", "--port=0", "--interface=eth0", "--enable-ra",
		"--user=root", "--dhcp-range=2001:db8:1::,ra-only,64,1h")
	d := restarted(t, r)
	e := waitFor(t, d, "another router", func(e timeline.Event) bool { return e.Kind == timeline.ForeignRouter })
	if e.Addr != "fe80::99" || !strings.Contains(e.Detail, "M=0") || !strings.Contains(e.Detail, "bootd sends no advertisements") {
		t.Errorf("got %+v", e)
	}
	out, err := d.Run(labtest.Context(t, patience), "doctor", "--json")
	if err == nil {
		t.Error("the doctor finds nothing")
	}
	var report struct {
		Findings []struct{ Severity, Link, Text, Consequence, Do string }
	}
	if err := json.Unmarshal(out, &report); err != nil {
		t.Fatalf("%v in %s", err, out)
	}
	for _, f := range report.Findings {
		if strings.Contains(f.Text, "fe80::99") && strings.Contains(f.Consequence, "iPXE will not ask DHCPv6") && f.Do != "" {
			return
		}
	}
	t.Errorf("the doctor says %s", out)
}
