package boot_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"bootd.internal/bootd/decide/boot"
	"bootd.internal/bootd/decide/who"
	"bootd.internal/bootd/ident"
	"bootd.internal/bootd/reason"
	"bootd.internal/bootd/render"
	"bootd.internal/bootd/site"
	"bootd.internal/bootd/site/sitetest"
	"bootd.internal/bootd/store"
	"bootd.internal/bootd/store/memory"
	"bootd.internal/bootd/timeline"
	"bootd.internal/templates"
)

const openRack = `networks:
  rack1: {interface: eth1, prefix: "2001:db8:1::/64", unknown: discover}
hosts:
  a: 52:54:00:aa:01:01
`

func stranger() ident.MAC { return ident.MAC{2, 0, 0, 0, 0, 9} }

func asked(t *testing.T, text, path string, change func(*boot.Fetch)) boot.Decision {
	t.Helper()
	snap := sitetest.Snapshot(t, text, sitetest.SmallFacts(t))
	f := boot.Fetch{
		At: site.Arrival{Link: "eth1", Index: 2, Source: sitetest.SmallFacts(t).Links[0].Addrs[0].Addr().Next()}, Network: snap.Networks[0],
		Path: boot.ParsePath(path), Evidence: who.Frame(stranger()),
	}
	if change != nil {
		change(&f)
	}
	var d boot.Decision
	memory.New().Read(func(v store.View) {
		d = boot.Decide(snap, v, f, render.New(templates.FS()), sitetest.Now(), [16]byte{})
	})
	return d
}

// TestAsk compares the script that a machine nobody listed is given.
func TestAsk(t *testing.T) {
	d := asked(t, openRack, "/boot.ipxe", nil)
	want := `#!ipxe
chain --autofree http://[2001:db8:1::1]/discovered?mac=${netX/mac:hexhyp}&uuid=${uuid}&serial=${serial:uristring}&manufacturer=${manufacturer:uristring}&product=${product:uristring}&arch=${buildarch}&platform=${platform} || echo bootd: could not tell bootd who this is
echo bootd: this machine (02:00:00:00:00:09) is not in the inventory
echo bootd: to list it, on the server: bootd adopt 02:00:00:00:00:09 NAME
echo bootd: booting the local disk in ten seconds
sleep 10 ||
iseq ${platform} efi && exit 1 ||
isset ${local-drive} || set local-drive 0x80
sanboot --no-describe --drive ${local-drive} ||
exit 1
`
	if diff := cmp.Diff(want, string(d.Body)); diff != "" || d.Reason != reason.Discover || d.Status != 200 {
		t.Errorf("%s, %d:\n%s", d.Reason, d.Status, diff)
	}
	if d := asked(t, strings.Replace(openRack, "discover", "ignore", 1), "/boot.ipxe", nil); d.Reason != reason.UnknownHost || d.Heard == nil {
		t.Errorf("with ignore: %+v", d)
	}
}

// TestDiscovered: what the machine says is kept as far as it prints, under the MAC that was seen.
func TestDiscovered(t *testing.T) {
	say := func(f *boot.Fetch) {
		f.Serial, f.UUID = "S\x1b[31m1 ", ident.UUID{1, 2, 3}
		f.Said = boot.Said{
			MAC: ident.MAC{0x52, 0x54, 0, 0xaa, 1, 1}, Manufacturer: "A\xffCME", Product: strings.Repeat("x", 300), BuildArch: "arm64", Platform: "efi",
		}
	}
	want := &timeline.Machine{
		MAC: stranger(), Network: "rack1", Link: "eth1", Arch: "arm64", Client: "ipxe", Addr: "2001:db8:1::2", UUID: ident.UUID{1, 2, 3},
		Serial: "S[31m1", Manufacturer: "ACME", Product: strings.Repeat("x", 128),
	}
	d := asked(t, openRack, "/discovered", say)
	if diff := cmp.Diff(want, d.Heard); diff != "" || d.Reason != reason.Discover {
		t.Errorf("%s:\n%s", d.Reason, diff)
	}
	// Without a MAC in evidence the one that it names counts, but not a host's.
	noMAC := func(f *boot.Fetch) { say(f); f.Evidence = nil }
	want.MAC = ident.MAC{}
	if diff := cmp.Diff(want, asked(t, openRack, "/discovered", noMAC).Heard); diff != "" {
		t.Error(diff)
	}
	// A host is no stranger.
	d = asked(t, openRack, "/discovered", func(f *boot.Fetch) { f.Evidence = who.Frame(ident.MAC{0x52, 0x54, 0, 0xaa, 1, 1}) })
	if d.Heard != nil || string(d.Body) != "#!ipxe\necho bootd: this machine is listed as a\n" {
		t.Errorf("a host: %+v", d)
	}
}
