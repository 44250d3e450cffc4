package daemon

import (
	"bootd.internal/bootd/anyip"
	"bootd.internal/bootd/api"
	"bootd.internal/bootd/netif"
)

// openModules opens what serves this machine itself.
func (d *Daemon) openModules() error {
	return d.openAnyIP()
}

// openAnyIP keeps whole prefixes bound to this machine.
func (d *Daemon) openAnyIP() error {
	kernel, err := netif.OpenLocals()
	if err != nil {
		return capability("binding prefixes", err)
	}
	d.onClose(kernel.Close)
	t := anyip.New(anyip.Config{
		Snapshot: d.world.Snapshot, Changed: d.world.Changed, Kernel: kernel, Observer: d.watch, Now: d.now,
	})
	d.tasks = append(d.tasks, t)
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
