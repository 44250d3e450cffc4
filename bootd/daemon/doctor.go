package daemon

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"bootd.internal/bootd/doctor"
	"bootd.internal/bootd/heard"
	"bootd.internal/bootd/netif"
	"bootd.internal/bootd/site"
)

// Doctor looks for what keeps machines from booting, with what was heard on the wire.
func (d *Daemon) Doctor(ctx context.Context) (doctor.Report, error) {
	in := doctor.Input{
		Snapshot: d.world.Snapshot(), Problems: d.world.Problems(), Foreign: d.heard.Foreign(), Running: true,
		Started: d.cfg.Started, Now: d.now(),
	}
	for _, l := range d.links {
		for _, s := range l.Status() {
			if s.Error != "" {
				in.Tasks = append(in.Tasks, fmt.Sprintf("%s on %s does not run: %s", s.Task, s.Link, s.Error))
			}
		}
	}
	if err := d.store.Err(); err != nil {
		in.Faults = append(in.Faults, "the store takes no writes: "+err.Error())
	}
	return examine(ctx, d.cfg.Inventory, in)
}

// Examine is what there is to find without a running daemon: it hears nothing on the wire.
func Examine(ctx context.Context, file string, now time.Time) (doctor.Report, error) {
	inv, err := Load(file)
	if err != nil {
		return doctor.Report{}, err
	}
	facts, err := machine()
	if err != nil {
		return doctor.Report{}, err
	}
	snap, problems := site.Resolve(inv, facts, nil, now)
	return examine(ctx, file, doctor.Input{Snapshot: snap, Problems: problems, Now: now, Foreign: []heard.Foreign{}})
}

func examine(ctx context.Context, file string, in doctor.Input) (doctor.Report, error) {
	_, faults, err := Check(file, in.Now)
	if err != nil {
		in.Faults = append(in.Faults, err.Error())
	}
	for _, f := range faults {
		in.Faults = append(in.Faults, f.String())
	}
	if in.Kernel, err = doctor.Kernel(); err != nil {
		return doctor.Report{}, err
	}
	in.Resolvers = doctor.Resolvers(ctx, in.Snapshot.DNS.Upstreams)
	return doctor.Examine(in), nil
}

// machine is what this machine's network looks like now.
func machine() (site.Facts, error) {
	w, err := netif.NewWatch(slog.New(slog.DiscardHandler))
	if err != nil {
		return site.Facts{}, fmt.Errorf("looking at network links: %w", err)
	}
	s := w.State()
	if err := w.Close(); err != nil {
		return site.Facts{}, fmt.Errorf("looking at network links: %w", err)
	}
	return site.Facts{Links: s.Links, Forwarding: s.Forwarding, DefaultRoute: s.DefaultRoute}, nil
}
