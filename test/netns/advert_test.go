package netns_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"bootd.internal/bootd/timeline"
	"bootd.internal/lab"
	"bootd.internal/lab/labtest"
)

// advertised is a network that says all that the kernel takes from an advertisement.
const advertised = `
networks:
  rack1:
    interface: eth1
    prefix: ["2001:db8:1::/64", "fd00:1::/64"]
    router: self
    ra:
      mtu: 1400
      hop_limit: 33
      reachable_time: 20s
      retrans_timer: 1500ms
      preference: high
      prefixes: [{prefix: "fd00:1::/64", autonomous: false}]
      routes:
        - {prefix: "2001:db8:100::/48", preference: low, lifetime: 30m}
        - "2001:db8:200::/56"
      pref64: "64:ff9b::/96"
      captive_portal: "https://portal.example.net/api"
`

// rewrite changes the inventory and serves it.
func rewrite(t *testing.T, r *labtest.Rack, text string) {
	t.Helper()
	if err := os.WriteFile(r.Path("inventory.yaml"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	seen := len(r.Daemon.Events())
	if err := unix.Kill(r.Daemon.PID(), unix.SIGHUP); err != nil {
		t.Fatal(err)
	}
	err := lab.WaitFor(labtest.Context(t, patience), "the reload", func() bool {
		for _, e := range r.Daemon.Events()[seen:] {
			if e.Kind == timeline.Reloaded {
				return true
			}
		}
		return false
	})
	if err != nil {
		t.Fatal(err)
	}
}

// shows waits until a command in the node prints what matches, all of it.
func shows(t *testing.T, n *lab.Node, command string, want ...string) {
	t.Helper()
	var out []byte
	ctx := labtest.Context(t, patience)
	err := lab.WaitFor(ctx, command, func() bool {
		var err error
		out, err = n.Command(ctx, "sh", "-c", command).CombinedOutput()
		if err != nil {
			return false
		}
		for _, w := range want {
			if !regexp.MustCompile(w).Match(out) {
				return false
			}
		}
		return true
	})
	if err != nil {
		t.Fatalf("%v: it does not show all of %q:\n%s", err, want, out)
	}
}

// listens is a machine whose kernel takes what routers say.
func listens(t *testing.T, r *labtest.Rack) *lab.Node {
	t.Helper()
	n := r.Client(t, "kernel", listedMAC)
	conf := "net/ipv6/conf/eth0/"
	err := n.Sysctl(map[string]string{
		conf + "accept_ra": "2", conf + "accept_ra_rt_info_max_plen": "64", conf + "accept_ra_rtr_pref": "1", conf + "accept_ra_mtu": "1",
	})
	if err == nil {
		err = n.SetUp("eth0")
	}
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestKernelTakesAll: Linux's own autoconfiguration has addresses, routes with preference, MTU, hop limit and timers from us, and
// lets go of what an edit takes away, also when bootd was not there meanwhile.
func TestKernelTakesAll(t *testing.T) {
	r := labtest.NewRack(t, labtest.RackConfig{Inventory: advertised})
	n := listens(t, r)
	shows(t, n, "ip -6 address show dev eth0 scope global", `inet6 2001:db8:1:0:5054:ff:feaa:101/64`)
	shows(t, n, "ip -6 route show proto ra", `default via fe80::1 dev eth0 .*mtu 1400 hoplimit 33 pref high`,
		`2001:db8:100::/48 via fe80::1 dev eth0 .*pref low`, `2001:db8:200::/56 via fe80::1 dev eth0 .*pref medium`)
	shows(t, n, "ip -6 route show dev eth0", `2001:db8:1::/64 .*expires`, `fd00:1::/64 .*expires`)
	shows(t, n, "cd /proc/sys/net/ipv6; cat conf/eth0/mtu neigh/eth0/base_reachable_time_ms neigh/eth0/retrans_time_ms", `1400\s+20000\s+1500`)
	if out := run(t, n, "ip", "-6", "address", "show", "dev", "eth0"); strings.Contains(out, "fd00:1:") {
		t.Errorf("an address in a prefix with A=0:\n%s", out)
	}

	// The prefix and a route go away.
	second := strings.NewReplacer(`"2001:db8:1::/64", `, `"2001:db8:7::/64", `, `        - "2001:db8:200::/56"`+"\n", "").Replace(advertised)
	rewrite(t, r, second)
	shows(t, n, "ip -6 address show dev eth0 scope global", `inet6 2001:db8:1:0:5054:ff:feaa:101/64 scope global deprecated`,
		`2001:db8:7:0:5054:ff:feaa:101/64 scope global dynamic`)

	// Another one goes away while bootd is down.
	if err := r.Daemon.Stop(); err != nil {
		t.Fatal(err)
	}
	third := strings.NewReplacer("2001:db8:7::/64", "2001:db8:8::/64").Replace(second)
	if err := os.WriteFile(r.Path("inventory.yaml"), []byte(third), 0o644); err != nil {
		t.Fatal(err)
	}
	again, err := r.Server.StartDaemon(labtest.Context(t, time.Minute), lab.DaemonConfig{
		Name: "again", Binary: os.Getenv(labtest.BinaryEnv), Inventory: r.Path("inventory.yaml"), State: r.Path("bootd.state"),
	})
	if err != nil {
		t.Fatal(err)
	}
	shows(t, n, "ip -6 address show dev eth0 scope global", `2001:db8:1:0:5054:ff:feaa:101/64 scope global deprecated`,
		`2001:db8:7:0:5054:ff:feaa:101/64 scope global deprecated`, `2001:db8:8:0:5054:ff:feaa:101/64 scope global dynamic`)
	shows(t, n, "ip -6 route show default proto ra", "default via fe80::1") // a restart is no goodbye
	if _, err := again.Run(labtest.Context(t, patience), "stop"); err != nil {
		t.Fatal(err)
	}
	shows(t, n, "ip -6 route show default proto ra | wc -l", `^0`) // a stop is one
}

// packets are what a raw socket of a node hears and sends.
type packets struct {
	node  *lab.Node
	fd    int
	index int
}

// open gives a packet socket that takes IPv6 frames of eth0 whole, and sends such.
func open(t *testing.T, n *lab.Node) *packets {
	t.Helper()
	p := &packets{node: n}
	err := n.Do(func() (err error) {
		p.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		if err := unix.SetsockoptInt(p.fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 8<<20); err != nil {
			return err
		}
		ifr, err := unix.NewIfreq("eth0")
		if err != nil {
			return err
		}
		if err := unix.IoctlIfreq(p.fd, unix.SIOCGIFINDEX, ifr); err != nil {
			return err
		}
		p.index = int(ifr.Uint32())
		mreq := &unix.PacketMreq{Ifindex: int32(p.index), Type: unix.PACKET_MR_PROMISC}
		if err := unix.SetsockoptPacketMreq(p.fd, unix.SOL_PACKET, unix.PACKET_ADD_MEMBERSHIP, mreq); err != nil {
			return err
		}
		return unix.Bind(p.fd, &unix.SockaddrLinklayer{Protocol: unix.ETH_P_IPV6<<8&0xff00 | unix.ETH_P_IPV6>>8, Ifindex: p.index})
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(p.fd) })
	return p
}

// next is the next router advertisement from elsewhere, with the time that it came; ok is false when none came in time.
func (p *packets) next(t *testing.T, d time.Duration) (frame []byte, at time.Time, ok bool) {
	t.Helper()
	b := make([]byte, 2048)
	for until := time.Now().Add(d); ; {
		left := time.Until(until)
		if left <= 0 {
			return nil, at, false
		}
		tv := unix.NsecToTimeval(max(int64(left), 1000))
		if err := unix.SetsockoptTimeval(p.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &tv); err != nil {
			t.Fatal(err)
		}
		n, from, err := unix.Recvfrom(p.fd, b, 0)
		switch {
		case errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			t.Fatal(err)
		}
		if sll, is := from.(*unix.SockaddrLinklayer); !is || sll.Pkttype == unix.PACKET_OUTGOING || n < 70 || b[20] != 58 || b[54] != 134 {
			continue
		}
		return b[:n:n], time.Now(), true
	}
}

func multicast(frame []byte) bool { return frame[0]&1 != 0 }

func lifetime(frame []byte) int { return int(binary.BigEndian.Uint16(frame[60:])) }

// solicitation is a frame of machine i, from :: or from its link-local address.
func solicitation(i int, unspecified bool) []byte {
	mac := [6]byte{0x52, 0x54, 0, 0xbb, byte(i >> 8), byte(i)}
	ip := make([]byte, 40)
	ip[0], ip[6], ip[7] = 0x60, 58, 255
	msg := []byte{133, 0, 0, 0, 0, 0, 0, 0}
	if !unspecified {
		src := netip.MustParseAddr("fe80::5054:ff:febb:0").As16()
		src[14], src[15] = byte(i>>8), byte(i)
		copy(ip[8:], src[:])
		msg = append(append(msg, 1, 1), mac[:]...)
	}
	dst := netip.MustParseAddr("ff02::2").As16()
	copy(ip[24:], dst[:])
	ip[5] = byte(len(msg))
	sum := uint32(len(msg)) + 58
	for _, part := range [][]byte{ip[8:], msg} {
		for k := 0; k < len(part); k += 2 {
			sum += uint32(binary.BigEndian.Uint16(part[k:]))
		}
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	binary.BigEndian.PutUint16(msg[2:], ^uint16(sum))
	frame := append([]byte{0x33, 0x33, 0, 0, 0, 2}, mac[:]...)
	frame = append(frame, 0x86, 0xdd)
	return append(append(frame, ip...), msg...)
}

// TestFiveHundredMachines solicit at once, every second one without an address: each is answered by a frame of its own, and
// multicasts stay three seconds apart.
func TestFiveHundredMachines(t *testing.T) {
	const machines = 500
	r := labtest.NewRack(t, labtest.RackConfig{Inventory: strings.Replace(advertised, "ra:", "ra:\n      max_interval: 4s\n      min_interval: 3s", 1)})
	n := r.Client(t, "crowd", unlistedMAC)
	if err := errors.Join(n.Sysctl(map[string]string{"net/ipv6/conf/eth0/disable_ipv6": "1"}), n.SetUp("eth0")); err != nil {
		t.Fatal(err)
	}
	p := open(t, n)
	var last time.Time
	spacing := func(frame []byte, at time.Time) {
		// The time is that of our reading: where the first of two waited for us and the second did not, they seem closer together.
		if !last.IsZero() && at.Sub(last) < 1500*time.Millisecond {
			t.Errorf("two multicasts %v apart", at.Sub(last))
		}
		last = at
	}
	frame, at, ok := p.next(t, patience) // it advertises
	for ok && !multicast(frame) {
		frame, at, ok = p.next(t, patience)
	}
	if !ok {
		t.Fatal("no advertisement came")
	}
	spacing(frame, at)

	began := time.Now()
	for i := range machines {
		if err := unix.Sendto(p.fd, solicitation(i, i%2 == 0), 0, &unix.SockaddrLinklayer{Ifindex: p.index, Halen: 6}); err != nil {
			t.Fatal(err)
		}
	}
	sent := time.Since(began)
	answered, slowest := map[[6]byte]bool{}, time.Duration(0)
	for len(answered) < machines {
		frame, at, ok := p.next(t, patience-time.Since(began))
		if !ok {
			t.Fatalf("%d of %d machines were answered", len(answered), machines)
		}
		if multicast(frame) {
			spacing(frame, at)
			continue
		}
		mac := [6]byte(frame[:6])
		if want := solicitation(int(mac[4])<<8|int(mac[5]), false)[6:12]; string(want) != string(mac[:]) || answered[mac] {
			t.Fatalf("an answer to %x, again: %v", mac, answered[mac])
		}
		to := "ff02::1" // of one that has no address, in a frame to it alone (RFC 6085)
		if mac[5]%2 == 1 {
			to = fmt.Sprintf("fe80::5054:ff:febb:%x", int(mac[4])<<8|int(mac[5]))
		}
		if got := netip.AddrFrom16([16]byte(frame[38:54])); got != netip.MustParseAddr(to) {
			t.Errorf("machine %x was answered at %s, want %s", mac, got, to)
		}
		answered[mac], slowest = true, at.Sub(began)
	}
	t.Logf("%d solicitations in %v, the last answer after %v", machines, sent, slowest)
	// 500 ms on an idle machine; the daemon here is built with the race detector and shares two processors with everything else.
	if slowest > 5*time.Second {
		t.Errorf("the last answer came after %v", slowest)
	}
	for range 2 {
		frame, at, ok := p.next(t, patience)
		if !ok || !multicast(frame) {
			t.Fatalf("no further advertisement, but %x", frame)
		}
		spacing(frame, at)
	}
}

// TestGoodbyes: the last word of a router is for its end, not for a reload, a restart or a link that blinks; and whatever happens
// to the link, who asks there is answered at once.
func TestGoodbyes(t *testing.T) {
	r := labtest.NewRack(t, labtest.RackConfig{Inventory: advertised})
	n := r.Client(t, "ear", unlistedMAC)
	if err := errors.Join(n.Sysctl(map[string]string{"net/ipv6/conf/eth0/disable_ipv6": "1"}), n.SetUp("eth0")); err != nil {
		t.Fatal(err)
	}
	p := open(t, n)
	// answered asks until the answer comes from src.
	asked := 0
	answered := func(what, src string) {
		t.Helper()
		began := time.Now()
		for time.Since(began) < patience {
			asked++
			if err := unix.Sendto(p.fd, solicitation(asked, true), 0, &unix.SockaddrLinklayer{Ifindex: p.index, Halen: 6}); err != nil {
				t.Fatal(err)
			}
			until := time.Now().Add(200 * time.Millisecond)
			for left := time.Until(until); left > 0; left = time.Until(until) {
				frame, at, ok := p.next(t, left)
				if ok && lifetime(frame) == 0 {
					t.Errorf("%s: a goodbye", what)
				}
				if ok && !multicast(frame) && netip.AddrFrom16([16]byte(frame[22:38])) == netip.MustParseAddr(src) {
					t.Logf("%s: answered after %v", what, at.Sub(began))
					if took := at.Sub(began); took > 5*time.Second {
						t.Errorf("%s: answered after %v", what, took)
					}
					return
				}
			}
		}
		t.Fatalf("%s: no answer from %s", what, src)
	}
	server := func(script string) {
		t.Helper()
		run(t, r.Server, "sh", "-ec", script)
	}
	answered("at the start", "fe80::1")
	rewrite(t, r, strings.Replace(advertised, "1500ms", "1s", 1))
	answered("after a reload", "fe80::1")
	server("ip link set eth1 down; ip link set eth1 up; ip address add fe80::1/64 dev eth1 nodad; ip address add 2001:db8:1::1/64 dev eth1 nodad")
	answered("down and up", "fe80::1")
	server("ip address add fe80::77/64 dev eth1 nodad; ip address del fe80::1/64 dev eth1")
	answered("another address", "fe80::77")
	server("ip link set eth1 down; ip link set eth1 name eth9; ip link set eth9 up; ip address add fe80::9/64 dev eth9 nodad")
	server("ip link set eth9 down; ip link set eth9 name eth1; ip link set eth1 up; ip address add fe80::5/64 dev eth1 nodad")
	answered("renamed and back", "fe80::5")
	if err := r.Daemon.Kill(); err != nil {
		t.Fatal(err)
	}
	again, err := r.Server.StartDaemon(labtest.Context(t, time.Minute), lab.DaemonConfig{
		Name: "again", Binary: os.Getenv(labtest.BinaryEnv), Inventory: r.Path("inventory.yaml"), State: r.Path("bootd.state"),
	})
	if err != nil {
		t.Fatal(err)
	}
	answered("after a crash", "fe80::5")
	if err := again.Stop(); err != nil { // SIGTERM, as of a restart
		t.Fatal(err)
	}
	third, err := r.Server.StartDaemon(labtest.Context(t, time.Minute), lab.DaemonConfig{
		Name: "third", Binary: os.Getenv(labtest.BinaryEnv), Inventory: r.Path("inventory.yaml"), State: r.Path("bootd.state"),
	})
	if err != nil {
		t.Fatal(err)
	}
	answered("after a restart", "fe80::5")
	if _, err := third.Run(labtest.Context(t, patience), "stop"); err != nil {
		t.Fatal(err)
	}
	for {
		frame, _, ok := p.next(t, patience)
		if !ok {
			t.Fatal("no goodbye at the end")
		}
		if multicast(frame) && lifetime(frame) == 0 {
			return
		}
	}
}

// background runs a program in a node until the test ends, and gives the file that it writes to.
func background(t *testing.T, r *labtest.Rack, n *lab.Node, name string, args ...string) string {
	t.Helper()
	path := r.Path(n.Name + "." + name + ".log")
	log, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cmd := n.Command(ctx, name, args...)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		_ = cmd.Wait() // it was told to end
		_ = log.Close()
	})
	return path
}

// TestRadvdump: radvd's own reader finds in our advertisement what the inventory says, in radvd's words.
func TestRadvdump(t *testing.T) {
	r := labtest.NewRack(t, labtest.RackConfig{Inventory: "defaults: {domain: example.net}\n" + advertised})
	n := r.Client(t, "reader", unlistedMAC)
	linkLocal(t, n)
	path := background(t, r, n, "radvdump")
	run(t, n, "rdisc6", "-1", "-r", "3", "-w", "2000", "eth0")
	rewrite(t, r, strings.Replace("defaults: {domain: example.net}\n"+advertised, "1500ms", "1s", 1)) // a change is multicast
	shows(t, n, "cat "+path, `AdvManagedFlag on;`, `AdvOtherConfigFlag on;`, `AdvReachableTime 20000;`, `AdvRetransTimer 1000;`, `AdvCurHopLimit 33;`,
		`AdvDefaultLifetime 180;`, `AdvDefaultPreference high;`, `AdvSourceLLAddress on;`, `AdvLinkMTU 1400;`,
		`(?s)prefix 2001:db8:1::/64\s*\{\s*AdvValidLifetime 86400;\s*AdvPreferredLifetime 43200;\s*AdvOnLink on;\s*AdvAutonomous on;`,
		`(?s)prefix fd00:1::/64\s*\{\s*AdvValidLifetime 86400;\s*AdvPreferredLifetime 43200;\s*AdvOnLink on;\s*AdvAutonomous off;`,
		`(?s)route 2001:db8:100::/48\s*\{\s*AdvRoutePreference low;\s*AdvRouteLifetime 1800;`,
		`(?s)route 2001:db8:200::/56\s*\{\s*AdvRoutePreference medium;\s*AdvRouteLifetime 180;`,
		`(?s)RDNSS 2001:db8:1::1\s*\{\s*AdvRDNSSLifetime 180;`, `(?s)DNSSL example.net\s*\{\s*AdvDNSSLLifetime 180;`)
}

const radvdConf = `interface eth0 {
	AdvSendAdvert on; MinRtrAdvInterval 3; MaxRtrAdvInterval 4; AdvDefaultLifetime %d;
	AdvManagedFlag %s; AdvOtherConfigFlag off; AdvLinkMTU 1300; AdvCurHopLimit 32;
	%s
};
`

// radvd is a second router on the rack's link.
func radvd(t *testing.T, r *labtest.Rack, lifetime int, managed, more string) {
	t.Helper()
	n := r.Client(t, "router", "52:54:00:00:00:99")
	linkLocal(t, n)
	if err := n.Sysctl(map[string]string{"net/ipv6/conf/all/forwarding": "1"}); err != nil {
		t.Fatal(err)
	}
	conf := r.Path("radvd.conf")
	if err := os.WriteFile(conf, fmt.Appendf(nil, radvdConf, lifetime, managed, more), 0o644); err != nil {
		t.Fatal(err)
	}
	background(t, r, n, "radvd", "-n", "-C", conf, "-m", "stderr", "-p", r.Path("radvd.pid"))
}

func foreignRouter(t *testing.T, r *labtest.Rack, detail string) timeline.Event {
	t.Helper()
	e, err := r.Daemon.Wait(labtest.Context(t, patience), "the other router: "+detail, func(e timeline.Event) bool {
		return e.Kind == timeline.ForeignRouter && strings.Contains(e.Detail, detail)
	})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// doctor runs until its report has all lines.
func doctor(t *testing.T, r *labtest.Rack, want ...string) {
	t.Helper()
	var out []byte
	ctx := labtest.Context(t, patience)
	err := lab.WaitFor(ctx, "bootd doctor", func() bool {
		out, _ = r.Daemon.Run(ctx, "doctor") // it ends with 1 when it finds something
		for _, w := range want {
			if !strings.Contains(string(out), w) {
				return false
			}
		}
		return true
	})
	if err != nil {
		t.Fatalf("%v: the report lacks something of %q:\n%s", err, want, out)
	}
}

// TestBesideRadvd: a router that comes later and contradicts is an event and a finding with its consequence.
func TestBesideRadvd(t *testing.T) {
	r := labtest.NewRack(t, labtest.RackConfig{Inventory: advertised})
	radvd(t, r, 1800, "off", "prefix 2001:db8:9::/64 { }; RDNSS 2001:db8::53 { };")
	e := foreignRouter(t, r, "M=0 O=0")
	for _, want := range []string{"hop limit 32 where bootd says 33", "MTU 1300 where bootd says 1400", "the prefix 2001:db8:9::/64"} {
		if !strings.Contains(e.Detail, want) {
			t.Errorf("the event does not say %q: %s", want, e.Detail)
		}
	}
	router := "fe80::5054:ff:fe00:99"
	doctor(t, r, "the RA of "+router+" on eth1 has M=0 O=0", "iPXE will not ask DHCPv6 when it hears this one first",
		"the RA of "+router+" on eth1 has MTU 1300 where bootd says 1400", "the prefix 2001:db8:9::/64, which is none of rack1",
		"the resolver 2001:db8::53, which rack1 does not name")
	shows(t, r.Server, "curl -s 'http://[::1]:9547/metrics'", `bootd_router_conflicts_total\{conflict="mtu"\} [1-9]`,
		`bootd_router_conflicts_total\{conflict="default-router"\} [1-9]`)
}

// TestRouterOther: bootd sends nothing, serves DHCPv6, and says what the router of the link does not.
func TestRouterOther(t *testing.T) {
	r := labtest.NewRack(t, labtest.RackConfig{Inventory: strings.Replace(inventory, `64"}`, `64", router: other}`, 1)})
	radvd(t, r, 1800, "on", "prefix 2001:db8:1::/64 { AdvAutonomous off; };")
	foreignRouter(t, r, "the router of this link (lifetime 1800s, M=1 O=0)")
	doctor(t, r, "the prefix 2001:db8:1::/64 is advertised with A=0 on eth1", "no resolver (RDNSS) is advertised on eth1")
	n := r.Client(t, "client", listedMAC)
	linkLocal(t, n)
	clients()[0].start(t, r, n)
	waitAddr(t, n, func(a netip.Addr) bool { return a == listedAddr })
	if out := run(t, n, "rdisc6", "-m", "-w", "1000", "eth0"); strings.Contains(out, "from fe80::1\n") || !strings.Contains(out, "from fe80::5054:ff:fe00:99") {
		t.Errorf("routers that answer:\n%s", out)
	}
}

// TestRouterClients: programs that read advertisements themselves take prefix and default route.
func TestRouterClients(t *testing.T) {
	for _, c := range clients() {
		if c.name != "networkd" && c.name != "dhcpcd" {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			r := labtest.NewRack(t, labtest.RackConfig{Inventory: advertised})
			n := r.Client(t, c.name, unlistedMAC) // gets nothing by DHCPv6
			linkLocal(t, n)
			c.start(t, r, n)
			p := netip.MustParsePrefix("2001:db8:1::/64")
			waitAddr(t, n, p.Contains)
			shows(t, n, "ip -6 route show default", "default via fe80::1 ")
			if c.name == "networkd" {
				shows(t, n, "ip -6 route show", `2001:db8:100::/48 via fe80::1 .*pref low`, `default via fe80::1 .*pref high`)
			}
		})
	}
}
