package address

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"bootd.internal/bootd/decide/who"
	"bootd.internal/bootd/ident"
	"bootd.internal/bootd/lease"
	"bootd.internal/bootd/reason"
	"bootd.internal/bootd/site/sitetest"
	"bootd.internal/bootd/store"
	"bootd.internal/bootd/store/memory"
	"bootd.internal/bootd/timeline"
)

// TestConfirmWithoutAPrefix: where no prefix is alive nobody can say whether an address is good here (RFC 8415 section 18.3.3).
func TestConfirmWithoutAPrefix(t *testing.T) {
	snap := snapshot(t)
	snap.Networks[0].Prefixes[0].ValidUntil = sitetest.Now().Add(-time.Second)
	if d := Decide(snap, emptyView{}, from(macA(), Confirm, "2001:db8:1::101"), sitetest.Now()); d.Reply != nil || d.Reason != reason.NoPrefix {
		t.Errorf("%s: %+v", d.Reason, d.Reply)
	}
}

// TestGroupsAreAnswered: what went to a group of servers is no unicast, and a relay may send as it likes.
func TestGroupsAreAnswered(t *testing.T) {
	snap := sitetest.Snapshot(t, `networks:
  rack1: {interface: eth1, prefix: "2001:db8:1::/64"}
  rack2: {relay: "2001:db8:2::1", prefix: "2001:db8:2::/64"}
hosts:
  a: {mac: "52:54:00:aa:01:01", address: "::101"}
`, sitetest.Facts(sitetest.Link(t, 2, "eth1", "2001:db8:1::1/64")))
	for _, c := range []struct{ dest, relay, want string }{
		{"ff02::1:2", "", "2001:db8:1::101"},
		{"ff05::1:3", "", "2001:db8:1::101"},
		{"::1", "", "2001:db8:1::101"},
		{"2001:db8:1::1", "2001:db8:2::1", "2001:db8:2::101"},
		{"2001:db8:1::1", "", ""},
		{"fe80::1", "", ""},
	} {
		q := from(macA(), Solicit)
		q.At.Dest = addr(c.dest)
		if c.relay != "" {
			q.At.Relay = addr(c.relay)
		}
		d, got := Decide(snap, emptyView{}, q, sitetest.Now()), ""
		if d.Reply != nil {
			got = d.Reply.IAs[0].Addrs[0].Addr.String()
		}
		if got != c.want || got == "" && d.Reason != reason.UnicastForbidden {
			t.Errorf("to %s by %q: %s, %q", c.dest, c.relay, d.Reason, got)
		}
	}
}

// TestHostOfManyCards: a machine that is known by its UUID alone, and has more cards than one, gets the address of none of them,
// and none of the pool.
func TestHostOfManyCards(t *testing.T) {
	u := ident.UUID{1, 2, 3}
	for _, c := range []struct {
		cards string
		want  reason.Reason
	}{
		{`nics: {eth0: {mac: "52:54:00:aa:01:01", address: "::201"}, eth1: {mac: "52:54:00:aa:01:02", address: "::202"}}`, reason.UnknownHost},
		{`mac: "52:54:00:aa:01:01", address: "2001:db8:1::101"`, reason.Changed},
	} {
		snap := openRack(t, `networks:
  rack1: {interface: eth1, prefix: "2001:db8:1::/64", unknown: pool, router: self}
hosts:
  a: {uuid: "`+u.String()+`", `+c.cards+`}
`)
		q := from(macA(), RequestMsg)
		q.Client = ident.NewDUIDUUID(u)
		q.Evidence = who.Client(q.Client)
		d := Decide(snap, emptyView{}, q, sitetest.Now())
		if d.Reason != c.want || d.Host != "a" || (d.Reply == nil) != (c.want == reason.UnknownHost) || d.Heard != nil {
			t.Errorf("%s: %+v", c.cards, d)
		}
		if d.Reply != nil && d.Events[0].MAC != macA() { // no card was seen: it is the inventory's
			t.Errorf("the event is about %s", d.Events[0].MAC)
		}
	}
}

