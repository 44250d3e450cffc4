package dhcp6

import (
	"net/netip"
	"testing"

	"github.com/insomniacslk/dhcp/dhcpv6"

	"bootd.internal/bootd/decide/address"
	"bootd.internal/bootd/decide/who"
	"bootd.internal/bootd/ident"
	"bootd.internal/bootd/reason"
	"bootd.internal/bootd/site"
	"bootd.internal/bootd/site/sitetest"
	"bootd.internal/bootd/store"
	"bootd.internal/bootd/store/memory"
)

const forgedRack = `networks:
  rack1: {interface: eth1, prefix: "2001:db8::/64", unknown: pool, pool: "::1000-::10ff"}
hosts:
  node0: {mac: "52:54:00:00:01:00", address: "::100"}
`

// victims gives a host and an unlisted client their addresses, and what the store holds of them.
func victims(t testing.TB, snap *site.Snapshot, s store.Store) (addrs []netip.Addr, held map[string]string) {
	t.Helper()
	for _, m := range []ident.MAC{{0x52, 0x54, 0, 0, 1, 0}, {2, 0, 0, 0, 0, 7}} {
		d := ident.NewDUIDLL(m)
		q := address.Request{
			Msg: address.RequestMsg, Client: d, Server: snap.ServerDUID, Evidence: append(who.Frame(m), who.Client(d)...),
			At: site.Arrival{Link: "eth1", Index: 2}, IAs: []address.IA{{Kind: address.IANA, IAID: 7}},
		}
		err := s.Update(t.Context(), func(v store.View) []store.Op {
			got := address.Decide(snap, v, q, sitetest.Now())
			addrs = append(addrs, got.Reply.IAs[0].Addrs[0].Addr)
			return got.Ops
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return addrs, leasesIn(s)
}

func leasesIn(s store.Store) map[string]string {
	all := map[string]string{}
	for k, raw := range s.Scan(store.TableLease, "") {
		all[k.ID] = string(raw)
	}
	return all
}

// FuzzForged: whatever another card says with a name of its own, nothing is changed of what a host and an unlisted client
// have.
func FuzzForged(f *testing.F) {
	snap := sitetest.Snapshot(f, forgedRack, labFacts(f))
	addrs, _ := victims(f, snap, memory.New())
	forger := ident.NewDUIDLL(ident.MAC{2, 0, 0, 0, 0, 9})
	for _, m := range []address.Msg{address.RequestMsg, address.Renew, address.Rebind, address.Release, address.Decline} {
		for _, a := range addrs {
			q := address.Request{Msg: m, Client: forger, IAs: []address.IA{{Kind: address.IANA, IAID: 7, Addrs: []netip.Addr{a}}}}
			if m != address.Rebind {
				q.Server = snap.ServerDUID
			}
			f.Add(encodeRequest(packet{req: q}))
		}
	}
	for _, b := range hostile() {
		f.Add(b)
	}
	f.Add(msg(address.Release, opt(dhcpv6.OptionClientID, []byte(forger)...)))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, why := parse(b)
		if why != reason.None || p.req.Client == ident.NewDUIDLL(ident.MAC{2, 0, 0, 0, 0, 7}) {
			return // with an unlisted client's own DUID and IAID it is that client
		}
		s := memory.New()
		addrs, held := victims(t, snap, s)
		p.req.At = site.Arrival{Link: "eth1", Index: 2}
		p.req.Evidence = append(who.Frame(ident.MAC{2, 0, 0, 0, 0, 9}), who.Client(p.req.Client)...)
		if p.req.Server != "" {
			p.req.Server = snap.ServerDUID
		}
		var d address.Decision
		err := s.Update(t.Context(), func(v store.View) []store.Op {
			d = address.Decide(snap, v, p.req, sitetest.Now())
			return d.Ops
		})
		if err != nil {
			t.Fatal(err)
		}
		after := leasesIn(s)
		for k, raw := range held {
			if after[k] != raw {
				t.Errorf("a %s of another changed %s", p.req.Msg, k)
			}
		}
		if d.Reply == nil {
			return
		}
		for _, ia := range d.Reply.IAs {
			for _, l := range ia.Addrs {
				if l.Valid > 0 && (l.Addr == addrs[0] || l.Addr == addrs[1]) {
					t.Errorf("a %s of another got %s; which is held", p.req.Msg, l.Addr)
				}
			}
		}
	})
}
