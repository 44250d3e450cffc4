package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"bootd.internal/bootd/importer"
)

const importText = `
kea     reads the configuration of Kea's DHCPv6 server
dhcpd   reads ISC dhcpd's for IPv6, with --radvd and --unbound what runs beside it
radvd   reads radvd's alone
The inventory goes to standard output, each line with a comment that says where it came from; what has no equivalent, what was
corrected and what is a guess goes to standard error, by line. Exit codes: 0 everything has its equivalent, 3 something has
none, 1 the file cannot be read, 2 the command line makes no sense.`

func importCommand(a app, fs *flag.FlagSet) func(context.Context, []string) error {
	radvd := fs.String("radvd", "", "radvd.conf `FILE` beside dhcpd's")
	unbound := fs.String("unbound", "", "unbound.conf `FILE` beside dhcpd's")
	iface := fs.String("interface", "", "`NAME` of the interface of subnets that name none")
	relays := fs.String("relay", "", "link-`ADDRESS` of the relay before a subnet, or several with commas")
	out := fs.String("out", "", "write the inventory to `FILE`, which must not exist")
	return func(_ context.Context, args []string) error {
		kinds := []string{"kea", "dhcpd", "radvd"}
		if args[0] != "dhcpd" && (*radvd != "" || *unbound != "") {
			return usageError{"--radvd and --unbound stand beside dhcpd"}
		}
		known := importer.Known{Interface: *iface}
		var err error
		if known.Relays, err = linkAddresses(*relays); err != nil {
			return err
		}
		var result *importer.Result
		data, err := readConfig("", args[1])
		if err != nil {
			return err
		}
		switch args[0] {
		case "kea":
			result, err = importer.Kea(args[1], data, known, readConfig)
		case "dhcpd":
			in := importer.ISC{Known: known, Open: readConfig}
			in.DHCPD = importer.File{Name: args[1], Data: data}
			if in.Radvd, err = optional(*radvd); err != nil {
				return err
			}
			if in.Unbound, err = optional(*unbound); err != nil {
				return err
			}
			result, err = in.Import()
		case "radvd":
			in := importer.ISC{Known: known, Open: readConfig, Radvd: importer.File{Name: args[1], Data: data}}
			result, err = in.Import()
		default:
			return usageError{fmt.Sprintf("%q cannot be read, want kea, dhcpd or radvd%s", args[0], didYouMean(args[0], kinds))}
		}
		if result != nil {
			for _, n := range result.Notes {
				if n.Kind != importer.Itself {
					fmt.Fprintln(a.stderr, n)
				}
			}
		}
		if err != nil {
			return err
		}
		if err := a.writeInventory(*out, result.Inventory); err != nil {
			return err
		}
		if !result.Complete() {
			return errPartly
		}
		return nil
	}
}

// linkAddresses reads the option --relay.
func linkAddresses(text string) ([]netip.Addr, error) {
	var all []netip.Addr
	for word := range strings.SplitSeq(text, ",") {
		word = strings.TrimSpace(word)
		if word == "" {
			continue
		}
		a, err := netip.ParseAddr(word)
		if err != nil || !a.Is6() || a.Is4In6() || !a.IsGlobalUnicast() || a.Zone() != "" {
			return nil, usageError{fmt.Sprintf("--relay %q is no global IPv6 address, such as 2001:db8:2::1", word)}
		}
		if slices.Contains(all, a) {
			return nil, usageError{fmt.Sprintf("--relay names %s twice", a)}
		}
		all = append(all, a)
	}
	return all, nil
}

// writeInventory writes to standard output, or to a file that is new.
func (a app) writeInventory(file string, data []byte) error {
	var to io.WriteCloser = nopCloser{a.stdout}
	if file != "" {
		f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
		if errors.Is(err, os.ErrExist) {
			return fmt.Errorf("%s exists already and is left alone: name another file, or move it away", file)
		}
		if err != nil {
			return fmt.Errorf("writing the inventory: %w", err)
		}
		to = f
	}
	_, err := to.Write(data)
	if err := errors.Join(err, to.Close()); err != nil {
		return fmt.Errorf("writing the inventory: %w", err)
	}
	return nil
}

type nopCloser struct{ io.Writer }

func (nopCloser) Close() error { return nil }

// maxConfig bounds a file before it is in memory.
const maxConfig = 16 << 20

// readConfig opens a file that the command line or another file names. A relative name in a file is relative to it.
func readConfig(from, name string) ([]byte, error) {
	if from != "" && !filepath.IsAbs(name) {
		name = filepath.Join(filepath.Dir(from), name)
	}
	// Looked at before it is opened: a FIFO would wait for a writer.
	if st, err := os.Stat(name); err != nil {
		return nil, err
	} else if !st.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a file", name)
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxConfig+1))
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", name, err)
	}
	if len(data) > maxConfig {
		return nil, fmt.Errorf("%s has more than %d MB", name, maxConfig>>20)
	}
	return data, nil
}

func optional(name string) (importer.File, error) {
	if name == "" {
		return importer.File{}, nil
	}
	data, err := readConfig("", name)
	return importer.File{Name: name, Data: data}, err
}
