package address

import (
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"bootd.internal/bootd/decide/who"
	"bootd.internal/bootd/ident"
	"bootd.internal/bootd/lease"
	"bootd.internal/bootd/site"
	"bootd.internal/bootd/store"
	"bootd.internal/bootd/timeline"
)

// lastPart is a network with one part, which nobody has a claim to.
const lastPart = `defaults: {preferred: 30m, valid: 1h}
networks:
  rack1: {interface: eth1, prefix: "2001:db8:1::/64", unknown: pool, delegate: {pool: "2001:db8:0:100::/60", length: 60}}
`

const last = "2001:db8:0:100::/60"

// has is the answer to one IA_PD that gets a prefix.
func has(p string) string { return "1: " + p + " 30m0s/1h0m0s T1 15m0s T2 24m0s" }

// TestDelegateRace: everybody is offered the last prefix, one has it, and the others hear that there is none; also when all ask
// at once.
func TestDelegateRace(t *testing.T) {
	d := newDelegator(t, lastPart)
	for client := byte(10); client < 14; client++ {
		d.want(d.ask(Solicit, client, pd(1)), has(last))
	}
	d.want(d.ask(RequestMsg, 11, pd(1, last)), has(last))
	d.want(d.ask(RequestMsg, 10, pd(1, last)), "1: status 6")
	d.want(d.ask(Solicit, 10, pd(1, last)), "1: status 6")
	d.want(d.ask(RequestMsg, 11, pd(2, last)), "2: status 6") // another IA of the same client
	d.want(d.ask(Renew, 11, pd(1, last)), has(last))

	d = newDelegator(t, lastPart)
	var wait sync.WaitGroup
	got := make([]Decision, 16)
	for i := range got {
		m := ident.MAC{0x52, 0x54, 0, 0xaa, 2, byte(i)}
		q := Request{Msg: RequestMsg, Client: ident.NewDUIDLL(m), Server: d.snap.ServerDUID, IAs: []IA{pd(1, last)}, At: site.Arrival{Link: "eth1", Index: 2}}
		q.Evidence = who.Client(q.Client)
		wait.Go(func() {
			if err := d.store.Update(t.Context(), func(v store.View) []store.Op {
				got[i] = Decide(d.snap, v, q, d.now)
				return got[i].Ops
			}); err != nil {
				t.Error(err)
			}
		})
	}
	wait.Wait()
	have := map[string]int{}
	for _, g := range got {
		have[told(g)]++
	}
	if diff := cmp.Diff(map[string]int{has(last): 1, "1: status 6": len(got) - 1}, have); diff != "" {
		t.Error(diff)
	}
}

// TestDelegateReleasedByAnother: who is not the holder gives nothing back: neither by the holder's card under another DUID, nor
// by its DUID with another IAID, nor as a listed host, nor by a prefix around it or inside it.
func TestDelegateReleasedByAnother(t *testing.T) {
	d := newDelegator(t, delegating)
	m := ident.MAC{0x52, 0x54, 0, 0xaa, 1, 30}
	pooled, kept := given(t, d.ask(RequestMsg, 30, pd(1))), given(t, d.ask(RequestMsg, 1, pd(1)))
	around := func(p netip.Prefix, bits int) string { return netip.PrefixFrom(p.Addr(), bits).Masked().String() }
	for _, p := range []netip.Prefix{pooled, kept} {
		before := d.binding(p)
		for name, got := range map[string]Decision{
			"another client":        d.ask(Release, 31, pd(1, p.String())),
			"another host":          d.ask(Release, 2, pd(1, p.String())),
			"the area around":       d.ask(Release, 30, pd(1, around(p, 59))),
			"an area inside":        d.ask(Release, 1, pd(1, around(p, 64))),
			"another IAID":          d.ask(Release, 30, pd(2, p.String())),
			"the host's other IAID": d.ask(Release, 1, pd(2, p.String())),
			"another DUID": d.decide(Request{Msg: Release, Client: ident.DUID("\x00\x01\x00\x01\x01\x02\x03\x04" + string(m[:])), IAs: []IA{pd(1, p.String())}, At: site.Arrival{
				Link: "eth1", Index: 2, Via: m.EUI64(netip.MustParsePrefix("fe80::/64")),
			}}),
		} {
			if !strings.HasSuffix(told(got), ": status 3") || len(got.Ops) > 0 {
				t.Errorf("%s, by %s: %s, %d writes", p, name, told(got), len(got.Ops))
			}
		}
		if diff := cmp.Diff(before, d.binding(p), cmpopts.EquateComparable(netip.Addr{})); diff != "" {
			t.Errorf("%s: %s", p, diff)
		}
	}
}

