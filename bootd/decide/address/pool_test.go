package address

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

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

const pooledRack = `defaults: {preferred: 6h, valid: 12h}
networks:
  rack1:
    interface: eth1
    prefix: "2001:db8:1::/64"
    unknown: pool
    pool: {ranges: "::1000-::10ff", exclude: ["::1010", "::10f0-::10f8"]}
hosts:
  a: {mac: "52:54:00:aa:01:01", address: "::1001"}
`

// poolSize: 256 without ten excluded ones and the host's.
const poolSize = 256 - 10 - 1

// client is one DHCP client behind a card: a DUID that says nothing of it.
func client(i int, msg Msg, named ...string) Request {
	q := from(guestMAC(uint32(i)), msg, named...)
	q.Client = ident.DUID(binary.BigEndian.AppendUint32([]byte{0, 2, 0, 0, 0xab, 0x11}, uint32(i)))
	q.Evidence = append(who.Frame(guestMAC(uint32(i))), who.Client(q.Client)...)
	if msg == Decline {
		q.PutAside = 1
	}
	return q
}

// TestPool compares the whole answer that an unlisted client gets.
func TestPool(t *testing.T) {
	snap, m := openRack(t, pooledRack), guestMAC(9)
	q := client(9, RequestMsg)
	got := Decide(snap, emptyView{}, q, sitetest.Now())
	if got.Reply == nil || len(got.Reply.IAs) != 1 || len(got.Reply.IAs[0].Addrs) != 1 {
		t.Fatalf("got %+v", got)
	}
	a := got.Reply.IAs[0].Addrs[0].Addr
	holder := "duid 00:02:00:00:ab:11:00:00:00:09 iaid 00000007"
	want := Decision{
		Outcome: reason.Outcome{Reason: reason.Changed, Network: "rack1", Rule: "unknown: pool"},
		Reply:   reply(ReplyMsg, granted(IANA, 7, a.String())),
		Ops: []store.Op{
			{Key: lease.Key(a), Value: lease.Binding{
				Holder: holder, Network: "rack1", MAC: m, Claims: []lease.Claim{{DUID: q.Client, IAID: 7}}, State: lease.Bound,
				PreferredUntil: sitetest.Now().Add(6*time.Hour + lease.Slack), ValidUntil: sitetest.Now().Add(12*time.Hour + lease.Slack),
			}.Encode()},
			{Key: lease.HeldKey("rack1", holder), Value: a.AsSlice()},
		},
		Events: []timeline.Event{{Kind: timeline.DHCPLease, Reason: reason.Changed, Network: "rack1", MAC: m, Addr: a.String()}},
		Heard: &timeline.Machine{
			MAC: m, Network: "rack1", Link: "eth1", DUID: q.Client, Client: "system", Addr: a.String(),
		},
	}
	if diff := cmp.Diff(want, got, compare()); diff != "" {
		t.Error(diff)
	}
	if n, _ := snap.Network("rack1"); snap.PoolOf(n, a) == nil || n.Pools[0].Size != poolSize {
		t.Errorf("%s is not of the pool, or it has %d addresses", a, n.Pools[0].Size)
	}
}

// TestPoolIsStable: who lost its lease, together with all the others, gets its old address back; so does a machine whose
// DUID is new, once nobody holds the address.
func TestPoolIsStable(t *testing.T) {
	snap, engine := openRack(t, `networks: {rack1: {interface: eth1, prefix: "2001:db8:1::/64", unknown: pool}}`), memory.New()
	had := map[int]netip.Addr{}
	for i := range 200 {
		had[i] = asks(t, engine, snap, client(i, RequestMsg), sitetest.Now())
		if p := netip.MustParsePrefix("2001:db8:1::d:0/112"); !p.Contains(had[i]) {
			t.Fatalf("client %d got %s", i, had[i])
		}
	}
	empty := memory.New() // every lease is lost
	for i, a := range had {
		if got := asks(t, empty, snap, client(i, RequestMsg), sitetest.Now()); got != a {
			t.Errorf("client %d got %s, had %s", i, got, a)
		}
		another := client(i, RequestMsg)
		another.Client = ident.DUID("\x00\x02reinstalled")
		another.Evidence = append(who.Frame(guestMAC(uint32(i))), who.Client(another.Client)...)
		if got := asks(t, memory.New(), snap, another, sitetest.Now()); got != a {
			t.Errorf("client %d reinstalled got %s, had %s", i, got, a)
		}
	}
}

