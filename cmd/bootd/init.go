package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"

	"bootd.internal/bootd/netif"
	"bootd.internal/bootd/site"
)

func initCommand(a app, _ *flag.FlagSet) func(context.Context, []string) error {
	return func(_ context.Context, args []string) error {
		file := localInventory
		if len(args) == 1 {
			file = args[0]
		}
		links, err := machineLinks()
		if err != nil {
			return err
		}
		f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
		if errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("%s exists already and is left alone: name another file, or move it away", file)
		}
		if err != nil {
			return fmt.Errorf("writing the inventory: %w", err)
		}
		_, err = f.Write(firstInventory(links))
		if err := errors.Join(err, f.Close()); err != nil {
			return fmt.Errorf("writing the inventory: %w", err)
		}
		_, err = fmt.Fprintf(a.stdout, "wrote %s: edit it, then run: bootd check %s\n", file, file)
		return err
	}
}

// machineLinks are the Ethernet interfaces of this machine.
func machineLinks() ([]site.Link, error) {
	w, err := netif.NewWatch(slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, fmt.Errorf("listing interfaces: %w", err)
	}
	defer w.Close()
	var out []site.Link
	for _, l := range w.Links() {
		if l.MAC.Valid() {
			out = append(out, l)
		}
	}
	return out, nil
}

// choose is the interface that probably leads to the machines: the first with an address of its own, else the first.
func choose(links []site.Link) (name string, prefix netip.Prefix, found bool) {
	name = "eth1"
	for i, l := range links {
		if i == 0 {
			name = l.Name
		}
		for _, p := range l.Addrs {
			if p.Bits() == 64 {
				return l.Name, p.Masked(), true
			}
		}
	}
	return name, netip.MustParsePrefix("2001:db8:1::/64"), false
}

func firstInventory(links []site.Link) []byte {
	name, prefix, found := choose(links)
	var b bytes.Buffer
	fmt.Fprintf(&b, "# bootd's inventory: what boots here, and from what. Check it with: bootd check\n#\n# Interfaces of this machine:\n")
	for _, l := range links {
		fmt.Fprintf(&b, "#   %s %s", l.Name, l.MAC)
		for _, p := range l.Addrs {
			fmt.Fprintf(&b, " %s", p)
		}
		fmt.Fprintln(&b)
	}
	if len(links) == 0 {
		fmt.Fprintln(&b, "#   none")
	}
	fmt.Fprintf(&b, "\ndefaults:\n  domain: example.net\n\nnetworks:\n  rack1:\n    # The interface that the machines are on, and its prefix.\n    interface: %s\n", name)
	if !found {
		fmt.Fprintf(&b, "    # This prefix is an example: give the interface an address of yours, and its prefix here.\n")
	}
	fmt.Fprintf(&b, "    prefix: %q\n\nhosts:\n  # name: MAC. Nothing is ever installed before \"bootd install NAME\"; until then a host boots its own disk.\n  r1n01: 52:54:00:aa:01:01\n", prefix)
	fmt.Fprintf(&b, "  # r1n02: {mac: 52:54:00:aa:01:02, address: \"::102\"}\n")
	b.WriteString(profileHint)
	return b.Bytes()
}

// profileHint is commented out: a profile without its kernel would not pass the check.
const profileHint = `
# Boot loaders lie in the directory files beside this file: "make ipxe" makes them (build/ipxe/*.efi).
#
# To install machines: put the Debian installer's linux and initrd.gz into files/debian13, uncomment this, and add
# "profile: debian13" to defaults.
# profiles:
#   debian13:
#     kernel: debian13/linux
#     initrd: [debian13/initrd.gz]
#     script: ipxe/debian.ipxe
#     answers: preseed/debian13.cfg
#     vars: {mirror: "http://mirror.example.net/debian"}
`
