package address

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"bootd.internal/bootd/decide/who"
	"bootd.internal/bootd/ident"
	"bootd.internal/bootd/lease"
	"bootd.internal/bootd/reason"
	"bootd.internal/bootd/site"
	"bootd.internal/bootd/site/sitetest"
	"bootd.internal/bootd/store"
	"bootd.internal/bootd/store/memory"
	"bootd.internal/bootd/timeline"
)

// delegating is a network that delegates /60s out of a /56 for half an hour; a has one of its own.
const delegating = `defaults: {preferred: 30m, valid: 1h}
networks:
  rack1: {interface: eth1, prefix: "2001:db8:1::/64", unknown: pool, delegate: {pool: "2001:db8:0:100::/56", length: 60, exclude: "2001:db8:0:110::/60"}}
hosts:
  a: {mac: "52:54:00:aa:01:01", address: "2001:db8:1::101", delegate: "2001:db8:0:120::/60"}
  b: {mac: "52:54:00:aa:01:02", address: "2001:db8:1::102"}
`

// delegator is a network with a store and a clock.
type delegator struct {
	t     testing.TB
	snap  *site.Snapshot
	store *memory.Engine
	now   time.Time
}

func newDelegator(t testing.TB, text string) *delegator {
	t.Helper()
	d := &delegator{t: t, store: memory.New(), now: sitetest.Now()}
	d.serve(text)
	return d
}

func (d *delegator) serve(text string) {
	d.t.Helper()
	d.snap = sitetest.Snapshot(d.t, text, sitetest.Facts(sitetest.Link(d.t, 2, "eth1", "2001:db8:1::1/64")))
}

// pd is an IA_PD that names prefixes.
func pd(iaid ident.IAID, prefixes ...string) IA {
	ia := IA{Kind: IAPD, IAID: iaid}
	for _, p := range prefixes {
		ia.Prefixes = append(ia.Prefixes, netip.MustParsePrefix(p))
	}
	return ia
}

// ask sends a message of a client known by its card, and keeps what was decided.
func (d *delegator) ask(msg Msg, client byte, ias ...IA) Decision {
	d.t.Helper()
	m := ident.MAC{0x52, 0x54, 0, 0xaa, 1, client}
	q := Request{Msg: msg, Client: ident.NewDUIDLL(m), IAs: ias, At: site.Arrival{
		Link: "eth1", Index: 2, Via: m.EUI64(netip.MustParsePrefix("fe80::/64")),
	}}
	return d.decide(q)
}

func (d *delegator) decide(q Request) Decision {
	d.t.Helper()
	if !slices.Contains([]Msg{Solicit, Rebind, Confirm}, q.Msg) {
		q.Server = d.snap.ServerDUID
	}
	q.Evidence = who.Client(q.Client)
	var out Decision
	err := d.store.Update(context.Background(), func(v store.View) []store.Op {
		out = Decide(d.snap, v, q, d.now)
		reused(d.t, out, d.snap, v, q, d.now)
		return out.Ops
	})
	if err != nil {
		d.t.Fatal(err)
	}
	return out
}

// told writes the IAs of an answer in words.
func told(d Decision) string {
	if d.Reply == nil {
		return "silence: " + d.Reason.String()
	}
	var out []string
	for _, ia := range d.Reply.IAs {
		text := fmt.Sprintf("%d:", ia.IAID)
		for _, a := range ia.Addrs {
			text += " " + a.Addr.String()
		}
		for _, p := range ia.Prefixes {
			text += fmt.Sprintf(" %s %s/%s", p.Prefix, p.Preferred, p.Valid)
			if p.Exclude.IsValid() {
				text += " without " + p.Exclude.String()
			}
		}
		if ia.Status != nil {
			text += fmt.Sprintf(" status %d", ia.Status.Code)
		}
		if ia.T1 > 0 {
			text += fmt.Sprintf(" T1 %s T2 %s", ia.T1, ia.T2)
		}
		out = append(out, text)
	}
	return strings.Join(out, "; ")
}