// TestPoolByDUIDAndIAID: behind one card speak many clients, and each IA of one is a lease of its own; a message with
// several is answered whole, with one T1 and T2.
func TestPoolByDUIDAndIAID(t *testing.T) {
	snap, engine := openRack(t, pooledRack), memory.New()
	seen := map[netip.Addr]bool{}
	for i := range 20 {
		q := client(1, RequestMsg)
		q.Client = ident.DUID(fmt.Sprintf("\x00\x02many%d", i))
		q.IAs = append(q.IAs, IA{Kind: IANA, IAID: 8}, IA{Kind: IATA, IAID: 9}, IA{Kind: IANA, IAID: 7})
		d := decide(t, snap, engine, q, sitetest.Now()).Decision
		ias := d.Reply.IAs
		for _, ia := range ias[:2] {
			if len(ia.Addrs) != 1 || seen[ia.Addrs[0].Addr] || ia.T1 != 3*time.Hour || ia.T2 != 4*time.Hour+48*time.Minute {
				t.Fatalf("client %d got %+v", i, ia)
			}
			seen[ia.Addrs[0].Addr] = true
		}
		want := []IAReply{refused(IATA, 9, NoAddrsAvail), refused(IANA, 7, NoAddrsAvail)}
		if diff := cmp.Diff(want, ias[2:], compare()); diff != "" {
			t.Error(diff)
		}
		again := decide(t, snap, engine, q, sitetest.Now().Add(time.Second)).Decision
		if diff := cmp.Diff(d.Reply, again.Reply, compare()); diff != "" || again.Reason != reason.Retransmit || len(again.Ops) != 0 {
			t.Errorf("a retransmit: %s, %d writes: %s", again.Reason, len(again.Ops), diff)
		}
	}
}

// TestPoolHints: an address that a client names is given where it may be.
func TestPoolHints(t *testing.T) {
	snap, engine := openRack(t, pooledRack), memory.New()
	holder := asks(t, engine, snap, client(1, RequestMsg, "2001:db8:1::1020"), sitetest.Now())
	if holder != addr("2001:db8:1::1020") {
		t.Fatalf("a free address that was named: got %s", holder)
	}
	for i, c := range []struct{ name, hint string }{
		{"another's", "2001:db8:1::1020"},
		{"a host's", "2001:db8:1::1001"},
		{"excluded", "2001:db8:1::1010"},
		{"outside the pool", "2001:db8:1::2000"},
		{"our own", "2001:db8:1::1"},
	} {
		got := asks(t, engine, snap, client(10+i, RequestMsg, c.hint), sitetest.Now())
		if n, _ := snap.Network("rack1"); got == addr(c.hint) || snap.PoolOf(n, got) == nil {
			t.Errorf("%s: named %s, got %s", c.name, c.hint, got)
		}
	}
	if got := asks(t, engine, snap, client(1, RequestMsg, "2001:db8:1::1050"), sitetest.Now()); got != holder {
		t.Errorf("who has a lease and names another address got %s, has %s", got, holder)
	}
	off := Decide(snap, emptyView{}, client(3, RequestMsg, "2001:db8:9::1"), sitetest.Now())
	if diff := cmp.Diff([]IAReply{refused(IANA, 7, NotOnLink)}, off.Reply.IAs, compare()); diff != "" {
		t.Error(diff)
	}
}

