package who

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"bootd.internal/bootd/ident"
	"bootd.internal/bootd/lease"
	"bootd.internal/bootd/reason"
	"bootd.internal/bootd/site"
	"bootd.internal/bootd/site/sitetest"
	"bootd.internal/bootd/store"
	"bootd.internal/bootd/store/memory"
)

const inventory = `networks:
  rack1: {interface: eth1, prefix: "2001:db8:1::/64"}
  rack2: {interface: eth2, prefix: "2001:db8:2::/64"}
hosts:
  a: {mac: "52:54:00:aa:01:01", address: "::101", network: rack1}
  b: {mac: "52:54:00:aa:01:02", uuid: 00112233-4455-6677-8899-aabbccddeeff, network: rack1}
  two:
    uuid: 00112233-4455-6677-8899-aabbccddee01
    nics:
      eth0: {mac: "52:54:00:aa:01:03", network: rack1}
      eth1: {mac: "52:54:00:aa:01:04", network: rack2}
      eth2: {mac: "52:54:00:aa:01:05", network: rack2}
  eui: {mac: "52:54:00:aa:01:06", address: "::5054:ff:fe11:1111", network: rack1}
`

func mac(n byte) ident.MAC { return ident.MAC{0x52, 0x54, 0, 0xaa, 1, n} }

func snapshot(t testing.TB) *site.Snapshot {
	t.Helper()
	return sitetest.Snapshot(t, inventory, sitetest.Facts(
		sitetest.Link(t, 2, "eth1", "2001:db8:1::1/64"), sitetest.Link(t, 3, "eth2", "2001:db8:2::1/64")))
}

