package daemon

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"bootd.internal/bootd/api"
	"bootd.internal/bootd/explain"
	"bootd.internal/bootd/files"
	"bootd.internal/bootd/heard"
	"bootd.internal/bootd/inventory"
	"bootd.internal/bootd/netif"
	"bootd.internal/bootd/reason"
	"bootd.internal/bootd/render"
	"bootd.internal/bootd/site"
	"bootd.internal/bootd/store/journal"
	"bootd.internal/bootd/timeline"
	"bootd.internal/bootd/timeline/history"
	"bootd.internal/bootd/trace"
	"bootd.internal/bootd/upstream"
)

// Config is what Serve needs.
type Config struct {
	// Inventory is the file, State the directory of durable state, Run that of the socket (empty: State).
	Inventory, State, Run string
	Version               string
	Log                   *slog.Logger
	// Out gets the line READY.
	Out io.Writer
	// NotifySocket is the service manager's (sd_notify(3)), empty: none.
	NotifySocket string
	// Signals: SIGTERM and SIGINT end the daemon as for a restart, SIGUSR2 for good (a final router advertisement),
	// SIGHUP serves the inventory on disk.
	Signals <-chan os.Signal
	// Started is when the process began.
	Started time.Time
}

// Daemon is a bootd that runs.
type Daemon struct {
	cfg     Config
	log     *slog.Logger
	now     func() time.Time
	store   *journal.Engine
	history *history.History
	metrics *Metrics
	heard   *heard.Book
	watch   *Observer
	traces  trace.Hub
	world   *World
	tmpl    atomic.Pointer[inForce]
	// reloading: one reload at a time, so that the last one wins.
	reloading sync.Mutex
	// read is what lay there when files were last read, as the file watch sums it up; reloading guards it.
	read   [sha256.Size]byte
	files  *fileWatch
	phones *phones
	links  []*PerLink
	// upstreams are whom this machine gets prefixes from.
	upstreams *upstream.Module
	// modules tell what they keep as the inventory says.
	modules []func() []api.ModuleStatus
	tasks   []Task

	// serves: there were networks at the start, and the servers run.
	serves  bool
	ready   atomic.Bool
	finalRA atomic.Bool
	// reloaded: the inventory of the start is no longer served.
	reloaded atomic.Bool
	cancel   context.CancelFunc
	// faults are those of templates, found at the start; a reload accepts none.
	faults []site.Problem
	// closers undo the start, last first.
	closers []func() error
}

// Serve runs a daemon until a signal, the API or ctx ends it. Errors say what is wrong and what to do.
func Serve(ctx context.Context, cfg Config) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	d := &Daemon{cfg: cfg, log: cfg.Log, now: time.Now, cancel: cancel}
	err := d.open(ctx)
	if err == nil {
		err = d.run(ctx)
	}
	return errors.Join(err, d.close())
}

// open binds and opens everything; nothing is served yet.
func (d *Daemon) open(ctx context.Context) error {
	inv, err := Load(d.cfg.Inventory)
	if err != nil {
		return err
	}
	if err := prepareState(d.cfg.State); err != nil {
		return err
	}
	if d.cfg.Run != "" {
		if err := os.MkdirAll(d.cfg.Run, 0o755); err != nil {
			return fmt.Errorf("making the run directory (give another one with --run): %w", err)
		}
	}
	engine, err := journal.Open(filepath.Join(d.cfg.State, "store"), journal.Options{})
	if err != nil {
		return fmt.Errorf("opening the store: %w", err)
	}
	d.store = engine
	d.onClose(engine.Close)
	if r := engine.Stats().Recovery; r.Torn != "" {
		d.log.Warn("the store's journal ended in the middle of a write, which nobody was promised: it was cut off",
			"file", r.Torn, "offset", r.TornOffset, "octets", r.TornOctets)
	}
	id, err := LoadIdentity(ctx, engine, rand.Reader)
	if err != nil {
		return err
	}
	d.history = history.Open(history.Config{Dir: filepath.Join(d.cfg.State, "events"), Now: d.now, Log: d.log})
	d.onClose(func() error { d.history.Close(); return nil })
	d.metrics = NewMetrics(d.cfg.Version)
	d.heard = heard.Open(filepath.Join(d.cfg.State, "heard.json"), d.now, d.log)
	d.watch = NewObserver(d.metrics, d.log, d.history, d.now).Also(d.heard)

	kernel, err := netif.NewWatch(d.log)
	if err != nil {
		return capability("following network links", err)
	}
	d.world = NewWorld(inv, kernel, id, d.log, d.now, d.history, d.metrics)
	d.world.Remember(d.advertised)
	d.files = d.newFileWatch(inv)
	d.tasks = append(d.tasks, d.files)
	d.openTemplates(inv)
	d.tasks = append(d.tasks, kernel, d.world, d.history, d.heard, &tidy{daemon: d, ready: make(chan struct{})}, &storeWatch{daemon: d, ready: make(chan struct{})})
	if err := d.openAdapters(); err != nil {
		return err
	}
	if err := d.openUpstreams(ctx, d.world.SetDelegated); err != nil {
		return err
	}
	if err := d.openModules(); err != nil {
		return err
	}
	d.openMetrics(ctx)
	return d.openAPI(ctx)
}

