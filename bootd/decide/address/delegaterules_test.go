package address

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"bootd.internal/bootd/ident"
	"bootd.internal/bootd/lease"
	"bootd.internal/bootd/reason"
	"bootd.internal/bootd/site"
	"bootd.internal/bootd/timeline"
)

// TestDelegateHint: a length that a client names chooses the pool, the first one where both are as near; a part of any pool that
// it names, or has, is the client's.
func TestDelegateHint(t *testing.T) {
	d := newDelegator(t, strings.Replace(delegating, "delegate: {pool: \"2001:db8:0:100::/56\", length: 60, exclude: \"2001:db8:0:110::/60\"}",
		"delegate: [{pool: \"2001:db8:0:100::/56\", length: 60}, {pool: \"2001:db8:0:200::/56\", length: 64}]", 1))
	for hint, want := range map[string]int{"": 60, "::/64": 64, "::/60": 60, "::/63": 64, "::/61": 60, "::/62": 60, "::/48": 60} {
		ia := pd(1)
		if hint != "" {
			ia = pd(1, hint)
		}
		if got := given(t, d.ask(Solicit, 10, ia)); got.Bits() != want {
			t.Errorf("a hint of %q gets %s", hint, got)
		}
	}
	const named = "2001:db8:0:2ab::/64"
	for _, m := range []Msg{RequestMsg, Renew, Rebind} {
		d.want(d.ask(m, 10, pd(1, named)), has(named))
	}
}

// TestDelegateApart: clients with one IAID begin their search at different parts, as cards do, and hosts without one.
func TestDelegateApart(t *testing.T) {
	const hosts = `  x: {duid: "00:02:00:00:00:09:01", network: rack1}
  y: {duid: "00:02:00:00:00:09:02", network: rack1}
`
	offers := map[netip.Prefix]bool{}
	for c := byte(10); c < 20; c++ {
		offers[given(t, newDelegator(t, delegating).ask(Solicit, c, pd(1)))] = true
	}
	if len(offers) < 4 {
		t.Errorf("ten clients are offered %v", offers)
	}
	offers = map[netip.Prefix]bool{}
	for iaid := ident.IAID(1); iaid < 9; iaid++ {
		d := newDelegator(t, delegating+hosts)
		for _, duid := range []string{"\x00\x02\x00\x00\x00\x09\x01", "\x00\x02\x00\x00\x00\x09\x02"} {
			got := d.decide(Request{Msg: Solicit, Client: ident.DUID(duid), IAs: []IA{pd(iaid)}, At: site.Arrival{Link: "eth1", Index: 2}})
			if got.Host == "" {
				t.Fatalf("%s is offered to nobody: %s", told(got), got.Reason)
			}
			offers[given(t, got)] = true
		}
	}
	if len(offers) < 4 {
		t.Errorf("sixteen IAs of hosts without a card are offered %v", offers)
	}
}

// TestDelegateKeepsPart: a client keeps its part although one is free by now that comes before it on its path, and one that names
// nothing is offered the first of those.
func TestDelegateKeepsPart(t *testing.T) {
	d := newDelegator(t, delegating)
	first := map[byte]netip.Prefix{}
	for c := byte(10); c < 24; c++ {
		first[c] = given(t, newDelegator(t, delegating).ask(Solicit, c, pd(1)))
	}
	has := map[netip.Prefix]byte{}
	moved := byte(0)
	for c := byte(10); c < 24; c++ {
		p := given(t, d.ask(RequestMsg, c, pd(1)))
		if has[p] = c; p != first[c] {
			moved = c
		}
	}
	if moved == 0 {
		t.Fatal("nobody's first part was taken: this shows nothing")
	}
	var own netip.Prefix
	for p, c := range has {
		if c == moved {
			own = p
		}
	}
	d.ask(Release, has[first[moved]], pd(1, first[moved].String()))
	d.now = d.now.Add(50 * time.Minute)
	for p, c := range has {
		if p != first[moved] {
			d.ask(Renew, c, pd(1, p.String()))
		}
	}
	d.now = d.now.Add(lease.RestFor - 49*time.Minute)
	if got := given(t, d.ask(Solicit, moved, pd(1))); got != own {
		t.Errorf("the client of %s is offered %s, which was free first", own, got)
	}
	if got := given(t, d.ask(Solicit, 99, pd(1))); got != first[moved] {
		t.Errorf("somebody else is offered %s, and only %s is free", got, first[moved])
	}
}

