// Package daemon wires: it opens the store, joins inventory and kernel into snapshots, starts the adapters, feeds metrics,
// log and history from one observer, and ends everything in the right order.
//
// The package never decides what goes onto the wire; decide/* does, and the adapters say it.
package daemon

import (
	"context"
	"errors"
	"fmt"

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

// runAll runs what must live: when one fails, all end, and the error names the one.
func runAll(ctx context.Context, tasks []Task) error {
	g, ctx := errgroup.WithContext(ctx)
	for _, t := range tasks {
		g.Go(func() error {
			err := t.Run(ctx)
			switch {
			case ctx.Err() != nil && (err == nil || errors.Is(err, context.Canceled)):
				return nil
			case err == nil:
				err = errEnded
			}
			return fmt.Errorf("running %s: %w", t, err)
		})
	}
	return g.Wait()
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