// TestPoolIsUsedToTheLast: each address is given, none twice, and who comes too late is told so; a host is served all the
// time. A released address rests for an hour, for nobody but its last holder.
func TestPoolIsUsedToTheLast(t *testing.T) {
	snap, engine, now := openRack(t, pooledRack), memory.New(), sitetest.Now()
	holders := map[netip.Addr]int{}
	for i := range poolSize {
		a := asks(t, engine, snap, client(i, RequestMsg), now)
		if other, twice := holders[a]; twice || !a.IsValid() {
			t.Fatalf("client %d got %s, which client %d holds", i, a, other)
		}
		holders[a] = i
	}
	late := client(poolSize, Solicit)
	d := Decide(snap, view{engine}, late, now)
	want := Decision{
		Outcome: reason.Outcome{Reason: reason.NoAddrsAvail, Network: "rack1", Rule: "unknown: pool"},
		Reply:   &Reply{Msg: Advertise, Preference: noPreference, IAs: []IAReply{refused(IANA, 7, NoAddrsAvail)}},
		Events: []timeline.Event{
			{
				Kind: timeline.Warning, Reason: reason.NoAddrsAvail, Network: "rack1", MAC: guestMAC(poolSize),
				Detail: "no address is left for it in the pool of rack1",
			},
			{Kind: timeline.DHCPSolicit, Network: "rack1", MAC: guestMAC(poolSize)},
		},
		Reserved: true,
	}
	d.Heard = nil
	if diff := cmp.Diff(want, d, compare()); diff != "" {
		t.Error(diff)
	}
	if a := asks(t, engine, snap, from(macA(), RequestMsg), now); a != addr("2001:db8:1::1001") {
		t.Errorf("the host got %s", a)
	}
	use := CountPools(snap, engine.Scan(store.TableLease, ""), now)
	if diff := cmp.Diff([]PoolUse{{Network: "rack1", Size: poolSize, Bound: poolSize}}, use); diff != "" || use[0].Percent() != 100 {
		t.Error(diff)
	}

	var some netip.Addr
	for some = range holders {
		break
	}
	leaver := holders[some]
	decide(t, snap, engine, client(leaver, Release, some.String()), now)
	if a := asks(t, engine, snap, client(poolSize, RequestMsg), now.Add(30*time.Minute)); a.IsValid() {
		t.Errorf("a resting address %s was given away", a)
	}
	if use := CountPools(snap, engine.Scan(store.TableLease, ""), now); use[0].Resting != 1 || use[0].Used() != poolSize {
		t.Errorf("got %+v", use)
	}
	if a := asks(t, engine, snap, client(poolSize, RequestMsg), now.Add(lease.RestFor)); a != some {
		t.Errorf("got %s after the rest of %s", a, some)
	}
	notes, leases := 0, 0
	for range engine.Scan(store.TableHeld, "") {
		notes++
	}
	for range engine.Scan(store.TableLease, "") {
		leases++
	}
	if notes != poolSize || leases != poolSize+1 {
		t.Errorf("%d notes and %d leases", notes, leases)
	}
}

// view reads a store's state as it is.
type view struct{ *memory.Engine }

func (v view) Get(k store.Key) (raw []byte, ok bool) {
	v.Read(func(in store.View) { raw, ok = in.Get(k) })
	return raw, ok
}

func (v view) Peek(k store.Key) ([]byte, bool) { return v.Get(k) }

// TestPoolFlood: offers are no leases. A flood of Solicits writes nothing and leaves the pool as it is, and a host gets its
// answer in the middle of it.
func TestPoolFlood(t *testing.T) {
	snap, engine := openRack(t, pooledRack), memory.New()
	for i := range 5000 {
		got := decide(t, snap, engine, client(i, Solicit), sitetest.Now())
		if len(got.Decision.Ops) != 0 || len(got.Leases) != 0 || got.Decision.Reply == nil {
			t.Fatalf("a Solicit wrote %d records", len(got.Decision.Ops))
		}
		if i%500 == 0 {
			if d := Decide(snap, emptyView{}, from(macA(), Solicit), sitetest.Now()); d.Reason != reason.Answered {
				t.Errorf("the host got %s", d.Reason)
			}
		}
	}
}