// TestDelegateExpired: a prefix that ran out is its client's again while it is nobody's; another's, it is gone.
func TestDelegateExpired(t *testing.T) {
	for _, m := range []Msg{RequestMsg, Renew, Rebind} {
		d := newDelegator(t, lastPart)
		d.ask(RequestMsg, 10, pd(1))
		d.now = d.now.Add(2 * time.Hour)
		d.want(d.ask(m, 10, pd(1, last)), has(last))
		if b := d.binding(netip.MustParsePrefix(last)); !b.ValidUntil.Equal(d.now.Add(time.Hour + lease.Slack)) {
			t.Errorf("%s: %+v", m, b)
		}
		d.now = d.now.Add(2 * time.Hour)
		d.want(d.ask(RequestMsg, 11, pd(1)), has(last))
		want := "1: status 3"
		if m == RequestMsg {
			want = "1: status 6"
		}
		d.want(d.ask(m, 10, pd(1, last)), want)
		d.want(d.ask(Release, 10, pd(1, last)), "1: status 3")
		d.want(d.ask(Renew, 11, pd(1, last)), has(last))
	}
}

// TestDelegateLateWord: what a client says of a prefix that ran out long ago takes nothing from whoever has a part of it, or all
// of it and more, since the pool's length changed.
func TestDelegateLateWord(t *testing.T) {
	for _, length := range []string{"64", "56"} {
		for _, m := range []Msg{Release, Renew, Rebind} {
			d := newDelegator(t, strings.Replace(lastPart, "100::/60", "100::/56", 1))
			late := given(t, d.ask(RequestMsg, 10, pd(1, last)))
			d.now = d.now.Add(2 * time.Hour)
			d.serve(strings.NewReplacer("100::/60", "100::/56", "length: 60", "length: "+length).Replace(lastPart))
			p := given(t, d.ask(RequestMsg, 11, pd(1, netip.PrefixFrom(late.Addr(), 64).String(), netip.PrefixFrom(late.Addr(), 56).String())))
			if !p.Overlaps(late) {
				t.Fatalf("%s lies elsewhere than %s", p, late)
			}
			d.ask(m, 10, pd(1, late.String()))
			d.want(d.ask(Renew, 11, pd(1, p.String())), has(p.String()))
		}
	}
}

// TestDelegatePoolMoves: after a reload that moves the pool a held prefix ends at the next word of its client, which has one of
// the new pool in the same answer; until then it is nobody else's.
func TestDelegatePoolMoves(t *testing.T) {
	const elsewhere = "2001:db8:0:200::/60"
	moved := strings.Replace(lastPart, last, elsewhere, 1)
	ended := "1: " + elsewhere + " 30m0s/1h0m0s " + last + " 0s/0s T1 15m0s T2 24m0s"
	for _, m := range []Msg{Renew, Rebind} {
		d := newDelegator(t, lastPart)
		d.ask(RequestMsg, 10, pd(1))
		d.serve(moved)
		d.want(d.ask(m, 11, pd(1, last)), "1: status 3")
		d.want(d.ask(m, 10, pd(1, last)), ended)
		if b := d.binding(netip.MustParsePrefix(last)); b.State != lease.Resting {
			t.Errorf("%s: what lies outside is %s", m, b.State)
		}
		d.want(d.ask(m, 10, pd(1, elsewhere)), has(elsewhere))
		d.serve(lastPart) // back again: it rests for its last holder
		d.want(d.ask(RequestMsg, 11, pd(1)), "1: status 6")
		d.want(d.ask(Renew, 10, pd(1, elsewhere)), "1: "+last+" 30m0s/1h0m0s "+elsewhere+" 0s/0s T1 15m0s T2 24m0s")
	}
	d := newDelegator(t, lastPart)
	d.ask(RequestMsg, 10, pd(1))
	d.serve(moved)
	d.want(d.ask(RequestMsg, 10, pd(1, last)), has(elsewhere))
	d.serve(strings.Replace(lastPart, `, delegate: {pool: "2001:db8:0:100::/60", length: 60}`, "", 1)) // none at all
	d.want(d.ask(Renew, 10, pd(1, last)), "1: "+last+" 0s/0s")
	d.want(d.ask(Release, 10, pd(1, elsewhere)), "")
}