func (d *delegator) want(got Decision, want string) {
	d.t.Helper()
	if diff := cmp.Diff(want, told(got)); diff != "" {
		d.t.Error(diff)
	}
}

func given(t testing.TB, d Decision) netip.Prefix {
	t.Helper()
	if d.Reply == nil || len(d.Reply.IAs) != 1 || len(d.Reply.IAs[0].Prefixes) != 1 || d.Reply.IAs[0].Prefixes[0].Valid == 0 {
		t.Fatalf("no prefix in %s", told(d))
	}
	return d.Reply.IAs[0].Prefixes[0].Prefix
}

// TestDelegateReserved: a host gets the prefix that the inventory keeps for it, and with it its address, in one answer with
// one T1 and T2; the binding says over whom the prefix is reached.
func TestDelegateReserved(t *testing.T) {
	d := newDelegator(t, delegating)
	both := []IA{{Kind: IANA, IAID: 1}, pd(2)}
	d.want(d.ask(Solicit, 1, both...), "1: 2001:db8:1::101 T1 15m0s T2 24m0s; 2: 2001:db8:0:120::/60 30m0s/1h0m0s T1 15m0s T2 24m0s")
	got := d.ask(RequestMsg, 1, both...)
	d.want(got, "1: 2001:db8:1::101 T1 15m0s T2 24m0s; 2: 2001:db8:0:120::/60 30m0s/1h0m0s T1 15m0s T2 24m0s")
	if got.Reason != reason.Changed || !got.Reserved {
		t.Errorf("%s, reserved %t", got.Reason, got.Reserved)
	}
	p := netip.MustParsePrefix("2001:db8:0:120::/60")
	want := lease.Binding{
		Holder: "a/net0", Network: "rack1", MAC: macA(), State: lease.Bound, Claims: []lease.Claim{claim(macA(), 2)},
		PreferredUntil: d.now.Add(31 * time.Minute), ValidUntil: d.now.Add(61 * time.Minute),
		Via: netip.MustParseAddr("fe80::5054:ff:feaa:101"), Link: "eth1",
	}
	if diff := cmp.Diff(want, d.binding(p), cmpopts.EquateComparable(netip.Addr{})); diff != "" {
		t.Error(diff)
	}
	if again := d.ask(RequestMsg, 1, both...); again.Reason != reason.Retransmit || len(again.Ops) > 0 {
		t.Errorf("a retransmit: %s, %d writes", again.Reason, len(again.Ops))
	}
	d.want(d.ask(Renew, 1, pd(2, "2001:db8:0:120::/60")), "2: 2001:db8:0:120::/60 30m0s/1h0m0s T1 15m0s T2 24m0s")
	two := d.ask(Solicit, 1, pd(3), pd(2))
	if more := two.Reply.IAs[0].Prefixes[0].Prefix; more == p || !netip.MustParsePrefix("2001:db8:0:100::/56").Contains(more.Addr()) || two.Reply.IAs[1].Prefixes[0].Prefix != p {
		t.Errorf("another IA_PD of the same message: %s", told(two))
	}
}

// TestDelegateMoves: a host's prefix moves at once to the IAID that its new system shows, and is that one's alone; the old IA
// hears of it. A pool's part stays with its IA.
func TestDelegateMoves(t *testing.T) {
	d := newDelegator(t, delegating)
	p := netip.MustParsePrefix("2001:db8:0:120::/60")
	d.ask(RequestMsg, 1, pd(2))
	const granted = ": 2001:db8:0:120::/60 30m0s/1h0m0s T1 15m0s T2 24m0s"
	d.want(d.ask(Solicit, 1, pd(9)), "9"+granted)
	if b := d.binding(p); !b.Has(claim(macA(), 2)) {
		t.Errorf("a Solicit moved the prefix: %v", b.Claims)
	}
	d.want(d.ask(RequestMsg, 1, pd(9)), "9"+granted)
	if diff := cmp.Diff([]lease.Claim{claim(macA(), 9)}, d.binding(p).Claims); diff != "" {
		t.Error(diff)
	}
	d.want(d.ask(Release, 1, pd(2, p.String())), "2: status 3")
	d.want(d.ask(Renew, 1, pd(9, p.String())), "9"+granted)
	first := given(t, d.ask(RequestMsg, 2, pd(1)))
	if second := given(t, d.ask(RequestMsg, 2, pd(2))); second == first {
		t.Errorf("two IAs share the pool's %s", first)
	}
}

