package change_test

import (
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"bootd.internal/bootd/change"
	"bootd.internal/bootd/render"
	"bootd.internal/bootd/site/sitetest"
)

const head = `networks:
  rack1: {interface: eth1, prefix: "2001:db8:1::/64"}
profiles:
  own: {script: own.ipxe, answers: own.cfg}
hosts:
`

func side(t *testing.T, hosts, answers string) change.Side {
	t.Helper()
	set := render.New(fstest.MapFS{"own.ipxe": {Data: []byte("#!ipxe\n")}, "own.cfg": {Data: []byte(answers)}})
	return change.Side{Snapshot: sitetest.Snapshot(t, head+hosts, sitetest.SmallFacts(t)), Templates: set.Mask()}
}

func TestCompare(t *testing.T) {
	before := side(t, `  a: {mac: 52:54:00:aa:01:01, profile: own, address: "::101"}
  b: {mac: 52:54:00:aa:01:02, profile: own}
  c: 52:54:00:aa:01:03
`, "{{.Secret \"x\"}} of {{.MAC}}\n")
	after := side(t, `  a: {mac: 52:54:00:aa:01:01, profile: own, address: "::101"}
  b: {mac: 52:54:00:aa:01:04, profile: own, protected: true, disk: {serial: S6P1}}
  d: 52:54:00:aa:01:05
`, "{{.Secret \"x\"}} of {{.MAC}}\n")
	want := change.Report{
		Site: []change.Value{}, Networks: []change.Item{}, Same: 1,
		Hosts: []change.Item{
			{
				Name: "b", Kind: change.Changed,
				Values: []change.Value{{"nics.net0.mac", "52:54:00:aa:01:02", "52:54:00:aa:01:04"}, {"disk", "", "{serial: S6P1}"}, {"protected", "false", "true"}},
				Texts: []change.Text{{"answers", "--- old/b/answers\n+++ new/b/answers\n@@ -1,1 +1,1 @@\n" +
					"-******** of 52:54:00:aa:01:02\n+******** of 52:54:00:aa:01:04\n"}},
			},
			{Name: "d", Kind: change.Added, Values: []change.Value{
				{"name", "", "d.internal"},
				{"nics.net0.mac", "", "52:54:00:aa:01:05"},
				{"nics.net0.address", "", "computed in 2001:db8:1::/64"},
				{"protected", "", "false"},
			}},
			{Name: "c", Kind: change.Removed, Values: []change.Value{
				{"name", "c.internal", ""},
				{"nics.net0.mac", "52:54:00:aa:01:03", ""},
				{"nics.net0.address", "computed in 2001:db8:1::/64", ""},
				{"protected", "false", ""},
			}},
		},
	}
	if d := cmp.Diff(want, change.Compare(before, after, true)); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
}

// TestCompareSaysWhatDoesNotRender: an error stands where a text would.
func TestCompareSaysWhatDoesNotRender(t *testing.T) {
	host := "  a: {mac: 52:54:00:aa:01:01, profile: own}\n"
	got := change.Compare(side(t, host, "fine\n"), side(t, host, "{{.Vars.word}}\n"), true)
	want := []change.Text{{"answers", "--- old/a/answers\n+++ new/a/answers\n@@ -1,1 +1,1 @@\n-fine\n" +
		"+own.cfg:1: vars.word is not set for a (set it in defaults, the network, the profile or the host)\n"}}
	if len(got.Hosts) != 1 {
		t.Fatalf("%+v", got)
	}
	if d := cmp.Diff(want, got.Hosts[0].Texts); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
}

// TestCompareNames: a host's names beside its own, and how a network reaches IPv4, are what machines are told.
func TestCompareNames(t *testing.T) {
	host := "  a: {mac: 52:54:00:aa:01:01, dns: {aliases: [www], records: {\"@\": {txt: rack 1}}}}\n"
	got := change.Compare(side(t, host, ""), side(t, strings.Replace(host, "{aliases: [www], ", "{wildcard: true, ", 1), ""), true)
	want := []change.Value{{"dns.*.a.internal", "", "cname a.internal"}, {"dns.www.internal", "cname a.internal", ""}}
	if len(got.Hosts) != 1 {
		t.Fatalf("%+v", got)
	}
	if d := cmp.Diff(want, got.Hosts[0].Values); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
	network := func(more string) change.Side {
		return change.Side{Snapshot: sitetest.Snapshot(t, strings.Replace(head, "64\"}", "64\""+more+"}", 1), sitetest.SmallFacts(t)), Templates: render.New(fstest.MapFS{}).Mask()}
	}
	got = change.Compare(network(""), network(`, dns64: {prefix: "2001:db8:64::/96", skip: 10.0.0.0/8}`), true)
	want = []change.Value{{"dns64", "", "2001:db8:64::/96, exclude ::ffff:0.0.0.0/96, skip 10.0.0.0/8"}}
	if len(got.Networks) != 1 {
		t.Fatalf("%+v", got)
	}
	if d := cmp.Diff(want, got.Networks[0].Values); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
	relay := `, relay: "2001:db8:1::9"`
	got = change.Compare(network(relay), network(relay+`, relay_from: "2001:db8:f::/64", relay_hops: 1`), true)
	want = []change.Value{{"relay_from", "", "2001:db8:f::/64"}, {"relay_hops", "", "1"}}
	if len(got.Networks) != 1 {
		t.Fatalf("%+v", got)
	}
	if d := cmp.Diff(want, got.Networks[0].Values); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
}

