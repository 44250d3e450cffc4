package netns_test

import (
	"context"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"bootd.internal/bootd/timeline"
	"bootd.internal/bootd/upstream"
	"bootd.internal/lab"
	"bootd.internal/lab/labtest"
)

// isp is a link between a machine with a DHCPv6 server and one with bootd, which has nothing but upstreams.
type isp struct {
	*lab.Lab
	// files is the directory for its files.
	files          string
	provider, home *lab.Node
	daemon         *lab.Daemon
}

// newISP makes one in a lab of its own.
func newISP(t *testing.T) *isp {
	t.Helper()
	l := labtest.New(t)
	return oneOfISPs(t, l, "", l.Dir)
}

// oneOfISPs makes one of several in a lab; the suffix tells their names apart.
func oneOfISPs(t *testing.T, l *lab.Lab, suffix, files string) *isp {
	t.Helper()
	i := &isp{Lab: l, files: files}
	link, err := l.Link("wan" + suffix)
	if err != nil {
		t.Fatal(err)
	}
	if i.provider, err = l.Node("isp" + suffix); err != nil {
		t.Fatal(err)
	}
	err = i.provider.Attach(link, lab.Interface{
		Name: "eth0", MAC: "52:54:00:00:00:01", Self: lab.NoAddress,
		Addr: []netip.Prefix{netip.MustParsePrefix("fe80::1/64"), netip.MustParsePrefix("2001:db8:f::1/64")},
	})
	if err != nil {
		t.Fatal(err)
	}
	if i.home, err = l.Node("home" + suffix); err != nil {
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
		Name: i.home.Name, Binary: os.Getenv(labtest.BinaryEnv), Inventory: i.Path("inventory.yaml"), State: i.Path("state"),
	})
	if err != nil {
		t.Fatal(err)
	}
}

// Path is where a file of its own is.
func (i *isp) Path(name string) string { return filepath.Join(i.files, name) }

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

// dhcpServer delegates prefixes of 2001:db8:100::/40 as /48s, for 20 and 40 seconds.
type dhcpServer struct {
	name string
	// inventory is that of the home.
	inventory string
	// program is started with the text of its configuration beside it; nil: it is bootd.
	program func(conf, dir string) []string
	conf    string
}

// knownHome is an upstream that shows the DUID which the server's configuration knows.
const knownHome = "upstreams: {isp: {interface: eth0, request: 48, duid: 00:03:00:01:52:54:00:aa:01:01}}\n"

func dhcpServers() []dhcpServer {
	return []dhcpServer{
		{"kea", homeInventory, func(conf, _ string) []string { return []string{"kea-dhcp6", "-c", conf} }, keaISP("2001:db8:100::")},
		{"dhcpd", homeInventory, func(conf, dir string) []string {
			return []string{"dhcpd", "-6", "-f", "-d", "-lf", dir + "/leases", "-pf", dir + "/pid", "-cf", conf, "eth0"}
		}, `
default-lease-time 40; preferred-lifetime 20;
option dhcp6.name-servers 2001:db8::53;
option dhcp6.domain-search "example.net", "b.example.net";
subnet6 2001:db8:f::/64 { range6 2001:db8:f::100 2001:db8:f::1ff; prefix6 2001:db8:100:: 2001:db8:1ff:: /48; }
`},
		{"wide-dhcpv6-server", knownHome, func(conf, dir string) []string {
			return []string{"unshare", "-m", "sh", "-c", "mkdir -p /var/lib/dhcpv6 && mount -t tmpfs tmpfs /var/lib/dhcpv6 && exec dhcp6s -f -D -c " + conf + " -P " + dir + "/pid eth0"}
		}, `
option domain-name-servers 2001:db8::53;
host home { duid 00:03:00:01:52:54:00:aa:01:01; prefix 2001:db8:150::/48 20 40; };
`},
		{"dibbler-server", homeInventory, func(conf, _ string) []string {
			return []string{"unshare", "-m", "sh", "-c", `
				for d in /etc/dibbler /var/lib/dibbler /var/log/dibbler; do mkdir -p $d && mount -t tmpfs tmpfs $d || exit; done
				cp ` + conf + ` /etc/dibbler/server.conf && exec dibbler-server run`}
		}, `
log-level 8
iface "eth0" {
	T1 10
	T2 16
	prefered-lifetime 20
	valid-lifetime 40
	pd-class { pd-pool 2001:db8:100::/40
		pd-length 48 }
	option dns-server 2001:db8::53
}
`},
		{"bootd", homeInventory, nil, `
defaults: {preferred: 20s, valid: 40s}
networks:
  wan: {interface: eth0, prefix: "2001:db8:f::/64", router: self, unknown: pool, delegate: {pool: "2001:db8:100::/40", length: 48}}
`},
	}
}

