package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"bootd.internal/bootd/api"
)

const phonesText = `
Lists the phones of the inventory and those that nobody listed: what each says it is, its firmware, and which of its files
it asked for last. phones ca writes the certificate of bootd's own authority in PEM, for phones and browsers that
shall trust it.`

func phonesCommand(a app, fs *flag.FlagSet) func(context.Context, []string) error {
	var w where
	w.socketFlags(fs)
	asJSON := fs.Bool("json", false, "write JSON")
	return func(ctx context.Context, args []string) error {
		if len(args) == 1 {
			if args[0] != "ca" {
				return usageError{fmt.Sprintf("%q is nothing of phones%s", args[0], didYouMean(args[0], []string{"ca"}))}
			}
			ca, err := w.client().Authority(ctx)
			if err != nil {
				return err
			}
			_, err = io.WriteString(a.stdout, ca.PEM)
			return err
		}
		phones, err := w.client().Phones(ctx)
		switch {
		case err != nil:
			return err
		case *asJSON:
			return writeJSON(a.stdout, phones)
		case len(phones) == 0:
			fmt.Fprintln(a.stdout, "the inventory lists no phone, and none was heard")
			return nil
		}
		table(a.stdout, "PHONE\tMAC\tMODEL\tSAYS\tFIRMWARE\tLAST\tFILES", func(t io.Writer) {
			for _, p := range phones {
				writePhone(t, p)
			}
		})
		return nil
	}
}

func writePhone(t io.Writer, p api.Phone) {
	if p.Seen == nil {
		fmt.Fprintf(t, "%s\t%s\t%s\t-\t-\tnever\t-\n", or(p.Name, "-"), p.MAC, or(p.Listed, "-"))
		return
	}
	var files []string
	for _, f := range slices.Sorted(maps.Keys(p.Seen.Files)) {
		over := "http"
		if p.Seen.Files[f].TLS {
			over = "https"
		}
		files = append(files, fmt.Sprintf("%s (%s, %s)", f, over, p.Seen.Files[f].Reason))
	}
	fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", or(p.Name, "-"), p.MAC, or(p.Listed, "-"), or(p.Seen.Model, "-"),
		or(p.Seen.Firmware, "-"), p.Seen.Last.Local().Format(time.DateTime), strings.Join(files, ", "))
}