// TestDelegateMovesToAnotherHost: a prefix that the inventory now keeps for another host, while the first still has it, is that
// host's as soon as the first one hears of it, whether the first is still listed or not; never both have it.
func TestDelegateMovesToAnotherHost(t *testing.T) {
	const p = "2001:db8:0:120::/60"
	toB := strings.NewReplacer(`, delegate: "`+p+`"}`, "}", `::102"}`, `::102", delegate: "`+p+`"}`).Replace(delegating)
	gone := strings.Join(append(strings.Split(toB, "\n")[:4], strings.Split(toB, "\n")[5:]...), "\n")
	for name, text := range map[string]string{"still listed": toB, "no longer listed": gone, "no longer answered": strings.Replace(gone, "unknown: pool", "unknown: ignore", 1)} {
		for _, m := range []Msg{Renew, Rebind, Release} {
			d := newDelegator(t, delegating)
			d.want(d.ask(RequestMsg, 1, pd(1)), has(p))
			d.serve(text)
			if early := given(t, d.ask(RequestMsg, 2, pd(1))); early.String() == p {
				t.Fatalf("%s: b has what a still has", name)
			}
			got := told(d.ask(m, 1, pd(1, p)))
			if strings.HasSuffix(name, "answered") {
				if want := "silence: unknown-host"; got != want {
					t.Errorf("%s, %s: %s", name, m, got)
				}
				d.now = d.now.Add(62 * time.Minute)
			} else if m != Release && !strings.Contains(got, p+" 0s/0s") {
				t.Errorf("%s, %s: a hears %q", name, m, got)
			}
			if got := given(t, d.ask(RequestMsg, 2, pd(1))); got.String() != p {
				t.Errorf("%s: after a %s b has %s", name, m, got)
			}
			if got := told(d.ask(RequestMsg, 1, pd(1, p))); strings.Contains(got, p) {
				t.Errorf("%s: both have it: %s", name, got)
			}
		}
	}
}

// TestDelegateListedLater: a client of the pool that the inventory lists by its card keeps its part, and so does a host that is
// listed no more.
func TestDelegateListedLater(t *testing.T) {
	d := newDelegator(t, delegating)
	p := given(t, d.ask(RequestMsg, 9, pd(1)))
	d.serve(delegating + fmt.Sprintf("  c: {mac: %q, address: \"2001:db8:1::103\"}\n", ident.MAC{0x52, 0x54, 0, 0xaa, 1, 9}))
	d.want(d.ask(Renew, 9, pd(1, p.String())), has(p.String()))
	if b := d.binding(p); b.Holder != "c/net0" {
		t.Errorf("held by %q", b.Holder)
	}
	d.serve(delegating)
	d.want(d.ask(Renew, 9, pd(1, p.String())), has(p.String()))
	if b := d.binding(p); !strings.HasPrefix(b.Holder, lease.ClientPrefix) {
		t.Errorf("held by %q", b.Holder)
	}
	d.want(d.ask(Release, 9, pd(1, p.String())), "")
}

// TestDelegateResized: where the length of what a client gets changes, its own old prefix does not stand in its way: the new one
// may have addresses of it, and comes with the very answer that ends the old one. To others the old one is still taken.
func TestDelegateResized(t *testing.T) {
	const kept = "2001:db8:0:120::/60"
	for _, now := range []string{"2001:db8:0:120::/59", "2001:db8:0:128::/61"} {
		for _, m := range []Msg{Renew, Rebind, RequestMsg} {
			d := newDelegator(t, delegating)
			d.want(d.ask(RequestMsg, 1, pd(1)), has(kept))
			d.serve(strings.Replace(delegating, kept, now, 1))
			got := told(d.ask(m, 1, pd(1, kept)))
			if want := "1: " + now + " 30m0s/1h0m0s"; !strings.HasPrefix(got, want) {
				t.Errorf("%s: a host whose %s became %s hears %q", m, kept, now, got)
			}
			d.want(d.ask(Renew, 1, pd(1, now)), has(now))
			d.ask(Release, 1, pd(1, now))
			d.want(d.ask(RequestMsg, 1, pd(1)), has(now))
		}
	}
	d := newDelegator(t, lastPart)
	d.want(d.ask(RequestMsg, 10, pd(1)), has(last))
	d.serve(strings.Replace(lastPart, "length: 60", "length: 64", 1))
	d.want(d.ask(RequestMsg, 11, pd(1)), "1: status 6")
	d.want(d.ask(RequestMsg, 10, pd(2)), "2: status 6")
	p := d.ask(Renew, 10, pd(1, last)).Reply.IAs[0].Prefixes
	if len(p) != 2 || p[0].Prefix.Bits() != 64 || p[1].Prefix.String() != last || p[1].Valid != 0 {
		t.Fatalf("the client of the only part hears %v", p)
	}
	d.want(d.ask(Renew, 10, pd(1, p[0].Prefix.String())), has(p[0].Prefix.String()))
	d.want(d.ask(RequestMsg, 11, pd(1)), "1: status 6") // it rests
	d.now = d.now.Add(lease.RestFor + time.Second)
	given(t, d.ask(RequestMsg, 11, pd(1)))
}

