package netns_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"bootd.internal/bootd/timeline"
	"bootd.internal/lab"
	"bootd.internal/lab/labtest"
)

// portSolicit is a Relay-Forward around a Solicit of a client without a MAC: it claims port ge7 of a rack. The reply goes to the
// port that it was sent from (RFC 8357).
func portSolicit(rack int) []byte {
	solicit := []byte{1, 0, 0, 7, 0, 1, 0, 7, 0, 2, 0, 0, 0, 9, 1, 0, 3, 0, 12, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0}
	b := append([]byte{12, 0}, netip.MustParseAddr(rackRouter(rack)).AsSlice()...)
	b = append(b, netip.MustParseAddr("fe80::77").AsSlice()...)
	b = append(b, 0, 18, 0, 3, 'g', 'e', '7', 0, 135, 0, 2, 0, 0)
	return append(append(b, 0, 9, 0, byte(len(solicit))), solicit...)
}

// TestForgedRelay: a machine in rack 2 poses as the relay of rack 1 from an address of its own that nobody listed. Without
// relay_from bootd tells it what the machine in rack 1 has; with it the machine gets no answer, the event and bootd doctor say
// what to write, and the relay itself is answered. It also poses as a relay before that of its own rack, Debian's dhcrelay, to
// be taken for the machine at another port there: relay_hops refuses that.
func TestForgedRelay(t *testing.T) {
	l := labtest.New(t)
	core, err := l.Link("core")
	if err != nil {
		t.Fatal(err)
	}
	rack, err := l.Link("rack2")
	if err != nil {
		t.Fatal(err)
	}
	nodes := map[string]*lab.Node{}
	for _, a := range []struct {
		node, name  string
		link        *lab.Link
		local, addr string
	}{
		{"server", "eth0", core, "fe80::1", "2001:db8:f::1"},
		{"router1", "core", core, "fe80::11", rackUplink(1)},
		{"router2", "core", core, "fe80::12", rackUplink(2)},
		{"router2", "rack", rack, "fe80::12", rackRouter(2)},
		{"attacker", "eth0", rack, "fe80::bad", "2001:db8:2::bad"},
	} {
		n := nodes[a.node]
		if n == nil {
			if n, err = l.Node(a.node); err != nil {
				t.Fatal(err)
			}
			nodes[a.node] = n
		}
		if err := n.Attach(a.link, lab.Interface{Name: a.name, Self: lab.NoAddress, Addr: []netip.Prefix{
			netip.PrefixFrom(netip.MustParseAddr(a.local), 64), netip.PrefixFrom(netip.MustParseAddr(a.addr), 64),
		}}); err != nil {
			t.Fatal(err)
		}
	}
	server, router2, attacker := nodes["server"], nodes["router2"], nodes["attacker"]
	if err := router2.Sysctl(map[string]string{"net/ipv6/conf/all/forwarding": "1"}); err != nil {
		t.Fatal(err)
	}
	run(t, server, "ip", "-6", "route", "add", "2001:db8:2::/64", "via", rackUplink(2))
	run(t, attacker, "ip", "-6", "route", "add", "default", "via", rackRouter(2))
	relay := relayPrograms()[0].command(2, "")
	ctx, cancel := context.WithCancel(context.Background())
	cmd := router2.Command(ctx, relay[0], relay[1:]...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		_ = cmd.Wait() // it was told to end
	})
	if err := os.MkdirAll(l.Path("files"), 0o755); err != nil {
		t.Fatal(err)
	}

	for _, c := range []struct {
		name, one, two string
		answered       bool
	}{
		{"anywhere", "", "", true},
		{"relays", `, relay_from: "2001:db8:f::11"`, `, relay_from: "2001:db8:f::12", relay_hops: 1`, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			text := fmt.Sprintf(`serve: {transit: eth0}
networks:
  rack1: {relay: "%s", prefix: "2001:db8:1::/64"%s}
  rack2: {relay: "%s", prefix: "2001:db8:2::/64"%s}
hosts:
  r1n07: {port: {relay: "%[1]s", interface_id: ge7}, address: "2001:db8:1::107"}
  r2n07: {port: {relay: "%[3]s", interface_id: ge7}, address: "2001:db8:2::107"}
`, rackRouter(1), c.one, rackRouter(2), c.two)
			file := l.Path(c.name + ".yaml")
			if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
			d, err := server.StartDaemon(labtest.Context(t, time.Minute), lab.DaemonConfig{
				Name: c.name, Binary: os.Getenv(labtest.BinaryEnv), Inventory: file,
			})
			if err != nil {
				t.Fatal(err)
			}
			defer d.Stop()
			nested(t, d, attacker, func(e timeline.Event) bool {
				if c.answered {
					return e.Kind == timeline.DHCPSolicit && e.Host == "r2n07"
				}
				return e.Kind == timeline.ForeignRelay && strings.HasSuffix(e.Detail, "through 2 relays: relay_hops of rack2 is 1")
			})
			if !asPort(t, nodes["router1"], time.Second) {
				t.Error("the relay of rack 1 gets no answer")
			}
			if c.answered {
				if !asPort(t, attacker, time.Second) {
					t.Error("the machine in rack 2 gets no answer: this lab shows nothing")
				}
				return
			}
			line := `write below networks.rack1: relay_from: ["2001:db8:f::11", "2001:db8:2::bad"]`
			if asPort(t, attacker, 10*time.Millisecond) {
				t.Error("the machine in rack 2 is told what the one at port ge7 of rack 1 has")
			}
			_, err = d.Wait(labtest.Context(t, patience), "the forged relay", func(e timeline.Event) bool {
				return e.Kind == timeline.ForeignRelay && e.Network == "rack1" && strings.HasSuffix(e.Detail, line)
			})
			if err != nil {
				t.Error(err)
			}
			out, _ := d.Run(labtest.Context(t, patience), "doctor") // it finds other things in a lab, and says so by its exit code
			if !strings.Contains(string(out), "relay_from of rack1 does not hold its address\n") || !strings.Contains(string(out), line+"\n") {
				t.Errorf("bootd doctor says:\n%s", out)
			}
		})
	}
}

