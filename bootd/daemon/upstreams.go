package daemon

import (
	"context"
	crypto "crypto/rand"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"

	"bootd.internal/bootd/ident"
	"bootd.internal/bootd/inventory"
	"bootd.internal/bootd/netif"
	"bootd.internal/bootd/site"
	"bootd.internal/bootd/store"
	"bootd.internal/bootd/upstream"
)

// clientPort is where DHCPv6 clients listen (RFC 8415 section 7.2).
const clientPort = 546

// uplinks are the links of the upstreams.
type uplinks struct{ *World }

// Links are those that exist.
func (u uplinks) Links() []site.Link {
	asked := u.Snapshot().Inventory.Upstreams
	return slices.DeleteFunc(slices.Clone(u.kernel.State().Links), func(l site.Link) bool {
		return !slices.ContainsFunc(asked, func(a inventory.Uplink) bool { return a.Interface.V == l.Name })
	})
}

// openUpstreams gets prefixes from the upstreams of the inventory, of this one and of later ones.
func (d *Daemon) openUpstreams(ctx context.Context, publish func(string, []site.Prefix)) error {
	duid, err := LoadClient(ctx, d.store, crypto.Reader)
	if err != nil {
		return err
	}
	var seed [16]byte
	if _, err := io.ReadFull(crypto.Reader, seed[:]); err != nil {
		return fmt.Errorf("taking chance for transactions: %w", err)
	}
	for _, u := range d.world.Snapshot().Inventory.Upstreams {
		publish(u.Name, upstream.Kept(d.store, u.Name))
	}
	d.upstreams = upstream.New(upstream.Config{
		Snapshot: d.world.Snapshot, Changed: d.world.Changed, Store: d.store, Observer: d.watch, Client: duid, Now: d.now, Final: d.finalRA.Load,
		Rand: rand.New(rand.NewPCG(binary.LittleEndian.Uint64(seed[:]), binary.LittleEndian.Uint64(seed[8:]))),
		Publish: func(name string, p []site.Prefix) {
			d.metrics.upstream(name, p)
			publish(name, p)
		},
		Open: func(l site.Link) (upstream.Socket, error) {
			s, err := netif.OpenDHCPClient(ctx, l)
			if err != nil {
				return nil, port{"udp", clientPort, "DHCPv6 client"}.explain("/proc", err)
			}
			return s, nil
		},
		Kernel: upstream.Kernel{Address: netif.PutAddress, NoAddress: netif.DeleteAddress, KeepDefaultRoute: netif.KeepDefaultRoute},
	})
	d.tasks = append(d.tasks, d.upstreams)
	d.perLinkOf(uplinks{d.world}, "upstream", func(l site.Link) (Task, error) { return d.upstreams.Link(l) })
	return nil
}

// LoadClient reads the DUID that this machine has as a client, or makes it at the first start (RFC 8415 section 11). It is not the
// server's: servers of one site may share that, and each is a client of its own.
func LoadClient(ctx context.Context, s store.Store, random io.Reader) (ident.DUID, error) {
	fresh, err := newUUID(random)
	if err != nil {
		return "", fmt.Errorf("making the client's DUID: %w", err)
	}
	key := store.Key{Table: store.TableNode, ID: "client-duid"}
	var duid ident.DUID
	err = s.Update(ctx, func(v store.View) []store.Op {
		b, ok := v.Get(key)
		if duid = ident.DUID(b); ok {
			return nil
		}
		duid = ident.NewDUIDUUID(fresh)
		return []store.Op{{Key: key, Value: []byte(duid)}}
	})
	if err != nil {
		return "", fmt.Errorf("storing the client's DUID: %w", err)
	}
	return duid, nil
}
