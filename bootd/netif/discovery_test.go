package netif

import (
	"testing"
	"testing/synctest"
	"time"
)

// TestPace: one packet is read at once, and so is each that comes by itself; in a crowd each wait gathers what comes meanwhile, and
// only for a moment.
func TestPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p pace
		for i, tt := range []struct{ after, takes time.Duration }{
			{0, 0}, {time.Hour, 0}, {crowd, 0}, {crowd - 1, gather}, {0, gather}, {0, gather}, {crowd, 0}, {time.Millisecond, gather},
		} {
			time.Sleep(tt.after)
			began := time.Now()
			p.wait()
			if took := time.Since(began); took != tt.takes {
				t.Errorf("packet %d, %v after the last one: waited for %v, want %v", i, tt.after, took, tt.takes)
			}
		}
	})
}
