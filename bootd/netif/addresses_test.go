package netif_test

import (
	"errors"
	"io/fs"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"bootd.internal/bootd/netif"
	"bootd.internal/bootd/netif/netiftest"
)

// TestAddresses puts addresses on a link of a kernel, beside those of another program, and ends them.
func TestAddresses(t *testing.T) {
	netiftest.NewNamespace(t).Veth("lan", "far")
	l := link(t, "lan")
	must(t, netlink.LinkSetUp(l))
	other, err := netlink.ParseAddr("2001:db8:9::1/64")
	must(t, err)
	other.Flags = unix.IFA_F_NODAD
	must(t, netlink.AddrAdd(l, other))
	var k netif.Addresses
	now := time.Now()
	in := func(d time.Duration) time.Time { return now.Add(d) }
	addr := func(p string, preferred, valid time.Duration) netif.Address {
		return netif.Address{Link: l.Attrs().Index, Prefix: netip.MustParsePrefix(p), PreferredUntil: in(preferred), ValidUntil: in(valid), Ours: true}
	}
	list := func() []netif.Address {
		t.Helper()
		all, err := k.List(now)
		must(t, err)
		return slices.DeleteFunc(all, func(a netif.Address) bool { return a.Link != l.Attrs().Index || a.Prefix.Addr().IsLinkLocalUnicast() })
	}
	near := []cmp.Option{
		cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }),
		cmp.Comparer(func(a, b time.Time) bool { return a.IsZero() == b.IsZero() && a.Sub(b).Abs() < time.Minute }),
	}
	byOthers := netif.Address{Link: l.Attrs().Index, Prefix: netip.MustParsePrefix("2001:db8:9::1/64")}
	want := func(all ...netif.Address) {
		t.Helper()
		got := list()
		for _, s := range [][]netif.Address{got, all} {
			slices.SortFunc(s, func(a, b netif.Address) int { return a.Prefix.Addr().Compare(b.Prefix.Addr()) })
		}
		if d := cmp.Diff(all, got, near...); d != "" {
			t.Errorf("-want +got:\n%s", d)
		}
	}
	one := addr("2001:db8:a::1/64", time.Hour, 2*time.Hour)
	always := netif.Address{Link: one.Link, Prefix: netip.MustParsePrefix("2001:db8:b::1/64"), Ours: true}
	must(t, k.Put(one, false, now))
	must(t, k.Put(always, false, now))
	want(one, always, byOthers)
	raw, err := netlink.AddrList(l, netlink.FAMILY_V6)
	must(t, err)
	for _, a := range raw {
		if !a.IP.IsLinkLocalUnicast() && a.Flags&unix.IFA_F_TENTATIVE != 0 {
			t.Errorf("%s waits for duplicate address detection", a)
		}
	}
	if err := k.Put(one, false, now); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a second time: %v", err)
	}
	one.PreferredUntil, one.ValidUntil = now, in(3*time.Hour)
	always.PreferredUntil, always.ValidUntil = in(-time.Hour), in(time.Hour)
	must(t, k.Put(one, true, now))
	must(t, k.Put(always, true, now))
	always.PreferredUntil = now
	want(one, always, byOthers)
	raw, err = netlink.AddrList(l, netlink.FAMILY_V6)
	must(t, err)
	if i := slices.IndexFunc(raw, func(a netlink.Addr) bool { return a.IP.String() == "2001:db8:a::1" }); raw[i].Flags&unix.IFA_F_DEPRECATED == 0 {
		t.Errorf("%+v is not deprecated", raw[i])
	}
	always.PreferredUntil, always.ValidUntil = time.Time{}, time.Time{}
	must(t, k.Put(always, true, now))
	must(t, k.Delete(one))
	must(t, k.Delete(one))
	want(always, byOthers)
}
