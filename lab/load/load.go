// Package load plays many DHCPv6 clients at once on one link, each with a MAC and a link-local address of its own, and
// counts the four-message exchanges that a server completes (RFC 8415 section 18.2). It serves the benchmark beside
// another server and the tests that kill one.
//
// The package sends raw frames and never leaves the interface that it is given, which belongs in a network namespace.
package load

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"bootd.internal/bootd/ident"
)

// Config is one run.
type Config struct {
	// Interface is in the calling thread's network namespace; its own IPv6 should be off.
	Interface string
	// Clients is how many machines there are, Outstanding how many of them wait for an answer at any time.
	Clients, Outstanding int
	// Exchanges ends the run; so does the context.
	Exchanges int
	// Rapid asks for two messages instead of four (RFC 8415 section 18.2.1).
	Rapid bool
	// Base is the first client's MAC; client i adds i to its last three octets.
	Base ident.MAC
	// Retry is the time until a message is sent again, default 1 s.
	Retry time.Duration
	// Boot makes the machines ask for a boot file, as iPXE does.
	Boot bool
	// Prefix makes the machines ask for a prefix (IA_PD) and no address.
	Prefix bool
	// New makes each exchange one of another identity association, so that no server finds its lease there already.
	New bool
	// Relay, if it has an address, stands between the machines and the server.
	Relay Relay
	// Granted is called for every Reply with an address, or with a prefix its first one, in the run's goroutine.
	Granted func(m ident.MAC, a netip.Addr)
}

// Relay is a relay agent (RFC 8415 section 19) that is a neighbour of the server; its clients are on another link.
type Relay struct {
	MAC ident.MAC
	// Addr is where it sends from, Link the link-address that it writes.
	Addr, Link netip.Addr
	// Server is whom it sends to, by the card ServerMAC.
	Server    netip.Addr
	ServerMAC ident.MAC
}

// Result is what came of a run.
type Result struct {
	Exchanges, Retransmits, Refused int
	Elapsed                         time.Duration
	// Latency from Solicit to Reply, in order.
	Latency []time.Duration
	// Leases are the last addresses that Replies gave; of prefixes the first address.
	Leases map[ident.MAC]netip.Addr
	// BootURLs are the boot files that Replies named last.
	BootURLs map[ident.MAC]string
}

// Rate is exchanges per second.
func (r Result) Rate() float64 { return float64(r.Exchanges) / r.Elapsed.Seconds() }

// Quantile of the latencies, q in 0..1.
func (r Result) Quantile(q float64) time.Duration {
	if len(r.Latency) == 0 {
		return 0
	}
	return r.Latency[int(q*float64(len(r.Latency)-1))]
}

// MAC is the address of client i.
func (c Config) MAC(i int) ident.MAC {
	m := c.Base
	n := uint32(m[3])<<16 | uint32(m[4])<<8 | uint32(m[5])
	n += uint32(i)
	m[3], m[4], m[5] = byte(n>>16), byte(n>>8), byte(n)
	return m
}

type client struct {
	mac      ident.MAC
	ll       netip.Addr
	xid      uint32
	iaid     uint32
	waiting  byte // message type that is expected, 0: idle
	request  []byte
	began    time.Time
	deadline time.Time
	sends    int
	cfg      *Config
}

// sent is one transmission; it is stale once its client has sent again.
type sent struct{ client, sends int }

type run struct {
	cfg     Config
	fd      int
	clients []client
	byMAC   map[ident.MAC]int
	order   []sent // oldest deadline first
	next    int
	xid     uint32
	res     Result
}

// Run plays the clients until the exchanges are done or ctx ends; ctx ending is not an error.
func Run(ctx context.Context, cfg Config) (Result, error) {
	if cfg.Clients < cfg.Outstanding || cfg.Outstanding < 1 {
		return Result{}, errors.New("starting load: needs at least one outstanding client and as many clients as that")
	}
	if cfg.Retry == 0 {
		cfg.Retry = time.Second
	}
	fd, err := open(cfg.Interface)
	if err != nil {
		return Result{}, err
	}
	defer unix.Close(fd)
	r := &run{cfg: cfg, fd: fd, byMAC: map[ident.MAC]int{}}
	r.res.Leases = map[ident.MAC]netip.Addr{}
	r.res.BootURLs = map[ident.MAC]string{}
	for i := range cfg.Clients {
		m := cfg.MAC(i)
		r.byMAC[m] = i
		r.clients = append(r.clients, client{mac: m, ll: m.EUI64(netip.MustParsePrefix("fe80::/64")), cfg: &r.cfg})
	}
	began := time.Now()
	for range cfg.Outstanding {
		if err := r.begin(); err != nil {
			return r.res, err
		}
	}
	err = r.loop(ctx)
	r.res.Elapsed = time.Since(began)
	slices.Sort(r.res.Latency)
	return r.res, err
}

