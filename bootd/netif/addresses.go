package netif

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

const (
	// addressProtocol marks the addresses that are bootd's (IFA_PROTO, since Linux 5.18; `ip -6 address show proto 217`): they are
	// found again after a crash, and no other's is ever touched. The number is that of bootd's routes.
	addressProtocol = routeProtocol
	// ifaProto is IFA_PROTO of linux/if_addr.h.
	ifaProto = 11
)

// Address is an IPv6 address on a link.
type Address struct {
	// Link is the number of the link.
	Link int
	// Prefix is the address with the length of its prefix.
	Prefix netip.Prefix
	// PreferredUntil and ValidUntil are its deadlines; zero: none.
	PreferredUntil, ValidUntil time.Time
	// Ours: bootd put it there.
	Ours bool
}

// String is the address as ip(8) has it, without the link's name.
func (a Address) String() string { return a.Prefix.String() }

// Addresses are those of this machine's links. Writing needs CAP_NET_ADMIN.
type Addresses struct{}

// List gives the IPv6 addresses of all links, with their deadlines as of now.
func (Addresses) List(now time.Time) ([]Address, error) {
	var all [][]byte
	var err error
	for range listTries {
		req := nl.NewNetlinkRequest(unix.RTM_GETADDR, unix.NLM_F_DUMP)
		req.AddData(nl.NewIfAddrmsg(unix.AF_INET6))
		if all, err = req.Execute(unix.NETLINK_ROUTE, unix.RTM_NEWADDR); !errors.Is(err, netlink.ErrDumpInterrupted) {
			break
		}
	}
	if err != nil {
		return nil, fmt.Errorf("listing addresses: %w", err)
	}
	out := make([]Address, 0, len(all))
	for _, m := range all {
		if len(m) < unix.SizeofIfAddrmsg || m[0] != unix.AF_INET6 {
			continue
		}
		if a, ok := readAddress(m, now); ok {
			out = append(out, a)
		}
	}
	return out, nil
}

// readAddress reads one message RTM_NEWADDR.
func readAddress(m []byte, now time.Time) (Address, bool) {
	msg := nl.DeserializeIfAddrmsg(m)
	attrs, err := nl.ParseRouteAttr(m[unix.SizeofIfAddrmsg:])
	if err != nil {
		return Address{}, false
	}
	a := Address{Link: int(msg.Index)}
	for _, x := range attrs {
		switch x.Attr.Type {
		case unix.IFA_ADDRESS:
			addr, ok := netip.AddrFromSlice(x.Value)
			if !ok {
				return a, false
			}
			a.Prefix = netip.PrefixFrom(addr, int(msg.Prefixlen))
		case unix.IFA_CACHEINFO:
			if len(x.Value) >= unix.SizeofIfaCacheinfo {
				until := func(left uint32) time.Time {
					if left == forever {
						return time.Time{}
					}
					return now.Add(time.Duration(left) * time.Second)
				}
				a.PreferredUntil, a.ValidUntil = until(binary.NativeEndian.Uint32(x.Value)), until(binary.NativeEndian.Uint32(x.Value[4:]))
			}
		case ifaProto:
			a.Ours = len(x.Value) == 1 && x.Value[0] == addressProtocol
		}
	}
	return a, a.Prefix.IsValid()
}

// Put puts an address on its link, or gives one of ours other deadlines, as of now. One that has a preferred lifetime of zero is
// deprecated (RFC 4862 section 5.5.4). There is no duplicate address detection: nobody else has an address in a prefix that was
// delegated to us, before we tell of it. errors.Is(err, fs.ErrExist): it is there, and not ours.
func (Addresses) Put(a Address, replace bool, now time.Time) error {
	flags := unix.NLM_F_CREATE | unix.NLM_F_EXCL | unix.NLM_F_ACK
	if replace {
		flags = unix.NLM_F_CREATE | unix.NLM_F_REPLACE | unix.NLM_F_ACK
	}
	left := func(until time.Time, least uint32) uint32 {
		if until.IsZero() {
			return forever
		}
		return uint32(min(max(until.Sub(now)/time.Second, time.Duration(least)), forever-1))
	}
	valid := left(a.ValidUntil, 1)
	cache := make([]byte, unix.SizeofIfaCacheinfo)
	binary.NativeEndian.PutUint32(cache, min(left(a.PreferredUntil, 0), valid))
	binary.NativeEndian.PutUint32(cache[4:], valid)
	req := request(unix.RTM_NEWADDR, flags, a)
	req.AddData(nl.NewRtAttr(unix.IFA_CACHEINFO, cache))
	req.AddData(nl.NewRtAttr(ifaProto, []byte{addressProtocol}))
	if _, err := req.Execute(unix.NETLINK_ROUTE, 0); err != nil {
		return fmt.Errorf("putting the address %s on a link: %w", a, err)
	}
	return nil
}

// Delete removes an address of ours; one that is gone already is none to remove.
func (Addresses) Delete(a Address) error {
	_, err := request(unix.RTM_DELADDR, unix.NLM_F_ACK, a).Execute(unix.NETLINK_ROUTE, 0)
	if err != nil && !errors.Is(err, unix.EADDRNOTAVAIL) && !errors.Is(err, unix.ENODEV) {
		return fmt.Errorf("removing the address %s: %w", a, err)
	}
	return nil
}

func request(kind, flags int, a Address) *nl.NetlinkRequest {
	req := nl.NewNetlinkRequest(kind, flags)
	msg := nl.NewIfAddrmsg(unix.AF_INET6)
	msg.Prefixlen, msg.Index = uint8(a.Prefix.Bits()), uint32(a.Link)
	msg.Flags = unix.IFA_F_NODAD
	req.AddData(msg)
	req.AddData(nl.NewRtAttr(unix.IFA_LOCAL, a.Prefix.Addr().AsSlice()))
	req.AddData(nl.NewRtAttr(unix.IFA_ADDRESS, a.Prefix.Addr().AsSlice()))
	return req
}
