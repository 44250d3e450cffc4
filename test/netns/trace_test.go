package netns_test

import (
	"bufio"
	"bytes"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"bootd.internal/bootd/timeline"
	"bootd.internal/lab"
	"bootd.internal/lab/labtest"
)

const traceInventory = `
defaults: {domain: rack.example.net, ntp: ["2001:db8::123", ntp.example.net]}
networks:
  rack1:
    interface: eth1
    prefix: "2001:db8:1::/64"
    options: {lost-server: {value: lost.example.net, always: true}, 234: {string: "slot 1"}}
profiles:
  own: {script: own.ipxe, options: {captive-portal: "https://portal.example.net/"}}
hosts:
  r1n01: {mac: 52:54:00:aa:01:01, address: "::101", profile: own}
  r1n02: {mac: 52:54:00:aa:01:02, address: "::102"}
`

// TestTrace drives dhclient and looks at what the trace of its host shows: text, capture, and what the client took of it.
func TestTrace(t *testing.T) {
	r := labtest.NewRack(t, labtest.RackConfig{Inventory: traceInventory})
	ctx := labtest.Context(t, 2*patience)
	capture := r.Path("trace.pcap")
	cmd := r.Server.Command(ctx, os.Getenv(labtest.BinaryEnv), "trace", "--run", r.Path("bootd.state"), "--count", "2", "--pcap", capture, "r1n01")
	var shown bytes.Buffer
	cmd.Stdout = &shown
	notes, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(notes).ReadString('\n'); err != nil {
		t.Fatalf("the trace did not begin: %q, %v", line, err)
	}

	other := clients()[0]
	bystander := r.Client(t, "bystander", "52:54:00:aa:01:02")
	linkLocal(t, bystander)
	other.start(t, r, bystander)
	r.WaitEvent(t, patience, "r1n02", timeline.DHCPLease) // it is not r1n01: nothing of it is shown

	c := clients()[0]
	c.files["conf"] = `
option dhcp6.ntp-servers code 56 = string;
option dhcp6.portal code 103 = text;
option dhcp6.slot code 234 = text;
send fqdn.fqdn "liar.example.org.";
send fqdn.server-update on;
request dhcp6.name-servers, dhcp6.domain-search, dhcp6.sntp-servers, dhcp6.fqdn, dhcp6.ntp-servers, dhcp6.portal, dhcp6.slot;
`
	n := r.Client(t, "traced", listedMAC)
	linkLocal(t, n)
	c.start(t, r, n)
	if err := cmd.Wait(); err != nil {
		t.Fatalf("%v\n%s", err, shown.String())
	}
	t.Logf("the trace, whole:\n%s", shown.String())

	if diff := cmp.Diff(traced, steady(shown.String())); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	waitAddr(t, n, func(a netip.Addr) bool { return a == listedAddr }) // its script has run
	env, err := os.ReadFile(r.Path("traced/script.env"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"new_fqdn_fqdn=r1n01.rack.example.net", "new_dhcp6_sntp_servers=2001:db8::123", "new_dhcp6_v6_lost=lost.example.net.",
		"new_dhcp6_portal=https://portal.example.net/", "new_dhcp6_slot=slot 1", "new_dhcp6_name_servers=2001:db8:1::1",
	} {
		if !strings.Contains(string(env), want+"\n") {
			t.Errorf("dhclient did not take %s:\n%s", want, env)
		}
	}
	dump := run(t, r.Server, "tcpdump", "-n", "-vvv", "-r", capture)
	for _, want := range []string{"dhcp6 solicit", "dhcp6 advertise", "dhcp6 request", "dhcp6 reply"} {
		if strings.Count(dump, want) != 1 {
			t.Errorf("the capture has no %s:\n%s", want, dump)
		}
	}
	if got := strings.Count(dump, "[udp sum ok]"); got != 4 || strings.Contains(dump, "bad udp cksum") {
		t.Errorf("%d checksums of 4 are good:\n%s", got, dump)
	}
}

// TestOptionsReachClients: clients of other authors take the options that they ask for out of the answers.
func TestOptionsReachClients(t *testing.T) {
	for name, c := range map[string]struct {
		conf string
		want []string
	}{
		"dhcp6c": {
			"interface eth0 { send ia-na 0; request domain-name-servers, domain-name, ntp-servers, sip-server-address, sip-server-domain-name, nis-domain-name; script \"DIR/script\"; };\nid-assoc na 0 { };\n",
			[]string{
				"new_domain_name=rack.example.net.", "new_domain_name_servers=2001:db8:1::1", "new_ntp_servers=2001:db8::123",
				"new_sip_servers=2001:db8::5060", "new_sip_name=sip.example.net.", "new_nis_name=nis.example.net.",
			},
		},
		"dhcpcd": {
			"duid ll\nipv6only\nscript DIR/script\noption dhcp6_name_servers, dhcp6_domain_search, dhcp6_sntp_servers, dhcp6_sip_servers_addresses, dhcp6_posix_timezone, dhcp6_tzdb_timezone\n",
			[]string{
				"new_dhcp6_name_servers=2001:db8:1::1", "new_dhcp6_domain_search=rack.example.net", "new_dhcp6_sntp_servers=2001:db8::123",
				"new_dhcp6_sip_servers_addresses=2001:db8::5060", "new_dhcp6_posix_timezone=CET-1CEST,M3.5.0,M10.5.0/3", "new_dhcp6_tzdb_timezone=Europe/Amsterdam",
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := labtest.NewRack(t, labtest.RackConfig{Inventory: toldInventory})
			i := slices.IndexFunc(clients(), func(c client) bool { return c.name == name })
			program := clients()[i]
			program.files = map[string]string{"conf": strings.ReplaceAll(c.conf, "DIR", r.Path(name)), "script": applyScript}
			n := r.Client(t, name, listedMAC)
			linkLocal(t, n)
			program.start(t, r, n)
			file := r.Path(name + "/script.env")
			var env []byte
			err := lab.WaitFor(labtest.Context(t, patience), name+" has told its script of the options", func() bool {
				env, _ = os.ReadFile(file)                               // it comes with the first run of the script
				env = bytes.ReplaceAll(env, []byte(" \n"), []byte("\n")) // wide-dhcpv6 writes lists with a blank behind
				return !slices.ContainsFunc(c.want, func(want string) bool { return !strings.Contains(string(env), want+"\n") })
			})
			if err != nil {
				t.Fatalf("%v: %q\n%s", err, c.want, env)
			}
		})
	}
}

const toldInventory = `
defaults: {domain: rack.example.net, ntp: ["2001:db8::123"], timezone: Europe/Amsterdam}
networks:
  rack1:
    interface: eth1
    prefix: "2001:db8:1::/64"
    options: {sip-server-addr: "2001:db8::5060", sip-server-dns: sip.example.net, nis-domain-name: nis.example.net, new-posix-timezone: "CET-1CEST,M3.5.0,M10.5.0/3"}
hosts:
  r1n01: {mac: 52:54:00:aa:01:01, address: "::101"}
`

// steady replaces what differs from run to run.
func steady(text string) string {
	for _, x := range []struct{ from, to string }{
		{`\d\d:\d\d:\d\d\.\d{6}`, "TIME"},
		{`xid [0-9a-f]{6}`, "xid XID"},
		{`00:01:00:01:[0-9a-f:]{11}:52:54:00:aa:01:01`, "LLT"},
		{`server-id( +)00:.*`, "server-id${1}OURS"},
		{`elapsed-time( +).*`, "elapsed-time${1}ELAPSED"},
		{`, [0-9.]+(µs|ms|s)\n`, ", TOOK\n"},
		{`iaid [0-9a-f]{8}`, "iaid IAID"},
	} {
		text = regexp.MustCompile(x.from).ReplaceAllString(text, x.to)
	}
	return text
}

const traced = `TIME eth1 in Solicit xid XID, fe80::5054:ff:feaa:101 (52:54:00:aa:01:01) > ff02::1:2
    client-id                LLT
    oro                      dns-servers, domain-search, sntp-servers, client-fqdn, ntp-servers, captive-portal, 234
    elapsed-time             ELAPSED
    client-fqdn              flags S, liar.example.org
    ia-na                    iaid IAID, T1 1h, T2 1h30m
TIME eth1 out Advertise xid XID, fe80::1 > fe80::5054:ff:feaa:101
    client-id                LLT
    server-id                OURS
    preference               255
    ia-na                    iaid IAID, T1 6h, T2 9h36m
      iaaddr                 2001:db8:1::101, preferred 12h, valid 24h
    dns-servers              2001:db8:1::1
    client-fqdn              flags S, r1n01.rack.example.net
    lost-server              lost.example.net
    sntp-servers             2001:db8::123
    ntp-servers              2001:db8::123, ntp.example.net
    captive-portal           "https://portal.example.net/"
    option-234               736c6f742031 ("slot 1")
    domain-search            rack.example.net
    = answered, host r1n01, network rack1, known by frame-mac, TOOK

TIME eth1 in Request xid XID, fe80::5054:ff:feaa:101 (52:54:00:aa:01:01) > ff02::1:2
    client-id                LLT
    server-id                OURS
    oro                      dns-servers, domain-search, sntp-servers, client-fqdn, ntp-servers, captive-portal, 234
    elapsed-time             ELAPSED
    client-fqdn              flags S, liar.example.org
    ia-na                    iaid IAID, T1 1h, T2 1h30m
      iaaddr                 2001:db8:1::101, preferred 2h, valid 2h5m
TIME eth1 out Reply xid XID, fe80::1 > fe80::5054:ff:feaa:101
    client-id                LLT
    server-id                OURS
    ia-na                    iaid IAID, T1 6h, T2 9h36m
      iaaddr                 2001:db8:1::101, preferred 12h, valid 24h
    dns-servers              2001:db8:1::1
    client-fqdn              flags S, r1n01.rack.example.net
    lost-server              lost.example.net
    sntp-servers             2001:db8::123
    ntp-servers              2001:db8::123, ntp.example.net
    captive-portal           "https://portal.example.net/"
    option-234               736c6f742031 ("slot 1")
    domain-search            rack.example.net
    = changed, host r1n01, network rack1, known by frame-mac, TOOK

`
