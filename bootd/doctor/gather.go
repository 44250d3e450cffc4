package doctor

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"bootd.internal/bootd/netif"
	"bootd.internal/bootd/site"
)

// capabilities are those that bootd uses, by their number (capabilities(7)).
func capabilities() []struct {
	name string
	bit  uint
} {
	return []struct {
		name string
		bit  uint
	}{{"CAP_NET_BIND_SERVICE", 10}, {"CAP_NET_ADMIN", 12}, {"CAP_NET_RAW", 13}}
}

// Kernel gathers the facts of this machine; those of capabilities are those of this process. What cannot be read is left
// unknown.
func Kernel() (Facts, error) {
	var f Facts
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return f, fmt.Errorf("reading capabilities: %w", err)
	}
	f.Missing = missing(status)
	routes, err := netif.DefaultRouteLinks()
	if err != nil {
		return f, err
	}
	f.DefaultRoute = len(routes) > 0
	if f.Forwarding, err = netif.Forwarding("all"); err != nil {
		return f, err
	}
	links, err := net.Interfaces()
	if err != nil {
		return f, fmt.Errorf("listing interfaces: %w", err)
	}
	for _, l := range links {
		if l.Flags&net.FlagLoopback != 0 {
			continue
		}
		x := Link{Name: l.Name, Up: l.Flags&net.FlagUp != 0, MTU: l.MTU, AcceptRA: -1, Static: routes[l.Index]}
		_, x.Default = routes[l.Index]
		if n, ok := number(filepath.Join("/proc/sys/net/ipv6/conf", l.Name, "accept_ra")); ok {
			x.AcceptRA = n
		}
		x.Forwarding, _ = netif.Forwarding(l.Name) // it is gone: nothing to find
		f.Links = append(f.Links, x)
	}
	f.NeighbourLimit, _ = number("/proc/sys/net/ipv6/neigh/default/gc_thresh3")
	return f, nil
}

func number(path string) (int, bool) {
	b, err := os.ReadFile(path)
	if err != nil {
		return 0, false
	}
	n, err := strconv.Atoi(string(bytes.TrimSpace(b)))
	return n, err == nil
}

// missing reads the effective capabilities out of /proc/PID/status.
func missing(status []byte) []string {
	var out []string
	for line := range strings.Lines(string(status)) {
		text, ok := strings.CutPrefix(line, "CapEff:")
		if !ok {
			continue
		}
		have, err := strconv.ParseUint(strings.TrimSpace(text), 16, 64)
		if err != nil {
			return nil
		}
		for _, c := range capabilities() {
			if have>>c.bit&1 == 0 {
				out = append(out, c.name)
			}
		}
	}
	return out
}

// resolverTimeout bounds the wait for one resolver.
const resolverTimeout = 2 * time.Second

// Resolvers asks each resolver for the name servers of the root, all at once and in the way that bootd asks it, and gives why
// some did not answer.
func Resolvers(ctx context.Context, all []site.Upstream) map[site.Upstream]string {
	var mu sync.Mutex
	var wg sync.WaitGroup
	out := map[site.Upstream]string{}
	for _, u := range all {
		wg.Go(func() {
			if err := ask(ctx, u); err != nil {
				mu.Lock()
				defer mu.Unlock()
				out[u] = err.Error()
			}
		})
	}
	wg.Wait()
	return out
}

var errNoAnswer = errors.New("no answer in two seconds")

// ask sends one question (RFC 1035 section 4.1); any answer to it will do.
func ask(ctx context.Context, u site.Upstream) error {
	ctx, cancel := context.WithTimeout(ctx, resolverTimeout)
	defer cancel()
	network, prefix := "udp6", 0
	if u.Transport != "udp" {
		network, prefix = "tcp6", 2 // its length goes before a message (section 4.2.2)
	}
	c, err := new(net.Dialer).DialContext(ctx, network, u.Addr.String())
	if err != nil {
		return fmt.Errorf("connecting: %w", err)
	}
	defer c.Close()
	if u.Transport == "tls" {
		t := tls.Client(c, &tls.Config{ServerName: u.Name, MinVersion: tls.VersionTLS12})
		if err := t.HandshakeContext(ctx); err != nil {
			return fmt.Errorf("checking its certificate: %w", err)
		}
		c = t
	}
	id := uint16(time.Now().UnixNano())
	q := binary.BigEndian.AppendUint16([]byte{0, 17}[:prefix], id)
	q = append(q, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 1) // RD, one question: . NS IN
	if err := c.SetDeadline(time.Now().Add(resolverTimeout)); err != nil {
		return fmt.Errorf("setting a deadline: %w", err)
	}
	if _, err := c.Write(q); err != nil {
		return fmt.Errorf("asking: %w", err)
	}
	b := make([]byte, 4096)
	for {
		n, err := c.Read(b)
		if err == nil && prefix > 0 && n < prefix+12 {
			var more int
			more, err = io.ReadAtLeast(c, b[n:], prefix+12-n)
			n += more
		}
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			return errNoAnswer
		case err != nil:
			return fmt.Errorf("asking: %w", err)
		case n >= prefix+12 && binary.BigEndian.Uint16(b[prefix:]) == id && b[prefix+2]&0x80 != 0:
			return nil
		case prefix > 0:
			return fmt.Errorf("asking: %w", errors.New("answer to another question"))
		}
	}
}
