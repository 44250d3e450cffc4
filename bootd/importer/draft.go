package importer

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"bootd.internal/bootd/inventory"
)

// node is one line of the inventory to be: a key with a value, or with more lines below it. The key "-" is an entry of a
// list.
type node struct {
	key, value string
	kids       []*node
	from       Place
	// said follows the place in the comment.
	said string
}

// get finds the line of a key below n.
func (n *node) get(key string) *node {
	i := slices.IndexFunc(n.kids, func(k *node) bool { return k.key == key })
	if i < 0 {
		return nil
	}
	return n.kids[i]
}

// under gives the line of a key that holds more lines; it makes it where there is none.
func (n *node) under(key string, from Place) *node {
	if k := n.get(key); k != nil {
		return k
	}
	return n.add(key, "", from)
}

// add appends a line.
func (n *node) add(key, value string, from Place) *node {
	k := &node{key: key, value: value, from: from}
	n.kids = append(n.kids, k)
	return k
}

// same reports whether two nodes write the same, comments aside.
func (n *node) same(o *node) bool {
	return n.key == o.key && n.value == o.value &&
		slices.EqualFunc(n.kids, o.kids, func(a, b *node) bool { return a.same(b) })
}

// draft is an inventory to be, with the notes about it.
type draft struct {
	notes
	serve, dns, defaults, networks, hosts *node
	// title are the files it came from.
	title []string
	// hints are commented lines at the end.
	hints []string
}

func newDraft(files ...string) *draft {
	d := &draft{title: files}
	for _, s := range []struct {
		at   **node
		name string
	}{{&d.serve, "serve"}, {&d.dns, "dns"}, {&d.defaults, "defaults"}, {&d.networks, "networks"}, {&d.hosts, "hosts"}} {
		*s.at = &node{key: s.name}
	}
	return d
}

func (d *draft) sections() []*node {
	return []*node{d.serve, d.dns, d.defaults, d.networks, d.hosts}
}

// put sets a key below n. A value that differs from one that is there is lost: one network, say, has one.
func (d *draft) put(n *node, k *node) {
	old := n.get(k.key)
	switch {
	case old == nil:
		n.kids = append(n.kids, k)
	case !old.same(k):
		d.lost(k.from, "%s differs from %s, and %s has only one", k.key, old.from, n.key)
	}
}

// set is put for one value.
func (d *draft) set(n *node, key, value string, from Place) {
	d.put(n, &node{key: key, value: value, from: from})
}

// inherit sets what n has not got yet: a value of the level above.
func (n *node) inherit(k *node) {
	if n.get(k.key) == nil {
		n.kids = append(n.kids, k)
	}
}

// list is a key with one value or several; none: nil.
func list(key string, values []string, from Place) *node {
	n := &node{key: key, from: from}
	if len(values) == 1 {
		n.value = values[0]
		return n
	}
	for _, v := range values {
		n.add("-", v, from)
	}
	return n
}

// quote writes text as YAML reads it back: plainly where no rule of YAML could make anything else of it.
func quote(s string) string {
	plain := s != "" && (s[0] >= 'a' && s[0] <= 'z' || s[0] >= 'A' && s[0] <= 'Z')
	for i := range len(s) {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '.' && c != '_' && c != '/' {
			plain = false
		}
	}
	switch strings.ToLower(s) {
	case "true", "false", "yes", "no", "on", "off", "null", "y", "n":
		plain = false
	}
	if plain {
		return s
	}
	return strconv.Quote(strings.ToValidUTF8(s, "?"))
}

// maxInventory bounds the text that is written; ten thousand hosts take one of these megabytes.
const maxInventory = 32 << 20

var errTooLarge = errors.New("the inventory would be larger than 32 MB: import the files one by one")

// page is an inventory as text, with the line that each node stands on.
type page struct {
	strings.Builder
	line  int
	nodes map[int]*node
	// above is the node over each.
	above map[*node]*node
}

func (p *page) write(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	p.line += strings.Count(text, "\n")
	p.WriteString(text)
}

func (p *page) node(n *node, indent string, above *node) {
	head := indent + n.key
	if n.key != "-" {
		head += ":"
	}
	if n.value != "" {
		head += " " + n.value
	}
	about := strings.TrimSpace(comment(n.from) + " " + n.said)
	if above != nil && above.from == n.from { // said already
		about = n.said
	}
	if about != "" {
		head = fmt.Sprintf("%-58s  # %s", head, about)
	}
	p.nodes[p.line+1], p.above[n] = n, above
	p.write("%s\n", head)
	for _, k := range n.kids {
		p.node(k, indent+"  ", n)
	}
}

