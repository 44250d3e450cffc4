package netns_test

import (
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"bootd.internal/bootd/timeline"
	"bootd.internal/lab"
	"bootd.internal/lab/labtest"
)

// TestUnservedLink puts a machine on an interface of the server that no network names: no protocol answers it, although it
// asks our addresses and its MAC is listed. On the served link the same questions are answered, at the second address and
// at the link-local one too.
func TestUnservedLink(t *testing.T) {
	r := labtest.NewRack(t, labtest.RackConfig{Inventory: inventory, Files: map[string][]byte{"hello.txt": []byte("hello\n")}})
	isp, err := r.Lab.Link("isp")
	if err != nil {
		t.Fatal(err)
	}
	err = r.Server.Attach(isp, lab.Interface{
		Name: "eth9", MAC: "52:54:00:00:00:09", Self: lab.NoAddress,
		Addr: []netip.Prefix{netip.MustParsePrefix("fe80::9/64"), netip.MustParsePrefix("2001:db8:9::1/64")},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Server.AddAddress("eth1", netip.MustParsePrefix("2001:db8:1::2/64")); err != nil {
		t.Fatal(err)
	}
	out, err := r.Node("outside")
	if err != nil {
		t.Fatal(err)
	}
	err = out.Attach(isp, lab.Interface{
		Name: "eth0", MAC: listedMAC, Addr: []netip.Prefix{netip.MustParsePrefix("fe80::55/64"), netip.MustParsePrefix("2001:db8:9::55/64")},
	})
	if err != nil {
		t.Fatal(err)
	}
	run(t, out, "ip", "-6", "route", "add", "2001:db8:1::/64", "via", "2001:db8:9::1")
	in := r.Client(t, "inside", listedMAC)
	linkLocal(t, in)
	run(t, in, "ip", "-6", "address", "add", "2001:db8:1::101/64", "dev", "eth0", "nodad")
	const inside, outside = "[2001:db8:1::1]", "[2001:db8:9::1]"
	answered := func(n *lab.Node, args ...string) bool {
		return n.Command(labtest.Context(t, patience), args[0], args[1:]...).Run() == nil
	}
	got := map[string]bool{}
	for _, where := range []struct {
		name  string
		node  *lab.Node
		hosts []string
	}{
		{"inside", in, []string{inside, "[2001:db8:1::2]", "[fe80::1%eth0]"}},
		{"outside", out, []string{inside, outside, "[fe80::9%eth0]"}},
	} {
		for _, h := range where.hosts {
			bare := strings.Trim(h, "[]")
			got[where.name+" HTTP "+h] = answered(where.node, "curl", "-sf", "-g", "-m", "2", "http://"+h+"/hello.txt")
			got[where.name+" TFTP "+h] = answered(where.node, "curl", "-sf", "-g", "-m", "2", "tftp://"+h+"/hello.txt")
			got[where.name+" DNS "+h] = answered(where.node, "dig", "-6", "@"+bare, "+tries=1", "+time=1", "r1n01.rack.example.net", "AAAA")
			got[where.name+" DNS over TCP "+h] = answered(where.node, "dig", "-6", "@"+bare, "+tcp", "+tries=1", "+time=1", "r1n01.rack.example.net", "AAAA")
		}
		got[where.name+" RA"] = answered(where.node, "rdisc6", "-1", "-r", "1", "-w", "800", "eth0")
	}
	want := map[string]bool{}
	for k := range got {
		want[k] = strings.HasPrefix(k, "inside ")
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("who was answered (-want +got):\n%s", diff)
	}
	clients()[0].start(t, r, out)
	err = lab.WaitFor(labtest.Context(t, patience), "three Solicits are unanswered", func() bool {
		text, err := os.ReadFile(r.Path("outside.log"))
		return err == nil && strings.Count(string(text), "XMT: Solicit") >= 3
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range r.Daemon.Events() {
		if e.Kind == timeline.DHCPLease || e.Kind == timeline.DHCPSolicit {
			t.Errorf("DHCPv6 answered: %+v", e)
		}
	}
}
