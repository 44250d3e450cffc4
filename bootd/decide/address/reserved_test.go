package address

import (
	"net/netip"
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

const reservedRack = `defaults: {preferred: 6h, valid: 12h}
networks:
  rack1: {interface: eth1, prefix: "2001:db8:1::/64", t1: 1h, t2: 5h, unknown: pool}
profiles:
  kept: {script: a.ipxe, preferred: infinite, valid: infinite}
  brief: {script: a.ipxe, preferred: 2m}
hosts:
  two:
    nics: {eth0: {mac: "52:54:00:aa:01:01", address: "::101"}, eth1: {mac: "52:54:00:aa:01:02", address: "::102"}}
  many: {mac: "52:54:00:aa:01:03", address: ["::201", "::202"], profile: brief}
  kept: {mac: "52:54:00:aa:01:04", address: "::104", profile: kept}
  own: {mac: "52:54:00:aa:01:05", address: "::105", profile: brief, preferred: 1h, valid: 2h}
  duid: {duid: ["00:02:00:00:ab:11:01", "00:02:00:00:ab:11:02"], address: "::106"}
  uuid: {uuid: 00112233-4455-6677-8899-aabbccddeeff}
  both: {mac: "52:54:00:aa:01:07", duid: "00:02:00:00:ab:11:07", address: "::107"}
`

func mac(n byte) ident.MAC { return ident.MAC{0x52, 0x54, 0, 0xaa, 1, n} }

// named is a message of a client with a DUID of its own, seen from a card that nobody listed, or from none.
func named(d ident.DUID, m ident.MAC, msg Msg) Request {
	q := from(guestMAC(77), msg)
	q.Client = d
	q.Evidence = append(who.Frame(m), who.Client(d)...)
	return q
}

// TestReservations: who a host is known by, and what it gets for how long.
func TestReservations(t *testing.T) {
	snap := openRack(t, reservedRack)
	uuid, err := ident.ParseUUID("00112233-4455-6677-8899-aabbccddeeff")
	if err != nil {
		t.Fatal(err)
	}
	h, _ := snap.Host("uuid")
	computed := h.NICs[0].Addresses("rack1")[0]
	const forever = 0xffffffff * time.Second
	hour := func(n time.Duration) time.Duration { return n * time.Hour }
	for _, c := range []struct {
		name             string
		q                Request
		host, rule, addr string
		preferred, valid time.Duration
		t1, t2           time.Duration
	}{
		{"first card", from(mac(1), RequestMsg), "two", "frame-mac", "2001:db8:1::101", hour(6), hour(12), hour(1), hour(5)},
		{"second card on the same link", from(mac(2), RequestMsg), "two", "frame-mac", "2001:db8:1::102", hour(6), hour(12), hour(1), hour(5)},
		{"lifetimes of the profile, too short for T1", from(mac(3), RequestMsg), "many", "frame-mac", "2001:db8:1::201", 2 * time.Minute, hour(12), time.Minute, 96 * time.Second},
		{"infinite", from(mac(4), RequestMsg), "kept", "frame-mac", "2001:db8:1::104", forever, forever, hour(1), hour(5)},
		{"lifetimes of its own", from(mac(5), RequestMsg), "own", "frame-mac", "2001:db8:1::105", hour(1), hour(2), 48 * time.Minute, 48 * time.Minute},
		{"DUID from any card", named("\x00\x02\x00\x00\xab\x11\x01", guestMAC(1), RequestMsg), "duid", "duid", "2001:db8:1::106", hour(6), hour(12), hour(1), hour(5)},
		{"its other DUID, no MAC", named("\x00\x02\x00\x00\xab\x11\x02", ident.MAC{}, RequestMsg), "duid", "duid", "2001:db8:1::106", hour(6), hour(12), hour(1), hour(5)},
		{"UUID as iPXE writes it", named(ident.NewDUIDUUID(uuid), guestMAC(1), RequestMsg), "uuid", "uuid", computed.String(), hour(6), hour(12), hour(1), hour(5)},
		{"UUID as EDK2 writes it", named(ident.NewDUIDUUID(uuid.Swapped()), guestMAC(1), RequestMsg), "uuid", "uuid", computed.String(), hour(6), hour(12), hour(1), hour(5)},
		{"DUID of a host with a MAC, none seen", named("\x00\x02\x00\x00\xab\x11\x07", ident.MAC{}, RequestMsg), "both", "duid", "2001:db8:1::107", hour(6), hour(12), hour(1), hour(5)},
	} {
		d := Decide(snap, emptyView{}, c.q, sitetest.Now())
		want := []IAReply{{
			Kind: IANA, IAID: 7, T1: c.t1, T2: c.t2, Addrs: []Lease{{Addr: addr(c.addr), Preferred: c.preferred, Valid: c.valid}},
		}}
		if d.Reply == nil || d.Host != c.host || d.Rule != c.rule || !d.Reserved {
			t.Errorf("%s: got %+v", c.name, d.Outcome)
			continue
		}
		if diff := cmp.Diff(want, d.Reply.IAs, compare()); diff != "" {
			t.Errorf("%s: %s", c.name, diff)
		}
	}
	// Another card than the one that is written down is not the host, whatever it calls itself.
	d := Decide(snap, emptyView{}, named("\x00\x02\x00\x00\xab\x11\x07", guestMAC(1), RequestMsg), sitetest.Now())
	if d.Host != "" || d.Reply.IAs[0].Addrs[0].Addr == addr("2001:db8:1::107") {
		t.Errorf("a stranger's card with a host's DUID got %+v", d)
	}
}

// TestSeveralAddresses: a host with two addresses gives both to two IAs of one message, and both again to a retransmit.
func TestSeveralAddresses(t *testing.T) {
	snap, engine := openRack(t, reservedRack), memory.New()
	q := from(mac(3), RequestMsg)
	q.IAs = append(q.IAs, IA{Kind: IANA, IAID: 8, Addrs: []netip.Addr{addr("2001:db8:1::201")}}, IA{Kind: IANA, IAID: 9})
	first := decide(t, snap, engine, q, sitetest.Now()).Decision
	var got []string
	for _, ia := range first.Reply.IAs {
		for _, l := range ia.Addrs {
			got = append(got, l.Addr.String())
		}
	}
	if diff := cmp.Diff([]string{"2001:db8:1::202", "2001:db8:1::201"}, got); diff != "" {
		t.Error(diff)
	}
	if s := first.Reply.IAs[2].Status; s == nil || s.Code != NoAddrsAvail {
		t.Errorf("the third IA got %+v", first.Reply.IAs[2])
	}
	again := decide(t, snap, engine, q, sitetest.Now().Add(time.Second)).Decision
	if diff := cmp.Diff(first.Reply, again.Reply, compare()); diff != "" || again.Reason != reason.Retransmit {
		t.Errorf("%s: %s", again.Reason, diff)
	}
}

// boot is the identities of one machine on its way from power-on to the installed system (IAIDs of firmware are random).
func boot(m ident.MAC, u ident.UUID, n uint32) []Request {
	llt := func(at byte) ident.DUID {
		return ident.DUID(append([]byte{0, 1, 0, 1, 0x30, 0, 0, at}, m[:]...))
	}
	var out []Request
	for _, s := range []struct {
		duid ident.DUID
		iaid ident.IAID
		oro  []uint16
		arch bool
	}{
		{ident.NewDUIDUUID(u.Swapped()), ident.IAID(0x1000 + n), []uint16{59, 60, 23, 16}, true},      // firmware's PXE
		{ident.NewDUIDUUID(u.Swapped()), ident.IAID(0x2000 + n), []uint16{23}, false},                 // firmware's IP stack
		{ident.NewDUIDUUID(u), 0x5eed, []uint16{23, 24, 59, 60}, true},                                // iPXE
		{llt(byte(n)), 0, []uint16{23, 24}, false},                                                    // Debian's installer
		{"\x00\x02\x00\x00\xab\x11\x01\x02\x03\x04\x05\x06\x07\x08", 0xabcd, []uint16{23, 24}, false}, // systemd-networkd
	} {
		q := from(m, Solicit)
		q.Client, q.IAs[0].IAID, q.ORO = s.duid, s.iaid, s.oro
		q.Evidence = append(who.Frame(m), who.Client(s.duid)...)
		if s.arch {
			q.Arch = []uint16{7}
		}
		out = append(out, q)
	}
	return out
}

// TestOneMachineOneLease replays two boots with the identities that firmware, iPXE, installer and system really show. All
// get one address, and one lease is left; the releases of firmware and installer take it from nobody.
func TestOneMachineOneLease(t *testing.T) {
	const text = `networks:
  rack1: {interface: eth1, prefix: "2001:db8:1::/64"}
hosts:
  a: 52:54:00:aa:01:01
`
	snap, engine, now := openRack(t, text), memory.New(), sitetest.Now()
	h, _ := snap.Host("a")
	want := h.NICs[0].Addresses("rack1")[0]
	uuid := ident.UUID{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}
	say := func(q Request, msg Msg) result {
		now = now.Add(5 * time.Second)
		q.Msg = msg
		if msg != Solicit {
			q.Server = snap.ServerDUID
			q.IAs = []IA{{Kind: IANA, IAID: q.IAs[0].IAID, Addrs: []netip.Addr{want}}}
		}
		return decide(t, snap, engine, q, now)
	}
	for n := range uint32(2) {
		for i, q := range boot(mac(1), uuid, n) {
			for _, msg := range []Msg{Solicit, RequestMsg} {
				got := say(q, msg)
				if d := got.Decision; d.Host != "a" || d.Reply.IAs[0].Addrs[0].Addr != want {
					t.Errorf("boot %d, client %d, %s: %+v", n, i, msg, d.Reply)
				}
			}
			if i == 1 || i == 3 { // the IP stack's client lets go at once, the installer at its end
				say(q, Release)
			}
		}
		got := say(boot(mac(1), uuid, n)[0], Release) // PXE's, after TFTP
		b := got.Leases[want.String()]
		if len(got.Leases) != 1 || b.State != lease.Bound || b.Holder != "a/net0" {
			t.Errorf("boot %d left %+v", n, got.Leases)
		}
	}
	// What was learned names the machine where no MAC is seen.
	q := named(ident.NewDUIDUUID(uuid), ident.MAC{}, RequestMsg)
	if d := decide(t, snap, engine, q, now).Decision; d.Host != "a" || d.Reply.IAs[0].Addrs[0].Addr != want {
		t.Errorf("without a MAC: %+v", d)
	}
}