// elsewhere is how the grammar's words name another line.
var elsewhere = regexp.MustCompile(`\(line \d+\)|first on line \d+$`)

// original puts the place in the original where a fault names a line of the page.
func (p *page) original(msg string) string {
	return elsewhere.ReplaceAllStringFunc(msg, func(s string) string {
		line, err := strconv.Atoi(strings.Trim(s, "()abcdefghijklmnopqrstuvwxyz "))
		n := p.nodes[line]
		for n != nil && n.from.File == "" { // what nobody wrote stands in what somebody wrote
			n = p.above[n]
		}
		switch {
		case err != nil || n == nil:
			return s
		case s[0] == '(':
			return "(" + n.from.String() + ")"
		}
		return "first in " + n.from.String()
	})
}

func comment(at Place) string {
	if at.File == "" {
		return ""
	}
	return at.String()
}

// fits a file's name into a comment.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == 0x85 || r == 0x2028 || r == 0x2029 || r == 0xfeff || r == 0xfffd {
			return '?'
		}
		return r
	}, s)
}

func (d *draft) page() *page {
	p := &page{nodes: map[int]*node{}, above: map[*node]*node{}}
	p.write("# bootd's inventory, imported from %s.\n# Lines say where they came from, where the line above them does not. Read it once, then: bootd check\n", oneLine(strings.Join(d.title, ", ")))
	for _, s := range d.sections() {
		if len(s.kids) > 0 {
			p.write("\n")
			p.node(s, "", nil)
		}
	}
	for _, h := range d.hints {
		p.write("\n")
		for l := range strings.SplitSeq(h, "\n") {
			p.write("%s\n", strings.TrimRight("# "+oneLine(l), " "))
		}
	}
	first := true
	for _, n := range d.sorted() {
		if n.Kind != Itself {
			continue
		}
		if first {
			p.write("\n# What bootd does by itself:\n")
			first = false
		}
		p.write("#   %s\n", oneLine(n.Place.String()+": "+n.Text))
	}
	return p
}

// maxRounds bounds how often lines are taken out; each round finds all that the one before did not hide.
const maxRounds = 20

// result proves the inventory: what the grammar refuses is taken out and becomes a note. The error is that nothing is left
// to be served.
func (d *draft) result() (*Result, error) {
	d.renewals()
	for range maxRounds {
		p := d.page()
		if p.Len() > maxInventory {
			return nil, errTooLarge
		}
		_, faults := inventory.Parse("inventory", []byte(p.String()))
		if len(faults) == 0 {
			return &Result{[]byte(p.String()), d.sorted()}, nil
		}
		if len(d.networks.kids) == 0 {
			return &Result{Notes: d.sorted()}, errNothing
		}
		gone := map[*node]bool{}
		for _, f := range faults {
			if n := p.nodes[f.Pos.Line]; n != nil && !gone[n] {
				gone[n] = true
				d.lost(n.from, "%s: %s", f.Path, p.original(f.Msg))
			}
		}
		if len(gone) == 0 {
			return nil, fmt.Errorf("writing the inventory: %w", faults[0])
		}
		d.without(gone)
	}
	return &Result{Notes: d.sorted()}, errTooMany
}

var errTooMany = errors.New("more lines than could be listed do not fit: mend the first of them, and import again")

var errNothing = errors.New("nothing is left that bootd could serve: no network with an interface and a prefix came out of it")

// without takes lines out, and those that held nothing else.
func (d *draft) without(gone map[*node]bool) {
	for _, s := range d.sections() {
		s.prune(gone)
	}
	for _, n := range d.networks.kids { // without its ranges, unknown: pool would give out other addresses
		if u := n.get("unknown"); u != nil && u.value == "pool" && n.get("pool") == nil {
			n.prune(map[*node]bool{u: true})
		}
	}
}

func (n *node) prune(gone map[*node]bool) {
	n.kids = slices.DeleteFunc(n.kids, func(k *node) bool {
		if gone[k] {
			return true
		}
		had := len(k.kids)
		k.prune(gone)
		return had > 0 && len(k.kids) == 0 && k.value == ""
	})
}
