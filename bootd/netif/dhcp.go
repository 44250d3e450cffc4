package netif

import (
	"errors"
	"fmt"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"bootd.internal/bootd/site"
)

// dhcpClientPort is where DHCPv6 clients listen (RFC 8415 section 7.2).
const dhcpClientPort = 546

// ListenDHCP opens a packet socket on a link that hears what DHCPv6 servers answer to this machine, whether or not a
// client of its own has port 546. Errors: no CAP_NET_RAW, the link does not exist any more.
func ListenDHCP(link site.Link) (_ *Discovery, err error) {
	d := &Discovery{link: link, what: "DHCPv6 server detection"}
	d.file, err = openPacket(link.Index, dhcpClientFilter())
	if errors.Is(err, unix.EPERM) {
		return nil, fmt.Errorf("%s on %s needs CAP_NET_RAW: %w", d.what, link.Name, err)
	}
	if err != nil {
		return nil, fmt.Errorf("%s on %s: %w", d.what, link.Name, err)
	}
	if d.conn, err = d.file.SyscallConn(); err != nil {
		return nil, errors.Join(fmt.Errorf("%s on %s: %w", d.what, link.Name, err), d.file.Close())
	}
	return d, nil
}

// dhcpClientFilter passes UDP for port 546 whole.
func dhcpClientFilter() []bpf.Instruction {
	return append(preamble(),
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: protoUDP, SkipTrue: 3},
		bpf.LoadAbsolute{Off: offDestPort, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: dhcpClientPort, SkipTrue: 1},
		bpf.RetConstant{Val: 1 << 16},
		bpf.RetConstant{Val: 0},
	)
}