// openTemplates reads templates and secrets. A fault of either stops no host from getting its address and its own disk.
func (d *Daemon) openTemplates(inv *inventory.Inventory) {
	values, faults := readSecrets(inv)
	for _, f := range faults {
		d.warn("secret fault", errors.New(f.String()))
		d.faults = append(d.faults, site.Problem{Msg: f.String()})
	}
	set := templateSet(d.world.Snapshot()).WithSecrets(values)
	d.tmpl.Store(&inForce{inv: inv, set: set, before: set})
	for _, p := range render.Check(d.world.Snapshot(), set, inspector()) {
		d.warn("template fault", p)
		d.faults = append(d.faults, site.Problem{Msg: p.Error()})
	}
}

func (d *Daemon) onClose(fn func() error) { d.closers = append(d.closers, fn) }

// close undoes open, the store last.
func (d *Daemon) close() error {
	var errs []error
	for i := len(d.closers) - 1; i >= 0; i-- {
		errs = append(errs, d.closers[i]())
	}
	return errors.Join(errs...)
}

func (d *Daemon) warn(what string, err error) {
	d.log.Warn(what, "error", err)
	d.history.Record(timeline.Event{Adapter: "daemon", Kind: timeline.Warning, Detail: what + ": " + firstLine(err)})
}

// openFiles opens the served directory. One that is missing is served from as soon as somebody makes it: machines still
// get addresses and their local disks.
func (d *Daemon) openFiles(snap *site.Snapshot) *files.Dir {
	path := beside(snap.Inventory.File, snap.Files)
	dir, err := files.Open(path)
	if err == nil {
		return dir
	}
	d.warn("no boot files are served yet: make the directory, or set serve.files and restart", err)
	return files.Later(path)
}