// TestBootFileOnlyWhenAsked: no boot file and no event of one for firmware that does not ask for it; UEFI HTTP boot gets its class
// back with the URL.
func TestBootFileOnlyWhenAsked(t *testing.T) {
	snap := snapshot(t)
	for _, c := range []struct {
		arch uint16
		oro  []uint16
		url  string
		http bool
	}{
		{7, nil, "", false},
		{7, []uint16{59}, "tftp://[2001:db8:1::1]/ipxe.efi", false},
		{16, nil, "", false},
		{16, []uint16{59}, "http://[2001:db8:1::1]/ipxe.efi", true},
	} {
		q := asking(from(macA(), RequestMsg), c.oro...)
		q.Arch = []uint16{c.arch}
		q.Vendor = fmt.Sprintf("%sClient:Arch:%05d", map[bool]string{true: "HTTP", false: "PXE"}[c.arch == 16], c.arch)
		d := Decide(snap, emptyView{}, q, sitetest.Now())
		told := slices.ContainsFunc(d.Events, func(e timeline.Event) bool { return e.Kind == timeline.LoaderOffered })
		if d.Reply.BootURL != c.url || d.Reply.HTTPClient != c.http || told != (c.url != "") {
			t.Errorf("arch %d, %v: %q, class %v, told %v", c.arch, c.oro, d.Reply.BootURL, d.Reply.HTTPClient, told)
		}
	}
}

// TestPreferenceIsNoOption: asked for or not, it stands where offers have it and nowhere else; and a narrower section that says an
// option, but not always, takes the wider one's always away.
func TestPreferenceIsNoOption(t *testing.T) {
	snap := sitetest.Snapshot(t, `defaults: {options: {captive-portal: {value: "https://a.example.net/", always: true}}}
networks:
  rack1: {interface: eth1, prefix: "2001:db8:1::/64"}
hosts:
  a: {mac: "52:54:00:aa:01:01", address: "::101", options: {preference: 9, captive-portal: "https://b.example.net/"}}
  b: {mac: "52:54:00:aa:01:02", address: "::102", options: {captive-portal: {never: true}}}
`, sitetest.Facts(sitetest.Link(t, 2, "eth1", "2001:db8:1::1/64")))
	r := replyTo(t, snap, asking(from(macA(), RequestMsg), 7))
	if len(r.Options) > 0 || r.Preference != noPreference {
		t.Errorf("got %+v", r)
	}
	if r := replyTo(t, snap, asking(from(macA(), RequestMsg), 103)); len(r.Options) != 1 || string(r.Options[0].Data) != "https://b.example.net/" {
		t.Errorf("asked for: %+v", r.Options)
	}
	if r := replyTo(t, snap, asking(from(macB(), RequestMsg), 103)); len(r.Options) > 0 {
		t.Errorf("never: %+v", r.Options)
	}
}

// TestDeclinedIsNobodys: while a declined address of a pool is put aside nobody gets it who names it, and the next day it is free.
func TestDeclinedIsNobodys(t *testing.T) {
	snap, engine, now := openRack(t, pooledRack), memory.New(), sitetest.Now()
	a := asks(t, engine, snap, client(1, RequestMsg), now)
	decide(t, snap, engine, client(1, Decline, a.String()), now)
	for _, at := range []time.Duration{0, lease.DeclineGuestFor - time.Second} {
		for i, msg := range []Msg{Solicit, RequestMsg, Renew, Rebind} {
			if b := asks(t, clone(t, engine), snap, client(2+i, msg, a.String()), now.Add(at)); b == a {
				t.Errorf("%s after the Decline a %s gets %s", at, msg, b)
			}
		}
	}
	if b := asks(t, engine, snap, client(2, RequestMsg, a.String()), now.Add(lease.DeclineGuestFor)); b != a {
		t.Errorf("a day later: %s", b)
	}
}

// TestItsOwnBeforeAnotherHint: who names a free address and then its own one keeps its own, also when the note of it is lost.
func TestItsOwnBeforeAnotherHint(t *testing.T) {
	snap, engine, now := openRack(t, pooledRack), memory.New(), sitetest.Now()
	a := asks(t, engine, snap, client(1, RequestMsg), now)
	other := "2001:db8:1::1022"
	if a.String() == other {
		other = "2001:db8:1::1023"
	}
	if b := asks(t, clone(t, engine), snap, client(1, RequestMsg, other, a.String()), now); b != a {
		t.Errorf("had %s, got %s", a, b)
	}
}

// TestExhaustedIsSaid: once a boot, in the Solicit, of a client that wants an address and gets none.
func TestExhaustedIsSaid(t *testing.T) {
	snap, engine, now := openRack(t, `networks:
  rack1: {interface: eth1, prefix: "2001:db8:1::/64", unknown: pool, pool: "::1000-::1001"}
`), memory.New(), sitetest.Now()
	for i := range 2 {
		asks(t, engine, snap, client(i, RequestMsg), now)
	}
	none := client(9, Solicit)
	none.IAs = nil
	for _, c := range []struct {
		name string
		req  Request
		want int
	}{
		{"Solicit", client(9, Solicit), 1}, {"Request", client(9, RequestMsg), 0}, {"who has one", client(1, Solicit), 0}, {"who wants none", none, 0},
	} {
		d := decide(t, snap, engine, c.req, now).Decision
		n := 0
		for _, e := range d.Events {
			if e.Kind == timeline.Warning {
				n++
			}
		}
		if n != c.want {
			t.Errorf("%s: %+v", c.name, d.Events)
		}
	}
}