// TestDelegateWaits: a host that has to wait for what is kept for it is told of with who has it, or has a part of it.
func TestDelegateWaits(t *testing.T) {
	d := newDelegator(t, lastPart)
	d.ask(RequestMsg, 10, pd(1))
	for kept, want := range map[string]string{
		last:                   `held by "duid 00:03:00:01:52:54:00:aa:01:0a iaid 00000001" until `,
		"2001:db8:0:100::/56":  last + ` is held by "duid 00:03:00:01:52:54:00:aa:01:0a iaid 00000001" until `,
		"2001:db8:0:10f::/64":  last + ` is held by "duid 00:03:00:01:52:54:00:aa:01:0a iaid 00000001" until `,
		"2001:db8:0:1000::/64": "",
	} {
		text := lastPart
		if kept == "2001:db8:0:100::/56" { // a pool may not lie inside it
			text = strings.Replace(lastPart, last, "2001:db8:0:200::/60", 1)
		}
		d.serve(text + "hosts:\n  a: {mac: \"52:54:00:aa:01:01\", address: \"2001:db8:1::101\", delegate: \"" + kept + "\"}\n")
		got := ""
		for _, e := range d.ask(Solicit, 1, pd(1)).Events {
			if e.Kind == timeline.Warning && e.Addr == kept {
				got += e.Detail
			}
		}
		if got, _, _ = strings.Cut(got, "20"+d.now.Format("06")+"-"); got != want {
			t.Errorf("%s: told %q, want %q", kept, got, want)
		}
	}
}

// shrunk is a pool whose 32 parts are /48s now and were longer; each holds one prefix in force, near its end.
func shrunk(t testing.TB, bits int) *delegator {
	t.Helper()
	d := newDelegator(t, `networks:
  rack1: {interface: eth1, prefix: "2001:db8:1::/64", unknown: pool, delegate: {pool: "2001:db8:4000::/43", length: 48}}
`)
	var ops []store.Op
	var areas []byte
	for i := range byte(32) {
		p, _ := netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 0x40, i, 0xff, 0xff}).Prefix(bits)
		until := d.now.Add(time.Hour)
		held := lease.Binding{Holder: "duid 1 iaid 1", Network: "rack1"}.Grant(lease.Claim{}, until, until)
		ops = append(ops, store.Op{Key: lease.PrefixKey(p), Value: held.Encode()})
		if rec := areaOf(p); !bytes.Contains(areas, rec) {
			areas = append(areas, rec...)
		}
	}
	ops = append(ops, store.Op{Key: areasKey(), Value: areas})
	if err := d.store.Update(context.Background(), func(store.View) []store.Op { return ops }); err != nil {
		t.Fatal(err)
	}
	return d
}

// shrunkSolicit is a Solicit of somebody who has nothing there.
func shrunkSolicit() Request {
	q := Request{Msg: Solicit, Client: ident.NewDUIDLL(ident.MAC{0x52, 0x54, 0, 0xaa, 1, 99}), IAs: []IA{pd(1)}, At: site.Arrival{Link: "eth1"}}
	q.Evidence = who.Client(q.Client)
	return q
}

// TestDelegateShrunk: one message reads no more than maxLooks prefixes inside larger ones, whatever the pool was before, and gives
// nothing of which another client has a part; where it can look at all, what ran out is free again.
func TestDelegateShrunk(t *testing.T) {
	for bits, again := range map[int]bool{64: false, 58: true} {
		d := shrunk(t, bits)
		reads := 0
		ask := func() (out Decision) {
			reads = 0
			d.store.Read(func(v store.View) { out = Decide(d.snap, counting{v, &reads}, shrunkSolicit(), d.now) })
			return out
		}
		d.want(ask(), "1: status 6")
		if reads > maxLooks+500 {
			t.Errorf("/%d: one message looks at %d records", bits, reads)
		}
		d.now = d.now.Add(2 * time.Hour)
		if got := told(ask()); again == (got == "1: status 6") {
			t.Errorf("/%d: when all ran out: %s", bits, got)
		}
		if reads > maxLooks+500 {
			t.Errorf("/%d: one message looks at %d records", bits, reads)
		}
	}
}

// BenchmarkDelegateShrunk is one Solicit in a pool of /48s that was one of /64s.
func BenchmarkDelegateShrunk(b *testing.B) {
	d := shrunk(b, 64)
	q := shrunkSolicit()
	for b.Loop() {
		d.store.Read(func(v store.View) { Decide(d.snap, v, q, d.now) })
	}
}