// TestCompareKeptPrefixes: a prefix that is kept for a host is what the host is told.
func TestCompareKeptPrefixes(t *testing.T) {
	host := func(more string) change.Side {
		return side(t, "  a: {mac: 52:54:00:aa:01:01"+more+"}\n", "")
	}
	got := change.Compare(host(`, delegate: "2001:db8:7::/56"`), host(`, delegate: ["2001:db8:8::/56", "2001:db8:9::/56"]`), true)
	want := []change.Item{{Name: "a", Kind: change.Changed, Values: []change.Value{{"delegate", "2001:db8:7::/56", "2001:db8:8::/56 2001:db8:9::/56"}}}}
	if d := cmp.Diff(want, got.Hosts); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
}

func TestCompareSite(t *testing.T) {
	site := func(sections string) change.Side {
		return change.Side{Snapshot: sitetest.Snapshot(t, sections+head, sitetest.SmallFacts(t)), Templates: render.New(fstest.MapFS{}).Mask()}
	}
	got := change.Compare(site(""), site(`dns:
  upstreams: ["2001:db8::53", "tls://[2001:db8::54]:853#dns.example.net"]
  access: 2001:db8:f::/48
  stale: 1h
  records: {printer.example.net: {aaaa: "2001:db8:1::7"}}
serve: {http_port: 8080, loaders: {arm64: own.efi}, unreachable: "2001:db8:300::/48"}
anyip: {prefix: "2001:db8:100::/64", keep: false, names: "*.hosts.example.net"}
docker: {prefix: "2001:db8:101::/64", inner: 80}
upstreams:
  isp: {interface: eth0, request: [56, "2001:db8:200::/56"], rapid_commit: false, release: true, hooks: hooks/log}
`), false).Site
	want := []change.Value{
		{"dns.upstreams", "", "[2001:db8::53]:53, tls://[2001:db8::54]:853#dns.example.net"},
		{"dns.access", "", "2001:db8:f::/48"},
		{"dns.stale", "24h", "1h"},
		{"dns.records.*.hosts.example.net", "", "its hash in 2001:db8:100::/64"},
		{"dns.records.printer.example.net", "", "aaaa 2001:db8:1::7"},
		{"upstreams.isp", "", "on eth0, a /56, 2001:db8:200::/56, no rapid commit, given back at the end, hooks hooks/log"},
		{"anyip.2001:db8:100::/64", "", "while bootd runs"},
		{"follow.docker", "", "the first /80 of 2001:db8:101::/64, /etc/docker/daemon.json, systemctl restart docker"},
		{"serve.http_port", "80", "8080"},
		{"serve.unreachable", "", "2001:db8:300::/48"},
		{"serve.loaders.arm64", "ipxe-arm64.efi", "own.efi"},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
}

func TestCompareTellsThatTextsDiffer(t *testing.T) {
	const host = "  a: {mac: 52:54:00:aa:01:01, profile: own}\n"
	got := change.Compare(side(t, host, "one\n"), side(t, host, "two\n"), false)
	want := []change.Item{{Name: "a", Kind: change.Changed, Texts: []change.Text{{What: "answers"}}}}
	if d := cmp.Diff(want, got.Hosts); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
}

// TestCompareTellsOfIncludedFiles: the data of a host is the same, and a file that its answers are made of is another one.
func TestCompareTellsOfIncludedFiles(t *testing.T) {
	site := func(part string) change.Side {
		files := fstest.MapFS{"own.ipxe": {Data: []byte("#!ipxe\n")}, "own.cfg": {Data: []byte("{{include \"part\" .}}")}}
		if part != "" {
			files["part"] = &fstest.MapFile{Data: []byte(part)}
		}
		hosts := "  a: {mac: 52:54:00:aa:01:01, profile: own}\n  b: {mac: 52:54:00:aa:01:02, profile: own}\n"
		return change.Side{Snapshot: sitetest.Snapshot(t, head+hosts, sitetest.SmallFacts(t)), Templates: render.New(files).Mask()}
	}
	for _, tc := range []struct {
		before, after string
		same          int
	}{
		{"x", "x", 2},
		{"x", "y", 0},
		{"x{{.Host}}", "{{.MAC}}", 0},
		{"x", "", 0},
		{"", "", 2},
		{"x", "{{", 0},
		{`{{if eq .Host "a"}}x{{end}}`, `{{if eq .Host "a"}}y{{end}}`, 1},
	} {
		if got := change.Compare(site(tc.before), site(tc.after), false); got.Same != tc.same {
			t.Errorf("%q to %q: %d hosts are as before, want %d: %v", tc.before, tc.after, got.Same, tc.same, got.Hosts)
		}
	}
}
