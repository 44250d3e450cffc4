package dns

import (
	"sync"
	"sync/atomic"
	"testing"
)

// TestCrew: everything given is done, by goroutines that are used again, no more than may be idle stay, and none after close.
func TestCrew(t *testing.T) {
	c := newCrew()
	var did atomic.Int32
	for range 3 {
		var wg sync.WaitGroup
		begin := make(chan struct{})
		for range 2 * maxIdleHands {
			wg.Add(1)
			c.do(func() {
				defer wg.Done()
				<-begin
				did.Add(1)
			})
		}
		close(begin)
		wg.Wait()
	}
	c.close()
	if did.Load() != 6*maxIdleHands || c.idle.Load() > maxIdleHands {
		t.Errorf("%d pieces of work done, %d idle", did.Load(), c.idle.Load())
	}
}
