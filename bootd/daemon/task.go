// Package daemon wires: it opens the store, joins inventory and kernel into snapshots, starts the adapters, feeds metrics,
// log and history from one observer, and ends everything in the right order.
//
// The package never decides what goes onto the wire; decide/* does, and the adapters say it.
package daemon

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// Task is something long-lived. Its sockets are bound before Run; Ready is closed once it serves.
type Task interface {
	fmt.Stringer
	// Run works until ctx ends and then returns nil; another return is a failure.
	Run(ctx context.Context) error
	Ready() <-chan struct{}
}

var errEnded = errors.New("it ended by itself")

// stopWithin is how long all tasks together may take to end; HTTP alone gives requests under way three seconds.
const stopWithin = 10 * time.Second

// runAll runs what must live: when one fails, all end, and the error names the one. A task that does not end in time is
// left behind and named: the store must still be closed.
func runAll(ctx context.Context, tasks []Task) error {
	g, ctx := errgroup.WithContext(ctx)
	var mu sync.Mutex
	running := map[string]bool{}
	for _, t := range tasks {
		running[t.String()] = true
		g.Go(func() error {
			err := t.Run(ctx)
			mu.Lock()
			delete(running, t.String())
			mu.Unlock()
			switch {
			case ctx.Err() != nil && (err == nil || errors.Is(err, context.Canceled)):
				return nil
			case err == nil:
				err = errEnded
			}
			return fmt.Errorf("running %s: %w", t, err)
		})
	}
	ended := make(chan error, 1)
	go func() { ended <- g.Wait() }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	late := time.NewTimer(stopWithin)
	defer late.Stop()
	select {
	case err := <-ended:
		return err
	case <-late.C:
	}
	mu.Lock()
	defer mu.Unlock()
	err := fmt.Errorf("stopping: after %s still running: %s", stopWithin, strings.Join(slices.Sorted(maps.Keys(running)), ", "))
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
		err = errors.Join(cause, err)
	}
	return err
}

// allReady waits until every task is ready; false: ctx ended first.
func allReady(ctx context.Context, tasks []Task) bool {
	for _, t := range tasks {
		select {
		case <-t.Ready():
		case <-ctx.Done():
			return false
		}
	}
	return true
}
