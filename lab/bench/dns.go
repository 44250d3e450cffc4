package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"bootd.internal/lab"
)

const (
	dnsNames   = 1000
	dnsMisses  = 400_000
	dnsSeconds = 3
)

// dnsCase is one way to ask.
type dnsCase struct {
	name, data string
	args       []string
}

func dnsCases() []dnsCase {
	return []dnsCase{
		{"cache hits over UDP", "hits", []string{"-q", "200", "-c", "8"}},
		{"cache hits over TCP", "hits", []string{"-m", "tcp", "-q", "200", "-c", "8"}},
		{"cold misses over UDP", "misses", []string{"-q", "200", "-c", "8"}},
	}
}

// dns has dnsperf ask both servers the same questions in turn: bootd and Debian's unbound with one thread, both forwarding to the
// same upstream. What a query costs is the server's own CPU.
func (b *bench) dns(ctx context.Context) error {
	type sample struct{ rate, cost float64 }
	got := map[string]map[string][]sample{}
	for i := range rounds {
		for _, side := range []struct {
			name  string
			start func(context.Context, string) (*server, error)
		}{{"unbound", b.startUnbound}, {"bootd", b.startResolver}} {
			s, err := side.start(ctx, fmt.Sprintf("%s-dns%d", side.name, i))
			if err != nil {
				return err
			}
			for _, c := range dnsCases() {
				rate, cost, err := s.dnsperf(ctx, c, i)
				if err != nil {
					return errors.Join(fmt.Errorf("asking %s for %s: %w", side.name, c.name, err), s.stop())
				}
				if got[c.name] == nil {
					got[c.name] = map[string][]sample{}
				}
				got[c.name][side.name] = append(got[c.name][side.name], sample{rate, cost})
				fmt.Printf("round %d %-7s %-21s %7.0f queries/s, %5.1f us of CPU each\n", i+1, side.name, c.name, rate, cost)
			}
			if err := s.stop(); err != nil {
				return err
			}
		}
	}
	middle := func(all []float64) float64 { slices.Sort(all); return all[len(all)/2] }
	for _, c := range dnsCases() {
		var rates, costs, ours, theirs []float64
		for i := range rounds {
			u, m := got[c.name]["unbound"][i], got[c.name]["bootd"][i]
			rates, costs = append(rates, m.rate/u.rate), append(costs, m.cost/u.cost)
			ours, theirs = append(ours, m.rate), append(theirs, u.rate)
		}
		b.add("DNS, "+c.name+": bootd", fmt.Sprintf("%.0f/s", middle(ours)), "", true)
		b.add("DNS, "+c.name+": unbound, 1 thread", fmt.Sprintf("%.0f/s", middle(theirs)), "", true)
		b.add("ratio of queries/s, bootd : unbound", fmt.Sprintf("%.2f", middle(rates)), ">= 1", middle(rates) >= 1)
		cost := middle(costs)
		bar, ok := "", true
		if c.data == "hits" && !slices.Contains(c.args, "tcp") {
			bar, ok = "<= 1", cost <= 1
		}
		b.add("ratio of CPU per query, bootd : unbound", fmt.Sprintf("%.2f", cost), bar, ok)
	}
	return nil
}

// dnsNetwork is a server's node with a client on its link, which is the upstream too.
func (b *bench) dnsNetwork(name string) (*lab.Lab, *lab.Node, *lab.Node, error) {
	l, err := lab.New(name, filepath.Join(b.dir, name))
	if err != nil {
		return nil, nil, nil, err
	}
	link, err := l.Link("rack1")
	if err != nil {
		return nil, nil, nil, err
	}
	srv, err := l.Node("srv")
	if err != nil {
		return nil, nil, nil, err
	}
	cli, err := l.Node("cli")
	if err != nil {
		return nil, nil, nil, err
	}
	err = errors.Join(
		srv.Attach(link, lab.Interface{Name: "eth1", Addr: []netip.Prefix{serverPrefix()}}),
		cli.Attach(link, lab.Interface{Name: "eth0", Addr: []netip.Prefix{netip.MustParsePrefix("2001:db8:1::53/64")}}),
		linkLocal(srv), answering(cli), questions(l),
	)
	return l, srv, cli, err
}

// questions writes what dnsperf asks: a few names again and again, or each name once.
func questions(l *lab.Lab) error {
	var hits strings.Builder
	for i := range dnsNames {
		fmt.Fprintf(&hits, "h%d.example.org AAAA\n", i)
	}
	err := os.WriteFile(l.Path("hits"), []byte(hits.String()), 0o644)
	for round := range rounds {
		var misses strings.Builder
		for i := range dnsMisses {
			fmt.Fprintf(&misses, "m%d-%d.example.org AAAA\n", round, i)
		}
		err = errors.Join(err, os.WriteFile(l.Path(fmt.Sprintf("misses%d", round)), []byte(misses.String()), 0o644))
	}
	return err
}

