package address

import (
	"net/netip"
	"sync"
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

const inventory = `defaults: {domain: example.net, preferred: 6h, valid: 12h}
networks:
  rack1: {interface: eth1, prefix: "2001:db8:1::/64", search: [example.net]}
  rack2: {interface: eth2, prefix: "2001:db8:2::/64"}
hosts:
  a: {mac: "52:54:00:aa:01:01", address: "::101", network: rack1}
  b: {mac: "52:54:00:aa:01:02", address: "::102", network: rack1, uuid: 00112233-4455-6677-8899-aabbccddeeff}
  twin: {mac: "52:54:00:aa:01:03", address: ["::201", "::202"], network: rack1}
  grub: {mac: "52:54:00:aa:01:04", address: "::104", loader: "debian/grubx64.efi"}
`

func macA() ident.MAC { return ident.MAC{0x52, 0x54, 0, 0xaa, 1, 1} }
func macB() ident.MAC { return ident.MAC{0x52, 0x54, 0, 0xaa, 1, 2} }

func snapshot(t testing.TB) *site.Snapshot {
	t.Helper()
	return sitetest.Snapshot(t, inventory, sitetest.Facts(
		sitetest.Link(t, 2, "eth1", "2001:db8:1::1/64"), sitetest.Link(t, 3, "eth2", "2001:db8:2::1/64")))
}

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

// from is a message of a card on eth1 with one IA_NA 7 that names addresses.
func from(m ident.MAC, msg Msg, named ...string) Request {
	q := Request{
		Msg: msg, Client: ident.NewDUIDLL(m), Evidence: who.Frame(m),
		At: site.Arrival{Link: "eth1", Index: 2, Source: m.EUI64(netip.MustParsePrefix("fe80::/64"))},
	}
	ia := IA{Kind: IANA, IAID: 7}
	for _, n := range named {
		ia.Addrs = append(ia.Addrs, addr(n))
	}
	switch msg {
	case RequestMsg, Renew, Release, Decline:
		q.Server = sitetest.Facts().ServerDUID
	case InformationRequest:
		return q
	}
	q.IAs = []IA{ia}
	return q
}

// result is a Decision with its Ops as what the store holds afterwards.
type result struct {
	Decision Decision
	Leases   map[string]lease.Binding
}

func bound(host string, m ident.MAC, claims ...lease.Claim) lease.Binding {
	return lease.Binding{
		Holder: host + "/net0", Network: "rack1", MAC: m, Claims: claims, State: lease.Bound,
		PreferredUntil: sitetest.Now().Add(6*time.Hour + lease.Slack),
		ValidUntil:     sitetest.Now().Add(12*time.Hour + lease.Slack),
	}
}

func claim(m ident.MAC, iaid ident.IAID) lease.Claim {
	return lease.Claim{DUID: ident.NewDUIDLL(m), IAID: iaid}
}

func with(b lease.Binding, state lease.State, forTime time.Duration) lease.Binding {
	b.State = state
	b.PreferredUntil, b.ValidUntil = sitetest.Now(), sitetest.Now().Add(forTime)
	return b
}

func granted(kind IAKind, id ident.IAID, a string) IAReply {
	return IAReply{
		Kind: kind, IAID: id, T1: 3 * time.Hour, T2: 4*time.Hour + 48*time.Minute,
		Addrs: []Lease{{Addr: addr(a), Preferred: 6 * time.Hour, Valid: 12 * time.Hour}},
	}
}

func refused(kind IAKind, id ident.IAID, code uint16) IAReply {
	return IAReply{Kind: kind, IAID: id, Status: status(code)}
}

func reply(msg Msg, ias ...IAReply) *Reply {
	return &Reply{Msg: msg, Preference: noPreference, IAs: ias}
}

func offer255(ias ...IAReply) *Reply { return &Reply{Msg: Advertise, Preference: 255, IAs: ias} }

func success(ias ...IAReply) *Reply {
	return &Reply{Msg: ReplyMsg, Preference: noPreference, Status: status(Success), IAs: ias}
}

func of(host string, r reason.Reason) reason.Outcome {
	return reason.Outcome{Reason: r, Host: host, Network: "rack1", Rule: "frame-mac"}
}

func event(k timeline.Kind, host string, m ident.MAC, r reason.Reason, a, detail string) timeline.Event {
	return timeline.Event{Kind: k, Reason: r, Host: host, Network: "rack1", MAC: m, Addr: a, Detail: detail}
}

// decide runs one Decide over leases and gives what the store holds then.
func decide(t testing.TB, snap *site.Snapshot, s store.Store, q Request, now time.Time) result {
	t.Helper()
	var r result
	err := s.Update(t.Context(), func(v store.View) []store.Op {
		r.Decision = Decide(snap, v, q, now)
		reused(t, r.Decision, snap, v, q, now)
		return r.Decision.Ops
	})
	if err != nil {
		t.Fatal(err)
	}
	for k, raw := range s.Scan(store.TableLease, "") {
		b, err := lease.Decode(raw)
		if err != nil {
			t.Fatal(err)
		}
		if r.Leases == nil {
			r.Leases = map[string]lease.Binding{}
		}
		p, err := lease.Prefix(k)
		if err != nil {
			t.Fatal(err)
		}
		r.Leases[p.Addr().String()] = b
	}
	return r
}

func storeOf(t testing.TB, leases map[string]lease.Binding) store.Store {
	t.Helper()
	s := memory.New()
	err := s.Update(t.Context(), func(store.View) []store.Op {
		var ops []store.Op
		for a, b := range leases {
			ops = append(ops, store.Op{Key: lease.Key(addr(a)), Value: b.Encode()})
		}
		return ops
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

type leases = map[string]lease.Binding

type decision struct {
	name   string
	before leases
	req    Request
	want   Decision
	after  leases // nil: as before
}

func TestDecide(t *testing.T) {
	snap := snapshot(t)
	for _, table := range [][]decision{validity(), solicits(), requests(), renewals(), returns(), rest(), several(), odd()} {
		for _, c := range table {
			t.Run(c.name, func(t *testing.T) {
				got := decide(t, snap, storeOf(t, c.before), c.req, sitetest.Now())
				if c.after == nil {
					c.after = c.before
				}
				if c.after != nil && len(got.Decision.Ops) > 0 == cmp.Equal(c.before, c.after, compare()) {
					t.Errorf("%d writes", len(got.Decision.Ops))
				}
				got.Decision.Ops = nil
				if diff := cmp.Diff(result{c.want, c.after}, got, compare()); diff != "" {
					t.Error(diff)
				}
			})
		}
	}
}

func compare() cmp.Option { return cmpopts.EquateComparable(netip.Addr{}) }

func silent(r reason.Reason) Decision { return Decision{Outcome: reason.Outcome{Reason: r}} }

// validity is RFC 8415 section 16, and who is answered at all.
func validity() []decision {
	change := func(q Request, f func(*Request)) Request { f(&q); return q }
	noClient := func(q *Request) { q.Client = "" }
	noServer := func(q *Request) { q.Server = "" }
	ours := func(q *Request) { q.Server = sitetest.Facts().ServerDUID }
	other := func(q *Request) { q.Server = ident.NewDUIDLL(macB()) }
	direct := func(q *Request) { q.At.Dest = addr("2001:db8:1::1") }
	stranger := ident.MAC{2, 0, 0, 0, 0, 9}
	out := []decision{
		{name: "Information-request for another server", req: change(from(macA(), InformationRequest), other), want: silent(reason.OtherServer)},
		{name: "Information-request with an IA", req: change(from(macA(), InformationRequest), func(q *Request) { q.IAs = []IA{{Kind: IANA}} }), want: silent(reason.Malformed)},
		{name: "Information-request for this server", req: change(from(macA(), InformationRequest), ours), want: Decision{Outcome: of("a", reason.Answered), Reply: reply(ReplyMsg), Reserved: true}},
		{name: "Information-request without client", req: change(from(macA(), InformationRequest), noClient), want: Decision{Outcome: of("a", reason.Answered), Reply: reply(ReplyMsg), Reserved: true}},
		{name: "Advertise", req: Request{Msg: Advertise}, want: silent(reason.NotForServers)},
		{name: "Reply", req: Request{Msg: ReplyMsg}, want: silent(reason.NotForServers)},
		{name: "unknown type", req: Request{Msg: 77}, want: silent(reason.UnknownMessage)},
		{name: "link that is not served", req: change(from(macA(), Solicit), func(q *Request) { q.At.Link = "eth9" }), want: silent(reason.NotServedLink)},
		{name: "relayed", req: change(from(macA(), Solicit), func(q *Request) { q.At.Relay = addr("2001:db8:1::2") }), want: silent(reason.UnconfiguredRelay)},
		{
			name: "host of another network", req: change(from(macA(), Solicit), func(q *Request) { q.At.Link = "eth2" }),
			want: Decision{
				Outcome: reason.Outcome{Reason: reason.WrongNetwork, Host: "a", Network: "rack2", Rule: "frame-mac"},
				Events: []timeline.Event{{
					Kind: timeline.DHCPIgnored, Reason: reason.WrongNetwork, Host: "a", Network: "rack2", MAC: macA(),
					Detail: "Solicit on rack2, but the inventory lists it for rack1",
				}},
			},
		},
		{
			name: "stranger", req: from(stranger, Solicit),
			want: Decision{
				Outcome: reason.Outcome{Reason: reason.UnknownHost, Network: "rack1"},
				Events: []timeline.Event{{
					Kind: timeline.DHCPIgnored, Reason: reason.UnknownHost, Network: "rack1", MAC: stranger,
					Detail: "Solicit from DUID 00:03:00:01:02:00:00:00:00:09",
				}},
				Heard: &timeline.Machine{
					MAC: stranger, Network: "rack1", Link: "eth1", DUID: ident.NewDUIDLL(stranger), Client: "system",
				},
			},
		},
	}
	for _, m := range []Msg{Solicit, RequestMsg, Confirm, Renew, Rebind, Release, Decline, InformationRequest} {
		out = append(out,
			decision{name: m.String() + " to a server's address", req: change(from(macA(), m), direct), want: silent(reason.UnicastForbidden)})
	}
	for _, m := range []Msg{Renew, Rebind, Release, Decline} { // RFC 9915 knows no IA_TA
		want := Decision{Outcome: of("a", reason.NoBinding), Reply: reply(ReplyMsg, refused(IATA, 9, NoBinding)), Reserved: true}
		if m == Release || m == Decline {
			want.Reply, want.Reserved = success(refused(IATA, 9, NoBinding)), false
		}
		temporary := func(q *Request) { q.IAs = []IA{{Kind: IATA, IAID: 9, Addrs: []netip.Addr{addr("2001:db8:1::101")}}} }
		out = append(out, decision{name: m.String() + " of an IA_TA", req: change(from(macA(), m), temporary), want: want})
	}
	for _, m := range []Msg{Solicit, Confirm, Rebind} {
		out = append(out,
			decision{name: m.String() + " without client", req: change(from(macA(), m), noClient), want: silent(reason.NoClientID)},
			decision{name: m.String() + " with server", req: change(from(macA(), m), ours), want: silent(reason.ServerIDForbidden)})
	}
	for _, m := range []Msg{RequestMsg, Renew, Release, Decline} {
		out = append(out,
			decision{name: m.String() + " without client", req: change(from(macA(), m), noClient), want: silent(reason.NoClientID)},
			decision{name: m.String() + " without server", req: change(from(macA(), m), noServer), want: silent(reason.NoServerID)},
			decision{name: m.String() + " for another server", req: change(from(macA(), m), other), want: silent(reason.OtherServer)})
	}
	return out
}

// one is a room that all decisions of these tests used before: nothing of them may be seen in the next.
var one struct {
	sync.Mutex
	Room
	looks int
}

// roomLooks is how often that is looked at: a flood of thousands shows nothing further.
const roomLooks = 3000

func reused(t testing.TB, want Decision, snap *site.Snapshot, v store.View, q Request, now time.Time) {
	t.Helper()
	one.Lock()
	defer one.Unlock()
	if one.looks++; one.looks > roomLooks {
		return
	}
	got := one.Decide(snap, v, q, now)
	if diff := cmp.Diff(want, got, cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{}), cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("in a room that was used: %s", diff)
	}
}