// TestDelegateKeepsNextHop: a Renew from a global address tells no next hop, and the one that is known stays; on another link
// it does not.
func TestDelegateKeepsNextHop(t *testing.T) {
	d := newDelegator(t, delegating)
	p := netip.MustParsePrefix("2001:db8:0:120::/60")
	d.ask(RequestMsg, 1, pd(2))
	via := d.binding(p).Via
	renew := Request{Msg: Renew, Client: ident.NewDUIDLL(macA()), IAs: []IA{pd(2, p.String())}, At: site.Arrival{Link: "eth1", Index: 2}}
	for _, later := range []time.Duration{time.Second, 20 * time.Minute} { // nothing to write, and something
		d.now = d.now.Add(later)
		d.decide(renew)
		if b := d.binding(p); !via.IsValid() || b.Via != via || b.Link != "eth1" {
			t.Errorf("after %s via %s on %s, want %s", later, b.Via, b.Link, via)
		}
	}
	renew.IAs = []IA{pd(3, p.String())} // another system, which the prefix moves to
	d.decide(renew)
	if b := d.binding(p); b.Via != via || len(b.Claims) != 1 || b.Claims[0].IAID != 3 {
		t.Errorf("after it moved: %+v, want it via %s", b, via)
	}
	d.snap = sitetest.Snapshot(t, strings.Replace(delegating, "eth1", "eth2", 1), sitetest.Facts(sitetest.Link(t, 3, "eth2", "2001:db8:1::1/64")))
	renew.At = site.Arrival{Link: "eth2", Index: 3}
	d.decide(renew)
	if b := d.binding(p); b.Via.IsValid() || b.Link != "eth2" {
		t.Errorf("elsewhere it is still reached via %s", b.Via)
	}
}

func (d *delegator) binding(p netip.Prefix) (b lease.Binding) {
	d.t.Helper()
	d.store.Read(func(v store.View) {
		raw, _ := v.Get(lease.PrefixKey(p))
		var err error
		if b, err = lease.Decode(raw); err != nil {
			d.t.Error(err)
		}
	})
	return b
}

// TestDelegatePool: every part goes to one client; what is excluded or kept for a host goes to nobody; when all are given out
// the answer says so, and a part that was given back or has run out is there again.
func TestDelegatePool(t *testing.T) {
	d := newDelegator(t, delegating)
	has := map[netip.Prefix]byte{}
	for c := byte(10); c < 24; c++ { // sixteen parts, one excluded, one kept
		p := given(t, d.ask(RequestMsg, c, pd(1)))
		if p.Bits() != 60 || has[p] != 0 || p == netip.MustParsePrefix("2001:db8:0:110::/60") || p == netip.MustParsePrefix("2001:db8:0:120::/60") {
			t.Fatalf("client %d has %s, of %v", c, p, has)
		}
		has[p] = c
		if again := given(t, d.ask(Solicit, c, pd(1))); again != p {
			t.Errorf("client %d has %s, and is offered %s", c, p, again)
		}
	}
	d.want(d.ask(RequestMsg, 99, pd(1)), "1: status 6")
	d.want(d.ask(RequestMsg, 99, pd(1), pd(2), IA{Kind: IANA, IAID: 3}), "1: status 6; 2: status 6; 3: "+d.ask(Solicit, 99, IA{Kind: IANA, IAID: 3}).Reply.IAs[0].Addrs[0].Addr.String()+" T1 15m0s T2 24m0s")
	for p, c := range has {
		d.want(d.ask(Release, c, pd(1, p.String())), "")
		d.want(d.ask(Release, c, pd(1, p.String())), "") // once more: nothing is wrong
		d.want(d.ask(RequestMsg, 99, pd(1)), "1: status 6")
		d.now = d.now.Add(lease.RestFor + time.Second)
		break
	}
	given(t, d.ask(RequestMsg, 99, pd(1)))
	d.now = d.now.Add(2 * time.Hour)
	for c := byte(100); c < 114; c++ {
		given(t, d.ask(RequestMsg, c, pd(1)))
	}
}

