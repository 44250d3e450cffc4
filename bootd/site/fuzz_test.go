package site_test

import (
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"

	"bootd.internal/bootd/inventory"
	"bootd.internal/bootd/site"
	"bootd.internal/bootd/site/sitetest"
)

// FuzzAddresses computes addresses in prefixes of any length: each lies inside, is nobody else's, not ours and not reserved, and
// neither a reload nor a restart moves it.
func FuzzAddresses(f *testing.F) {
	f.Add(uint8(64), uint8(10), uint8(0), uint16(1))
	f.Add(uint8(120), uint8(200), uint8(1), uint16(0x102))
	f.Add(uint8(48), uint8(3), uint8(2), uint16(0))
	f.Add(uint8(119), uint8(255), uint8(3), uint16(0xff))
	f.Fuzz(func(t *testing.T, bits, hosts, secret uint8, suffix uint16) {
		p := netip.PrefixFrom(netip.MustParseAddr("2001:db8::"), int(bits))
		if bits < 48 || bits > 120 {
			return
		}
		var b strings.Builder
		fmt.Fprintf(&b, "networks:\n  n: {interface: eth1, prefix: \"%s\", ra: {autonomous: false}}\nhosts:\n", p)
		fmt.Fprintf(&b, "  fixed: {mac: 52:54:00:aa:02:00, address: \"::%x\"}\n", suffix)
		for i := range hosts {
			fmt.Fprintf(&b, "  h%d: 52:54:00:aa:01:%02x\n", i, i)
		}
		inv, faults := inventory.Parse("f.yaml", []byte(b.String()))
		if len(faults) > 0 {
			return // the suffix does not fit or is reserved
		}
		facts := sitetest.Facts(sitetest.Link(t, 2, "eth1", netip.PrefixFrom(p.Addr().Next(), int(bits)).String()))
		facts.Secret[0] = secret
		s, _ := site.Resolve(inv, facts, nil, sitetest.Now())
		again, _ := site.Resolve(inv, facts, s, sitetest.Now())
		seen := map[netip.Addr]string{}
		for i, h := range s.Hosts {
			all := h.NICs[0].Addresses("n")
			equal(t, h.Name+" after a reload", all, again.Hosts[i].NICs[0].Addresses("n"))
			if len(all) > 1 {
				t.Errorf("%s has %v", h.Name, all)
			}
			for _, a := range all {
				if other, dup := seen[a]; dup {
					t.Errorf("%s belongs to %s and %s", a, other, h.Name)
				}
				seen[a] = h.Name
				if !p.Contains(a) || a == p.Addr().Next() || inventory.Unusable(p, a) != "" {
					t.Errorf("%s has %s in %s", h.Name, a, p)
				}
			}
		}
	})
}

// FuzzResolve resolves whatever parses, with and without links and a snapshot before.
func FuzzResolve(f *testing.F) {
	for _, file := range []string{"../../inventory.yaml", "../inventory/testdata/good/whole.yaml"} {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(data))
	}
	f.Add(sitetest.Small())
	f.Fuzz(func(t *testing.T, text string) {
		inv, faults := inventory.Parse("f.yaml", []byte(text))
		if len(faults) > 0 {
			return
		}
		before, _ := site.Resolve(inv, sitetest.Facts(), nil, sitetest.Now())
		s, _ := site.Resolve(inv, sitetest.Facts(sitetest.Link(t, 2, "eth1", "2001:db8:1::1/64", "fd00:1::1/64")), before, sitetest.Now())
		for _, h := range s.Hosts {
			for _, n := range h.NICs {
				for _, w := range s.Networks {
					for _, a := range n.Addresses(w.Name) {
						if got, ok := s.Holder(a); !ok || got != n || !w.Contains(a) {
							t.Errorf("%s of %s in %s belongs to %v", a, n.Holder(), w.Name, got)
						}
					}
				}
			}
		}
	})
}