// nested sends a Relay-Forward of a machine to the relay of its link until an event tells what became of it.
func nested(t *testing.T, d *lab.Daemon, n *lab.Node, done func(timeline.Event) bool) {
	t.Helper()
	err := lab.WaitFor(labtest.Context(t, patience), "what became of the nested Relay-Forward", func() bool {
		err := n.Do(func() error {
			i, err := net.InterfaceByName("eth0")
			if err != nil {
				return err
			}
			c, err := net.DialUDP("udp6", nil, &net.UDPAddr{IP: net.ParseIP("ff02::1:2"), Port: 547, Zone: fmt.Sprint(i.Index)})
			if err != nil {
				return err
			}
			_, err = c.Write(portSolicit(2))
			return errors.Join(err, c.Close())
		})
		if err != nil {
			t.Fatal(err)
		}
		return slices.ContainsFunc(d.Events(), done)
	})
	if err != nil {
		t.Error(err)
	}
	for _, e := range d.Events() {
		if e.Host == "r2n07" && !done(e) {
			t.Errorf("the machine was taken for another: %+v", e)
		}
	}
}

// asPort sends portSolicit up to ten times and reports whether the address of the machine at that port comes back.
func asPort(t *testing.T, n *lab.Node, wait time.Duration) (answered bool) {
	t.Helper()
	err := n.Do(func() error {
		c, err := net.Dial("udp6", "[2001:db8:f::1]:547")
		if err != nil {
			return err
		}
		defer c.Close()
		b := make([]byte, 1500)
		for range 10 {
			if _, err := c.Write(portSolicit(1)); err != nil {
				return err
			}
			if err := c.SetReadDeadline(time.Now().Add(wait)); err != nil {
				return err
			}
			if size, err := c.Read(b); err == nil {
				answered = bytes.Contains(b[:size], netip.MustParseAddr("2001:db8:1::107").AsSlice())
				return nil
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return answered
}
