package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"bootd.internal/lab"
	"bootd.internal/lab/load"
)

// server is a running DHCPv6 server with a client's node on its link.
type server struct {
	lab    *lab.Lab
	client *lab.Node
	server *lab.Node
	cmd    *exec.Cmd
	pid    int
	ready  time.Duration
}

func (s *server) stop() error {
	err := s.cmd.Process.Signal(syscall.SIGTERM)
	_ = s.cmd.Wait() // how it ended says nothing about the figures
	return errors.Join(err, s.lab.Close())
}

// cpu is what the server used, of a server that was stopped.
func (s *server) cpu() time.Duration {
	return s.cmd.ProcessState.UserTime() + s.cmd.ProcessState.SystemTime()
}

func (b *bench) network(name string) (*lab.Lab, *lab.Node, *lab.Node, error) {
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
	if err := srv.Attach(link, lab.Interface{Name: "eth1", MAC: serverMAC().String(), Addr: []netip.Prefix{serverPrefix()}}); err != nil {
		return nil, nil, nil, err
	}
	// The clients answer for themselves: the kernel beside them must be mute.
	mute := cli.Sysctl(map[string]string{"net/ipv6/conf/default/disable_ipv6": "1"})
	if err := errors.Join(mute, cli.Attach(link, lab.Interface{Name: "eth0", Self: lab.NoAddress})); err != nil {
		return nil, nil, nil, err
	}
	return l, srv, cli, linkLocal(srv)
}

// linkLocal waits for the server's link-local address: Kea binds to it once, at its start.
func linkLocal(srv *lab.Node) error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return lab.WaitFor(ctx, "the server's link-local address", func() bool {
		addrs, err := srv.Addresses("eth1")
		return err == nil && slices.ContainsFunc(addrs, func(p netip.Prefix) bool { return p.Addr().IsLinkLocalUnicast() })
	})
}

// start runs bootd on an inventory of n hosts and waits until it says READY.
func (b *bench) start(ctx context.Context, name string, n int) (*server, error) {
	return b.startWith(ctx, name, inventory(n))
}

// poolInventory lists nobody: all clients get addresses of the pool. Router: no other server is looked for.
const poolInventory = "networks:\n  rack1: {interface: eth1, prefix: \"2001:db8:1::/64\", router: self, unknown: pool}\n"

// bootd starts it on an inventory.
func (b *bench) bootd(text string) starter {
	return func(ctx context.Context, name string) (*server, error) { return b.startWith(ctx, name, text) }
}

func (b *bench) startWith(ctx context.Context, name, text string) (*server, error) {
	l, srv, cli, err := b.network(name)
	if err != nil {
		return nil, err
	}
	inv := l.Path("inventory.yaml")
	if err := os.WriteFile(inv, []byte(text), 0o644); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(l.Path("files"), 0o755); err != nil {
		return nil, err
	}
	return launch(b.serve(ctx, l, srv), l, srv, cli, "READY")
}

// serve is bootd on the inventory of a lab.
func (b *bench) serve(ctx context.Context, l *lab.Lab, srv *lab.Node) *exec.Cmd {
	return srv.Command(ctx, b.bin, "serve", "--inventory", l.Path("inventory.yaml"), "--state", l.Path("state"), "--run", l.Path("run"))
}

func inventory(n int) string {
	var b strings.Builder
	b.WriteString("networks:\n  rack1: {interface: eth1, prefix: \"2001:db8:1::/64\"}\nhosts:\n")
	for i := range n {
		fmt.Fprintf(&b, "  n%05d: {mac: \"%s\", address: \"::%x\"}\n", i, load.Config{Base: baseMAC()}.MAC(i), 0x1000+i)
	}
	return b.String()
}

// kea starts Debian's Kea with a subnet, as fast as it goes: memfile, several threads, errors only in the log.
func (b *bench) kea(subnet string) starter {
	return func(ctx context.Context, name string) (*server, error) { return b.startKea(ctx, name, subnet) }
}

// keaPool has the clients on the server's link.
const keaPool = `"subnet": "2001:db8:1::/64", "interface": "eth1", "rapid-commit": true, "pools": [{"pool": "2001:db8:1::1000-2001:db8:1::ffff"}]`

func (b *bench) startKea(ctx context.Context, name, subnet string) (*server, error) {
	l, srv, cli, err := b.network(name)
	if err != nil {
		return nil, err
	}
	conf := fmt.Sprintf(keaConfig, l.Path("kea.leases"), subnet)
	if err := os.WriteFile(l.Path("kea.json"), []byte(conf), 0o644); err != nil {
		return nil, err
	}
	if err := errors.Join(os.MkdirAll("/var/lib/kea", 0o755), os.MkdirAll("/run/kea", 0o755)); err != nil {
		return nil, err
	}
	cmd := srv.Command(ctx, "kea-dhcp6", "-c", l.Path("kea.json"))
	cmd.Env = append(os.Environ(), "KEA_PIDFILE_DIR="+l.Dir, "KEA_LOCKFILE_DIR="+l.Dir)
	return launch(cmd, l, srv, cli, "DHCP6_STARTED")
}

const keaConfig = `{"Dhcp6": {
  "interfaces-config": {"interfaces": ["eth1", "eth1/2001:db8:1::1"]},
  "lease-database": {"type": "memfile", "persist": true, "lfc-interval": 0, "name": "%s"},
  "multi-threading": {"enable-multi-threading": true},
  "preferred-lifetime": 43200, "valid-lifetime": 86400,
  "subnet6": [{%s}],
  "loggers": [
    {"name": "kea-dhcp6", "severity": "ERROR", "output_options": [{"output": "stdout"}]},
    {"name": "kea-dhcp6.dhcp6", "severity": "INFO", "output_options": [{"output": "stdout", "flush": true}]},
    {"name": "kea-dhcp6.leases", "severity": "ERROR", "output_options": [{"output": "stdout"}]}
  ]
}}`

// launch starts the command and waits, ten seconds at most, for a line that holds the word.
func launch(cmd *exec.Cmd, l *lab.Lab, srv, cli *lab.Node, word string) (*server, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	log, err := os.Create(l.Path("server.log"))
	if err != nil {
		return nil, err
	}
	cmd.Stdout, cmd.Stderr = w, w
	began := time.Now()
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", cmd.Path, err)
	}
	_ = w.Close()
	seen := make(chan error, 1)
	go func() {
		defer r.Close()
		defer log.Close()
		sc := bufio.NewScanner(io.TeeReader(r, log))
		found := false
		for sc.Scan() {
			if !found && strings.Contains(sc.Text(), word) {
				found = true
				seen <- nil
			}
		}
		if !found {
			seen <- fmt.Errorf("%s ended without saying %s, see %s", cmd.Path, word, l.Path("server.log"))
		}
	}()
	select {
	case err = <-seen:
	case <-time.After(10 * time.Second):
		err = fmt.Errorf("%s did not say %s within 10 s, see %s", cmd.Path, word, l.Path("server.log"))
	}
	s := &server{lab: l, client: cli, server: srv, cmd: cmd, pid: cmd.Process.Pid, ready: time.Since(began)}
	if err != nil {
		return nil, errors.Join(err, s.stop())
	}
	return s, nil
}
