package dhcp6

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"bootd.internal/bootd/decide/address"
	"bootd.internal/bootd/decide/who"
	"bootd.internal/bootd/lease"
	"bootd.internal/bootd/site"
	"bootd.internal/bootd/site/sitetest"
	"bootd.internal/bootd/store"
	"bootd.internal/bootd/store/memory"
)

var update = flag.Bool("update", false, "write the golden files anew")

// lab is the network of the captures, with the machines that were in it.
const lab = `defaults: {domain: boot.example}
networks:
  rack1: {interface: eth1, prefix: "2001:db8::/64", search: [boot.example]}
hosts:
  node0: {mac: "52:54:00:00:01:00", address: "::100"}
  node3: {mac: "52:54:00:00:01:03", address: "::103"}
`

func labFacts(t testing.TB) site.Facts {
	return sitetest.Facts(sitetest.Link(t, 2, "eth1", "2001:db8::1/64"))
}

// captures lists the testdata and the fixed address of the machine in it.
func captures() map[string]string {
	return map[string]string{
		"aavmf-pxe6.pcap":                           "2001:db8::100",
		"d-i-M1-A1.pcap":                            "2001:db8::103",
		"ipxe2019-bios-M1.pcap":                     "2001:db8::100",
		"ipxe2019-bios-O1-inforeq.pcap":             "2001:db8::100",
		"ovmf2022-http6-refused-without-opt16.pcap": "2001:db8::100",
		"ovmf2022-http6.pcap":                       "2001:db8::100",
		"ovmf2022-pxe6-pref255-then-ipxe.pcap":      "2001:db8::100",
		"ovmf2022-pxe6-ra-O-only.pcap":              "2001:db8::100",
	}
}

// TestCaptures answers what real firmware, iPXE and the Debian installer sent, octet for octet. Where the client names
// the address that another server gave it in the capture, it is made to name ours.
func TestCaptures(t *testing.T) {
	for name, addr := range captures() {
		t.Run(name, func(t *testing.T) {
			got := replay(t, readCapture(t, name), netip.MustParseAddr(addr))
			path := filepath.Join("testdata", strings.TrimSuffix(name, ".pcap")+".golden")
			if *update {
				if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func replay(t *testing.T, messages []captured, own netip.Addr) string {
	t.Helper()
	facts := labFacts(t)
	for _, c := range messages {
		if p, _ := parse(c.payload); p.req.Server != "" {
			facts.ServerDUID = p.req.Server // the capture's server: its messages are for us
		}
	}
	snap := sitetest.Snapshot(t, lab, facts)
	engine := memory.New()
	var out strings.Builder
	for _, c := range messages {
		p, why := parse(rewrite(c.payload, own))
		fmt.Fprintf(&out, "%s from %s: %s\n", p.req.Msg, c.mac, strings.TrimSpace(describe(p)))
		p.req.At = site.Arrival{Link: "eth1", Index: 2, Source: c.src, Dest: groups()[0]}
		p.req.Evidence = append(who.Frame(c.mac), who.Client(p.req.Client)...)
		var d address.Decision
		err := engine.Update(t.Context(), func(v store.View) []store.Op {
			d = address.Decide(snap, v, p.req, c.at)
			return d.Ops
		})
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&out, "-> %s host=%s rule=%s parse=%s\n", d.Reason, d.Host, d.Rule, why)
		for _, e := range d.Events {
			fmt.Fprintf(&out, "   event %s %s %s %s\n", e.Kind, e.Reason, e.Addr, e.Detail)
		}
		if d.Reply != nil {
			out.WriteString(hex.Dump(encode(d.Reply, p.xid, p.req.Client, snap.ServerDUID)))
		}
	}
	for k, v := range engine.Scan(store.TableLease, "") {
		b, err := lease.Decode(v)
		if err != nil {
			t.Fatal(err)
		}
		text, err := json.Marshal(b)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&out, "%s %s\n", k, text)
	}
	return out.String()
}

// rewrite puts our address where the client names its own.
func rewrite(b []byte, own netip.Addr) []byte {
	p, _ := parse(b)
	for _, ia := range p.req.IAs {
		for _, a := range ia.Addrs {
			b = bytes.ReplaceAll(b, a.AsSlice(), own.AsSlice())
		}
	}
	return b
}

func describe(p packet) string {
	var s strings.Builder
	for _, ia := range p.req.IAs {
		fmt.Fprintf(&s, "ia=%s%v ", ia.IAID, ia.Addrs)
	}
	fmt.Fprintf(&s, "arch=%v vendor=%q classes=%q oro=%v", p.req.Arch, p.req.Vendor, p.req.Classes, p.req.ORO)
	return s.String()
}