// TestForget: the lease of an unlisted client is forgotten a week after its end, with its note; that of a listed host stays, one
// in force stays, and of a damaged record nothing is known.
func TestForget(t *testing.T) {
	snap, now := openRack(t, pooledRack), sitetest.Now()
	a, old := addr("2001:db8:1::1020"), now.Add(-KeepExpired)
	for _, c := range []struct {
		name   string
		holder string
		until  time.Time
		noted  string
		want   int
	}{
		{"a week ago", "duid 00", old, a.String(), 2},
		{"a week ago, by now it has another", "duid 00", old, "2001:db8:1::1021", 1},
		{"a week ago, without a note", "duid 00", old, "", 1},
		{"less than a week ago", "duid 00", old.Add(time.Second), a.String(), 0},
		{"in force", "duid 00", now.Add(time.Hour), a.String(), 0},
		{"a listed host", "a/net0", old, "", 0},
		{"a host that was listed", "gone/net0", old, "", 1},
		{"a card, by its MAC", "02:00:00:00:00:01", old, "", 1},
	} {
		b := lease.Binding{Holder: c.holder, Network: "rack1", State: lease.Bound, ValidUntil: c.until}
		put := []store.Op{{Key: lease.Key(a), Value: b.Encode()}}
		if c.noted != "" {
			put = append(put, store.Op{Key: lease.HeldKey("rack1", c.holder), Value: addr(c.noted).AsSlice()})
		}
		s := holding(t, put...)
		s.Read(func(v store.View) {
			ops := Forget(snap, v, lease.Key(a), now)
			if len(ops) != c.want || slices.ContainsFunc(ops, func(o store.Op) bool { return o.Value != nil }) {
				t.Errorf("%s: %d writes, want %d", c.name, len(ops), c.want)
			}
			got, ops, ok := End(v, lease.Key(a))
			if want := 1 + map[bool]int{true: 1}[c.noted == a.String()]; !ok || len(ops) != want || got.Holder != c.holder {
				t.Errorf("%s: ended %v, %d writes, want %d: %+v", c.name, ok, len(ops), want, got)
			}
		})
	}
	s := holding(t, store.Op{Key: lease.Key(a), Value: []byte("?")})
	s.Read(func(v store.View) {
		if ops := Forget(snap, v, lease.Key(a), now); ops != nil {
			t.Errorf("a damaged record: %d writes", len(ops))
		}
		if b, ops, ok := End(v, lease.Key(a)); !ok || len(ops) != 1 || b.Holder != "" {
			t.Errorf("a damaged record is ended: %v, %d writes", ok, len(ops))
		}
		if _, ops, ok := End(v, lease.Key(addr("2001:db8:1::1"))); ok || ops != nil || Forget(snap, v, lease.Key(addr("2001:db8:1::1")), now) != nil {
			t.Error("what nobody has is ended")
		}
	})
}

// holding is a store with records.
func holding(t *testing.T, ops ...store.Op) store.Store {
	t.Helper()
	s := memory.New()
	if err := s.Update(t.Context(), func(store.View) []store.Op { return ops }); err != nil {
		t.Fatal(err)
	}
	return s
}

// TestWhatAStrangerTells: iPXE's UUID is believed to be in the order that it is shown in, firmware's is not.
func TestWhatAStrangerTells(t *testing.T) {
	u := ident.UUID{1, 2, 3}
	for _, c := range []struct {
		class, client string
		oro           []uint16
		uuid          ident.UUID
	}{
		{"iPXE", "ipxe", nil, u}, {"", "system", nil, ident.UUID{}}, {"", "firmware", []uint16{59}, ident.UUID{}},
	} {
		q := asking(from(guestMAC(1), Solicit), c.oro...)
		q.Client = ident.NewDUIDUUID(u)
		q.Evidence = append(who.Frame(guestMAC(1)), who.Client(q.Client)...)
		if c.class != "" {
			q.Classes = [][]byte{[]byte(c.class)}
		}
		if m := Decide(openRack(t, open), emptyView{}, q, sitetest.Now()).Heard; m == nil || m.UUID != c.uuid || m.Client != c.client {
			t.Errorf("%s: %+v", c.client, m)
		}
	}
}
