package dhcp6

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/insomniacslk/dhcp/dhcpv6"

	"bootd.internal/bootd/decide/address"
	"bootd.internal/bootd/reason"
	"bootd.internal/bootd/site"
	"bootd.internal/bootd/site/sitetest"
	"bootd.internal/bootd/store"
	"bootd.internal/bootd/store/memory"
)

func asDuration(n int64) time.Duration { return time.Duration(n) }

// FuzzParse: no panic, no stall, and what was read survives being written and read again.
func FuzzParse(f *testing.F) {
	for name := range captures() {
		for _, c := range readCapture(f, name) {
			f.Add(c.payload)
		}
	}
	for _, b := range hostile() {
		f.Add(b)
	}
	f.Add(relays(8))
	f.Add(msg(address.Solicit, clientID(), ia(dhcpv6.OptionIAPD, prefix(56, opt(dhcpv6.OptionPDExclude, 64, 0))), opt(dhcpv6.OptionFQDN, 0, 1, 'x')))
	f.Fuzz(func(t *testing.T, b []byte) {
		var p packet
		var why reason.Reason
		if took := leastTime(t, func() { p, why = parse(b) }); took >= stall && len(b) <= 4096 {
			t.Errorf("%d octets took %s", len(b), took)
		}
		if why != reason.None {
			return
		}
		p.hops = nil // FuzzRelay has them
		again, why := parse(encodeRequest(p))
		if why == reason.Oversized || why == reason.BadClientID { // merged options may outgrow a datagram
			return
		}
		if diff := cmp.Diff(p, again, compare()...); diff != "" || why != reason.None {
			t.Errorf("%s: %s", why, diff)
		}
	})
}

// FuzzAnswer takes a datagram through parse, Decide and encode: the reply fits, is well formed, and gives no address
// outside the prefix.
func FuzzAnswer(f *testing.F) {
	for name := range captures() {
		for _, c := range readCapture(f, name) {
			f.Add(c.payload)
		}
	}
	for _, b := range hostile() {
		f.Add(b)
	}
	snap := sitetest.Snapshot(f, lab, labFacts(f))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, why := parse(b)
		if why != reason.None {
			return
		}
		p.req.At = site.Arrival{Link: "eth1", Index: 2}
		p.req.Evidence = evidenceOf(p.req.Client)
		if p.req.Server != "" {
			p.req.Server = snap.ServerDUID
		}
		var d address.Decision
		err := memory.New().Update(t.Context(), func(v store.View) []store.Op {
			d = address.Decide(snap, v, p.req, sitetest.Now())
			return d.Ops
		})
		if err != nil {
			t.Fatal(err)
		}
		if d.Reply == nil {
			return
		}
		for _, ia := range d.Reply.IAs {
			for _, l := range ia.Addrs {
				if net, _ := snap.Network("rack1"); l.Valid > 0 && !net.Contains(l.Addr) {
					t.Errorf("%s is outside the prefix", l.Addr)
				}
			}
		}
		out := encode(d.Reply, p.xid, p.req.Client, snap.ServerDUID)
		var s scan
		if r := s.message(out[lenHeader:]); r != reason.None || len(out) > maxReply {
			t.Errorf("%d octets of a reply: %s", len(out), r)
		}
	})
}