// TestDelegateStable: the same client comes to the same part although the leases were lost, and a client that remembers
// another one keeps that.
func TestDelegateStable(t *testing.T) {
	d := newDelegator(t, delegating)
	first := given(t, d.ask(RequestMsg, 2, pd(1)))
	d.store = memory.New()
	if again := given(t, d.ask(RequestMsg, 2, pd(1))); again != first {
		t.Errorf("%s, then %s", first, again)
	}
	d.store = memory.New()
	other := "2001:db8:0:1f0::/60"
	if first.String() == other {
		other = "2001:db8:0:1e0::/60"
	}
	for _, m := range []Msg{Solicit, Rebind, Renew, RequestMsg} {
		if got := given(t, d.ask(m, 2, pd(1, other))); got.String() != other {
			t.Errorf("%s naming %s gets %s", m, other, got)
		}
	}
	for _, hint := range []string{"::/60", "::/48", "2001:db8:0:110::/60", "2001:db8:0:120::/60", "2001:db8:0:100::/64", "2001:db8:0:108::/61"} {
		if got := given(t, d.ask(Solicit, 3, pd(1, hint))); got.Bits() != 60 || got.String() == hint {
			t.Errorf("a hint of %s gets %s", hint, got)
		}
	}
}

// TestDelegateForged: what another client says of a prefix does not touch its holder.
func TestDelegateForged(t *testing.T) {
	d := newDelegator(t, delegating)
	p := given(t, d.ask(RequestMsg, 30, pd(1)))
	before := d.binding(p)
	for _, m := range []Msg{Renew, Rebind, Release, Decline} {
		got := d.ask(m, 31, pd(1, p.String()))
		if m == Renew || m == Rebind { // it gets one of its own, or nothing, never that
			for _, l := range got.Reply.IAs[0].Prefixes {
				if l.Prefix == p && l.Valid > 0 {
					t.Errorf("%s: %s", m, told(got))
				}
			}
		} else if diff := cmp.Diff("1: status 3", told(got)); diff != "" {
			t.Errorf("%s: %s", m, diff)
		}
		if m == Release && got.Reason != reason.NotOwner {
			t.Errorf("%s: %s", m, got.Reason)
		}
		if diff := cmp.Diff(before, d.binding(p), cmpopts.EquateComparable(netip.Addr{})); diff != "" {
			t.Errorf("%s: %s", m, diff)
		}
	}
	d.want(d.ask(Decline, 30, pd(1, p.String())), "1: status 3") // prefixes cannot be declined (RFC 8415 section 18.2.8)
	d.want(d.ask(Renew, 31, pd(1, "2001:db8:ffff::/60")), "1: "+given(t, d.ask(Solicit, 31, pd(1))).String()+" 30m0s/1h0m0s T1 15m0s T2 24m0s")
}

// TestDelegateNobody: where nothing is delegated, that is said; another server's prefix is not taken away.
func TestDelegateNobody(t *testing.T) {
	d := newDelegator(t, `networks:
  rack1: {interface: eth1, prefix: "2001:db8:1::/64", unknown: discover}
hosts:
  b: {mac: "52:54:00:aa:01:02", address: "2001:db8:1::102"}
`)
	d.want(d.ask(Solicit, 2, pd(1)), "1: status 6")
	d.want(d.ask(Solicit, 9, pd(1)), "1: status 6")
	d.want(d.ask(Rebind, 2, pd(1, "2001:db8:77::/60")), "1: status 3")
	d.serve(strings.Replace(delegating, "unknown: pool, ", "unknown: discover, ", 1))
	d.want(d.ask(Solicit, 9, pd(1)), "1: status 6") // an unlisted machine that only says who it is
	given(t, d.ask(Solicit, 2, pd(1)))
}