// TestDelegateTold: a prefix that is granted is told of once, with its next hop; that another's was released is told as such.
func TestDelegateTold(t *testing.T) {
	d := newDelegator(t, delegating)
	prefixes := func(got Decision) (out []timeline.Event) {
		return slices.DeleteFunc(slices.Clone(got.Events), func(e timeline.Event) bool { return e.Kind != timeline.DHCPPrefix })
	}
	got := d.ask(RequestMsg, 30, pd(1))
	p := given(t, got)
	if e := prefixes(got); len(e) != 1 || e[0].Addr != p.String() || e[0].Detail != "via fe80::5054:ff:feaa:11e on eth1" {
		t.Errorf("told of %+v", e)
	}
	for _, m := range []Msg{Solicit, RequestMsg} {
		if e := prefixes(d.ask(m, 30, pd(1, p.String()))); len(e) != 0 {
			t.Errorf("once more, by a %s: %+v", m, e)
		}
	}
	q := Request{Msg: RequestMsg, Client: ident.NewDUIDLL(ident.MAC{0x52, 0x54, 0, 0xaa, 1, 40}), IAs: []IA{pd(1)}, At: site.Arrival{Link: "eth1", Index: 2}}
	if e := prefixes(d.decide(q)); len(e) != 1 || e[0].Detail != "" {
		t.Errorf("without a next hop: %+v", e)
	}
	gone := d.ask(Release, 40, pd(1, given(t, d.ask(Solicit, 40, pd(1))).String()))
	if e := gone.Events; len(e) != 1 || e[0].Kind != timeline.DHCPRelease || e[0].Detail != lease.Resting.String() {
		t.Errorf("a Release is told as %+v", e)
	}
	if got := d.ask(Release, 31, pd(1, p.String())); got.Reason != reason.NotOwner {
		t.Errorf("a Release of another's prefix is %s", got.Reason)
	}
	if got := d.ask(Release, 31, pd(1, "2001:db8:0:1f0::/60")); got.Reason != reason.NoBinding && got.Reason != reason.NotOwner {
		t.Errorf("a Release of nobody's prefix is %s", got.Reason)
	}
}

// TestDelegateSeveral: a host of two prefixes gets the second while another has the first; an answer ends all that an IA names and
// may not go on with, however it is written.
func TestDelegateSeveral(t *testing.T) {
	const first, second = "2001:db8:0:130::/60", "2001:db8:0:140::/60"
	d := newDelegator(t, delegating)
	d.want(d.ask(RequestMsg, 30, pd(1, first)), has(first))
	d.serve(strings.Replace(delegating, `delegate: "2001:db8:0:120::/60"`, `delegate: ["`+first+`", "`+second+`"]`, 1))
	d.want(d.ask(RequestMsg, 1, pd(1)), has(second))

	d = newDelegator(t, delegating)
	p := given(t, d.ask(RequestMsg, 30, pd(1)))
	odd := netip.PrefixFrom(p.Addr().Next(), p.Bits()) // host bits that are set
	got := d.ask(Renew, 30, IA{Kind: IAPD, IAID: 1, Prefixes: []netip.Prefix{odd, netip.MustParsePrefix("2001:db8:0:110::/60")}})
	if l := got.Reply.IAs[0].Prefixes; len(l) != 2 || l[0].Prefix != p || l[0].Valid == 0 || l[1].Prefix.String() != "2001:db8:0:110::/60" || l[1].Valid != 0 {
		t.Errorf("the client of %s hears %v", p, l)
	}
	d.want(d.ask(Release, 30, IA{Kind: IAPD, IAID: 1, Prefixes: []netip.Prefix{odd}}), "")
	if b := d.binding(p); b.State != lease.Resting {
		t.Errorf("%s is %s after its Release", p, b.State)
	}
}

// TestDelegateRenamed: a card's part of a pool follows from the card: a host of another name has it again when leases are lost, and
// another card has another.
func TestDelegateRenamed(t *testing.T) {
	same := 0
	for iaid := ident.IAID(1); iaid < 9; iaid++ {
		p := given(t, newDelegator(t, delegating).ask(Solicit, 2, pd(iaid)))
		renamed := strings.Replace(delegating, "  b: {", "  other: {", 1)
		if got := given(t, newDelegator(t, renamed).ask(Solicit, 2, pd(iaid))); got != p {
			t.Errorf("IAID %d: %s, after the host got another name %s", iaid, p, got)
		}
		swapped := strings.Replace(delegating, "52:54:00:aa:01:02", "52:54:00:aa:01:03", 1)
		if given(t, newDelegator(t, swapped).ask(Solicit, 3, pd(iaid))) == p {
			same++
		}
	}
	if same > 4 {
		t.Errorf("another card of the same host is offered the same for %d of 8 IAs", same)
	}
}
