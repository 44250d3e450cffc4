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

// peer is a DNS server that is measured beside bootd, least is how many times its queries per second bootd should answer; cost: a
// cache hit over UDP should cost no more CPU than there.
type peer struct {
	name  string
	start starter
	least float64
	cost  bool
}

// sample is what one server did in one round: queries per second, and microseconds of CPU for each.
type sample struct{ rate, cost float64 }

// dns has dnsperf ask all servers the same questions in turn: bootd, Debian's unbound with one thread, and CoreDNS where it can be
// built, all forwarding to the same upstream. What a query costs is the server's own CPU.
func (b *bench) dns(ctx context.Context) error {
	peers := []peer{{"unbound", b.startUnbound, 1, true}}
	if _, err := os.Stat(b.coredns); err != nil {
		fmt.Println("CoreDNS is not measured:", err)
	} else {
		peers = append(peers, peer{"CoreDNS", b.startCoreDNS, 1.3, false})
	}
	got := map[string]map[string][]sample{}
	for i := range rounds {
		for _, side := range append(peers, peer{name: "bootd", start: b.startResolver}) {
			if err := b.dnsRound(ctx, side, i, got); err != nil {
				return err
			}
		}
	}
	for _, c := range dnsCases() {
		b.add("DNS, "+c.name+": bootd", fmt.Sprintf("%.0f/s", middleRate(got[c.name]["bootd"])), "", true)
		for _, p := range peers {
			b.besidePeer(c, p, got[c.name])
		}
	}
	return nil
}

func middleRate(all []sample) float64 {
	var rates []float64
	for _, s := range all {
		rates = append(rates, s.rate)
	}
	return median(rates)
}

// dnsRound starts a server and asks it in each way.
func (b *bench) dnsRound(ctx context.Context, side peer, round int, got map[string]map[string][]sample) error {
	s, err := side.start(ctx, fmt.Sprintf("%s-dns%d", strings.ToLower(side.name), round))
	if err != nil {
		return err
	}
	for _, c := range dnsCases() {
		rate, cost, err := s.dnsperf(ctx, c, round)
		if err != nil {
			return errors.Join(fmt.Errorf("asking %s for %s: %w", side.name, c.name, err), s.stop())
		}
		if got[c.name] == nil {
			got[c.name] = map[string][]sample{}
		}
		got[c.name][side.name] = append(got[c.name][side.name], sample{rate, cost})
		fmt.Printf("round %d %-7s %-21s %7.0f queries/s, %5.1f us of CPU each\n", round+1, side.name, c.name, rate, cost)
	}
	return s.stop()
}

// besidePeer adds the ratios of one case, the middle of the rounds.
func (b *bench) besidePeer(c dnsCase, p peer, got map[string][]sample) {
	var rates, costs []float64
	for i, their := range got[p.name] {
		our := got["bootd"][i]
		rates, costs = append(rates, our.rate/their.rate), append(costs, our.cost/their.cost)
	}
	b.add("DNS, "+c.name+": "+p.name, fmt.Sprintf("%.0f/s", middleRate(got[p.name])), "", true)
	b.add("ratio of queries/s, bootd : "+p.name, fmt.Sprintf("%.2f", median(rates)), fmt.Sprintf(">= %.1f", p.least), median(rates) >= p.least)
	bar, ok := "", true
	if p.cost && c.data == "hits" && !slices.Contains(c.args, "tcp") {
		bar, ok = "<= 1", median(costs) <= 1
	}
	b.add("ratio of CPU per query, bootd : "+p.name, fmt.Sprintf("%.2f", median(costs)), bar, ok)
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
	// Room for all answers, and a short wait at the end: one that is lost would otherwise count as five seconds without any.
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