// TestPoolReservationWins: a reservation that comes while somebody holds its address waits for it; the holder is moved at
// its next Renew, and then the host gets it.
func TestPoolReservationWins(t *testing.T) {
	before := openRack(t, pooledRack)
	after := openRack(t, pooledRack+"  b: {mac: \"52:54:00:aa:01:02\", address: \"::1020\"}\n")
	for _, msg := range []Msg{Renew, Rebind} {
		engine, now := memory.New(), sitetest.Now()
		old := asks(t, engine, before, client(1, RequestMsg, "2001:db8:1::1020"), now)
		if early := decide(t, after, engine, from(macB(), RequestMsg), now).Decision; early.Reason != reason.NoAddrsAvail {
			t.Errorf("the host got %s while another holds its address", early.Reason)
		}
		if a := asks(t, engine, after, client(2, RequestMsg, "2001:db8:1::1020"), now); a == old || !a.IsValid() {
			t.Errorf("another client got %s", a)
		}
		d := decide(t, after, engine, client(1, msg, old.String()), now.Add(time.Minute)).Decision
		if d.Reply == nil || len(d.Reply.IAs) != 1 || len(d.Reply.IAs[0].Addrs) != 2 {
			t.Fatalf("%s: got %+v", msg, d)
		}
		moved, gone := d.Reply.IAs[0].Addrs[0], d.Reply.IAs[0].Addrs[1]
		if moved.Addr == old || moved.Valid != 12*time.Hour || gone != (Lease{Addr: old}) {
			t.Errorf("%s: got %+v and %+v", msg, moved, gone)
		}
		if a := asks(t, engine, after, from(macB(), RequestMsg), now.Add(2*time.Minute)); a != old {
			t.Errorf("the host got %s, not %s", a, old)
		}
		if a := asks(t, engine, after, client(1, RequestMsg), now.Add(3*time.Minute)); a != moved.Addr {
			t.Errorf("the client asks again and gets %s, not %s", a, moved.Addr)
		}
	}
	// Its holder gives it back, or found another machine that uses it.
	for msg, wait := range map[Msg]time.Duration{Release: time.Minute, Decline: lease.DeclineFor + time.Minute} {
		engine, now := memory.New(), sitetest.Now()
		old := asks(t, engine, before, client(1, RequestMsg, "2001:db8:1::1020"), now)
		decide(t, after, engine, client(1, msg, old.String()), now)
		if a := asks(t, engine, after, from(macB(), RequestMsg), now.Add(wait)); a != old {
			t.Errorf("%s after a %s the host got %s, not %s", wait, msg, a, old)
		}
	}
	// Its holder turns out to be the host itself.
	engine := memory.New()
	q := client(1, RequestMsg, "2001:db8:1::1020")
	q.Evidence = append(who.Frame(macB()), who.Client(q.Client)...)
	old := asks(t, engine, before, q, sitetest.Now())
	if a := asks(t, engine, after, q, sitetest.Now()); a != old {
		t.Errorf("listed, it got %s instead of %s", a, old)
	}
}

// TestPoolOfNothing: an open network whose interface has no prefix yet says so, whatever is asked.
func TestPoolOfNothing(t *testing.T) {
	d := &delegator{t: t, store: memory.New(), now: sitetest.Now()}
	d.snap, _ = sitetest.Resolve(t, "networks: {rack1: {interface: eth1, prefix: auto, unknown: pool}}\n", sitetest.Facts(sitetest.Link(t, 2, "eth1")))
	ias := []IA{{Kind: IANA, IAID: 1}, {Kind: IATA, IAID: 2}, pd(3, "::/0")}
	for _, msg := range []Msg{Solicit, RequestMsg} {
		got := d.ask(msg, 9, ias...)
		d.want(got, "1: status 2; 2: status 2; 3: status 6")
		if got.Reason != reason.NoPrefix {
			t.Errorf("%s: %s", msg, got.Reason)
		}
	}
	for _, msg := range []Msg{Renew, Rebind, Release, Decline} {
		got := d.ask(msg, 9, IA{Kind: IANA, IAID: 1, Addrs: []netip.Addr{netip.MustParseAddr("2001:db8:1::9")}}, pd(3, "::/0"))
		if strings.Contains(told(got), "/0 ") || len(got.Ops) > 0 {
			t.Errorf("%s: %s", msg, told(got))
		}
	}
	if got := d.ask(Confirm, 9, IA{Kind: IANA, IAID: 1, Addrs: []netip.Addr{netip.MustParseAddr("2001:db8:1::9")}}); got.Reply != nil || got.Reason != reason.NoPrefix {
		t.Errorf("Confirm: %s", told(got))
	}
}

