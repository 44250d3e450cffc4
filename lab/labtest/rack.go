package labtest

import (
	"context"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"sync"
	"testing"
	"time"

	"bootd.internal/bootd/timeline"
	"bootd.internal/lab"
)

// Rack is a lab with one link and bootd on it: the setting of most tests.
type Rack struct {
	*lab.Lab
	Link   *lab.Link
	Server *lab.Node
	Daemon *lab.Daemon
}

// RackConfig says what differs from test to test.
type RackConfig struct {
	// Inventory is the text of inventory.yaml. The served interface is eth1
	// with 2001:db8:1::1/64 and fe80::1.
	Inventory string
	// Files are what bootd serves: by path below the files directory, the
	// content.
	Files map[string][]byte
	// Args are further arguments of bootd serve.
	Args []string
}

// serverAddr is the server's address in every rack.
var serverAddr = netip.MustParseAddr("2001:db8:1::1")

// NewRack starts bootd. It and everything else end with the test.
func NewRack(t *testing.T, c RackConfig) *Rack {
	t.Helper()
	r := &Rack{Lab: New(t)}
	var err error
	if r.Link, err = r.Lab.Link("rack1"); err != nil {
		t.Fatal(err)
	}
	if r.Server, err = r.Node("server"); err != nil {
		t.Fatal(err)
	}
	err = r.Server.Attach(r.Link, lab.Interface{
		Name: "eth1", MAC: "52:54:00:00:00:01", Self: lab.NoAddress,
		Addr: []netip.Prefix{netip.MustParsePrefix("fe80::1/64"), netip.PrefixFrom(serverAddr, 64)},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Server.Uplink("eth0", netip.MustParsePrefix("2001:db8:ffff::2/64")); err != nil {
		t.Fatal(err)
	}
	r.write(t, "inventory.yaml", []byte(c.Inventory))
	if err := os.MkdirAll(r.Path("files"), 0o755); err != nil {
		t.Fatal(err)
	}
	for path, content := range c.Files {
		r.write(t, filepath.Join("files", path), content)
	}
	r.Daemon, err = r.Server.StartDaemon(Context(t, time.Minute), lab.DaemonConfig{
		Binary: os.Getenv(BinaryEnv), Inventory: r.Path("inventory.yaml"), Args: c.Args,
	})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func (r *Rack) write(t *testing.T, path string, content []byte) {
	t.Helper()
	path = r.Path(path)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, content, 0o644); err != nil {
		t.Fatal(err)
	}
}

// Client makes a node with eth0 on the rack's link, down, with that MAC.
func (r *Rack) Client(t *testing.T, name, mac string) *lab.Node {
	t.Helper()
	n, err := r.Node(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Attach(r.Link, lab.Interface{Name: "eth0", MAC: mac, Down: true}); err != nil {
		t.Fatal(err)
	}
	return n
}

// WaitEvent waits for the first event of that kind about that host and returns
// it; the test fails when it does not come in time.
func (r *Rack) WaitEvent(t *testing.T, d time.Duration, host string, kind timeline.Kind) timeline.Event {
	t.Helper()
	e, err := r.Daemon.Wait(Context(t, d), string(kind)+" of "+host, func(e timeline.Event) bool {
		return e.Host == host && e.Kind == kind
	})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// WaitMachine is WaitEvent for a host whose machine runs: the test fails at once
// when the machine cannot go on.
func (r *Rack) WaitMachine(t *testing.T, d time.Duration, vm *lab.VM, kind timeline.Kind) timeline.Event {
	t.Helper()
	ctx, cancel := context.WithCancelCause(Context(t, d))
	var watch sync.WaitGroup
	defer watch.Wait()
	defer cancel(nil)
	watch.Go(func() {
		_, err := vm.Wait(ctx, never)
		cancel(err)
	})
	e, err := r.Daemon.Wait(ctx, string(kind)+" of "+vm.Name, func(e timeline.Event) bool {
		return e.Host == vm.Name && e.Kind == kind
	})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// never matches no line.
var never = regexp.MustCompile(`[^\s\S]`)