// openMetrics binds the metrics' address. That it cannot is no reason to let machines stand.
func (d *Daemon) openMetrics(ctx context.Context) {
	at := d.world.Snapshot().Metrics
	if at == (netip.AddrPort{}) {
		return
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", at.String())
	if err != nil {
		p := port{"tcp", int(at.Port()), "metrics"}
		d.warn("no metrics are served", p.explain("/proc", err))
		return
	}
	d.tasks = append(d.tasks, newHTTPTask("metrics", l, d.metrics))
}

func (d *Daemon) openAPI(ctx context.Context) error {
	l, err := api.Listen(ctx, Socket(d.cfg.Run, d.cfg.State))
	if err != nil {
		return err
	}
	t := newHTTPTask("api", l, api.New(api.Config{
		Snapshot: d.world.Snapshot, Store: d.store, History: d.history, Heard: d.heard, Doctor: d.Doctor, Observer: d.watch, Daemon: d, Traces: &d.traces, Upstreams: d.upstreams,
		Render: func(host, what string) ([]byte, []string, error) {
			snap := d.world.Snapshot()
			return explain.Render(snap, d.templates(snap).Mask(), host, what)
		},
		Fit: func(host string) error {
			snap := d.world.Snapshot()
			return errors.Join(lintHost(snap, d.templates(snap), host), missingFiles(snap, host))
		},
		Authority: d.phones.PEM, Now: d.now, Rand: rand.Reader, Log: d.log,
	}))
	t.server.ConnContext = api.ConnContext
	d.tasks = append(d.tasks, t)
	return nil
}

// run serves until the end.
func (d *Daemon) run(ctx context.Context) error {
	all := d.tasks
	for _, l := range d.links {
		all = append(all, l)
	}
	var beside sync.WaitGroup
	beside.Go(func() { d.announce(ctx, all) })
	beside.Go(func() { d.listen(ctx) })
	err := runAll(ctx, all)
	d.cancel()
	beside.Wait()
	d.ready.Store(false)
	d.history.Record(timeline.Event{Adapter: "daemon", Kind: timeline.Stopping})
	d.log.Info("stopped", "final_ra", d.finalRA.Load())
	return err
}

// announce says READY once everything that must live serves.
func (d *Daemon) announce(ctx context.Context, all []Task) {
	if !allReady(ctx, all) {
		return
	}
	took := d.now().Sub(d.cfg.Started).Round(time.Millisecond)
	d.ready.Store(true)
	d.metrics.set(gaugeReady, 1)
	d.log.Info("ready", "version", d.cfg.Version, "inventory", d.cfg.Inventory, "hosts", len(d.world.Snapshot().Hosts), "took", took)
	d.history.Record(timeline.Event{Adapter: "daemon", Kind: timeline.Ready, Detail: d.cfg.Version})
	if _, err := fmt.Fprintln(d.cfg.Out, "READY"); err != nil {
		d.log.Warn("writing READY failed", "error", err)
	}
	d.tell("READY=1")
}

func (d *Daemon) tell(state string) {
	if err := notify(d.cfg.NotifySocket, state); err != nil {
		d.log.Warn("telling the service manager failed", "error", err)
	}
}

// Stop begins the end; the final router advertisement tells clients that this router is gone for good.
func (d *Daemon) Stop(finalRA bool) {
	d.finalRA.Store(finalRA)
	d.tell("STOPPING=1")
	d.cancel()
}

// Health tells the API.
func (d *Daemon) Health() api.Health {
	h := api.Health{
		Ready: d.ready.Load(), Version: d.cfg.Version, Started: d.cfg.Started, Problems: d.problems(),
		Refused: d.world.Stale(), Store: d.store.Err(), Tasks: []api.TaskStatus{},
	}
	for _, l := range d.links {
		for _, s := range l.Status() {
			h.Tasks = append(h.Tasks, api.TaskStatus(s))
		}
	}
	for _, status := range d.modules {
		h.Modules = append(h.Modules, status()...)
	}
	return h
}

// problems are those of the site, and template faults while the templates of the start are in force.
func (d *Daemon) problems() []site.Problem {
	if d.reloaded.Load() {
		return d.world.Problems()
	}
	return append(d.world.Problems(), d.faults...)
}

// storeWatch tells when the store stops writing.
type storeWatch struct {
	daemon *Daemon
	ready  chan struct{}
}

func (s *storeWatch) String() string         { return "store watch" }
func (s *storeWatch) Ready() <-chan struct{} { return s.ready }

// Run waits for a failure and says it; promises that stand are repeated, so the daemon goes on.
func (s *storeWatch) Run(ctx context.Context) error {
	close(s.ready)
	select {
	case <-ctx.Done():
		return nil
	case <-s.daemon.store.Failed():
	}
	s.daemon.metrics.set(gaugeStore, 1)
	s.daemon.watch.Observe(timeline.Observation{
		Adapter: "daemon", Message: "store", Outcome: reason.Outcome{Reason: reason.StoreReadOnly}, Err: s.daemon.store.Err(),
		Events: []timeline.Event{{Kind: timeline.Warning, Reason: reason.StoreReadOnly, Detail: "the store takes no writes: repair its disk and restart bootd"}},
	})
	<-ctx.Done()
	return nil
}
