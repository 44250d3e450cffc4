package load

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"bootd.internal/bootd/ident"
)

// Solicit lets cfg.Clients machines send one router solicitation each (RFC 4861 section 4.1), spread evenly over a time; those with
// an even number have no address yet. It returns when all were answered by a frame of their own, or when ctx ends. Latency is from
// a machine's solicitation to its answer, Exchanges how many were answered.
func Solicit(ctx context.Context, cfg Config, over time.Duration) (Result, error) {
	fd, err := open(cfg.Interface)
	if err != nil {
		return Result{}, err
	}
	defer unix.Close(fd)
	if err := unix.SetNonblock(fd, true); err != nil {
		return Result{}, fmt.Errorf("setting up packet socket: %w", err)
	}
	asked := make(map[ident.MAC]time.Time, cfg.Clients)
	res, buf, began, next := Result{}, make([]byte, 2048), time.Now(), 0
	for res.Exchanges < cfg.Clients && ctx.Err() == nil {
		for ; next < cfg.Clients && time.Since(began) >= over*time.Duration(next)/time.Duration(cfg.Clients); next++ {
			m := cfg.MAC(next)
			asked[m] = time.Now()
			if err := unix.Send(fd, solicitation(m, next%2 == 0), 0); err != nil {
				return res, fmt.Errorf("sending a solicitation: %w", err)
			}
		}
		n, _, err := unix.Recvfrom(fd, buf, 0)
		switch {
		case errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR):
			time.Sleep(200 * time.Microsecond) // the processor belongs to the server
			continue
		case err != nil:
			return res, fmt.Errorf("receiving frame: %w", err)
		}
		if n < 70 || buf[20] != unix.IPPROTO_ICMPV6 || buf[54] != 134 {
			continue
		}
		if at, ok := asked[ident.MAC(buf[:6])]; ok {
			delete(asked, ident.MAC(buf[:6]))
			res.Exchanges++
			res.Latency = append(res.Latency, time.Since(at))
		}
	}
	res.Elapsed = time.Since(began)
	slices.Sort(res.Latency)
	return res, nil
}

func solicitation(m ident.MAC, unspecified bool) []byte {
	to, group := netip.MustParseAddr("ff02::2"), ident.MAC{0x33, 0x33, 0, 0, 0, 2}
	rs := []byte{133, 0, 0, 0, 0, 0, 0, 0}
	if unspecified {
		return ethernet(group, m, netip.IPv6Unspecified(), to, unix.IPPROTO_ICMPV6, 255, rs, 2)
	}
	rs = append(append(rs, 1, 1), m[:]...)
	return ethernet(group, m, m.EUI64(netip.MustParsePrefix("fe80::/64")), to, unix.IPPROTO_ICMPV6, 255, rs, 2)
}
