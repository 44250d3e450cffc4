package address

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"bootd.internal/bootd/decide/who"
	"bootd.internal/bootd/ident"
	"bootd.internal/bootd/lease"
	"bootd.internal/bootd/reason"
	"bootd.internal/bootd/site/sitetest"
	"bootd.internal/bootd/store/memory"
)

// TestOneBootOneAddress follows a machine through a boot under all its names: firmware and iPXE with the UUID in two byte
// orders, the installer with a new LLT, the installed system with an enterprise DUID, and that again without a MAC.
func TestOneBootOneAddress(t *testing.T) {
	snap, s := snapshot(t), memory.New()
	u := ident.UUID{0: 1, 1: 2, 4: 3, 6: 4, 15: 5}
	installed := ident.DUID("\x00\x02\x00\x00\xab\x11\x01\x02\x03\x04")
	for i, c := range []struct {
		duid  ident.DUID
		frame bool
		rule  string
	}{
		{ident.NewDUIDUUID(u.Swapped()), true, "frame-mac"},
		{ident.NewDUIDUUID(u), true, "frame-mac"},
		{"\x00\x01\x00\x01\x32\x96\xac\x88\x52\x54\x00\xaa\x01\x01", true, "frame-mac"},
		{installed, true, "frame-mac"},
		{installed, false, "learned-duid"},
		{ident.NewDUIDUUID(u), false, "uuid"},
	} {
		q := from(macA(), RequestMsg)
		q.Client, q.IAs[0].IAID = c.duid, ident.IAID(i)
		q.Evidence = who.Client(c.duid)
		if c.frame {
			q.Evidence = append(who.Frame(macA()), q.Evidence...)
		}
		got := decide(t, snap, s, q, sitetest.Now()).Decision
		want := Decision{
			Outcome: reason.Outcome{Reason: reason.Changed, Host: "a", Network: "rack1", Rule: c.rule},
			Reply:   reply(ReplyMsg, granted(IANA, ident.IAID(i), "2001:db8:1::101")), Reserved: true,
		}
		got.Ops, got.Events = nil, nil
		if diff := cmp.Diff(want, got, compare()); diff != "" {
			t.Errorf("%s: %s", c.duid, diff)
		}
	}
}

// TestPrefixEnds: lifetimes never outlive the prefix that they lie in.
func TestPrefixEnds(t *testing.T) {
	snap := snapshot(t)
	net, _ := snap.Network("rack1")
	for _, c := range []struct {
		preferred, valid int // seconds that the prefix has left
		want             IAReply
	}{
		{100, 1000, IAReply{Kind: IANA, IAID: 7, T1: seconds(50), T2: seconds(80), Addrs: []Lease{{addr("2001:db8:1::101"), seconds(100), seconds(1000)}}}},
		{-5, 1000, IAReply{Kind: IANA, IAID: 7, Addrs: []Lease{{addr("2001:db8:1::101"), 0, seconds(1000)}}}},
		{-9, -5, refused(IANA, 7, NoAddrsAvail)},
	} {
		p := net.Prefixes[0]
		p.PreferredUntil, p.ValidUntil = sitetest.Now().Add(seconds(c.preferred)), sitetest.Now().Add(seconds(c.valid))
		old := net.Prefixes
		net.Prefixes = append(old[:0:0], p)
		got := decide(t, snap, storeOf(t, map[string]lease.Binding{}), from(macA(), Solicit), sitetest.Now()).Decision
		net.Prefixes = old
		if diff := cmp.Diff([]IAReply{c.want}, got.Reply.IAs, compare()); diff != "" {
			t.Error(diff)
		}
		if r := got.Outcome.Reason; (r == reason.NoPrefix) != (c.valid < 0) {
			t.Errorf("reason %s", r)
		}
	}
}

func seconds(n int) time.Duration { return time.Duration(n) * time.Second }