// TestDelegateExclude: the part that holds what is to be left out goes to clients that can leave it out, and says so.
func TestDelegateExclude(t *testing.T) {
	d := newDelegator(t, strings.NewReplacer(`"2001:db8:0:110::/60"`, `"2001:db8:0:105::/64"`, "2001:db8:0:100::/56", "2001:db8:0:100::/60", `, delegate: "2001:db8:0:120::/60"`, "").Replace(delegating))
	d.want(d.ask(RequestMsg, 9, pd(1)), "1: status 6")
	m := ident.MAC{2, 0, 0, 0, 0, 9}
	got := d.decide(Request{Msg: RequestMsg, Client: ident.NewDUIDLL(m), IAs: []IA{pd(1)}, ORO: []uint16{optPDExclude}, At: site.Arrival{Link: "eth1"}})
	d.want(got, "1: 2001:db8:0:100::/60 30m0s/1h0m0s without 2001:db8:0:105::/64 T1 15m0s T2 24m0s")
}

// TestDelegateLengths: a pool whose length changes gives nothing that a client has a part of, or that is part of it.
func TestDelegateLengths(t *testing.T) {
	d := newDelegator(t, delegating)
	var all []netip.Prefix
	take := func(client byte) {
		t.Helper()
		got := d.ask(RequestMsg, client, pd(1))
		if len(got.Reply.IAs[0].Prefixes) == 0 {
			return
		}
		p := given(t, got)
		for _, o := range all {
			if o.Overlaps(p) {
				t.Fatalf("%s overlaps %s", p, o)
			}
		}
		all = append(all, p)
	}
	for c := byte(10); c < 14; c++ {
		take(c)
	}
	for _, length := range []string{"64", "58", "62", "57", "60"} {
		d.serve(strings.Replace(delegating, "length: 60", "length: "+length, 1))
		client := byte(20 + len(all))
		for range 6 {
			take(client)
			client++
		}
	}
	if len(all) < 16 {
		t.Errorf("only %v were given", all)
	}
}

// TestDelegateWide: a host has the prefix that is kept for it, however many times as large as the parts of a pool elsewhere;
// nobody looks for parts where none were given.
func TestDelegateWide(t *testing.T) {
	d := newDelegator(t, `networks:
  rack1: {interface: eth1, prefix: "2001:db8:1::/64", unknown: pool, delegate: {pool: "2001:db8:0:100::/56", length: 64}}
hosts:
  a: {mac: "52:54:00:aa:01:01", address: "2001:db8:1::101", delegate: "2001:db8:4000::/40"}
  b: {mac: "52:54:00:aa:01:02", address: "2001:db8:1::102", delegate: "2001:db8:5000::/48"}
`)
	given(t, d.ask(RequestMsg, 9, pd(1)))
	for client, want := range map[byte]string{1: "2001:db8:4000::/40", 2: "2001:db8:5000::/48"} {
		if got := given(t, d.ask(RequestMsg, client, pd(1))); got.String() != want {
			t.Errorf("the host of %s has %s", want, got)
		}
	}
	reads := 0
	d.store.Read(func(v store.View) {
		q := Request{Msg: Solicit, Client: ident.NewDUIDLL(ident.MAC{0x52, 0x54, 0, 0xaa, 1, 2}), IAs: []IA{pd(1)}, At: site.Arrival{Link: "eth1"}}
		q.Evidence = who.Client(q.Client)
		Decide(d.snap, counting{v, &reads}, q, d.now)
	})
	if reads > 50 {
		t.Errorf("one message looks at %d records", reads)
	}
}

// counting counts what is read.
type counting struct {
	store.View
	reads *int
}