// TestPoolForgery: another client, even behind the same card, changes nothing of a lease.
func TestPoolForgery(t *testing.T) {
	snap, engine, now := openRack(t, pooledRack), memory.New(), sitetest.Now()
	a := asks(t, engine, snap, client(1, RequestMsg), now)
	was := decide(t, snap, engine, client(1, RequestMsg), now).Leases[a.String()]
	for _, msg := range []Msg{Release, Decline, Renew, Rebind, RequestMsg} {
		forged := client(1, msg, a.String())
		forged.Client = "\x00\x02forged"
		forged.Evidence = append(who.Frame(guestMAC(1)), who.Client(forged.Client)...)
		got := decide(t, snap, engine, forged, now.Add(time.Hour))
		if diff := cmp.Diff(was, got.Leases[a.String()], compare()); diff != "" {
			t.Errorf("%s: %s", msg, diff)
		}
		if got.Decision.Reason != reason.NotOwner && msg != RequestMsg {
			t.Errorf("%s: %s", msg, got.Decision.Reason)
		}
	}
}

// TestPoolDecline: the address is put aside for a day, the client gets another, and it is said and counted.
func TestPoolDecline(t *testing.T) {
	snap, engine, now := openRack(t, pooledRack), memory.New(), sitetest.Now()
	a := asks(t, engine, snap, client(1, RequestMsg), now)
	d := decide(t, snap, engine, client(1, Decline, a.String()), now).Decision
	if len(d.Events) != 2 || d.Events[0].Kind != timeline.DHCPDecline || d.Events[1].Kind != timeline.Warning || d.Reason != reason.Changed || d.PutAside != 1 {
		t.Errorf("got %s, %+v", d.Reason, d.Events)
	}
	if b := asks(t, engine, snap, client(1, RequestMsg), now.Add(time.Minute)); b == a || !b.IsValid() {
		t.Errorf("declined %s, got %s", a, b)
	}
	if use := CountPools(snap, engine.Scan(store.TableLease, ""), now.Add(23*time.Hour)); use[0].Declined != 1 {
		t.Errorf("got %+v", use)
	}
	if b := asks(t, engine, snap, client(2, RequestMsg, a.String()), now.Add(24*time.Hour)); b != a {
		t.Errorf("after a day got %s, not %s", b, a)
	}
}

// TestPoolMoved: a client that comes from another link, or whose lease nobody knows.
func TestPoolMoved(t *testing.T) {
	snap := openRack(t, pooledRack)
	confirm := Decide(snap, emptyView{}, client(1, Confirm, "2001:db8:9::5"), sitetest.Now())
	if confirm.Reply == nil || confirm.Reply.Status.Code != NotOnLink {
		t.Errorf("Confirm: %+v", confirm)
	}
	for _, msg := range []Msg{Renew, Rebind} {
		d := Decide(snap, emptyView{}, client(1, msg, "2001:db8:9::5"), sitetest.Now())
		if addrs := d.Reply.IAs[0].Addrs; len(addrs) != 2 || addrs[1] != (Lease{Addr: addr("2001:db8:9::5")}) || addrs[0].Valid == 0 {
			t.Errorf("%s of another link's address: %+v", msg, addrs)
		}
		d = Decide(snap, emptyView{}, client(1, msg, "2001:db8:1::1077"), sitetest.Now())
		if addrs := d.Reply.IAs[0].Addrs; len(addrs) != 1 || addrs[0].Addr != addr("2001:db8:1::1077") {
			t.Errorf("%s of a lost lease: %+v", msg, addrs)
		}
		d = Decide(snap, emptyView{}, client(1, msg, "2001:db8:1::7777"), sitetest.Now())
		if diff := cmp.Diff([]IAReply{refused(IANA, 7, NoBinding)}, d.Reply.IAs, compare()); diff != "" {
			t.Errorf("%s of an address of nobody's: %s", msg, diff)
		}
	}
}

