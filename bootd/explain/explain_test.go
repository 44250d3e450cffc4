package explain_test

import (
	"net/netip"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"

	"bootd.internal/bootd/decide/boot"
	"bootd.internal/bootd/explain"
	"bootd.internal/bootd/ident"
	"bootd.internal/bootd/install"
	"bootd.internal/bootd/lease"
	"bootd.internal/bootd/reason"
	"bootd.internal/bootd/render"
	"bootd.internal/bootd/site"
	"bootd.internal/bootd/site/sitetest"
	"bootd.internal/bootd/store"
	"bootd.internal/bootd/store/memory"
	"bootd.internal/bootd/timeline"
)

func source(t *testing.T) (explain.Source, *memory.Engine) {
	t.Helper()
	s := memory.New()
	src := explain.Source{
		Snapshot: sitetest.Snapshot(t, sitetest.Small(), sitetest.SmallFacts(t)), Now: sitetest.Now(),
		Events: func(host string, mac ident.MAC) []timeline.Event {
			return []timeline.Event{{Seq: 1, Kind: timeline.DHCPIgnored, Host: host, MAC: mac}}
		},
	}
	return src, s
}

// ask explains with the store's state.
func ask(t *testing.T, src explain.Source, s *memory.Engine, q string) explain.Report {
	t.Helper()
	var r explain.Report
	var err error
	s.Read(func(v store.View) {
		src.View = v
		r, err = explain.Explain(src, q)
	})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestAHostWithEverything(t *testing.T) {
	src, s := source(t)
	h, _ := src.Snapshot.Host("r1n02")
	addr := h.NICs[0].Addresses("rack1")[0]
	until := sitetest.Now().Add(time.Hour)
	err := s.Update(t.Context(), func(v store.View) []store.Op {
		ops, err := install.Order(v, boot.Subject(h), install.Wish{ID: "1", By: "alice"}, sitetest.Now())
		if err != nil {
			t.Error(err)
		}
		b := lease.Binding{Holder: "r1n02/net0", Network: "rack1", State: lease.Bound, ValidUntil: until, Claims: []lease.Claim{{IAID: 1}}}
		return append(ops, store.Op{Key: lease.Key(addr), Value: b.Encode()})
	})
	if err != nil {
		t.Fatal(err)
	}
	got := ask(t, src, s, "r1n02")
	values := got.Values
	got.Values = nil
	const base = "[2001:db8:1::1]"
	want := explain.Report{
		Query: "r1n02", Kind: explain.ByHost, Host: "r1n02", Rule: "name",
		Addresses: []explain.Address{{
			NIC: "net0", MAC: "52:54:00:aa:01:02", Network: "rack1", Address: "2001:db8:1::102",
			Lease: "bound by r1n02/net0 until 2026-01-02T04:04:05Z, 1 claim", Place: "inventory.yaml:13:44",
		}},
		Boot: []explain.Boot{
			{Network: "rack1", Client: "UEFI PXE, x86_64", URL: "tftp://" + base + "/ipxe.efi", Reason: reason.BootLoader},
			{Network: "rack1", Client: "UEFI PXE, arm64", URL: "tftp://" + base + "/ipxe-arm64.efi", Reason: reason.BootLoader},
			{Network: "rack1", Client: "UEFI HTTP boot, x86_64", URL: "http://" + base + "/ipxe.efi", Reason: reason.BootLoader},
			{Network: "rack1", Client: "UEFI HTTP boot, arm64", URL: "http://" + base + "/ipxe-arm64.efi", Reason: reason.BootLoader},
			{Network: "rack1", Client: "iPXE", URL: "http://" + base + "/boot.ipxe", Reason: reason.BootScript},
			{Network: "rack1", Client: "GRUB or U-Boot", Reason: reason.NoBootClass},
		},
		Install: &explain.Install{Reason: reason.Install, ArmedUntil: sitetest.Now().Add(install.ArmFor), By: "alice"},
		Recent:  []timeline.Event{{Seq: 1, Kind: timeline.DHCPIgnored, Host: "r1n02"}},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
	for _, v := range []explain.Value{
		{Key: "vars.mirror", Value: "http://mirror.example.net/debian", From: "profiles.debian13", Place: "inventory.yaml:10:20"},
		{Key: "domain", Value: "example.net", From: "defaults", Place: "inventory.yaml:1:20"},
		{Key: "timezone", Value: "Etc/UTC", From: "built in"},
		{Key: "nameservers", Value: "2001:db8:1::1", From: "bootd itself"},
		{Key: "search", Value: "example.net", From: "domain"},
		{Key: "valid", Value: "24h0m0s", From: "built in"},
	} {
		found := false
		for _, g := range values {
			found = found || g == v
		}
		if !found {
			t.Errorf("no value %+v in %+v", v, values)
		}
	}
}

func TestQueries(t *testing.T) {
	src, s := source(t)
	type brief struct {
		Kind            explain.Kind
		Host, NIC, Rule string
		Reason          reason.Reason
		Notes           []string
	}
	for q, want := range map[string]brief{
		"r1n03.example.net.": {Kind: explain.ByHost, Host: "r1n03", Rule: "name"},
		"r1n03/eth1":         {Kind: explain.ByHost, Host: "r1n03", NIC: "eth1", Rule: "name"},
		"52:54:00:aa:01:04":  {Kind: explain.ByMAC, Host: "r1n03", NIC: "eth1", Rule: "frame-mac"},
		"2001:db8:1::203": {
			Kind: explain.ByAddress, Host: "r1n03", NIC: "eth1", Rule: "reserved",
			Notes: []string{"2001:db8:1::203 lies in network rack1 (eth1)"},
		},
		"fe80::5054:ff:feaa:101%eth1":               {Kind: explain.ByAddress, Host: "r1n01", NIC: "net0", Rule: "eui64"},
		"00:01:00:01:2a:2b:2c:2d:52:54:00:aa:01:05": {Kind: explain.ByDUID, Host: "bare", NIC: "net0", Rule: "duid-mac"},
		"33221100-5544-7766-8899-aabbccddeeff":      {Kind: explain.ByUUID, Host: "r1n02", NIC: "net0", Rule: "uuid"},
		"2001:db8:1::1": {
			Kind:  explain.ByAddress,
			Notes: []string{"2001:db8:1::1 lies in network rack1 (eth1)", "it is bootd's own address there"},
		},
		"2001:db8:9::1": {
			Kind: explain.ByAddress, Reason: reason.UnknownHost,
			Notes: []string{
				"nobody listed a machine that speaks from 2001:db8:9::1: it gets no answer on a network with unknown: ignore",
				"no network's prefix holds it",
			},
		},
	} {
		got := ask(t, src, s, q)
		if d := cmp.Diff(want, brief{got.Kind, got.Host, got.NIC, got.Rule, got.Reason, got.Notes}); d != "" {
			t.Errorf("%s: -want +got:\n%s", q, d)
		}
	}
}

func TestRender(t *testing.T) {
	src, _ := source(t)
	set := render.New(fstest.MapFS{
		"ipxe/debian.ipxe": {Data: []byte("#!ipxe\nkernel {{.Kernel}}\n")}, "preseed/debian13.cfg": {Data: []byte("# {{.Vars.none}}\n")},
	})
	text, notes, err := explain.Render(src.Snapshot, set, "r1n01", "script")
	if want := "#!ipxe\nkernel http://[2001:db8:1::1]/debian13/linux\n"; string(text) != want || len(notes) != 0 || err != nil {
		t.Errorf("%q %q %v", text, notes, err)
	}
	dark, _ := site.Resolve(src.Snapshot.Inventory, sitetest.Facts(), nil, sitetest.Now())
	_, notes, err = explain.Render(dark, set, "r1n01", "script")
	if d := cmp.Diff([]string{"this machine has no address on r1n01's network: [2001:db8::1] stands for it"}, notes); d != "" || err != nil {
		t.Errorf("%v -want +got:\n%s", err, d)
	}
	for what, want := range map[string]string{
		"answers": "preseed/debian13.cfg:1: vars.none is not set for r1n01 (set it in defaults, the network, the profile or the host)",
		"local":   "ipxe/local.ipxe: no such template for r1n01",
		"nothing": `"nothing" cannot be shown: want one of script, answers, local, error, phone, common, bootstrap`,
	} {
		if _, _, err := explain.Render(src.Snapshot, set, "r1n01", what); err == nil || err.Error() != want {
			t.Errorf("%s:\n got %v\nwant %s", what, err, want)
		}
	}
}

// FuzzQuery asks for whatever a person may type: an answer or an error, never a panic.
func FuzzQuery(f *testing.F) {
	for _, q := range []string{"r1n01", "r1n03/eth1", "/", "52:54:00:aa:01:01", "::", "fe80::1%eth1", "::ffff:192.0.2.1", "00:04", "00112233445566778899aabbccddeeff", "\x00"} {
		f.Add(q)
	}
	src := explain.Source{Now: sitetest.Now()}
	src.Snapshot, _ = site.Resolve(sitetest.Inventory(f, sitetest.Small()), sitetest.SmallFacts(f), nil, sitetest.Now())
	f.Fuzz(func(t *testing.T, q string) {
		r, err := explain.Explain(src, q)
		if err == nil && r.Kind == "" || err != nil && r.Kind != "" {
			t.Errorf("%q: %+v, %v", q, r, err)
		}
	})
}

// TestPoolClients: what an unlisted client has and gets of a pool.
func TestPoolClients(t *testing.T) {
	s := memory.New()
	src := explain.Source{Now: sitetest.Now(), Snapshot: sitetest.Snapshot(t, `networks:
  rack1: {interface: eth1, prefix: "2001:db8:1::/64", unknown: pool, pool: "2001:db8:1::10/128"}
`, sitetest.SmallFacts(t))}
	mac, duid := ident.MAC{2, 0, 0, 0, 0, 9}, ident.DUID("\x00\x02\x00\x00\xab\x11x")
	free := ask(t, src, s, mac.String())
	want := []string{
		"on rack1 (unknown: pool, inventory.yaml:2:64) a client of it is offered 2001:db8:1::10 for 24h0m0s",
		"nobody listed a machine whose frames come from 02:00:00:00:00:09", "bootd adopt 02:00:00:00:00:09 NAME lists it",
	}
	if d := cmp.Diff(want, free.Notes); d != "" {
		t.Error(d)
	}
	a := netip.MustParseAddr("2001:db8:1::10")
	b := lease.Binding{
		Holder: lease.ClientHolder(duid, 7), MAC: mac, Network: "rack1", State: lease.Bound, ValidUntil: sitetest.Now().Add(time.Hour),
		Claims: []lease.Claim{{DUID: duid, IAID: 7}},
	}
	if err := s.Update(t.Context(), func(store.View) []store.Op { return []store.Op{{Key: lease.Key(a), Value: b.Encode()}} }); err != nil {
		t.Fatal(err)
	}
	src.Leases = s.Scan(store.TableLease, "")
	has := "it has 2001:db8:1::10 on rack1: bound until 2026-01-02T04:04:05Z, DUID 00:02:00:00:ab:11:78 IAID 00000007"
	for q, want := range map[string][]string{
		mac.String(): {
			has, "1 of 1 addresses of the pool of rack1 are used",
			"nobody listed a machine whose frames come from 02:00:00:00:00:09", "bootd adopt 02:00:00:00:00:09 NAME lists it",
		},
		duid.String(): {
			has, "1 of 1 addresses of the pool of rack1 are used", "nobody listed a client with this DUID",
		},
		a.String(): {
			"2001:db8:1::10 lies in network rack1 (eth1)", "it is one of the pool of rack1",
			"lease: bound by duid 00:02:00:00:ab:11:78 iaid 00000007 until 2026-01-02T04:04:05Z, 1 claim",
			"1 of 1 addresses of the pool of rack1 are used", "nobody listed a machine that speaks from 2001:db8:1::10",
		},
	} {
		if d := cmp.Diff(want, ask(t, src, s, q).Notes); d != "" {
			t.Errorf("%s: %s", q, d)
		}
	}
	b.State = lease.Declined
	if err := s.Update(t.Context(), func(store.View) []store.Op { return []store.Op{{Key: lease.Key(a), Value: b.Encode()}} }); err != nil {
		t.Fatal(err)
	}
	want = []string{
		"it declined 2001:db8:1::10 on rack1: put aside until 2026-01-02T04:04:05Z, DUID 00:02:00:00:ab:11:78 IAID 00000007",
		"on rack1 (unknown: pool, inventory.yaml:2:64) a client of it is offered no address (no-addrs-avail)",
		"1 of 1 addresses of the pool of rack1 are used", "nobody listed a client with this DUID",
	}
	if d := cmp.Diff(want, ask(t, src, s, duid.String()).Notes); d != "" {
		t.Error(d)
	}
}
