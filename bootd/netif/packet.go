package netif

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// Offsets into an IPv6 packet (RFC 8200 section 3) and what follows its fixed header.
const (
	ipv6HeaderLen = 40
	offNextHeader = 6
	offSource     = 8
	offType       = ipv6HeaderLen     // ICMPv6 type
	offDestPort   = ipv6HeaderLen + 2 // UDP destination port
	offFragment   = ipv6HeaderLen + 2 // fragment offset and flags
	fragmentLen   = 8
)

const (
	protoUDP      = 17
	protoFragment = 44
	protoICMPv6   = 58

	typeRouterSolicitation   = 133
	typeRouterAdvertisement  = 134
	typeNeighborSolicitation = 135
)

// packetBuffer is the receive buffer in octets; a small frame takes about one thousand.
const packetBuffer = 4 << 20

// openPacket opens a packet socket on one interface that sees what filter lets through, from the IPv6 header on. The socket blocks, so
// that a bell is its only poller: read and write with MSG_DONTWAIT.
//
// It is a socket for all protocols, not for IPv6 only: the kernel hands a frame to those before its own IPv6 code sees
// it, but to protocol sockets of one interface only afterwards (net/core/dev.c, __netif_receive_skb_core). So whoever
// has read a packet from a UDP socket finds its frame here already.
func openPacket(ifindex int, filter []bpf.Instruction) (*os.File, error) {
	prog, err := assemble(filter)
	if err != nil {
		return nil, err
	}
	// Protocol 0 receives nothing until bind: no frame gets in before the filter is there.
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("opening packet socket: %w", err)
	}
	f := os.NewFile(uintptr(fd), "packet")
	// It saves work; kernels before 4.20 do not know it, and the filter drops outgoing frames as well.
	_ = unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, 1)
	err = unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, prog)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("attaching packet filter: %w", err), f.Close())
	}
	// A rack that gets its power back speaks at once: the system's 200 kB are full after some 200 small frames. Without
	// CAP_NET_ADMIN the system's limit holds, which bootd doctor says.
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, packetBuffer) != nil {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, packetBuffer)
	}
	sa := &unix.SockaddrLinklayer{Protocol: htons(unix.ETH_P_ALL), Ifindex: ifindex}
	if err := unix.Bind(fd, sa); err != nil {
		return nil, errors.Join(fmt.Errorf("binding packet socket: %w", err), f.Close())
	}
	return f, nil
}

func assemble(filter []bpf.Instruction) (*unix.SockFprog, error) {
	raw, err := bpf.Assemble(filter)
	if err != nil {
		return nil, fmt.Errorf("assembling packet filter: %w", err)
	}
	code := make([]unix.SockFilter, len(raw))
	for i, r := range raw {
		code[i] = unix.SockFilter{Code: r.Op, Jt: r.Jt, Jf: r.Jf, K: r.K}
	}
	return &unix.SockFprog{Len: uint16(len(code)), Filter: &code[0]}, nil
}

// preamble lets only IPv6 through that was not sent by us and does not belong to a VLAN: a tagged frame passes its
// parent interface first, where the same address may be another machine. The rest of a filter follows it.
func preamble() []bpf.Instruction {
	return []bpf.Instruction{
		bpf.LoadExtension{Num: bpf.ExtVLANTagPresent},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: 0, SkipTrue: 1},
		bpf.RetConstant{Val: 0},
		bpf.LoadExtension{Num: bpf.ExtProto},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.ETH_P_IPV6, SkipTrue: 1},
		bpf.RetConstant{Val: 0},
		bpf.LoadExtension{Num: bpf.ExtType},
		bpf.JumpIf{Cond: bpf.JumpLessThan, Val: unix.PACKET_OTHERHOST, SkipTrue: 1},
		bpf.RetConstant{Val: 0},
		bpf.LoadAbsolute{Off: offNextHeader, Size: 1},
	}
}

// only passes packets of one protocol whose field has a value, whole.
func only(protocol uint32, field bpf.LoadAbsolute, value uint32) []bpf.Instruction {
	return append(preamble(),
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: protocol, SkipTrue: 3},
		field,
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: value, SkipTrue: 1},
		bpf.RetConstant{Val: 1 << 16},
		bpf.RetConstant{Val: 0},
	)
}

// neighbourFilter passes the header of DHCPv6 for servers and of router and neighbour solicitations: the packets that
// are answered at once, before the kernel knows the neighbour.
func neighbourFilter() []bpf.Instruction {
	return append(preamble(),
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: protoUDP, SkipTrue: 2},
		bpf.LoadAbsolute{Off: offDestPort, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: 547, SkipTrue: 4, SkipFalse: 5},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: protoICMPv6, SkipTrue: 4},
		bpf.LoadAbsolute{Off: offType, Size: 1},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: typeRouterSolicitation, SkipTrue: 1},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: typeNeighborSolicitation, SkipTrue: 1},
		bpf.RetConstant{Val: ipv6HeaderLen},
		bpf.RetConstant{Val: 0},
	)
}

// routerFilter passes router solicitations and advertisements whole, and first fragments that hold one: those are
// forbidden (RFC 6980 section 5) and worth a count.
func routerFilter() []bpf.Instruction {
	return append(preamble(),
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: protoICMPv6, SkipTrue: 5},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: protoFragment, SkipTrue: 8},
		bpf.LoadAbsolute{Off: ipv6HeaderLen, Size: 1},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: protoICMPv6, SkipTrue: 6},
		bpf.LoadAbsolute{Off: offType + fragmentLen, Size: 1},
		bpf.Jump{Skip: 1},
		bpf.LoadAbsolute{Off: offType, Size: 1},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: typeRouterSolicitation, SkipTrue: 1},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: typeRouterAdvertisement, SkipTrue: 1},
		bpf.RetConstant{Val: 1 << 16},
		bpf.RetConstant{Val: 0},
	)
}

func htons(v uint16) uint16 { return v<<8 | v>>8 }