// keaISP gives prefixes out of a /40.
func keaISP(pool string) string {
	return `{"Dhcp6": {
	"interfaces-config": {"interfaces": ["eth0"], "re-detect": false},
	"lease-database": {"type": "memfile", "persist": false},
	"multi-threading": {"enable-multi-threading": false},
	"server-id": {"type": "LL", "htype": 1, "identifier": "525400000099", "persist": false},
	"preferred-lifetime": 20, "valid-lifetime": 40, "renew-timer": 10, "rebind-timer": 16,
	"option-data": [{"name": "dns-servers", "data": "2001:db8::53"}, {"name": "domain-search", "data": "example.net"}],
	"subnet6": [{"id": 1, "subnet": "2001:db8:f::/64", "interface": "eth0", "rapid-commit": true,
		"pools": [{"pool": "2001:db8:f::100 - 2001:db8:f::1ff"}],
		"pd-pools": [{"prefix": "` + pool + `", "prefix-len": 40, "delegated-len": 48}]}],
	"loggers": [{"name": "kea-dhcp6", "severity": "INFO", "output_options": [{"output": "stdout"}]}]}}`
}

// serve starts a server on the ISP's machine and gives what stops it.
func (i *isp) serve(t *testing.T, s dhcpServer) (stop func()) {
	t.Helper()
	if s.program == nil {
		d, err := i.provider.StartDaemon(labtest.Context(t, time.Minute), lab.DaemonConfig{
			Name: i.provider.Name, Binary: os.Getenv(labtest.BinaryEnv), Inventory: i.write(t, s.name+"/inventory.yaml", s.conf), State: i.Path(s.name + ".state"),
		})
		if err != nil {
			t.Fatal(err)
		}
		return func() { _ = d.Stop() }
	}
	args := s.program(i.write(t, s.name+"/conf", s.conf), i.Path(s.name))
	i.write(t, s.name+"/leases", "")
	log, err := os.Create(i.Path(s.name + ".log"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cmd := i.provider.Command(ctx, args[0], args[1:]...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Env = append(os.Environ(), "KEA_PIDFILE_DIR="+i.files, "KEA_LOCKFILE_DIR=none", "KEA_DHCP_DATA_DIR="+i.Dir)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stop = sync.OnceFunc(func() {
		cancel()
		_ = cmd.Wait() // it was told to end
		_ = log.Close()
	})
	t.Cleanup(stop)
	return stop
}

// lose drops a tenth of what the home sends and hears, and doubles a fifth of what either side sends.
func (i *isp) lose(t *testing.T) {
	t.Helper()
	rules := func(n *lab.Node, drop bool, to string) {
		text := "table ip6 lossy {\n chain out { type filter hook output priority 0;\n"
		if drop {
			text += "udp dport 546-547 numgen random mod 10 == 0 drop\n"
		}
		text += "udp dport 546-547 numgen random mod 10 < 2 dup to " + to + " device \"eth0\"\n }\n"
		if drop {
			text += " chain in { type filter hook input priority 0; udp dport 546-547 numgen random mod 10 == 0 drop\n }\n"
		}
		run(t, n, "nft", "-f", i.write(t, n.Name+".nft", text+"}\n"))
	}
	rules(i.home, true, "ff02::1:2")
	rules(i.provider, false, "fe80::5054:ff:feaa:101")
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

// lease waits for an event after a moment that a prefix was given or renewed, as one of the words says.
func (i *isp) lease(t *testing.T, after time.Time, words ...string) netip.Prefix {
	t.Helper()
	e, err := i.daemon.Wait(labtest.Context(t, 3*patience), "a prefix is "+strings.Join(words, " or "), func(e timeline.Event) bool {
		return e.Kind == timeline.UpstreamLease && e.Time.After(after) && strings.HasSuffix(e.Addr, "/48") && slices.ContainsFunc(words, func(w string) bool {
			return strings.HasPrefix(e.Detail, "isp: "+w+",")
		})
	})
	if err != nil {
		t.Fatalf("%v; %+v", err, i.status(t))
	}
	return netip.MustParsePrefix(e.Addr)
}

// event waits for an event whose text holds some words.
func (i *isp) event(t *testing.T, kind timeline.Kind, text string) {
	t.Helper()
	_, err := i.daemon.Wait(labtest.Context(t, 2*patience), string(kind)+" "+text, func(e timeline.Event) bool {
		return e.Kind == kind && strings.Contains(e.Addr+" "+e.Detail, text)
	})
	if err != nil {
		t.Fatalf("%v; %+v", err, i.status(t))
	}
}

const homeInventory = "upstreams: {isp: {interface: eth0, request: 48}}\n"

// TestUpstream: a prefix from each server that Debian has, renewed at T1, asked about after a crash, and given back; the same over
// a link that loses a tenth of all and doubles a fifth. (Debian 12's systemd-networkd is no server of DHCPv6.) All are at it at the
// same time, and each is looked at in turn: they wait for T1 most of the time.
func TestUpstream(t *testing.T) {
	type home struct {
		*isp
		name  string
		serve dhcpServer
		lossy bool
		got   netip.Prefix
	}
	var homes []*home
	l := labtest.New(t)
	for _, s := range dhcpServers() {
		homes = append(homes, &home{name: s.name, serve: s}, &home{name: s.name + " with loss", serve: s, lossy: true})
	}
	each := func(do func(*home)) {
		for _, h := range homes {
			t.Log(h.name)
			do(h)
		}
	}
	each(func(h *home) {
		n := strconv.Itoa(slices.Index(homes, h))
		h.isp = oneOfISPs(t, l, n, l.Path("home"+n))
		h.isp.serve(t, h.serve)
		if h.lossy {
			h.lose(t)
		}
		h.start(t, h.serve.inventory)
	})
	each(func(h *home) {
		h.got = h.lease(t, time.Time{}, "bound")
		if !netip.MustParsePrefix("2001:db8:100::/40").Contains(h.got.Addr()) {
			t.Errorf("%s was given", h.got)
		}
		if again := h.lease(t, time.Time{}, "renewed", "rebound"); again != h.got {
			t.Errorf("%s, renewed %s", h.got, again)
		}
		st := h.status(t)
		if len(st.Held) != 1 || st.Held[0].Prefix != h.got || st.From != netip.MustParseAddr("fe80::1") {
			t.Errorf("%+v", st)
		}
	})
	crashed := time.Now()
	each(func(h *home) {
		if err := h.daemon.Kill(); err != nil {
			t.Fatal(err)
		}
		h.start(t, h.serve.inventory)
	})
	each(func(h *home) {
		// dibbler-server knows no Rebind; and where nothing came through for ten seconds, it was used on until T1.
		words := []string{"rebound"}
		if h.lossy || h.name == "dibbler-server" {
			words = append(words, "renewed")
		}
		if again := h.lease(t, crashed, words...); again != h.got {
			t.Errorf("%s, after a crash %s", h.got, again)
		}
		if out, err := h.daemon.Run(labtest.Context(t, patience), "upstream", "release", "isp"); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		h.event(t, timeline.UpstreamLost, h.got.String()+" isp: released")
		out, err := h.daemon.Run(labtest.Context(t, patience), "upstream")
		if err != nil || !slices.Contains([]string{"releasing", "released"}, strings.Fields(string(out))[9]) {
			t.Errorf("%v\n%s", err, out)
		}
	})
}
