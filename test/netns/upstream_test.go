package netns_test

import (
	"context"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"bootd.internal/bootd/decide/uplink"
	"bootd.internal/bootd/timeline"
	"bootd.internal/bootd/upstream"
	"bootd.internal/lab"
	"bootd.internal/lab/labtest"
)

// isp is a link between a machine with a DHCPv6 server and one with bootd, which has nothing but upstreams.
type isp struct {
	*lab.Lab
	provider, home *lab.Node
	daemon         *lab.Daemon
}

func newISP(t *testing.T) *isp {
	t.Helper()
	i := &isp{Lab: labtest.New(t)}
	link, err := i.Link("wan")
	if err != nil {
		t.Fatal(err)
	}
	if i.provider, err = i.Node("isp"); err != nil {
		t.Fatal(err)
	}
	err = i.provider.Attach(link, lab.Interface{
		Name: "eth0", MAC: "52:54:00:00:00:01", Self: lab.NoAddress,
		Addr: []netip.Prefix{netip.MustParsePrefix("fe80::1/64"), netip.MustParsePrefix("2001:db8:f::1/64")},
	})
	if err != nil {
		t.Fatal(err)
	}
	if i.home, err = i.Node("home"); err != nil {
		t.Fatal(err)
	}
	if err := i.home.Attach(link, lab.Interface{Name: "eth0", MAC: "52:54:00:aa:01:01"}); err != nil {
		t.Fatal(err)
	}
	return i
}

// start runs bootd; a second time it is the same one again.
func (i *isp) start(t *testing.T, inventory string) {
	t.Helper()
	i.write(t, "inventory.yaml", inventory)
	var err error
	i.daemon, err = i.home.StartDaemon(labtest.Context(t, time.Minute), lab.DaemonConfig{
		Name: "home", Binary: os.Getenv(labtest.BinaryEnv), Inventory: i.Path("inventory.yaml"), State: i.Path("home.state"),
	})
	if err != nil {
		t.Fatal(err)
	}
}

func (i *isp) write(t *testing.T, name, text string) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(i.Path(name)), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(i.Path(name), []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	return i.Path(name)
}

// dhcpServer is a program that delegates prefixes of 2001:db8:100::/40 as /48s.
type dhcpServer struct {
	name string
	run  func(t *testing.T, i *isp) []string
}

func dhcpServers() []dhcpServer {
	return []dhcpServer{
		{"kea", func(t *testing.T, i *isp) []string {
			return []string{"kea-dhcp6", "-c", i.write(t, "kea.conf", `{"Dhcp6": {
	"interfaces-config": {"interfaces": ["eth0"], "re-detect": false},
	"lease-database": {"type": "memfile", "persist": false},
	"multi-threading": {"enable-multi-threading": false},
	"server-id": {"type": "LL", "htype": 1, "identifier": "525400000099", "persist": false},
	"preferred-lifetime": 20, "valid-lifetime": 40, "renew-timer": 10, "rebind-timer": 16,
	"option-data": [{"name": "dns-servers", "data": "2001:db8::53"}, {"name": "domain-search", "data": "example.net"}],
	"subnet6": [{"id": 1, "subnet": "2001:db8:f::/64", "interface": "eth0", "rapid-commit": true,
		"pools": [{"pool": "2001:db8:f::100 - 2001:db8:f::1ff"}],
		"pd-pools": [{"prefix": "2001:db8:100::", "prefix-len": 40, "delegated-len": 48}]}],
	"loggers": [{"name": "kea-dhcp6", "severity": "DEBUG", "debuglevel": 55, "output_options": [{"output": "stdout"}]}]}}`)}
		}},
		{"dhcpd", func(t *testing.T, i *isp) []string {
			i.write(t, "dhcpd.leases", "")
			return []string{"dhcpd", "-6", "-f", "-d", "-lf", i.Path("dhcpd.leases"), "-pf", i.Path("dhcpd.pid"), "-cf", i.write(t, "dhcpd.conf", `
default-lease-time 40; preferred-lifetime 20;
option dhcp6.name-servers 2001:db8::53;
option dhcp6.domain-search "example.net";
subnet6 2001:db8:f::/64 { range6 2001:db8:f::100 2001:db8:f::1ff; prefix6 2001:db8:100:: 2001:db8:1ff:: /48; }
`), "eth0"}
		}},
	}
}

