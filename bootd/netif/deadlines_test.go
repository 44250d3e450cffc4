package netif

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"bootd.internal/bootd/site"
)

// TestDeadlines: addresses that end have theirs, those that stay and those of other links have none.
func TestDeadlines(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	addr := func(s string, index, flags, preferred, valid int) netlink.Addr {
		p, err := netlink.ParseIPNet(s)
		if err != nil {
			t.Fatal(err)
		}
		return netlink.Addr{IPNet: p, LinkIndex: index, Flags: flags, PreferedLft: preferred, ValidLft: valid}
	}
	all := []netlink.Addr{
		addr("2001:db8:1::1/64", 2, unix.IFA_F_PERMANENT, forever, forever), addr("2001:db8:2::1/64", 2, 0, 60, 100),
		addr("2001:db8:3::1/64", 3, 0, 60, 100), addr("2001:db8:4::1/64", 2, 0, forever, forever),
	}
	l := site.Link{Index: 2}
	for _, s := range []string{"2001:db8:1::1/64", "2001:db8:2::1/64", "2001:db8:4::1/64"} {
		l.Addrs = append(l.Addrs, netip.MustParsePrefix(s))
	}
	want := []site.Prefix{{Prefix: netip.MustParsePrefix("2001:db8:2::1/64"), PreferredUntil: now.Add(time.Minute), ValidUntil: now.Add(100 * time.Second)}}
	if diff := cmp.Diff(want, deadlines(l, all, now), cmpopts.EquateComparable(netip.Prefix{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestRenewedIsNoNews: only a deadline that comes sooner, or that is much further away, is a change.
func TestRenewedIsNoNews(t *testing.T) {
	at := func(d time.Duration) []site.Link {
		p := site.Prefix{Prefix: netip.MustParsePrefix("2001:db8:2::1/64"), PreferredUntil: time.Now().Add(d), ValidUntil: time.Now().Add(d)}
		return []site.Link{{Name: "eth1", Dynamic: []site.Prefix{p}}}
	}
	for by, want := range map[time.Duration]bool{0: true, 10 * time.Minute: true, 2 * time.Hour: false, -time.Minute: false} {
		if got := equalLinks(at(4*time.Hour+by), at(4*time.Hour)); got != want {
			t.Errorf("further by %v: the same is %v", by, got)
		}
	}
	if equalLinks(at(time.Hour), []site.Link{{Name: "eth1"}}) {
		t.Error("an end that was set is no change")
	}
}
