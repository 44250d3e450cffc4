package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"bootd.internal/lab/load"
)

// solicitations in one second, for each of some seconds.
const solicitations = 1000

// ra lets a thousand machines solicit a router within a second, and looks at what the answers cost.
func (b *bench) ra(ctx context.Context) error {
	s, err := b.start(ctx, "ra", 180)
	if err != nil {
		return err
	}
	run := func(over time.Duration) (res load.Result, used time.Duration, err error) {
		ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
		defer cancel()
		before, err := ran(s.pid)
		if err != nil {
			return res, 0, err
		}
		var inner error
		err = s.client.Do(func() error {
			res, inner = load.Solicit(ctx, load.Config{Interface: "eth0", Clients: solicitations, Base: baseMAC()}, over)
			return inner
		})
		if err != nil {
			return res, 0, err
		}
		after, err := ran(s.pid)
		return res, after - before, err
	}
	// The first answers wait until it is known that no other router is there.
	if _, _, err := run(2 * time.Second); err != nil {
		return err
	}
	// The slowest answer counts, and the middle of what it costs.
	worst := load.Result{Exchanges: solicitations}
	var shares []float64
	for range rounds {
		res, used, err := run(time.Second)
		if err != nil {
			return err
		}
		shares = append(shares, used.Seconds()/res.Elapsed.Seconds())
		if len(worst.Latency) == 0 || res.Exchanges < worst.Exchanges || res.Quantile(1) > worst.Quantile(1) {
			worst = res
		}
	}
	b.add("router solicitations answered, of 1000 in a second", fmt.Sprintf("%d", worst.Exchanges), "= 1000", worst.Exchanges == solicitations)
	b.add("slowest of them", worst.Quantile(1).Round(time.Millisecond).String(), "< 500 ms", worst.Quantile(1) < 500*time.Millisecond)
	share := median(shares)
	b.add("processor for that, middle of the rounds", fmt.Sprintf("%.1f %% of a core", 100*share), "< 5 %", share < 0.05)
	return s.stop()
}

// ran is how long the threads of a process have run, as the scheduler counts it (proc(5), schedstat, nanoseconds): what is counted
// in clock ticks (stat) is far from it for a process that wakes up for a moment, again and again.
func ran(pid int) (time.Duration, error) {
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	if err != nil || len(files) == 0 {
		return 0, fmt.Errorf("reading processor time of process %d: no threads: %w", pid, err)
	}
	var sum time.Duration
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return 0, fmt.Errorf("reading processor time of process %d: %w", pid, err)
		}
		var on time.Duration
		if _, err := fmt.Sscanf(string(text), "%d", &on); err != nil {
			return 0, fmt.Errorf("reading processor time in %s: %w", file, err)
		}
		sum += on
	}
	return sum, nil
}
