// Command bench measures bootd's figures and, where a figure depends on the machine, a peer beside it in the same run:
// Debian's Kea for DHCPv6, its unbound and a CoreDNS for DNS. It needs root, and makes its own namespaces; nothing leaves them.
//
// The exit status is 1 when a figure misses its bar.
package main

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"bootd.internal/bootd/ident"
	"bootd.internal/lab"
	"bootd.internal/lab/load"
)

const (
	clients     = 512
	outstanding = 64
	// exchanges are a second and a half or more: in the first quarter of a second both servers meet all clients for the first time.
	exchanges = 60000
	rounds    = 3
)

func main() {
	bin := flag.String("bootd", "bin/bootd", "the binary to measure")
	coredns := flag.String("coredns", "bin/coredns", "a CoreDNS to measure beside it, if there is one")
	only := flag.String("only", "", "measure one thing alone: size, ready, memory, dhcp, prefix, relay, routes, dns or ra")
	flag.Parse()
	debug.SetGCPercent(800) // the collections of the clients are not what is measured
	if err := lab.Enter(); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
	ok, err := measure(context.Background(), *bin, *coredns, *only)
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
	}
	if err != nil || !ok {
		os.Exit(1)
	}
}

// figure is one line of the result.
type figure struct {
	name, got, bar string
	ok             bool
}

func measure(ctx context.Context, bin, coredns, only string) (bool, error) {
	bin, err := filepath.Abs(bin)
	if err == nil {
		coredns, err = filepath.Abs(coredns)
	}
	if err != nil {
		return false, err
	}
	dir, err := os.MkdirTemp("", "bootd-bench-")
	if err != nil {
		return false, err
	}
	defer os.RemoveAll(dir)
	b := &bench{bin: bin, coredns: coredns, dir: dir}
	for _, step := range []struct {
		name string
		do   func(context.Context) error
	}{{"size", b.size}, {"ready", b.ready}, {"memory", b.memory}, {"dhcp", b.dhcp}, {"prefix", b.prefix}, {"relay", b.relay}, {"routes", b.routes}, {"dns", b.dns}, {"ra", b.ra}} {
		if only != "" && only != step.name {
			continue
		}
		if err := step.do(ctx); err != nil {
			return false, err
		}
	}
	ok := true
	fmt.Printf("\n%-52s %24s   %s\n", "figure", "measured", "bar")
	for _, f := range b.figures {
		mark := "ok"
		if !f.ok {
			mark, ok = "MISSED", false
		}
		fmt.Printf("%-52s %24s   %-16s %s\n", f.name, f.got, f.bar, mark)
	}
	return ok, nil
}

type bench struct {
	bin, coredns, dir string
	figures           []figure
}

func (b *bench) add(name, got, bar string, ok bool) {
	b.figures = append(b.figures, figure{name, got, bar, ok})
	fmt.Printf("%s: %s\n", name, got)
}

func (b *bench) size(context.Context) error {
	st, err := os.Stat(b.bin)
	if err != nil {
		return fmt.Errorf("measuring the binary: %w (make build makes it)", err)
	}
	mb := float64(st.Size()) / 1e6
	b.add("stripped binary", fmt.Sprintf("%.1f MB", mb), "< 30 MB", mb < 30)
	return nil
}

func (b *bench) ready(ctx context.Context) error {
	var took []time.Duration
	for range rounds {
		s, err := b.start(ctx, "ready", 10_000)
		if err != nil {
			return err
		}
		took = append(took, s.ready)
		if err := s.stop(); err != nil {
			return err
		}
	}
	slices.Sort(took)
	m := took[len(took)/2]
	b.add("start to READY with 10,000 hosts", m.Round(time.Millisecond).String(), "< 1 s", m < time.Second)
	return nil
}

func (b *bench) memory(ctx context.Context) error {
	s, err := b.start(ctx, "memory", 180)
	if err != nil {
		return err
	}
	peak := 0
	for range 20 { // two seconds of idling; the largest reading counts
		kb, err := rss(s.pid)
		if err != nil {
			return err
		}
		peak = max(peak, kb)
		time.Sleep(100 * time.Millisecond)
	}
	mb := float64(peak) / 1000
	b.add("resident memory, idle, 180 hosts", fmt.Sprintf("%.1f MB", mb), "< 40 MB", mb < 40)
	return s.stop()
}

// rss reads a process's resident set in kB (proc(5), VmRSS).
func rss(pid int) (int, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, fmt.Errorf("reading memory of process %d: %w", pid, err)
	}
	for line := range strings.Lines(string(text)) {
		var kb int
		if _, err := fmt.Sscanf(line, "VmRSS: %d kB", &kb); err == nil {
			return kb, nil
		}
	}
	return 0, fmt.Errorf("reading memory of process %d: no VmRSS line", pid)
}

// starter runs a server of a name and waits until it serves.
type starter func(ctx context.Context, name string) (*server, error)

