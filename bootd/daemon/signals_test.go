package daemon

import (
	"context"
	"os"
	"syscall"
	"testing"
)

// TestStopDuringReloads: SIGTERM is acted on although a reload takes its time and more of them wait.
func TestStopDuringReloads(t *testing.T) {
	d := runs(t, reloadTree(t))
	signals := make(chan os.Signal)
	d.cfg.Signals = signals
	var ctx context.Context
	ctx, d.cancel = context.WithCancel(t.Context())
	d.reloading.Lock() // a reload that does not end
	done := make(chan struct{})
	go func() { defer close(done); d.listen(ctx) }()
	for range 8 {
		signals <- syscall.SIGHUP
	}
	signals <- syscall.SIGTERM
	<-ctx.Done()
	d.reloading.Unlock()
	<-done
}
