package daemon

import (
	"context"
	"sync"
	"syscall"
)

// listen acts on signals until the end. A reload runs beside it, and those asked for meanwhile become one: a storm of
// SIGHUP must not keep SIGTERM waiting, or fill the channel and lose it.
func (d *Daemon) listen(ctx context.Context) {
	reload := make(chan struct{}, 1)
	var beside sync.WaitGroup
	defer beside.Wait()
	defer close(reload)
	beside.Go(func() {
		for range reload {
			if ctx.Err() == nil {
				_ = d.Reload(ctx) // it was logged, and the status says it
			}
		}
	})
	for {
		select {
		case <-ctx.Done():
			return
		case s := <-d.cfg.Signals:
			d.log.Info("signal", "signal", s.String())
			switch s {
			case syscall.SIGHUP:
				select {
				case reload <- struct{}{}:
				default: // one waits already, and will read what is on disk then
				}
			case syscall.SIGUSR2:
				d.Stop(true)
			default:
				d.Stop(false)
			}
		}
	}
}