// dhcp lets both servers answer the same clients in turn, so that a slow or busy machine is slow for both.
func (b *bench) dhcp(ctx context.Context) error {
	err := b.beside(ctx, "four messages", load.Config{}, b.kea(keaPool), b.bootd(inventory(clients)))
	if err != nil {
		return err
	}
	err = b.beside(ctx, "rapid commit", load.Config{Rapid: true}, b.kea(keaPool), b.bootd(inventory(clients)))
	if err != nil {
		return err
	}
	// A client that asks again within a minute is promised nothing new, and neither server writes: these are all leases to write.
	err = b.beside(ctx, "all new", load.Config{New: true}, b.kea(keaPool), b.bootd(inventory(clients)))
	if err != nil {
		return err
	}
	err = b.beside(ctx, "pool", load.Config{}, b.kea(keaPool), b.bootd(poolInventory))
	if err != nil {
		return err
	}
	many, _, err := b.rounds(ctx, "10000 hosts", load.Config{}, map[string]starter{
		"bootd": func(ctx context.Context, name string) (*server, error) { return b.start(ctx, name, 10_000) },
		"few":   func(ctx context.Context, name string) (*server, error) { return b.start(ctx, name, clients) },
	})
	if err != nil {
		return err
	}
	cost := 100 * (1 - median(ratios(many["bootd"], many["few"])))
	b.add("cost of 10,000 reservations beside 512", fmt.Sprintf("%.0f %%", cost), "< 10 %", cost < 10)
	return nil
}

// beside measures bootd beside Kea and adds the rates, their ratio and the 99th percentiles.
func (b *bench) beside(ctx context.Context, what string, play load.Config, theirs, ours starter) error {
	rates, tails, err := b.rounds(ctx, what, play, map[string]starter{"kea": theirs, "bootd": ours})
	if err != nil {
		return err
	}
	ratio := ratios(rates["bootd"], rates["kea"])
	b.add("DHCPv6 "+what+": exchanges/s, bootd (synced)", fmt.Sprintf("%.0f", median(rates["bootd"])), "", true)
	b.add("DHCPv6 "+what+": exchanges/s, Kea (not synced)", fmt.Sprintf("%.0f", median(rates["kea"])), "", true)
	b.add("DHCPv6 "+what+": ratio, median of the rounds", fmt.Sprintf("%.2f", median(ratio)), ">= 1.3", median(ratio) >= 1.3)
	mine, others := median(tails["bootd"]), median(tails["kea"])
	b.add("DHCPv6 "+what+": 99% of bootd / of Kea", fmt.Sprintf("%.1f / %.1f ms", mine, others), "<= Kea's", mine <= others)
	return nil
}

// ratios compares two servers round by round: the machine is faster in one round than in another.
func ratios(a, b []float64) []float64 {
	out := make([]float64, len(a))
	for i := range out {
		out[i] = a[i] / b[i]
	}
	return out
}

// rounds lets servers answer the same clients in turn; it gives rates and 99th percentiles in ms by server and round.
func (b *bench) rounds(ctx context.Context, what string, play load.Config, sides map[string]starter) (rates, tails map[string][]float64, err error) {
	rates, tails = map[string][]float64{}, map[string][]float64{}
	for i := range rounds {
		for _, name := range slices.Sorted(maps.Keys(sides)) {
			s, err := sides[name](ctx, fmt.Sprintf("%s%d", name, i))
			if err != nil {
				return nil, nil, err
			}
			res, err := s.load(ctx, play)
			if err != nil {
				return nil, nil, err
			}
			if err := s.stop(); err != nil {
				return nil, nil, err
			}
			if res.Exchanges < exchanges {
				return nil, nil, fmt.Errorf("loading %s: %d of %d exchanges in a minute, %d refused", name, res.Exchanges, exchanges, res.Refused)
			}
			rates[name] = append(rates[name], res.Rate())
			tails[name] = append(tails[name], res.Quantile(0.99).Seconds()*1000)
			fmt.Printf("%s, round %d %-5s %6.0f exchanges/s, median %v, 99%% %v, %d sent again, %v of CPU each\n", what, i+1, name, res.Rate(),
				res.Quantile(0.5).Round(10*time.Microsecond), res.Quantile(0.99).Round(10*time.Microsecond), res.Retransmits,
				(s.cpu() / time.Duration(res.Exchanges)).Round(time.Microsecond))
		}
	}
	return rates, tails, nil
}

func median(all []float64) float64 { return slices.Sorted(slices.Values(all))[len(all)/2] }

// load plays the clients of a step, which says only how they differ.
func (s *server) load(ctx context.Context, play load.Config) (res load.Result, err error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	inner := s.client.Do(func() error {
		play.Interface, play.Clients, play.Outstanding, play.Exchanges, play.Base = "eth0", clients, outstanding, exchanges, baseMAC()
		res, err = load.Run(ctx, play)
		return err
	})
	return res, inner
}

func baseMAC() ident.MAC { return ident.MAC{0x52, 0x54, 0x00, 0x01, 0x00, 0x00} }

func serverPrefix() netip.Prefix { return netip.MustParsePrefix("2001:db8:1::1/64") }