// serve starts a server on the ISP's machine and gives what stops it.
func (i *isp) serve(t *testing.T, s dhcpServer) (stop func()) {
	t.Helper()
	args := s.run(t, i)
	log, err := os.Create(i.Path(s.name + ".log"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cmd := i.provider.Command(ctx, args[0], args[1:]...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Env = append(os.Environ(), "KEA_PIDFILE_DIR="+i.Dir, "KEA_LOCKFILE_DIR=none", "KEA_DHCP_DATA_DIR="+i.Dir)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		_ = cmd.Wait() // it was told to end
		_ = log.Close()
	}
	t.Cleanup(stop)
	return stop
}

// status asks bootd what its only upstream does.
func (i *isp) status(t *testing.T) upstream.Status {
	t.Helper()
	s, err := i.daemon.API.Status(labtest.Context(t, patience))
	if err != nil || len(s.Upstreams) != 1 {
		t.Fatalf("%v: %+v", err, s.Upstreams)
	}
	return s.Upstreams[0]
}

// lease waits for the next event that a prefix was given or renewed, after so many that are known already.
func (i *isp) lease(t *testing.T, word string) netip.Prefix {
	t.Helper()
	e, err := i.daemon.Wait(labtest.Context(t, 2*patience), "a prefix is "+word, func(e timeline.Event) bool {
		return e.Kind == timeline.UpstreamLease && strings.HasPrefix(e.Detail, "isp: "+word) && strings.HasSuffix(e.Addr, "/48")
	})
	if err != nil {
		t.Fatalf("%v; %+v", err, i.status(t))
	}
	return netip.MustParsePrefix(e.Addr)
}

const homeInventory = "upstreams: {isp: {interface: eth0, request: 48}}\n"

// TestUpstream: a prefix from each server that Debian has, renewed at T1, asked about after a crash, and given back.
func TestUpstream(t *testing.T) {
	for _, s := range dhcpServers() {
		t.Run(s.name, func(t *testing.T) {
			i := newISP(t)
			i.serve(t, s)
			i.start(t, homeInventory)
			got := i.lease(t, "bound")
			if !netip.MustParsePrefix("2001:db8:100::/40").Contains(got.Addr()) {
				t.Errorf("%s was given", got)
			}
			st := i.status(t)
			if st.State != uplink.Ready || len(st.Held) != 1 || st.Held[0].Prefix != got || st.From != netip.MustParseAddr("fe80::1") || st.Waiting != "" {
				t.Errorf("%+v", st)
			}
			if again := i.lease(t, "renewed"); again != got {
				t.Errorf("%s, renewed %s", got, again)
			}
			if err := i.daemon.Kill(); err != nil {
				t.Fatal(err)
			}
			i.start(t, homeInventory)
			if again := i.lease(t, "rebound"); again != got {
				t.Errorf("%s, after a crash %s", got, again)
			}
			if out, err := i.daemon.Run(labtest.Context(t, patience), "upstream", "release", "isp"); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			_, err := i.daemon.Wait(labtest.Context(t, patience), "it is given back", func(e timeline.Event) bool {
				return e.Kind == timeline.UpstreamLost && e.Addr == got.String() && e.Detail == "isp: released"
			})
			if err != nil {
				t.Error(err)
			}
			out, err := i.daemon.Run(labtest.Context(t, patience), "upstream")
			if err != nil || !slices.Contains([]string{"releasing", "released"}, strings.Fields(string(out))[9]) {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}
