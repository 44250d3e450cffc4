package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"bootd.internal/bootd/api"
	"bootd.internal/bootd/timeline"
)

// DaemonConfig says how to run bootd on a node.
type DaemonConfig struct {
	Name      string // names the evidence; empty: bootd
	Binary    string
	Inventory string
	State     string // directory; empty: Name.state among the evidence
	Args      []string
	Env       []string // added to the program's own
}

// Daemon is a running bootd.
type Daemon struct {
	Name string
	API  *api.Client
	Log  string // where it writes its log

	node   *Node
	config DaemonConfig
	cmd    *exec.Cmd
	exited chan struct{}
	stop   func() error

	mu      sync.Mutex
	events  []timeline.Event
	err     error         // why no more events will come
	changed chan struct{} // closed and replaced at each change
	cancel  context.CancelFunc
	readers sync.WaitGroup
}

// startTimeout is how long bootd may take until it serves; a second is the
// promise, the rest is for slow machines.
const startTimeout = 30 * time.Second

// StartDaemon runs `bootd serve` on the node and returns when it is ready. Its
// log goes to NAME.log and its events to NAME.events.
func (n *Node) StartDaemon(ctx context.Context, c DaemonConfig) (*Daemon, error) {
	if c.Name == "" {
		c.Name = "bootd"
	}
	if c.State == "" {
		c.State = n.lab.Path(c.Name + ".state")
	}
	if err := os.MkdirAll(c.State, 0o700); err != nil {
		return nil, fmt.Errorf("making bootd's state directory: %w", err)
	}
	d := &Daemon{
		Name: c.Name, API: api.NewClient(filepath.Join(c.State, "bootd.sock")), Log: n.lab.Path(c.Name + ".log"),
		node: n, config: c, exited: make(chan struct{}), changed: make(chan struct{}),
	}
	d.stop = sync.OnceValue(d.shutDown)
	if err := d.start(); err != nil {
		return nil, err
	}
	n.lab.onClose(d.Stop)
	if err := d.ready(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("%w; see %s", err, d.Log), d.Stop())
	}
	if err := d.follow(); err != nil {
		return nil, errors.Join(err, d.Stop())
	}
	return d, nil
}

func (d *Daemon) start() error {
	log, err := os.OpenFile(d.Log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("creating bootd's log: %w", err)
	}
	var ctx context.Context
	ctx, d.cancel = context.WithCancel(context.Background())
	args := append([]string{"serve", "--inventory", d.config.Inventory, "--state", d.config.State, "--run", d.config.State}, d.config.Args...)
	d.cmd = d.node.Command(ctx, d.config.Binary, args...)
	d.cmd.WaitDelay = 20 * time.Second
	d.cmd.Env = append(os.Environ(), d.config.Env...)
	d.cmd.Stdout, d.cmd.Stderr = log, log
	if err := d.cmd.Start(); err != nil {
		d.cancel()
		return errors.Join(fmt.Errorf("starting bootd: %w", err), log.Close())
	}
	go func() {
		err := errors.Join(d.cmd.Wait(), log.Close())
		d.fail(fmt.Errorf("bootd ended: %w", errors.Join(err, errors.New(d.cmd.ProcessState.String()))))
		close(d.exited)
	}()
	return nil
}

// ready waits until the daemon says on its socket that it serves.
func (d *Daemon) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, startTimeout, fmt.Errorf("%s passed", startTimeout))
	defer cancel()
	err := WaitFor(ctx, "bootd is ready", func() bool {
		if d.Err() != nil {
			return true
		}
		status, err := d.API.Status(ctx)
		return err == nil && status.Ready
	})
	return errors.Join(err, d.Err())
}

// follow reads the event stream until the daemon ends.
func (d *Daemon) follow() error {
	file, err := os.OpenFile(d.node.lab.Path(d.Name+".events"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("creating event log: %w", err)
	}
	out := json.NewEncoder(file)
	d.readers.Go(func() {
		err := d.API.Events(context.Background(), api.EventQuery{Follow: true}, func(e timeline.Event) bool {
			_ = out.Encode(e) // evidence only: a full disk must not stop the lab
			d.mu.Lock()
			defer d.mu.Unlock()
			d.events = append(d.events, e)
			d.wake()
			return true
		})
		d.fail(errors.Join(errors.New("the event stream ended"), err, file.Close()))
	})
	return nil
}

func (d *Daemon) wake() {
	close(d.changed)
	d.changed = make(chan struct{})
}

func (d *Daemon) fail(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.err == nil {
		d.err = err
	}
	d.wake()
}

// Err returns why bootd serves no longer, nil while it does.
func (d *Daemon) Err() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.err
}

// Events returns what was reported so far, oldest first.
func (d *Daemon) Events() []timeline.Event {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.events[:len(d.events):len(d.events)]
}

// Changed returns a channel that is closed at the next event or failure.
func (d *Daemon) Changed() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.changed
}

// Wait returns the first event, from the start, that ok accepts. It fails when
// ctx ends and when bootd does.
func (d *Daemon) Wait(ctx context.Context, what string, ok func(timeline.Event) bool) (timeline.Event, error) {
	for next := 0; ; {
		changed := d.Changed()
		events, err := d.Events(), d.Err()
		for ; next < len(events); next++ {
			if ok(events[next]) {
				return events[next], nil
			}
		}
		if err != nil {
			return timeline.Event{}, fmt.Errorf("waiting for %s: %w; see %s", what, err, d.Log)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return timeline.Event{}, fmt.Errorf("waiting for %s: %w", what, context.Cause(ctx))
		}
	}
}

// Run runs another command of the binary against the daemon, on its node, and
// returns what it printed to standard output.
func (d *Daemon) Run(ctx context.Context, command string, args ...string) ([]byte, error) {
	cmd := d.node.Command(ctx, d.config.Binary, append([]string{command, "--run", d.config.State}, args...)...)
	out, err := cmd.Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return out, fmt.Errorf("running bootd %s %v: %w: %s%s", command, args, err, out, exit.Stderr)
	}
	if err != nil {
		return out, fmt.Errorf("running bootd %s %v: %w", command, args, err)
	}
	return out, nil
}

// PID is the daemon's process.
func (d *Daemon) PID() int { return d.cmd.Process.Pid }

// Kill ends the daemon without warning (SIGKILL) and waits until it is gone.
func (d *Daemon) Kill() error {
	if err := d.cmd.Process.Signal(unix.SIGKILL); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("killing bootd: %w", err)
	}
	<-d.exited
	d.readers.Wait()
	return nil
}

// Stop ends the daemon with SIGTERM and waits until it is gone. Further calls
// do nothing and return the same.
func (d *Daemon) Stop() error { return d.stop() }

func (d *Daemon) shutDown() error {
	d.cancel()
	<-d.exited
	d.readers.Wait()
	return nil
}
