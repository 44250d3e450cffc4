package address

import (
	"net/netip"

	"bootd.internal/bootd/decide/who"
	"bootd.internal/bootd/site"
)

// Fullest is the longest reply that a host can draw on a network: UEFI HTTP boot that asks for everything there is. It is for
// checks before anybody asks.
func Fullest(snap *site.Snapshot, net *site.Network, h *site.Host) *Reply {
	req := Request{
		Msg: RequestMsg, Arch: []uint16{archHTTPX8664}, Vendor: "HTTPClient:Arch:00016:UNDI:003000", FQDN: true,
		ORO: []uint16{optDNSServers, optBootfileURL, optFQDN, optSolMaxRT, optInfMaxRT, optDomainList},
	}
	var own []site.Option
	if h != nil {
		own = h.Options
	}
	for _, o := range site.Told(own, net.Options) {
		req.ORO = append(req.ORO, o.Code)
	}
	x := exchange{room: new(Room), snap: snap, net: net, req: req, match: who.Match{Host: h}}
	x.boot = ChooseBootfile(snap, net, h, req)
	r := x.reply(ReplyMsg)
	r.Preference = maxPreference
	r.IAs = []IAReply{{Kind: IANA, Addrs: []Lease{{Addr: netip.IPv6Loopback()}}}}
	return r
}
