package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"iter"
	"math/big"
	"net/netip"
	"strconv"
	"strings"

	"bootd.internal/bootd/prefix"
)

const prefixText = `
split lists the prefixes of LENGTH inside PREFIX in order, all of them or the first -n: bootd prefix split 2001:db8::/48 56
random makes up addresses inside PREFIX, one or -n: bootd prefix random 2001:db8:100::/64
Both write one a line, with --json a list.`

// maxUnasked is how many prefixes split writes when nobody said a number: a /48 in /64s.
const maxUnasked = 1 << 16

func prefixCommand(a app, fs *flag.FlagSet) func(context.Context, []string) error {
	n := fs.Uint64("n", 0, "write `N` of them")
	asJSON := fs.Bool("json", false, "write JSON")
	return func(ctx context.Context, args []string) error {
		var list iter.Seq[fmt.Stringer]
		var err error
		limited := false
		fs.Visit(func(f *flag.Flag) { limited = limited || f.Name == "n" })
		switch {
		case limited && *n == 0:
			return usageError{"-n 0 would write nothing: want a number from 1"}
		case args[0] == "split":
			list, err = splitList(args[1:], *n)
		case args[0] == "random":
			list, err = randomList(args[1:], max(*n, 1))
		default:
			return usageError{fmt.Sprintf("%q is neither split nor random%s", args[0], didYouMean(args[0], []string{"split", "random"}))}
		}
		if err != nil {
			return err
		}
		return writeList(ctx, a.stdout, list, *asJSON)
	}
}

func splitList(args []string, n uint64) (iter.Seq[fmt.Stringer], error) {
	if len(args) < 2 {
		return nil, usageError{"LENGTH is missing: bootd prefix split 2001:db8::/48 56"}
	}
	p, err := prefix.Parse(args[0])
	if err != nil {
		return nil, usageError{err.Error()}
	}
	length, err := strconv.Atoi(strings.TrimPrefix(args[1], "/"))
	if err != nil {
		return nil, usageError{fmt.Sprintf("%q is not a prefix length, such as 56", args[1])}
	}
	count, err := prefix.Count(p, length)
	if err != nil {
		return nil, usageError{err.Error()}
	}
	if n == 0 && count.Cmp(big.NewInt(maxUnasked)) > 0 {
		return nil, fmt.Errorf("%s holds %s prefixes of /%d: say how many of them you want, such as -n 16", p, count, length)
	}
	return func(yield func(fmt.Stringer) bool) {
		done := uint64(0)
		for sub := range prefix.Split(p, length) {
			if done++; n != 0 && done > n || !yield(sub) {
				return
			}
		}
	}, nil
}

func randomList(args []string, n uint64) (iter.Seq[fmt.Stringer], error) {
	if len(args) > 1 {
		return nil, usageError{fmt.Sprintf("%q is one argument too many: random makes up addresses", args[1])}
	}
	p, err := prefix.Parse(args[0])
	if err != nil {
		return nil, usageError{err.Error()}
	}
	return func(yield func(fmt.Stringer) bool) {
		for range n {
			var chance [16]byte
			rand.Read(chance[:]) // never fails (crypto/rand)
			if !yield(prefix.Address(p, netip.AddrFrom16(chance))) {
				return
			}
		}
	}, nil
}

// writeList writes as it goes: a list may be longer than memory.
func writeList(ctx context.Context, to io.Writer, list iter.Seq[fmt.Stringer], asJSON bool) error {
	w := bufio.NewWriter(to)
	separator, end := "", "\n"
	if asJSON {
		separator, end = "[\n  ", "\n]\n"
	}
	for item := range list {
		w.WriteString(separator)
		separator = "\n"
		text := item.String()
		if asJSON {
			separator = ",\n  "
			quoted, err := json.Marshal(text)
			if err != nil {
				return fmt.Errorf("writing %s: %w", text, err)
			}
			text = string(quoted)
		}
		if _, err := w.WriteString(text); err != nil { // bufio keeps the first error
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	w.WriteString(end)
	return w.Flush()
}
