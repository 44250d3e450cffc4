package address

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"bootd.internal/bootd/reason"
	"bootd.internal/bootd/site"
)

// TestChooseBootfile has a row for each rule of which client boots what.
func TestChooseBootfile(t *testing.T) {
	snap := snapshot(t)
	net, _ := snap.Network("rack1")
	plain, _ := snap.Host("a")
	grub, _ := snap.Host("grub")
	script := Bootfile{URL: "http://[2001:db8:1::1]/boot.ipxe", Reason: reason.BootScript}
	tftp := func(file string) Bootfile {
		return Bootfile{URL: "tftp://[2001:db8:1::1]/" + file, Reason: reason.BootLoader}
	}
	http := func(file string) Bootfile {
		return Bootfile{URL: "http://[2001:db8:1::1]/" + file, Reason: reason.BootLoader, HTTPClient: true}
	}
	ipxe := [][]byte{[]byte("iPXE")}
	pxe := func(arch ...uint16) Request { return Request{Vendor: "PXEClient:Arch:00007:UNDI:003000", Arch: arch} }
	arch := func(a uint16) Request { return Request{Arch: []uint16{a}} }
	for _, c := range []struct {
		name string
		host *site.Host
		req  Request
		want Bootfile
	}{
		{"UEFI iPXE, which shows firmware's class and arch too", plain, Request{Classes: ipxe, Arch: []uint16{7}, Vendor: "PXEClient:Arch:00007"}, script},
		{"BIOS iPXE", plain, Request{Classes: ipxe, Arch: []uint16{0}}, script},
		{"iPXE after HTTP boot", plain, Request{Classes: ipxe, Vendor: "HTTPClient:Arch:00016", Arch: []uint16{16}}, script},
		{"iPXE among other classes", grub, Request{Classes: [][]byte{[]byte("x"), []byte("iPXE")}}, script},
		{"a class that only begins like it", plain, Request{Classes: [][]byte{[]byte("iPXEx")}}, Bootfile{Reason: reason.NoBootClass}},
		{"OVMF PXE", plain, pxe(7), tftp("ipxe.efi")},
		{"EBC is taken for x86-64", plain, pxe(9), tftp("ipxe.efi")},
		{"IA32", plain, pxe(6), tftp("ipxe-i386.efi")},
		{"ARM 64", plain, pxe(11), tftp("ipxe-arm64.efi")},
		{"ARM 32 has no loader built in", plain, pxe(10), Bootfile{Reason: reason.NoLoader}},
		{"architecture without class", plain, arch(7), tftp("ipxe.efi")},
		{"class without architecture option", plain, pxe(), tftp("ipxe.efi")},
		{"class without any architecture", plain, Request{Vendor: "PXEClient"}, Bootfile{Reason: reason.NoLoader}},
		{"class with an unreadable architecture", plain, Request{Vendor: "PXEClient:Arch:99999"}, Bootfile{Reason: reason.NoLoader}},
		{"BIOS firmware has no IPv6 loader", plain, arch(0), Bootfile{Reason: reason.NoLoader}},
		{"the first architecture of a list that has a name", plain, Request{Arch: []uint16{0x99, 11}}, tftp("ipxe-arm64.efi")},
		{"an architecture without a name", plain, arch(0x99), Bootfile{Reason: reason.NoBootClass}},
		{"UEFI HTTP boot", plain, Request{Vendor: "HTTPClient:Arch:00016:UNDI:003000", Arch: []uint16{16}}, http("ipxe.efi")},
		{"HTTP architectures without class", plain, arch(19), http("ipxe-arm64.efi")},
		{"HTTP IA32", plain, arch(15), http("ipxe-i386.efi")},
		{"HTTP EBC", plain, arch(17), http("ipxe.efi")},
		{"HTTP class without architecture option", plain, Request{Vendor: "HTTPClient:Arch:00016"}, http("ipxe.efi")},
		{"the host's own loader, PXE", grub, pxe(7), tftp("debian/grubx64.efi")},
		{"the host's own loader, HTTP", grub, arch(16), http("debian/grubx64.efi")},
		{"the host's own loader, BIOS", grub, arch(0), tftp("debian/grubx64.efi")},
		{"GRUB and U-Boot ask without a class", grub, Request{ORO: []uint16{59, 23}}, tftp("debian/grubx64.efi")},
		{"they get nothing where the inventory names no loader", plain, Request{ORO: []uint16{59, 23}}, Bootfile{Reason: reason.NoBootClass}},
		{"an installed system", grub, Request{ORO: []uint16{23, 24}}, Bootfile{Reason: reason.NoBootClass}},
	} {
		if diff := cmp.Diff(c.want, ChooseBootfile(snap, net, c.host, c.req)); diff != "" {
			t.Errorf("%s: %s", c.name, diff)
		}
	}
}

func TestBootfileAddress(t *testing.T) {
	snap := *snapshot(t)
	net, _ := snap.Network("rack1")
	plain, _ := snap.Host("a")
	snap.HTTPPort = 8080
	req := Request{Arch: []uint16{16}}
	want := Bootfile{URL: "http://[2001:db8:1::1]:8080/ipxe.efi", Reason: reason.BootLoader, HTTPClient: true}
	if diff := cmp.Diff(want, ChooseBootfile(&snap, net, plain, req)); diff != "" {
		t.Error(diff)
	}
	tftp := Bootfile{URL: "tftp://[2001:db8:1::1]/ipxe.efi", Reason: reason.BootLoader} // a port would fail in firmware
	if diff := cmp.Diff(tftp, ChooseBootfile(&snap, net, plain, Request{Arch: []uint16{7}})); diff != "" {
		t.Error(diff)
	}
	mute := *net
	mute.Own = netip.Addr{}
	none := Bootfile{Reason: reason.NoServerAddress, HTTPClient: true}
	if diff := cmp.Diff(none, ChooseBootfile(&snap, &mute, plain, req)); diff != "" {
		t.Error(diff)
	}
}
