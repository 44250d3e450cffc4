// Package importer reads what other servers are configured with (Kea's DHCPv6 server, ISC dhcpd, radvd, unbound) and
// writes an inventory that does the same, each part with a comment that says where it came from. What has no equivalent is
// listed with its line; what would have kept machines from booting is corrected and said.
//
// The package reads text and writes text: files are opened by its caller, and it never looks at the machine. The inventory
// that it gives always parses: what the grammar refuses is taken out and listed with the grammar's own words.
package importer

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
)

// Open gives the octets of a file that a configuration names; from is the file that names it.
type Open func(from, name string) ([]byte, error)

// Known is what no configuration says.
type Known struct {
	// Interface is the one of networks that nobody names one for; where all are behind relays, the one that these come in on.
	Interface string
	// Relays are link-addresses: a network that one of them is in is behind that relay.
	Relays []netip.Addr
}

func relayNowhere(a netip.Addr) error {
	return fmt.Errorf("the relay %s is inside no subnet that bootd could serve: which clients it speaks for cannot be told", a)
}

// Place is a line of a configuration; lines count from 1.
type Place struct {
	File string `json:"file"`
	Line int    `json:"line"`
}

func (p Place) String() string { return fmt.Sprintf("%s:%d", oneLine(p.File), p.Line) }

// Kind says what became of a line.
type Kind string

// The kinds of a Note.
const (
	// Lost: there is no equivalent, the inventory does not do it.
	Lost Kind = "no equivalent"
	// Corrected: the original would have failed, the inventory does what it meant.
	Corrected Kind = "corrected"
	// Review: a guess that a person has to look at.
	Review Kind = "review"
	// Itself: bootd does it without being told; said in the inventory only.
	Itself Kind = "by itself"
)

// Note is what a person should know about one line of the original.
type Note struct {
	Place
	Kind Kind   `json:"kind"`
	Text string `json:"text"`
}

func (n Note) String() string { return fmt.Sprintf("%s: %s: %s", n.Place, n.Kind, n.Text) }

// Result is an inventory and what is to be known about it, in the order of the original.
type Result struct {
	Inventory []byte
	Notes     []Note
}

// Complete reports whether everything has its equivalent.
func (r *Result) Complete() bool {
	return !slices.ContainsFunc(r.Notes, func(n Note) bool { return n.Kind == Lost })
}

// SyntaxError is a configuration that cannot be read.
type SyntaxError struct {
	Place
	Msg string
}

func (e *SyntaxError) Error() string { return fmt.Sprintf("%s: %s", e.Place, e.Msg) }

func syntax(at Place, format string, args ...any) error {
	return &SyntaxError{at, fmt.Sprintf(format, args...)}
}

// maxNotes bounds what is said of one file; more would not be read.
const maxNotes = 1000

// notes gathers.
type notes struct {
	list []Note
	seen map[Note]bool
}

func (n *notes) add(k Kind, at Place, format string, args ...any) {
	note := Note{at, k, shorten(oneLine(fmt.Sprintf(format, args...)))}
	if n.seen[note] { // what stands in a group is read for each of its hosts
		return
	}
	if len(n.list) == maxNotes {
		if k == Lost { // that something is lost must not be lost itself
			n.list[maxNotes-1] = Note{at, Lost, fmt.Sprintf("more notes than %d: the rest is not shown", maxNotes)}
		}
		return
	}
	if n.seen == nil {
		n.seen = map[Note]bool{}
	}
	n.seen[note] = true
	n.list = append(n.list, note)
}

// shorten keeps a note readable: what stands in a configuration may be long.
func shorten(s string) string {
	const most = 300
	if r := []rune(s); len(r) > most {
		return string(r[:most]) + "..."
	}
	return s
}

func (n *notes) lost(at Place, format string, args ...any)   { n.add(Lost, at, format, args...) }
func (n *notes) itself(at Place, format string, args ...any) { n.add(Itself, at, format, args...) }
func (n *notes) review(at Place, format string, args ...any) { n.add(Review, at, format, args...) }

// sorted is the order of the files as they were first named, then of lines.
func (n *notes) sorted() []Note {
	order := map[string]int{}
	for _, x := range n.list {
		if _, ok := order[x.File]; !ok {
			order[x.File] = len(order)
		}
	}
	slices.SortStableFunc(n.list, func(a, b Note) int {
		return cmp.Or(cmp.Compare(order[a.File], order[b.File]), cmp.Compare(a.Line, b.Line))
	})
	return n.list
}