func open(name string) (int, error) {
	ifi, err := net.InterfaceByName(name)
	if err != nil {
		return -1, fmt.Errorf("opening load interface %s: %w", name, err)
	}
	proto := uint16(unix.ETH_P_IPV6)
	be := proto<<8 | proto>>8
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW, int(be))
	if err != nil {
		return -1, fmt.Errorf("opening packet socket: %w", err)
	}
	tv := unix.Timeval{Usec: 50_000}
	err = errors.Join(
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 16<<20),
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &tv),
		unix.SetsockoptPacketMreq(fd, unix.SOL_PACKET, unix.PACKET_ADD_MEMBERSHIP,
			&unix.PacketMreq{Ifindex: int32(ifi.Index), Type: unix.PACKET_MR_PROMISC}),
		unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: be, Ifindex: ifi.Index}),
	)
	if err != nil {
		_ = unix.Close(fd)
		return -1, fmt.Errorf("setting up packet socket on %s: %w", name, err)
	}
	return fd, nil
}

func (r *run) loop(ctx context.Context) error {
	buf := make([]byte, 2048)
	for r.res.Exchanges < r.cfg.Exchanges && ctx.Err() == nil {
		n, from, err := unix.Recvfrom(r.fd, buf, 0)
		switch {
		case errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR):
		case err != nil:
			return fmt.Errorf("receiving frame: %w", err)
		default:
			if ll, ok := from.(*unix.SockaddrLinklayer); ok && ll.Pkttype != unix.PACKET_OUTGOING {
				if err := r.receive(buf[:n]); err != nil {
					return err
				}
			}
		}
		if err := r.retry(time.Now()); err != nil {
			return err
		}
	}
	return nil
}

// begin starts the next idle client.
func (r *run) begin() error {
	for range r.clients {
		i := r.next
		r.next = (r.next + 1) % len(r.clients)
		if c := &r.clients[i]; c.waiting == 0 {
			r.xid = (r.xid + 1) & 0xffffff
			c.xid, c.began = r.xid, time.Now()
			if r.cfg.New {
				c.iaid = r.xid
			}
			if r.cfg.Rapid {
				return r.send(i, msgReply, option(solicit(c), optRapidCommit, nil))
			}
			return r.send(i, msgAdvertise, solicit(c))
		}
	}
	return nil
}

func (r *run) send(i int, expect byte, payload []byte) error {
	c := &r.clients[i]
	c.waiting, c.request, c.deadline = expect, payload, time.Now().Add(r.cfg.Retry)
	c.sends++
	r.order = append(r.order, sent{i, c.sends})
	return r.write(c.frame(payload))
}

func (r *run) write(frame []byte) error {
	if _, err := unix.Write(r.fd, frame); err != nil && !errors.Is(err, unix.ENOBUFS) {
		return fmt.Errorf("sending frame: %w", err)
	}
	return nil
}

func (r *run) retry(now time.Time) error {
	for len(r.order) > 0 {
		o := r.order[0]
		c := &r.clients[o.client]
		live := c.waiting != 0 && c.sends == o.sends
		if live && now.Before(c.deadline) {
			return nil
		}
		r.order = r.order[1:]
		if !live {
			continue
		}
		r.res.Retransmits++
		if err := r.send(o.client, c.waiting, c.request); err != nil {
			return err
		}
	}
	return nil
}

func (r *run) receive(frame []byte) error {
	if len(frame) < 14+40 {
		return nil
	}
	ip := frame[14:]
	switch ip[6] {
	case unix.IPPROTO_ICMPV6:
		return r.neighbour(frame)
	case unix.IPPROTO_UDP:
		if len(ip) < 48 {
			return nil
		}
		mac, msg := ident.MAC(frame[:6]), ip[48:]
		switch port := binary.BigEndian.Uint16(ip[42:]); {
		case port == serverPort && r.cfg.Relay.Addr.IsValid() && mac == r.cfg.Relay.MAC:
			mac, msg = unwrap(msg)
		case port != clientPort:
			return nil
		}
		if i, ok := r.byMAC[mac]; ok {
			return r.answer(i, msg)
		}
	}
	return nil
}

func (r *run) answer(i int, msg []byte) error {
	c := &r.clients[i]
	m, ok := parse(msg)
	if !ok || m.xid != c.xid || m.kind != c.waiting {
		return nil
	}
	if !m.addr.IsValid() {
		r.res.Refused++
		c.waiting = 0
		return r.begin()
	}
	if m.kind == msgAdvertise {
		return r.send(i, msgReply, request(c, m))
	}
	c.waiting = 0
	r.res.Exchanges++
	r.res.Latency = append(r.res.Latency, time.Since(c.began))
	r.res.Leases[c.mac] = m.addr
	if m.boot != "" {
		r.res.BootURLs[c.mac] = m.boot
	}
	if r.cfg.Granted != nil {
		r.cfg.Granted(c.mac, m.addr)
	}
	return r.begin()
}

// neighbour answers a Neighbor Solicitation for one of the clients' link-local addresses, or for the relay's (RFC 4861
// section 7.2.4).
func (r *run) neighbour(frame []byte) error {
	ip := frame[14:]
	if len(ip) < 64 || ip[40] != 135 {
		return nil
	}
	target, _ := netip.AddrFromSlice(ip[48:64])
	mac, ok := ident.MACFromEUI64(target)
	_, known := r.byMAC[mac]
	switch relay := r.cfg.Relay; {
	case relay.Addr.IsValid(): // the machines are on another link
		if mac = relay.MAC; target != relay.Addr {
			return nil
		}
	case !ok || !known:
		return nil
	}
	asker, _ := netip.AddrFromSlice(ip[8:24])
	to, _ := ident.MACFrom(frame[6:12])
	return r.write(neighbourAdvert(to, asker, mac, target))
}
