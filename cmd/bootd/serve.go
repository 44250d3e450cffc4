package main

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"bootd.internal/bootd/daemon"
)

const serveText = `
Prints READY, and tells the service manager, once everything serves; links that are absent are taken up when they come.
SIGHUP reloads the inventory. SIGTERM and SIGINT end it as for a restart; SIGUSR2 and bootd stop end it for good, with a
final router advertisement. It needs CAP_NET_BIND_SERVICE and CAP_NET_RAW; CAP_NET_ADMIN only for larger buffers.`

func serveCommand(a app, fs *flag.FlagSet) func(context.Context, []string) error {
	var w where
	w.inventoryFlag(fs)
	w.socketFlags(fs)
	level := fs.String("log", "info", "`LEVEL`: debug, info, warn or error")
	return func(ctx context.Context, _ []string) error {
		started := time.Now()
		var min slog.Level
		if err := min.UnmarshalText([]byte(*level)); err != nil {
			return usageError{fmt.Sprintf("--log %s: want debug, info, warn or error", *level)}
		}
		if w.state == "" {
			w.state = systemState
			if w.run == "" {
				w.run = systemRun
			}
		}
		if a.getenv("GOGC") == "" {
			daemon.TuneHeap()
		}
		signals := make(chan os.Signal, 4)
		signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGUSR2)
		defer signal.Stop(signals)
		return daemon.Serve(context.WithoutCancel(ctx), daemon.Config{
			Inventory: w.file(), State: w.state, Run: w.run, Version: version, Started: started, Signals: signals, Out: a.stdout,
			Log:          slog.New(slog.NewTextHandler(a.stderr, &slog.HandlerOptions{Level: min})),
			NotifySocket: a.getenv("NOTIFY_SOCKET"),
		})
	}
}
