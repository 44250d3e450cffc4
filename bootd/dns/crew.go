package dns

import (
	"sync"
	"sync/atomic"
)

// maxIdleHands goroutines wait for their next work; the collector makes their stacks small again when there is none for long.
const maxIdleHands = maxFlights

// crew has goroutines that go on with the next piece of work when one is done: a new one begins with a small stack, and to copy
// that as it grows was a tenth of what a question to an upstream costs. The nil crew starts a new one each time. What is given
// to it is counted and bounded by those who give it.
type crew struct {
	work chan func()
	idle atomic.Int32
	over chan struct{}
	all  sync.WaitGroup
}

func newCrew() *crew { return &crew{work: make(chan func()), over: make(chan struct{})} }

// do has f done beside its caller.
func (c *crew) do(f func()) {
	if c == nil {
		go f()
		return
	}
	select {
	case c.work <- f: // somebody waits for it
	default:
		c.all.Go(func() { c.serve(f) })
	}
}

func (c *crew) serve(f func()) {
	for {
		f()
		f = nil
		if c.idle.Add(1) > maxIdleHands {
			c.idle.Add(-1)
			return
		}
		select {
		case f = <-c.work:
			c.idle.Add(-1)
		case <-c.over:
			return
		}
	}
}

// close waits until everybody is gone. Nothing may be given to the crew any more.
func (c *crew) close() {
	close(c.over)
	c.all.Wait()
}
