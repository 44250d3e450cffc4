package daemon

import (
	"crypto/rand"
	"errors"
	"syscall"

	"bootd.internal/bootd/addresses"
	"bootd.internal/bootd/decide/who"
	"bootd.internal/bootd/dhcp6"
	"bootd.internal/bootd/dns"
	"bootd.internal/bootd/files"
	httpd "bootd.internal/bootd/http"
	"bootd.internal/bootd/netif"
	"bootd.internal/bootd/ra"
	"bootd.internal/bootd/routes"
	"bootd.internal/bootd/site"
	"bootd.internal/bootd/store"
	"bootd.internal/bootd/tftp"
)

// openAdapters binds every socket. All that fail are reported at once: a machine that runs another server often runs
// several.
func (d *Daemon) openAdapters() error {
	snap := d.world.Snapshot()
	d.openAuthority(snap)
	if len(snap.Networks) == 0 { // nobody is served: no port, and none of the capabilities that the ports take
		return d.openRoutes()
	}
	d.serves = true
	neighbours, err := netif.NewNeighbours(d.log, d.now)
	if err != nil {
		return capability("asking for neighbours", err)
	}
	d.onClose(neighbours.Close)
	dir := d.openFiles(snap)
	d.onClose(dir.Close)
	cfg := httpd.Config{
		Snapshot: d.world.Snapshot, Store: d.store, Observer: d.watch, Neighbours: neighbours, Render: d.templates, Files: dir,
		Now: d.now, Rand: rand.Reader, Port: snap.HTTPPort, Authority: d.phones.PEM,
	}
	web, err := httpd.New(cfg)
	if err == nil {
		d.tasks = append(d.tasks, web)
	}
	errs := []error{
		port{"tcp", snap.HTTPPort, "HTTP"}.explain("/proc", err), d.openDHCP(neighbours), d.openTFTP(dir, neighbours, web), d.openDNS(neighbours),
		d.openPhones(cfg, snap),
	}
	d.perLink("neighbours", func(l site.Link) (Task, error) { return neighbours.Listen(l) })
	begun := &ra.Begun{}
	d.perLink("ra", func(l site.Link) (Task, error) {
		return ra.New(ra.Config{
			Snapshot: d.world.Snapshot, Changed: d.world.Changed, Observer: d.watch, Store: d.store, Begun: begun, Now: d.now, Final: d.finalRA.Load,
		}, l)
	})
	return errors.Join(append(errs, d.openRoutes())...)
}

// openRoutes keeps the routes to delegated prefixes, and our addresses in those that upstreams delegate to us.
func (d *Daemon) openRoutes() error {
	d.tasks = append(d.tasks, addresses.New(addresses.Config{
		Snapshot: d.world.Snapshot, Changed: d.world.Changed, Kernel: netif.Addresses{}, Observer: d.watch, Now: d.now,
	}))
	kernel, err := netif.OpenRoutes()
	if err != nil {
		return capability("writing routes", err)
	}
	d.onClose(kernel.Close)
	d.tasks = append(d.tasks, routes.New(routes.Config{
		Snapshot: d.world.Snapshot, Changed: d.world.Changed, Store: d.store, Kernel: kernel, Observer: d.watch, Now: d.now,
	}))
	return nil
}

func (d *Daemon) perLink(name string, start func(site.Link) (Task, error)) {
	d.perLinkOf(d.world, name, start)
}

func (d *Daemon) perLinkOf(w LinkWatch, name string, start func(site.Link) (Task, error)) {
	d.links = append(d.links, EachLink(name, w, d.log, d.now, func(l site.Link) (Task, error) {
		t, err := start(l)
		if errors.Is(err, syscall.EPERM) {
			return nil, capability(name+" on "+l.Name, err)
		}
		return t, err
	}))
}

func (d *Daemon) openDHCP(n *netif.Neighbours) error {
	s, err := dhcp6.New(dhcp6.Config{
		Snapshot: d.world.Snapshot, Store: d.store, Observer: d.watch, Neighbours: n, Now: d.now, Tracer: &d.traces,
		Frames: func(l site.Link) (dhcp6.Frames, error) { return netif.ListenDHCP(l) },
	})
	if err != nil {
		return port{"udp", 547, "DHCPv6"}.explain("/proc", err)
	}
	d.tasks = append(d.tasks, s)
	d.perLinkOf(transit{d.world}, "dhcp6", func(l site.Link) (Task, error) { return s.Link(l), nil })
	return nil
}

// openTFTP gives iPXE over TFTP the same autoexec.ipxe as over HTTP.
func (d *Daemon) openTFTP(dir *files.Dir, n *netif.Neighbours, web *httpd.Server) error {
	cfg := tftp.Config{
		Snapshot: d.world.Snapshot, Observer: d.watch, Now: d.now, Files: dir, Who: func(at site.Arrival) string { return d.who(n, at) },
		Neighbour: n.MAC,
	}
	if web != nil {
		cfg.Virtual = web.Virtual
	}
	s, err := tftp.New(cfg)
	if err != nil {
		return port{"udp", tftp.Port, "TFTP"}.explain("/proc", err)
	}
	d.tasks = append(d.tasks, s)
	return nil
}

func (d *Daemon) openDNS(n *netif.Neighbours) error {
	leases := dns.NewLeases(d.store, d.now)
	d.tasks = append(d.tasks, leases)
	s, err := dns.New(dns.Config{
		Snapshot: d.world.Snapshot, Observer: d.watch, Now: d.now, Leases: leases, Neighbour: n.MAC,
	})
	if err != nil {
		return port{"udp", dns.Port, "DNS"}.explain("/proc", err)
	}
	d.tasks = append(d.tasks, s)
	return nil
}

// who names the host behind an arrival, for events only.
func (d *Daemon) who(n *netif.Neighbours, at site.Arrival) string {
	snap := d.world.Snapshot()
	network, ok := snap.Serves(at)
	if !ok {
		return ""
	}
	name := ""
	d.store.Read(func(v store.View) {
		if m := who.Identify(snap, v, network, evidence(n, at)); m.Host != nil {
			name = m.Host.Name
		}
	})
	return name
}

func evidence(n *netif.Neighbours, at site.Arrival) []who.Evidence {
	var ev []who.Evidence
	if m, ok := n.MAC(at.Index, at.Source); ok && !at.Relay.IsValid() {
		ev = append(ev, who.Frame(m)...)
	}
	return append(ev, who.Source(at.Source)...)
}
