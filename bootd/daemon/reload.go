package daemon

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"

	"bootd.internal/bootd/inventory"
	"bootd.internal/bootd/render"
	"bootd.internal/bootd/site"
	"bootd.internal/bootd/timeline"
)

// Reload serves the inventory on disk if it has no fault, its templates render for every host and its files are there;
// else the one that is served stays. Addresses of sockets, and the directory of files, change at the next start only.
func (d *Daemon) Reload(context.Context) error {
	d.reloading.Lock()
	defer d.reloading.Unlock()
	return d.reload()
}

// filesChanged reloads for the file watch, unless what it saw was read already: somebody saved and said bootd reload.
func (d *Daemon) filesChanged(seen [sha256.Size]byte) {
	d.reloading.Lock()
	defer d.reloading.Unlock()
	if seen == d.read {
		return
	}
	d.log.Info("files changed")
	_ = d.reload() // it was logged, and the status says it
}

// reload does it; the caller holds reloading.
func (d *Daemon) reload() error {
	if d.files != nil {
		d.read = d.files.look(nil) // before it is read: what changes meanwhile is read again
	}
	began := d.now()
	plan, faults, err := Check(d.cfg.Inventory, began)
	if err == nil && len(faults) > 0 {
		err = checkError(faults)
	}
	if err != nil {
		d.world.Refuse(err)
		return err
	}
	before := d.world.Snapshot()
	d.tmpl.Store(&inForce{inv: plan.Inventory, set: plan.Templates, before: d.templates(before)})
	d.world.Replace(plan.Inventory)
	d.reloaded.Store(true)
	if after := d.world.Snapshot(); after.HTTPPort != before.HTTPPort || after.Metrics != before.Metrics || after.Files != before.Files || atStart(after.Phones) != atStart(before.Phones) ||
		len(after.Networks) > 0 && !d.serves {
		d.warn("reloaded in part", errAtStart)
	}
	hosts := fmt.Sprintf("%d hosts", len(plan.Snapshot.Hosts))
	if len(plan.Snapshot.Hosts) == 1 {
		hosts = "1 host"
	}
	d.history.Record(timeline.Event{Adapter: "daemon", Kind: timeline.Reloaded, Detail: hosts})
	d.log.Info("inventory reloaded", "hash", plan.Inventory.Hash, "hosts", len(plan.Snapshot.Hosts), "took", d.now().Sub(began))
	return nil
}

// inForce is the templates of the inventory that is served, and those of the one before: a request that took its snapshot
// just before a reload is answered with what belongs to it.
type inForce struct {
	inv         *inventory.Inventory
	set, before *render.Set
}

// templates are those that belong to a snapshot.
func (d *Daemon) templates(snap *site.Snapshot) *render.Set {
	t := d.tmpl.Load()
	if snap.Inventory == t.inv {
		return t.set
	}
	return t.before
}

var errAtStart = errors.New("files, http_port and metrics of the section serve, and certificates and HTTPS of the section yealink, and a first network, take effect at the next start")

// atStart is what of the phones takes effect at the next start only.
func atStart(p *site.Phones) (s struct {
	port                 int
	certificate, key, ca string
},
) {
	if p != nil && p.HTTPS {
		s.port, s.certificate, s.key, s.ca = p.Port, p.Certificate, p.Key, p.ClientCA
	}
	return s
}

type checkError []Fault

// Error is one line per fault.
func (f checkError) Error() string {
	errs := make([]error, len(f))
	for i, x := range f {
		errs[i] = errors.New(x.String())
	}
	return errors.Join(errs...).Error()
}
