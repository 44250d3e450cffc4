package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"bootd.internal/bootd/lease"
	"bootd.internal/bootd/store"
	"bootd.internal/bootd/store/journal"
	"bootd.internal/lab/load"
)

// delegated is how many prefixes have a holder.
const delegated = 2000

// delegation is a pool with room for all of them.
const delegation = "networks:\n  rack1: {interface: eth1, prefix: \"2001:db8:1::/64\", router: self, unknown: pool, " +
	"delegate: {pool: \"2001:db8:100::/44\", length: 60}}\n"

// routes starts bootd on leases of prefixes, once where the kernel has no route to them, as after a reboot, and once where half
// of them are missing and as many are stale, as after a crash. READY comes when the routes are what the leases say; the time
// to it counts in full, so the routes alone take less. ip(8) writes the same routes beside it.
func (b *bench) routes(ctx context.Context) error {
	var install, mend, others []time.Duration
	for i := range rounds {
		name := fmt.Sprintf("routes%d", i)
		if err := leases(filepath.Join(b.dir, name, "state", "store")); err != nil {
			return err
		}
		s, err := b.startWith(ctx, name, delegation)
		if err != nil {
			return err
		}
		install = append(install, s.ready)
		if err := errors.Join(s.routed(ctx), s.cmd.Process.Kill()); err != nil {
			return err
		}
		_ = s.cmd.Wait() // it was killed
		if _, err := s.ip(ctx, batch("del", 0, delegated/2)+batch("add", delegated, delegated*3/2)); err != nil {
			return err
		}
		again, err := launch(b.serve(ctx, s.lab, s.server), s.lab, s.server, s.client, "READY")
		if err != nil {
			return err
		}
		mend = append(mend, again.ready)
		if err := again.routed(ctx); err != nil {
			return err
		}
		if _, err := again.ip(ctx, batch("del", 0, delegated)); err != nil {
			return err
		}
		took, err := again.ip(ctx, batch("add", 0, delegated))
		if err != nil {
			return err
		}
		others = append(others, took)
		if err := again.stop(); err != nil {
			return err
		}
	}
	b.add("2000 delegated routes after a reboot: start to READY", span(install), "< 1 s", middle(install) < time.Second)
	b.add("2000 delegated routes, half of them stale: to READY", span(mend), "< 1 s", middle(mend) < time.Second)
	b.add("the same 2000 routes by ip -6 -batch", span(others), "", true)
	return nil
}

// part is part i of the pool, and its next hop.
func part(i int) (netip.Prefix, netip.Addr) {
	a := netip.MustParseAddr("2001:db8:100::").As16()
	binary.BigEndian.PutUint64(a[:8], binary.BigEndian.Uint64(a[:8])|uint64(i)<<4)
	return netip.PrefixFrom(netip.AddrFrom16(a), 60), load.Config{Base: baseMAC()}.MAC(i).EUI64(netip.MustParsePrefix("fe80::/64"))
}

// leases gives each of the parts a holder, in a state directory.
func leases(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	db, err := journal.Open(dir, journal.Options{})
	if err != nil {
		return err
	}
	until := time.Now().Add(24 * time.Hour)
	err = db.Update(context.Background(), func(store.View) (ops []store.Op) {
		for i := range delegated {
			p, via := part(i)
			held := lease.Binding{
				Holder: fmt.Sprintf("%s%04x/1", lease.ClientPrefix, i), Network: "rack1", State: lease.Bound, PreferredUntil: until, ValidUntil: until,
				Via: via, Link: "eth1",
			}
			ops = append(ops, store.Op{Key: lease.PrefixKey(p), Value: held.Encode()})
		}
		return ops
	})
	return errors.Join(err, db.Close())
}

// batch are commands of ip(8) about the routes of some parts.
func batch(verb string, from, to int) string {
	var b strings.Builder
	for i := from; i < to; i++ {
		p, via := part(i)
		fmt.Fprintf(&b, "route %s %s via %s dev eth1 proto 217\n", verb, p, via)
	}
	return b.String()
}

// ip runs commands of ip(8) on the server's node, and says how long they took.
func (s *server) ip(ctx context.Context, commands string) (time.Duration, error) {
	cmd := s.server.Command(ctx, "ip", "-6", "-batch", "-")
	cmd.Stdin = strings.NewReader(commands)
	began := time.Now()
	if out, err := cmd.CombinedOutput(); err != nil {
		return 0, fmt.Errorf("running ip -6 -batch: %w\n%s", err, out)
	}
	return time.Since(began), nil
}

// routed checks that the routes are those of the leases and no others.
func (s *server) routed(ctx context.Context) error {
	out, err := s.server.Command(ctx, "ip", "-6", "route", "show", "proto", "217").Output()
	if err != nil {
		return fmt.Errorf("listing routes: %w", err)
	}
	have := string(out)
	for i := range delegated {
		if p, via := part(i); !strings.Contains(have, fmt.Sprintf("%s via %s ", p, via)) {
			return fmt.Errorf("looking at routes: %s does not lead to %s", p, via)
		}
	}
	if n := strings.Count(have, " via "); n != delegated {
		return fmt.Errorf("looking at routes: there are %d, want %d", n, delegated)
	}
	return nil
}

func middle(all []time.Duration) time.Duration {
	ms := make([]float64, len(all))
	for i, d := range all {
		ms[i] = float64(d)
	}
	return time.Duration(median(ms))
}

func span(all []time.Duration) string { return middle(all).Round(time.Millisecond).String() }