// answering answers every question in a node with one AAAA record; it ends with the process.
func answering(n *lab.Node) error {
	return n.Do(func() error {
		c, err := net.ListenUDP("udp6", &net.UDPAddr{Port: 5353})
		if err != nil {
			return fmt.Errorf("opening the upstream: %w", err)
		}
		_ = c.SetReadBuffer(4 << 20)
		go func() {
			buf := make([]byte, 1500)
			for {
				n, from, err := c.ReadFromUDPAddrPort(buf)
				if err != nil {
					return
				}
				if p := answered(buf[:n]); p != nil {
					_, _ = c.WriteToUDPAddrPort(p, from)
				}
			}
		}()
		return nil
	})
}

// answered makes the answer to a question: the question, and 2001:db8:9::1 for an hour. EDNS is left out.
func answered(p []byte) []byte {
	end := 12
	for end < len(p) && p[end] != 0 {
		end += 1 + int(p[end])
	}
	if end += 5; end > len(p) {
		return nil
	}
	p = p[:end]
	binary.BigEndian.PutUint16(p[2:], 0x8180)
	copy(p[4:], "\x00\x01\x00\x01\x00\x00\x00\x00")
	return append(p, "\xc0\x0c\x00\x1c\x00\x01\x00\x00\x0e\x10\x00\x10\x20\x01\x0d\xb8\x00\x09\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01"...)
}

func (b *bench) startResolver(ctx context.Context, name string) (*server, error) {
	l, srv, cli, err := b.dnsNetwork(name)
	if err != nil {
		return nil, err
	}
	inv := l.Path("inventory.yaml")
	text := "dns: {upstreams: \"[2001:db8:1::53]:5353\", client_limit: 1000}\n" + inventory(180)
	if err := errors.Join(os.WriteFile(inv, []byte(text), 0o644), os.MkdirAll(l.Path("files"), 0o755)); err != nil {
		return nil, err
	}
	return launch(b.serve(ctx, l, srv), l, srv, cli, "READY")
}

// startUnbound runs Debian's unbound as it comes, but for what the comparison needs: no validation, one thread, no log, and as
// bootd one socket for all addresses, whose answers leave from the one that was asked.
func (b *bench) startUnbound(ctx context.Context, name string) (*server, error) {
	l, srv, cli, err := b.dnsNetwork(name)
	if err != nil {
		return nil, err
	}
	conf := fmt.Sprintf(unboundConfig, l.Dir)
	if err := os.WriteFile(l.Path("unbound.conf"), []byte(conf), 0o644); err != nil {
		return nil, err
	}
	return launch(srv.Command(ctx, "unbound", "-d", "-c", l.Path("unbound.conf")), l, srv, cli, "start of service")
}

const unboundConfig = `server:
  interface: ::0
  interface-automatic: yes
  access-control: 2001:db8:1::/64 allow
  num-threads: 1
  module-config: "iterator"
  do-ip4: no
  do-daemonize: no
  username: ""
  chroot: ""
  directory: "%s"
  pidfile: ""
  use-syslog: no
  outgoing-range: 4096
  num-queries-per-thread: 2048
remote-control:
  control-enable: no
forward-zone:
  name: "."
  forward-addr: 2001:db8:1::53@5353
`

var perSecond = regexp.MustCompile(`Queries completed: +(\d+)[^\n]*\n(?s:.*)Queries per second: +([\d.]+)`)

// dnsperf asks for some seconds and gives queries per second, and the microseconds of CPU that each cost the server.
func (s *server) dnsperf(ctx context.Context, c dnsCase, round int) (rate, cost float64, err error) {
	data := c.data
	args := append([]string{"-s", "2001:db8:1::1", "-l", strconv.Itoa(dnsSeconds), "-W", "-b", "1024", "-t", "1"}, c.args...)
	if data == "hits" { // all of them are known before
		warm := s.client.Command(ctx, "dnsperf", "-s", "2001:db8:1::1", "-n", "1", "-q", "50", "-d", s.lab.Path(data))
		if out, err := warm.CombinedOutput(); err != nil {
			return 0, 0, fmt.Errorf("warming up: %w\n%s", err, out)
		}
	} else {
		data += strconv.Itoa(round)
		args = append(args, "-n", "1")
	}
	before, err := ran(s.pid)
	if err != nil {
		return 0, 0, err
	}
	out, err := s.client.Command(ctx, "dnsperf", append(args, "-d", s.lab.Path(data))...).CombinedOutput()
	if err != nil {
		return 0, 0, fmt.Errorf("running dnsperf: %w\n%s", err, out)
	}
	after, err := ran(s.pid)
	if err != nil {
		return 0, 0, err
	}
	m := perSecond.FindSubmatch(out)
	if m == nil {
		return 0, 0, fmt.Errorf("reading dnsperf's figures: none in\n%s", out)
	}
	n, _ := strconv.ParseFloat(string(m[1]), 64)
	rate, err = strconv.ParseFloat(string(m[2]), 64)
	return rate, float64((after - before).Microseconds()) / max(n, 1), err
}
