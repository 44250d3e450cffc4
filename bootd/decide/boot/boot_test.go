package boot_test

import (
	"net/netip"
	"strings"
	"testing"
	"testing/fstest"

	"bootd.internal/bootd/decide/who"
	"bootd.internal/bootd/ident"
	"bootd.internal/bootd/install"
	"bootd.internal/bootd/reason"
	"bootd.internal/bootd/render"
	"bootd.internal/bootd/site/sitetest"
	"bootd.internal/templates"
	"github.com/google/go-cmp/cmp"
)

const localTail = `iseq ${platform} efi && exit 1 ||
isset ${local-drive} || set local-drive 0x80
sanboot --no-describe --drive ${local-drive} ||
exit 1
`

func TestNotArmed(t *testing.T) {
	w := newWorld(t)
	d := w.decide(w.fetch(mac1, "/boot.ipxe"))
	expect(t, d, `200 script local-disk host=r1n01 rule=frame-mac ops=0
script-fetched local-disk r1n01 52:54:00:aa:01:01: r1n01 is not armed`)
	want := "#!ipxe\necho bootd: r1n01 is not armed: booting the local disk\n" + localTail
	if diff := cmp.Diff(want, string(d.Body)); diff != "" {
		t.Error(diff)
	}
}

func TestUnknownMachine(t *testing.T) {
	w := newWorld(t)
	expect(t, w.decide(w.fetch(mac9, "/boot.ipxe")), `200 script unknown-host host= rule= ops=0
script-fetched unknown-host  52:54:00:aa:01:09: this machine (52:54:00:aa:01:09) is not in the inventory`)
}

// TestHostWithoutMAC: what a machine says of itself makes it nobody over HTTP; people are told what to write.
func TestHostWithoutMAC(t *testing.T) {
	w := newWorld(t)
	w.snap = sitetest.Snapshot(t, inventory+"  box: {uuid: 00112233-4455-6677-8899-aabbccddeeff, network: rack1, address: \"::104\"}\n",
		sitetest.Facts(sitetest.Link(t, 2, "eth1", "2001:db8:1::1/64"), sitetest.Link(t, 3, "eth2", "2001:db8:2::1/64")))
	f := w.fetch(mac9, "/boot.ipxe")
	f.At.Source = netip.MustParseAddr("2001:db8:1::104")
	f.Evidence = append(f.Evidence, who.Source(f.At.Source)...)
	var err error
	if f.UUID, err = ident.ParseUUID("00112233-4455-6677-8899-aabbccddeeff"); err != nil {
		t.Fatal(err)
	}
	expect(t, w.decide(f), `200 script unknown-host host= rule= ops=0
script-fetched unknown-host  52:54:00:aa:01:09: this machine (52:54:00:aa:01:09) is not in the inventory
board-changed unknown-host  52:54:00:aa:01:09: this machine says UUID 00112233-4455-6677-8899-aabbccddeeff, which is that of box: over HTTP only a MAC tells who asks; write mac: 52:54:00:aa:01:09 for box to boot it from here`)
}

func TestWrongNetwork(t *testing.T) {
	w := newWorld(t)
	w.arm("r1n02")
	f := w.fetch(mac2, "/boot.ipxe")
	f.Network, _ = w.snap.Network("rack2")
	f.At.Link, f.At.Index = "eth2", 3
	expect(t, w.decide(f), `200 script wrong-network host= rule= ops=0
script-fetched wrong-network  52:54:00:aa:01:02: r1n02 is not listed for network rack2`)
}

func TestLife(t *testing.T) {
	w := newWorld(t)
	w.arm("r1n01")
	script := w.decide(w.fetch(mac1, "/boot.ipxe"))
	expect(t, script, `200 script install host=r1n01 rule=frame-mac ops=7
script-fetched install r1n01 52:54:00:aa:01:01: attempt 1`)
	path := answersPath(t, script.Body)

	other := w.decide(w.fetch(mac2, path))
	expect(t, other, `403 answers token-other-host host=r1n02 rule=frame-mac ops=0
warning token-other-host r1n02 52:54:00:aa:01:02: a machine presented the answers token of another host`)
	if strings.Contains(string(other.Body), "r1n01") {
		t.Errorf("the refusal tells whose token it is: %s", other.Body)
	}

	answers := w.decide(w.fetch(mac1, path))
	expect(t, answers, `200 answers answered host=r1n01 rule=frame-mac ops=2
answers-fetched answered r1n01 52:54:00:aa:01:01: `)
	if strings.Contains(string(answers.Body), "0000000000000000bootd-") {
		t.Error("a placeholder is left in the answers")
	}
	call := urls(t, answers.Body)
	expect(t, w.decide(w.fetch(mac1, path)), "200 answers retransmit host=r1n01 rule=frame-mac ops=0")
	expect(t, w.decide(w.fetch(mac1, "/boot.ipxe")), `200 script already-fetched host=r1n01 rule=frame-mac ops=0
script-fetched already-fetched r1n01 52:54:00:aa:01:01: r1n01 was installed or tried to, and is not armed again`)

	f := w.fetch(mac1, call["progress"])
	f.Stage = "base\n"
	expect(t, w.decide(f), `200 callback callback host=r1n01 rule=frame-mac ops=0
progress callback r1n01 52:54:00:aa:01:01: "base\n"`)
	expect(t, w.decide(w.fetch(mac1, call["installed"])), `200 callback callback host=r1n01 rule=frame-mac ops=6
installed callback r1n01 52:54:00:aa:01:01: `)
	expect(t, w.decide(w.fetch(mac1, call["installed"])), "200 callback token-spent host=r1n01 rule=frame-mac ops=0")
	expect(t, w.decide(w.fetch(mac1, path)), "403 answers token-expired host=r1n01 rule=frame-mac ops=0")

	// The first boot calls from its link-local address: the global one is still tentative.
	f = w.fetch(mac1, call["first-boot"])
	f.At.Source = mac1.EUI64(netip.MustParsePrefix("fe80::/64"))
	f.Evidence = who.Source(f.At.Source)
	expect(t, w.decide(f), `200 callback callback host=r1n01 rule=eui64 ops=3
first-boot callback r1n01 52:54:00:aa:01:01: `)
	expect(t, w.decide(w.fetch(mac1, "/boot.ipxe")), `200 script local-disk host=r1n01 rule=frame-mac ops=0
script-fetched local-disk r1n01 52:54:00:aa:01:01: r1n01 is not armed`)
}

