package daemon

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"
)

const (
	// leastGrowth is how many percent the heap grows between two collections (GOGC): a daemon of a few MB that collects at the
	// default of 100 spends a fifth of its CPU under load on it.
	leastGrowth = 400
	// heapFloor is how far a small heap may grow all the same, in octets: each collection holds up what is being answered for
	// some milliseconds, so a daemon of 5 MB had better collect once a second under load than twenty times.
	heapFloor = 96 << 20
	// mostGrowth bounds that.
	mostGrowth = 1600
)

// growth is GOGC for a heap of which live octets are in use.
func growth(live uint64) int {
	return min(max(leastGrowth, int(100*heapFloor/max(live, 1))), mostGrowth)
}

// TuneHeap sets GOGC after each collection to what suits the heap that is left.
func TuneHeap() {
	debug.SetGCPercent(leastGrowth)
	rearm(leastGrowth)
}

// rearm has the next collection tune the heap: it finds an object that nobody uses.
func rearm(now int) {
	runtime.AddCleanup(new([16]byte), func(old int) {
		live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
		metrics.Read(live)
		next := growth(live[0].Value.Uint64())
		if next > old*5/4 || next < old*4/5 || next == leastGrowth && old != next { // setting it stops the world
			debug.SetGCPercent(next)
			old = next
		}
		rearm(old)
	}, now)
}