func (c counting) Get(k store.Key) ([]byte, bool) {
	*c.reads++
	return c.View.Get(k)
}

// TestDelegateReservationWins: a prefix that is kept for a host while another client has it is the host's as soon as that one
// hears of it, or gives it back.
func TestDelegateReservationWins(t *testing.T) {
	for _, msg := range []Msg{Renew, Rebind, Release} {
		d := newDelegator(t, delegating)
		p := given(t, d.ask(RequestMsg, 9, pd(1))).String()
		d.serve(delegating + `  c: {mac: "52:54:00:aa:01:03", address: "2001:db8:1::103", delegate: "` + p + "\"}\n")
		if early := given(t, d.ask(RequestMsg, 3, pd(1))); early.String() == p {
			t.Errorf("the host got %s while another has it", early)
		}
		d.ask(msg, 9, pd(1, p))
		if got := given(t, d.ask(RequestMsg, 3, pd(1))); got.String() != p {
			t.Errorf("after a %s the host has %s, not %s", msg, got, p)
		}
	}
}

// TestDelegateProperty: whatever clients do, no two have addresses of one another.
func TestDelegateProperty(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	d := newDelegator(t, delegating)
	pools := []string{delegating, strings.Replace(delegating, "length: 60", "length: 59", 1), strings.Replace(delegating, "length: 60", "length: 61", 1)}
	type holder struct {
		until  time.Time
		client string
	}
	held := map[netip.Prefix]holder{}
	for range 3000 {
		if r.IntN(40) == 0 {
			d.serve(pools[r.IntN(len(pools))])
		}
		d.now = d.now.Add(time.Duration(r.IntN(200)) * time.Second)
		client := byte(1 + r.IntN(25))
		ias := []IA{pd(ident.IAID(r.IntN(2)))}
		if r.IntN(2) == 0 {
			ias = append(ias, pd(7))
		}
		for i := range ias {
			for p := range held {
				if r.IntN(3) == 0 {
					ias[i].Prefixes = append(ias[i].Prefixes, p)
				}
				break
			}
		}
		msg := []Msg{RequestMsg, Renew, Rebind, Release, Decline}[r.IntN(5)]
		got := d.ask(msg, client, ias...)
		if got.Reply == nil {
			continue
		}
		for _, ia := range got.Reply.IAs {
			me := fmt.Sprint(client, " ", ia.IAID)
			if client == 1 { // its kept prefix moves from one IA to the other
				me = "1"
			}
			for _, l := range ia.Prefixes {
				if l.Valid == 0 {
					continue
				}
				for p, h := range held {
					if p.Overlaps(l.Prefix) && h.client != me && h.until.After(d.now) {
						t.Fatalf("%s has %s until %s, and %s gets %s by %s", h.client, p, h.until, me, l.Prefix, msg)
					}
				}
				held[l.Prefix] = holder{d.now.Add(l.Valid), me}
			}
		}
		if msg == Release {
			for _, ia := range ias {
				for _, p := range ia.Prefixes {
					if client != 1 && held[p].client == fmt.Sprint(client, " ", ia.IAID) {
						delete(held, p)
					}
				}
			}
		}
	}
}

// TestDelegateIsTold: a prefix that was delegated is an event, once, and the answer waits for the disk: no inventory keeps it.
func TestDelegateIsTold(t *testing.T) {
	d := newDelegator(t, delegating)
	first, again := d.ask(RequestMsg, 2, pd(1)), d.ask(RequestMsg, 2, pd(1))
	p := given(t, first)
	if len(first.Events) != 1 || first.Events[0].Kind != timeline.DHCPPrefix || first.Events[0].Addr != p.String() || len(again.Events) > 0 {
		t.Errorf("told %+v, then %+v", first.Events, again.Events)
	}
	if kept := d.ask(RequestMsg, 1, pd(1)); first.Reserved || again.Reserved || !kept.Reserved {
		t.Errorf("may go out although nothing is written: %v, %v, and what is kept for a host: %v", first.Reserved, again.Reserved, kept.Reserved)
	}
}