func TestInstallFails(t *testing.T) {
	w := newWorld(t)
	w.arm("r1n01")
	answers := w.decide(w.fetch(mac1, answersPath(t, w.decide(w.fetch(mac1, "/boot.ipxe")).Body)))
	f := w.fetch(mac1, urls(t, answers.Body)["failed"])
	f.Why = "no disk matches serial=S6P"
	expect(t, w.decide(f), `200 callback callback host=r1n01 rule=frame-mac ops=7
install-failed callback r1n01 52:54:00:aa:01:01: "no disk matches serial=S6P"`)
	expect(t, w.decide(f), "403 callback token-unknown host=r1n01 rule=frame-mac ops=0")
	expect(t, w.decide(w.fetch(mac1, "/boot.ipxe")), `200 script local-disk host=r1n01 rule=frame-mac ops=0
script-fetched local-disk r1n01 52:54:00:aa:01:01: r1n01 is not armed`)
}

func TestRetriesKeepWhatWasRendered(t *testing.T) {
	w := newWorld(t)
	w.arm("r1n01")
	first := w.decide(w.fetch(mac1, "/boot.ipxe"))
	w.tmpl = render.New(render.Layer(fstest.MapFS{
		"ipxe/debian.ipxe":     {Data: []byte("#!ipxe\nedited {{.URL.Answers}}\n")},
		"preseed/debian13.cfg": {Data: []byte("edited\n")},
	}, templates.FS()))
	second := w.decide(w.fetch(mac1, "/boot.ipxe"))
	a, b := answersPath(t, first.Body), answersPath(t, second.Body)
	if a == b {
		t.Error("both fetches got the same token")
	}
	if got := strings.ReplaceAll(string(second.Body), b, a); got != string(first.Body) {
		t.Errorf("the second script is another:\n%s", cmp.Diff(string(first.Body), got))
	}
	if d := w.decide(w.fetch(mac1, b)); strings.Contains(string(d.Body), "edited") {
		t.Errorf("the answers were edited: %s", d.Body)
	}
	third := w.fetch(mac1, "/boot.ipxe")
	expect(t, w.decide(third), `200 script already-fetched host=r1n01 rule=frame-mac ops=0
script-fetched already-fetched r1n01 52:54:00:aa:01:01: r1n01 was installed or tried to, and is not armed again`)
}

func TestAttemptsSpent(t *testing.T) {
	w := newWorld(t)
	w.arm("r1n01")
	for range install.MaxAttempts {
		if d := w.decide(w.fetch(mac1, "/boot.ipxe")); d.Reason != reason.Install {
			t.Fatal(summary(d))
		}
	}
	expect(t, w.decide(w.fetch(mac1, "/boot.ipxe")), `200 script attempts-spent host=r1n01 rule=frame-mac ops=13
script-fetched attempts-spent r1n01 52:54:00:aa:01:01: r1n01 asked for its installer too often
install-failed attempts-spent r1n01 52:54:00:aa:01:01: the script was fetched too often without the answers`)
}

func TestArmRunsOut(t *testing.T) {
	w := newWorld(t)
	w.arm("r1n01")
	w.now = w.now.Add(install.ArmFor)
	expect(t, w.decide(w.fetch(mac1, "/boot.ipxe")), `200 script arm-expired host=r1n01 rule=frame-mac ops=1
script-fetched arm-expired r1n01 52:54:00:aa:01:01: r1n01 is not armed any more (the arm ran out)
arm-expired arm-expired r1n01 52:54:00:aa:01:01: the arm ran out`)
}

func TestAnotherMachineBehindTheCard(t *testing.T) {
	w := newWorld(t)
	w.arm("r1n01")
	f := w.fetch(mac1, "/boot.ipxe")
	f.UUID = ident.UUID{1}
	w.decide(f)
	f.UUID = ident.UUID{2}
	expect(t, w.decide(f), `200 script arm-mismatch host=r1n01 rule=frame-mac ops=0
script-fetched arm-mismatch r1n01 52:54:00:aa:01:01: r1n01 is armed, but this is another machine (UUID, serial or MAC)
warning arm-mismatch r1n01 52:54:00:aa:01:01: armed is another machine: this one says MAC 52:54:00:aa:01:01, UUID 02000000-0000-0000-0000-000000000000, serial ""`)
}

func TestHead(t *testing.T) {
	w := newWorld(t)
	w.arm("r1n01")
	f := w.fetch(mac1, "/boot.ipxe")
	f.Head = true
	head := w.decide(f)
	expect(t, head, "200 script install host=r1n01 rule=frame-mac ops=0")
	f.Head = false
	if got := w.decide(f); len(got.Body) != len(head.Body) {
		t.Errorf("HEAD says %d octets, GET gives %d", len(head.Body), len(got.Body))
	}
}
