package netif

import (
	"golang.org/x/net/bpf"

	"bootd.internal/bootd/site"
)

// dhcpClientPort is where DHCPv6 clients listen (RFC 8415 section 7.2).
const dhcpClientPort = 546

// ListenDHCP opens a packet socket on a link that hears what DHCPv6 servers answer to this machine, whether or not a
// client of its own has port 546. Errors: no CAP_NET_RAW, the link does not exist any more.
func ListenDHCP(link site.Link) (*Discovery, error) {
	return listen(link, "DHCPv6 server detection", dhcpClientFilter(), func(*Discovery) error { return nil })
}

// dhcpClientFilter passes UDP for port 546 whole.
func dhcpClientFilter() []bpf.Instruction {
	return only(protoUDP, bpf.LoadAbsolute{Off: offDestPort, Size: 2}, dhcpClientPort)
}
