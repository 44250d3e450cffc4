package daemon

import (
	"net/netip"
	"slices"

	"bootd.internal/bootd/anyip"
	"bootd.internal/bootd/api"
	"bootd.internal/bootd/follow"
	"bootd.internal/bootd/netif"
	"bootd.internal/bootd/render"
	"bootd.internal/bootd/site"
)

// openModules opens what serves this machine itself.
func (d *Daemon) openModules() error {
	d.openFollow()
	return d.openAnyIP()
}

// proxied is the links on which prefixes are answered for.
type proxied struct{ *World }

// Links are those that exist.
func (p proxied) Links() []site.Link {
	var out []site.Link
	for _, a := range p.Snapshot().AnyIP {
		for _, l := range a.Neighbours {
			if !slices.ContainsFunc(out, func(x site.Link) bool { return x.Name == l.Name }) {
				out = append(out, l)
			}
		}
	}
	return out
}

// openFollow keeps programs in step with prefixes.
func (d *Daemon) openFollow() {
	t := follow.New(follow.Config{
		Snapshot: d.world.Snapshot, Changed: d.world.Changed, Store: d.store, Observer: d.watch, Now: d.now,
		Render: func(snap *site.Snapshot, f site.Follower) ([]byte, error) {
			return renderFollower(d.templates(snap), f)
		},
	})
	d.tasks = append(d.tasks, t)
	d.modules = append(d.modules, func() []api.ModuleStatus {
		var out []api.ModuleStatus
		for _, s := range t.Status() {
			m := api.ModuleStatus{Module: t.String(), Name: s.Name, Since: s.Since, Fault: s.Fault}
			if s.Prefix.IsValid() {
				m.Prefix = s.Prefix.String()
			}
			if s.Wanted != m.Prefix {
				m.Name += ", " + s.Wanted
			}
			if s.Done.IsValid() && s.Done == s.Prefix {
				m.State = "told"
			}
			out = append(out, m)
		}
		return out
	})
}

func renderFollower(set *render.Set, f site.Follower) ([]byte, error) {
	return set.RenderFollowed(f.Template, render.NewFollowed(f.Name, f.Prefix))
}

// Try says what would be done for a follower that has a prefix, and does nothing.
func (p *Plan) Try(f site.Follower) (follow.Preview, error) {
	return follow.Try(f, func(f site.Follower) ([]byte, error) { return renderFollower(p.Templates, f) })
}

// checkFollowers renders the templates of those that are told of a prefix.
func (p *Plan) checkFollowers() []Fault {
	var out []Fault
	for i, f := range p.Snapshot.Followers {
		if f.Template == "" {
			continue
		}
		if !f.Prefix.IsValid() {
			f.Prefix = netip.MustParsePrefix("2001:db8::/64")
		}
		if _, err := renderFollower(p.Templates, f); err != nil {
			at := p.Inventory.Follow[i].Template.Pos
			out = append(out, Fault{File: p.Inventory.File, Line: at.Line, Column: at.Col, Path: "follow." + f.Name + ".template", Text: err.Error()})
		}
	}
	return out
}

// openAnyIP keeps whole prefixes bound to this machine.
func (d *Daemon) openAnyIP() error {
	kernel, err := netif.OpenLocals()
	if err != nil {
		return capability("binding prefixes", err)
	}
	d.onClose(kernel.Close)
	t := anyip.New(anyip.Config{
		Snapshot: d.world.Snapshot, Changed: d.world.Changed, Known: d.upstreams.Ready(), Kernel: kernel, Observer: d.watch, Now: d.now,
	})
	d.tasks = append(d.tasks, t)
	d.perLinkOf(proxied{d.world}, "neighbour proxy", func(l site.Link) (Task, error) {
		wire, err := netif.ListenSolicitations(l)
		if err != nil {
			return nil, err
		}
		return t.Neighbours(l, wire), nil
	})
	d.modules = append(d.modules, func() []api.ModuleStatus {
		var out []api.ModuleStatus
		for _, s := range t.Status() {
			m := api.ModuleStatus{Module: t.String(), Name: s.Wanted, Since: s.Since, Fault: s.Fault}
			if s.Prefix.IsValid() {
				m.Prefix = s.Prefix.String()
			}
			if s.Bound {
				m.State = "bound"
			}
			out = append(out, m)
		}
		return out
	})
	return nil
}