// TestPoolModel plays random messages of many clients over days, in a pool that is too small for them, while hosts come
// and go inside it. No address is outside the pool, excluded, another's or a host's; notes never outnumber leases.
func TestPoolModel(t *testing.T) {
	var snaps []*site.Snapshot
	for i := range 3 {
		snaps = append(snaps, openRack(t, fmt.Sprintf(`defaults: {preferred: 6h, valid: 12h}
networks:
  rack1: {interface: eth1, prefix: "2001:db8:1::/64", unknown: pool, pool: {ranges: "::1000-::101f", exclude: "::1010"}}
hosts:
  a: {mac: "52:54:00:aa:01:01", address: "::100%d"}
`, i)))
	}
	steps := 8000
	if testing.Short() {
		steps = 3000
	}
	type belief struct {
		who   string
		until time.Time
	}
	for seed := range uint64(3) {
		r := rand.New(rand.NewPCG(seed, 2))
		engine, now, snap, holds, grants := memory.New(), sitetest.Now(), snaps[0], map[netip.Addr]belief{}, 0
		for range steps {
			now = now.Add(time.Duration(r.IntN(300)) * time.Second)
			if r.IntN(300) == 0 {
				snap = snaps[r.IntN(len(snaps))]
			}
			msgs := []Msg{Solicit, RequestMsg, RequestMsg, Renew, Rebind, Release, Decline}
			q := client(r.IntN(60), msgs[r.IntN(len(msgs))])
			if r.IntN(10) == 0 {
				q = from(macA(), q.Msg)
			}
			q.RapidCommit = r.IntN(2) == 0
			q.IAs[0].IAID = ident.IAID(r.IntN(2))
			for range r.IntN(3) {
				q.IAs[0].Addrs = append(q.IAs[0].Addrs, netip.MustParseAddr(fmt.Sprintf("2001:db8:1::10%02x", r.IntN(40))))
			}
			d := decide(t, snap, engine, q, now).Decision
			me := fmt.Sprintf("%s %d", q.Client, q.IAs[0].IAID)
			if d.Host != "" {
				me = d.Host
			}
			for _, e := range d.Events {
				if e.Kind == timeline.DHCPRelease || e.Kind == timeline.DHCPDecline {
					delete(holds, addrOf(e))
				}
			}
			if d.Reply == nil || d.Reply.Msg != ReplyMsg {
				continue
			}
			for _, ia := range d.Reply.IAs {
				for _, l := range ia.Addrs {
					nic, fixed := snap.Holder(l.Addr)
					was := holds[l.Addr]
					n, _ := snap.Network("rack1")
					switch {
					case l.Valid == 0:
						if was.who == me {
							delete(holds, l.Addr)
						}
						continue
					case fixed && nic.Host.Name != d.Host, !fixed && snap.PoolOf(n, l.Addr) == nil:
						t.Fatalf("seed %d: %s gave %s to %s", seed, q.Msg, l.Addr, me)
					case was.who != me && was.until.After(now):
						t.Fatalf("seed %d: %s gave %s to %s while %s holds it", seed, q.Msg, l.Addr, me, was.who)
					}
					holds[l.Addr] = belief{me, now.Add(l.Valid)}
					grants++
				}
			}
		}
		notes, leases := 0, 0
		for range engine.Scan(store.TableHeld, "") {
			notes++
		}
		for range engine.Scan(store.TableLease, "") {
			leases++
		}
		if notes > leases || leases > 32 || grants < steps/20 {
			t.Errorf("seed %d: %d notes, %d leases, %d grants", seed, notes, leases, grants)
		}
	}
}

// BenchmarkFullPool is a Solicit of a client for which nothing is left.
func BenchmarkFullPool(b *testing.B) {
	snap, engine := openRack(b, pooledRack), memory.New()
	for i := range poolSize {
		asks(b, engine, snap, client(i, RequestMsg), sitetest.Now())
	}
	q := client(poolSize, Solicit)
	for b.Loop() {
		engine.Read(func(v store.View) { Decide(snap, v, q, sitetest.Now()) })
	}
}