func uuid(t testing.TB, s string) ident.UUID {
	t.Helper()
	u, err := ident.ParseUUID(s)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// summary is a Match in words.
type summary struct {
	Host, NIC string
	Rule      Kind
	Observed  ident.MAC
	Reason    reason.Reason
}

func summarize(m Match) summary {
	s := summary{Rule: m.Rule, Observed: m.Observed, Reason: m.Reason}
	if m.Host != nil {
		s.Host = m.Host.Name
	}
	if m.NIC != nil {
		s.NIC = m.NIC.Holder()
	}
	return s
}

func join(lists ...[]Evidence) []Evidence {
	var out []Evidence
	for _, l := range lists {
		out = append(out, l...)
	}
	return out
}

func TestIdentify(t *testing.T) {
	snap := snapshot(t)
	rack1, _ := snap.Network("rack1")
	rack2, _ := snap.Network("rack2")
	link := netip.MustParsePrefix("fe80::/64")
	b := uuid(t, "00112233-4455-6677-8899-aabbccddeeff")
	stranger := ident.MAC{2, 0, 0, 0, 0, 9}
	relay := func(m ident.MAC) []Evidence { return []Evidence{{Kind: RelayMAC, MAC: m}} }
	learned := ident.DUID("\x00\x02\x00\x00\xab\x11learned")
	s := memory.New()
	rested := lease.Binding{Holder: "b/net0", Network: "rack1", State: lease.Resting}
	err := s.Update(t.Context(), func(v store.View) []store.Op {
		ops := Learn(v, Match{Host: snap.Hosts[0], Rule: FrameMAC}, Client(learned))
		return append(ops, store.Op{Key: lease.Key(netip.MustParseAddr("2001:db8:1::77")), Value: rested.Encode()})
	})
	if err != nil {
		t.Fatal(err)
	}
	unknown := summary{Reason: reason.UnknownHost}
	for _, c := range []struct {
		name string
		net  *site.Network
		ev   []Evidence
		want summary
	}{
		{"nothing", rack1, nil, unknown},
		{"frame", rack1, Frame(mac(1)), summary{"a", "a/net0", FrameMAC, mac(1), reason.None}},
		{"frame before DUID", rack1, join(Frame(mac(1)), Client(ident.NewDUIDLL(mac(2)))), summary{"a", "a/net0", FrameMAC, mac(1), reason.None}},
		{"an unlisted frame beats everything", rack1, join(Frame(stranger), Client(ident.NewDUIDLL(mac(1))), Source(mac(1).EUI64(link))), summary{Observed: stranger, Reason: reason.UnknownHost}},
		{"an unlisted frame inherits no UUID", rack1, join(Frame(stranger), Client(ident.NewDUIDUUID(b))), summary{Observed: stranger, Reason: reason.UnknownHost}},
		{"an unlisted frame inherits no learned DUID", rack1, join(Frame(stranger), Client(learned)), summary{Observed: stranger, Reason: reason.UnknownHost}},
		{"an unlisted frame inherits no lease", rack1, join(Frame(stranger), Source(netip.MustParseAddr("2001:db8:1::101"))), summary{Observed: stranger, Reason: reason.UnknownHost}},
		{"a group address is no frame", rack1, Frame(ident.MAC{1, 0, 0, 0, 0, 1}), unknown},
		{"relay", rack1, join(relay(mac(1)), Client(ident.NewDUIDLL(mac(2)))), summary{"a", "a/net0", RelayMAC, mac(1), reason.None}},
		{"DUID-LL", rack1, Client(ident.NewDUIDLL(mac(1))), summary{"a", "a/net0", DUIDMAC, mac(1), reason.None}},
		{"DUID-LL before the source", rack1, join(Client(ident.NewDUIDLL(mac(1))), Source(mac(2).EUI64(link))), summary{"a", "a/net0", DUIDMAC, mac(1), reason.None}},
		{"a DUID-LL of a card that is not listed steps back", rack1, join(Client(ident.NewDUIDLL(stranger)), Source(mac(1).EUI64(link))), summary{"a", "a/net0", EUI64, mac(1), reason.None}},
		{"a listed DUID-LL from a card that is not listed", rack1, join(Client(ident.NewDUIDLL(mac(1))), Source(stranger.EUI64(link))), summary{Observed: stranger, Reason: reason.UnknownHost}},
		{"an unlisted DUID-LL inherits no lease", rack1, join(Client(ident.NewDUIDLL(stranger)), Source(netip.MustParseAddr("2001:db8:1::101"))), summary{Observed: stranger, Reason: reason.UnknownHost}},
		{"EUI-64", rack1, Source(mac(1).EUI64(link)), summary{"a", "a/net0", EUI64, mac(1), reason.None}},
		{"EUI-64 of a global address", rack1, Source(mac(1).EUI64(netip.MustParsePrefix("2001:db8:1::/64"))), summary{"a", "a/net0", EUI64, mac(1), reason.None}},
		{"an address that looks like EUI-64 but is reserved", rack1, Source(netip.MustParseAddr("2001:db8:1::5054:ff:fe11:1111")), summary{"eui", "eui/net0", LeaseAddr, ident.MAC{}, reason.None}},
		{"UUID as iPXE writes it", rack1, Client(ident.NewDUIDUUID(b)), summary{"b", "b/net0", SMBIOSUUID, ident.MAC{}, reason.None}},
		{"UUID as EDK2 writes it", rack1, Client(ident.NewDUIDUUID(b.Swapped())), summary{"b", "b/net0", SMBIOSUUID, ident.MAC{}, reason.None}},
		{"all zeros", rack1, Client(ident.NewDUIDUUID(ident.UUID{})), unknown},
		{"UUID of a host with one card here", rack1, Client(ident.NewDUIDUUID(uuid(t, "00112233-4455-6677-8899-aabbccddee01"))), summary{"two", "two/eth0", SMBIOSUUID, ident.MAC{}, reason.None}},
		{"UUID of a host with two cards here", rack2, Client(ident.NewDUIDUUID(uuid(t, "00112233-4455-6677-8899-aabbccddee01"))), summary{"two", "", SMBIOSUUID, ident.MAC{}, reason.None}},
		{"UUID of a host of another network", rack2, Client(ident.NewDUIDUUID(b)), summary{"b", "b/net0", SMBIOSUUID, ident.MAC{}, reason.WrongNetwork}},
		{"learned DUID", rack1, Client(learned), summary{"a", "a/net0", LearnedDUID, ident.MAC{}, reason.None}},
		{"reserved address", rack1, Source(netip.MustParseAddr("2001:db8:1::101")), summary{"a", "a/net0", LeaseAddr, ident.MAC{}, reason.None}},
		{"resting address", rack1, Source(netip.MustParseAddr("2001:db8:1::77")), summary{"b", "b/net0", LeaseAddr, ident.MAC{}, reason.None}},
		{"address of nobody", rack1, Source(netip.MustParseAddr("2001:db8:1::78")), unknown},
		{"another network", rack2, Frame(mac(1)), summary{"a", "a/net0", FrameMAC, mac(1), reason.WrongNetwork}},
		{"wherever it is", nil, Frame(mac(1)), summary{"a", "a/net0", FrameMAC, mac(1), reason.None}},
	} {
		var got Match
		s.Read(func(v store.View) { got = Identify(snap, v, c.net, c.ev) })
		if diff := cmp.Diff(c.want, summarize(got)); diff != "" {
			t.Errorf("%s: %s", c.name, diff)
		}
	}
}

// learn runs Learn and gives how many records it wrote.
func learn(t *testing.T, s store.Store, m Match, ev []Evidence) int {
	t.Helper()
	n := 0
	err := s.Update(t.Context(), func(v store.View) []store.Op {
		ops := Learn(v, m, ev)
		n = len(ops)
		return ops
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func records(s store.Store) map[string]string {
	out := map[string]string{}
	for k, v := range s.Scan(store.TableLearned, "") {
		out[k.ID] = string(v)
	}
	return out
}

func TestLearn(t *testing.T) {
	snap, s := snapshot(t), memory.New()
	a, b := Match{Host: snap.Hosts[0], Rule: FrameMAC}, Match{Host: snap.Hosts[1], Rule: FrameMAC}
	u := ident.UUID{15: 7}
	d := ident.NewDUIDUUID(u)
	if n := learn(t, s, a, Client(d)); n != 3 {
		t.Errorf("a new identity took %d writes, want 3", n)
	}
	want := map[string]string{
		"a": `{"uuids":["00000000-0000-0000-0000-000000000007"],"duids":["00:04:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:07"]}`,
		"duid:000400000000000000000000000000000007": `{"host":"a"}`,
		"uuid:00000000-0000-0000-0000-000000000007": `{"host":"a"}`,
	}
	if diff := cmp.Diff(want, records(s)); diff != "" {
		t.Error(diff)
	}
	for name, c := range map[string]struct {
		m  Match
		ev []Evidence
	}{
		"what is known already":              {a, Client(d)},
		"a DUID that holds a MAC":            {a, Client(ident.NewDUIDLL(mac(1)))},
		"a machine that nobody listed":       {Match{Observed: mac(9)}, Client(ident.DUID("\x00\x02abc"))},
		"an identity on the word of another": {Match{Host: snap.Hosts[0], Rule: SMBIOSUUID}, Client(ident.DUID("\x00\x02abc"))},
	} {
		if n := learn(t, s, c.m, c.ev); n != 0 {
			t.Errorf("%s took %d writes", name, n)
		}
	}
	// A second host that shows the same identity takes it from both.
	if n := learn(t, s, b, Client(d)); n != 2 {
		t.Errorf("a shared identity took %d writes, want 2", n)
	}
	if n := learn(t, s, b, Client(d)); n != 0 {
		t.Errorf("a shared identity is written again: %d writes", n)
	}
	s.Read(func(v store.View) {
		if m := Identify(snap, v, nil, Client(d)); m.Host != nil {
			t.Errorf("a shared identity names %s", m.Host.Name)
		}
	})
}

func TestLearnIsBounded(t *testing.T) {
	snap, s := snapshot(t), memory.New()
	for i := range 200 {
		m := Match{Host: snap.Hosts[i%3], Rule: FrameMAC}
		learn(t, s, m, Client(ident.NewDUIDUUID(ident.UUID{14: 1, 15: byte(i / 2)})))
		learn(t, s, m, Client(ident.DUID(fmt.Sprintf("\x00\x02%d", i))))
	}
	got := records(s)
	if most := 3 * (MaxLearned + 1); len(got) > most {
		t.Errorf("%d records of three hosts, at most %d", len(got), most)
	}
	for _, h := range snap.Hosts[:3] {
		l, err := DecodeLearned([]byte(got[h.Name]))
		if err != nil || len(l.UUIDs) > maxUUIDs || len(l.UUIDs)+len(l.DUIDs) != MaxLearned {
			t.Errorf("%s: %d UUIDs, %d DUIDs, error %v", h.Name, len(l.UUIDs), len(l.DUIDs), err)
		}
	}
}

func TestDecodeLearnedRefuses(t *testing.T) {
	_, err := DecodeLearned([]byte("{"))
	if want := "decoding learned identities: unexpected end of JSON input"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}
