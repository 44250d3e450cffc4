// Command bench measures bootd's figures and, where a figure depends on the machine, a peer beside it in the same run:
// Debian's Kea for DHCPv6, its unbound for DNS. It needs root, and makes its own namespaces; nothing leaves them.
//
// The exit status is 1 when a figure misses its bar.
package main

import (
	"context"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
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
	exchanges   = 20000
	rounds      = 3
)

func main() {
	bin := flag.String("bootd", "bin/bootd", "the binary to measure")
	only := flag.String("only", "", "measure one thing alone: size, ready, memory, dhcp or dns")
	flag.Parse()
	if err := lab.Enter(); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
	ok, err := measure(context.Background(), *bin, *only)
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

func measure(ctx context.Context, bin, only string) (bool, error) {
	bin, err := filepath.Abs(bin)
	if err != nil {
		return false, err
	}
	dir, err := os.MkdirTemp("", "bootd-bench-")
	if err != nil {
		return false, err
	}
	defer os.RemoveAll(dir)
	b := &bench{bin: bin, dir: dir}
	for _, step := range []struct {
		name string
		do   func(context.Context) error
	}{{"size", b.size}, {"ready", b.ready}, {"memory", b.memory}, {"dhcp", b.dhcp}, {"dns", b.dns}} {
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
	bin, dir string
	figures  []figure
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

// dhcp lets both servers answer the same clients in turn, so that a slow or busy machine is slow for both.
func (b *bench) dhcp(ctx context.Context) error {
	var ours, kea, ratio []float64
	for i := range rounds {
		for _, side := range []struct {
			name  string
			start func(context.Context, string, int) (*server, error)
			rates *[]float64
		}{{"kea", b.startKea, &kea}, {"bootd", b.start, &ours}} {
			s, err := side.start(ctx, fmt.Sprintf("%s%d", side.name, i), clients)
			if err != nil {
				return err
			}
			res, err := s.load(ctx)
			if err != nil {
				return err
			}
			if err := s.stop(); err != nil {
				return err
			}
			if res.Exchanges < exchanges {
				return fmt.Errorf("loading %s: %d of %d exchanges in a minute, %d refused", side.name, res.Exchanges, exchanges, res.Refused)
			}
			*side.rates = append(*side.rates, res.Rate())
			fmt.Printf("round %d %-5s %6.0f exchanges/s, median %v, 99%% %v, %d sent again, %v of CPU each\n", i+1, side.name, res.Rate(),
				res.Quantile(0.5).Round(10*time.Microsecond), res.Quantile(0.99).Round(10*time.Microsecond), res.Retransmits,
				(s.cpu() / time.Duration(res.Exchanges)).Round(time.Microsecond))
		}
		ratio = append(ratio, ours[i]/kea[i])
	}
	for _, r := range []*[]float64{&ours, &kea, &ratio} {
		slices.Sort(*r)
	}
	mid := rounds / 2
	b.add(fmt.Sprintf("DHCPv6 exchanges/s, %d outstanding: bootd (synced)", outstanding), fmt.Sprintf("%.0f", ours[mid]), "", true)
	b.add(fmt.Sprintf("DHCPv6 exchanges/s, %d outstanding: Kea (not synced)", outstanding), fmt.Sprintf("%.0f", kea[mid]), "", true)
	b.add("ratio bootd : Kea, median of the rounds", fmt.Sprintf("%.2f", ratio[mid]), ">= 1", ratio[mid] >= 1)
	return nil
}

func (s *server) load(ctx context.Context) (res load.Result, err error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	inner := s.client.Do(func() error {
		res, err = load.Run(ctx, load.Config{
			Interface: "eth0", Clients: clients, Outstanding: outstanding, Exchanges: exchanges, Base: baseMAC(),
		})
		return err
	})
	return res, inner
}

func baseMAC() ident.MAC { return ident.MAC{0x52, 0x54, 0x00, 0x01, 0x00, 0x00} }

func serverPrefix() netip.Prefix { return netip.MustParsePrefix("2001:db8:1::1/64") }
