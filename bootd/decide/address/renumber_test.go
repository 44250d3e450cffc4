package address

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"bootd.internal/bootd/site"
	"bootd.internal/bootd/site/sitetest"
	"bootd.internal/bootd/store/memory"
)

const derived = `upstreams: {isp: {interface: eth0}}
defaults: {unknown: pool, preferred: 30m, valid: 1h}
networks: {lan: {interface: eth1, prefix: {from: isp, subnet: 0}, delegate: {from: isp, subnet: 1, length: 60, each: 62}}}
hosts: {a: {mac: "52:54:00:aa:01:01", address: "::101", delegate: {from: isp, subnet: 5, length: 62}}}
`

// upstream serves what an upstream delegates: prefixes with their preferred and valid lifetimes.
func (d *delegator) upstream(all ...site.Prefix) {
	d.t.Helper()
	f := sitetest.Facts(sitetest.Link(d.t, 2, "eth1"))
	f.Delegated = map[string][]site.Prefix{"isp": all}
	d.snap, _ = site.Resolve(sitetest.Inventory(d.t, derived), f, d.snap, d.now)
}

// lives is a delegated prefix with lifetimes from now.
func (d *delegator) lives(p string, preferred, valid time.Duration) site.Prefix {
	return site.Prefix{Prefix: netip.MustParsePrefix(p), PreferredUntil: d.now.Add(preferred), ValidUntil: d.now.Add(valid)}
}

// TestRenumbered: at its Renew a client gets what the upstream gives now, and what it had ends with lifetimes of zero (RFC 8415
// section 18.3.4), the upstream's old prefix still being valid or not. No lifetime exceeds that of the upstream's prefix.
func TestRenumbered(t *testing.T) {
	for _, old := range []bool{true, false} {
		d := &delegator{t: t, store: memory.New(), now: sitetest.Now()}
		first := d.lives("2001:db8:a:100::/56", 20*time.Minute, 40*time.Minute)
		d.upstream(first)
		ia := func(addr string) IA {
			ia := IA{Kind: IANA, IAID: 1}
			if addr != "" {
				ia.Addrs = []netip.Addr{netip.MustParseAddr(addr)}
			}
			return ia
		}
		d.want(d.ask(RequestMsg, 1, ia("")), "1: 2001:db8:a:100::101 T1 10m0s T2 16m0s")
		d.want(d.ask(RequestMsg, 1, pd(9)), "9: 2001:db8:a:114::/62 20m0s/40m0s T1 10m0s T2 16m0s")
		guest := told(d.ask(RequestMsg, 7, ia("")))
		part := given(t, d.ask(RequestMsg, 7, pd(2)))
		d.want(d.ask(Renew, 7, pd(2, part.String())), "2: "+part.String()+" 20m0s/40m0s T1 10m0s T2 16m0s")

		d.now = d.now.Add(5 * time.Minute)
		second := d.lives("2001:db8:b:200::/56", 30*time.Minute, time.Hour)
		if first.PreferredUntil = d.now; old {
			d.upstream(first, second)
		} else {
			d.upstream(second)
		}
		d.want(d.ask(Renew, 1, ia("2001:db8:a:100::101")), "1: 2001:db8:b:200::101 2001:db8:a:100::101 T1 15m0s T2 24m0s")
		d.want(d.ask(Renew, 1, pd(9, "2001:db8:a:114::/62")), "9: 2001:db8:b:214::/62 30m0s/1h0m0s 2001:db8:a:114::/62 0s/0s T1 15m0s T2 24m0s")
		had := strings.Fields(guest)[1]
		got := strings.Fields(told(d.ask(Renew, 7, ia(had))))
		if len(got) != 7 || !strings.HasPrefix(got[1], "2001:db8:b:200::d:") || got[2] != had {
			t.Errorf("an unlisted client that had %s is told %v", had, got)
		}
		next := told(d.ask(Renew, 7, pd(2, part.String())))
		if !strings.HasPrefix(next, "2: 2001:db8:b:21") || !strings.HasSuffix(next, "/62 30m0s/1h0m0s "+part.String()+" 0s/0s T1 15m0s T2 24m0s") {
			t.Errorf("a client that had %s is told %s", part, next)
		}
	}
}

// TestMovedEnds: a kept prefix that moves to another IAID of its host lives no longer than the upstream's.
func TestMovedEnds(t *testing.T) {
	d := &delegator{t: t, store: memory.New(), now: sitetest.Now()}
	d.upstream(d.lives("2001:db8:a:100::/56", 10*time.Minute, 20*time.Minute))
	const granted = ": 2001:db8:a:114::/62 10m0s/20m0s T1 5m0s T2 8m0s"
	d.want(d.ask(RequestMsg, 1, pd(2)), "2"+granted)
	d.want(d.ask(Solicit, 1, pd(9)), "9"+granted)
	d.want(d.ask(RequestMsg, 1, pd(9)), "9"+granted)
}

// TestUpstreamSilent: what nobody renews is deprecated, and then given to nobody.
func TestUpstreamSilent(t *testing.T) {
	d := &delegator{t: t, store: memory.New(), now: sitetest.Now()}
	only := d.lives("2001:db8:a:100::/56", 20*time.Minute, 40*time.Minute)
	d.upstream(only)
	ia := IA{Kind: IANA, IAID: 1, Addrs: []netip.Addr{netip.MustParseAddr("2001:db8:a:100::101")}}
	d.ask(RequestMsg, 1, ia)
	part := given(t, d.ask(RequestMsg, 1, pd(2)))
	d.now = d.now.Add(25 * time.Minute)
	d.upstream(only)
	got := d.ask(Renew, 1, ia, pd(2, part.String()))
	if l := got.Reply.IAs[0].Addrs; len(l) != 1 || l[0].Preferred != 0 || l[0].Valid != 15*time.Minute {
		t.Errorf("deprecated: %+v", l)
	}
	if l := got.Reply.IAs[1].Prefixes; len(l) != 1 || l[0].Valid != 0 {
		t.Errorf("a part of a pool that ends: %+v", l)
	}
	d.now = d.now.Add(20 * time.Minute)
	d.upstream(only)
	for _, ia := range d.ask(Renew, 1, ia).Reply.IAs {
		for _, l := range ia.Addrs {
			if l.Valid != 0 {
				t.Errorf("after the end: %+v", l)
			}
		}
	}
}
