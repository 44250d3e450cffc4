package inventory

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"

	"gopkg.in/yaml.v3"
)

// Parse reads the octets of an inventory; file is only named in faults. Every fault is reported, in the order of the file;
// with any fault there is no Inventory, because half of one must never be served.
func Parse(file string, data []byte) (*Inventory, []Fault) {
	p := &parser{file: file, paths: map[Pos]string{}, incomplete: map[string]bool{}}
	sum := sha256.Sum256(data)
	p.inv = &Inventory{File: file, Hash: hex.EncodeToString(sum[:])}
	if root := p.document(data); root != nil {
		walk(p, value{node: root}, topFields, p.inv)
		p.check()
	}
	if len(p.faults) == 0 {
		return p.inv, nil
	}
	slices.SortStableFunc(p.faults, func(a, b Fault) int {
		return cmp.Or(cmp.Compare(a.Pos.Line, b.Pos.Line), cmp.Compare(a.Pos.Col, b.Pos.Col))
	})
	// Aliases put one value into several places.
	return nil, slices.Compact(p.faults)
}

// parser gathers values and faults of one file.
type parser struct {
	file   string
	inv    *Inventory
	faults []Fault
	// paths are the key paths of the values that were read, for the checks that come after the walk.
	paths map[Pos]string
	// incomplete networks have faults in their prefixes: what refers to those is not checked, to report each mistake once.
	incomplete map[string]bool
	// wanted are the secrets that values refer to.
	wanted []secretRef
	// froms are the prefixes out of an upstream's.
	froms []derivation
}

var topFields = []field[Inventory]{
	{name: "serve", set: func(p *parser, inv *Inventory, v value) {
		v.from = "serve"
		if !v.null() {
			walk(p, v, serveFields, &inv.Serve)
		}
	}},
	{name: "dns", set: func(p *parser, inv *Inventory, v value) {
		v.from = "dns"
		if !v.null() {
			walk(p, v, dnsFields, &inv.DNS)
		}
	}},
	{name: "defaults", set: func(p *parser, inv *Inventory, v value) {
		v.from = "defaults"
		if !v.null() {
			walk(p, v, defaultsFields, &inv.Defaults)
		}
	}},
	{name: "networks", set: section((*parser).network)},
	{name: "profiles", set: section((*parser).profile)},
	{name: "hosts", set: func(p *parser, inv *Inventory, v value) {
		inv.Hosts = slices.Grow(inv.Hosts, len(v.node.Content)/2) // a Host is large: ten thousand are not copied while the list grows
		section((*parser).host)(p, inv, v)
	}},
	{name: "upstreams", set: section((*parser).uplink)},
	{name: "anyip", set: func(p *parser, _ *Inventory, v value) {
		v.from = "anyip"
		p.anyip(v)
	}},
	{name: "docker", set: func(p *parser, _ *Inventory, v value) {
		v.from = "docker"
		p.docker(v)
	}},
	{name: "follow", set: section((*parser).follow)},
	{name: "yealink", set: func(p *parser, inv *Inventory, v value) {
		v.from = "yealink"
		if !v.null() {
			walk(p, v, yealinkFields, &inv.Yealink)
		}
	}},
	{name: "phones", set: section((*parser).aPhone)},
	{name: "secrets", set: section((*parser).secret)},
}

// section reads a mapping of names; an empty one, its entries perhaps commented out, is no fault.
func section(entry func(*parser, *yaml.Node, value)) func(*parser, *Inventory, value) {
	return func(p *parser, _ *Inventory, v value) {
		if v.null() {
			return
		}
		p.each(v, func(key *yaml.Node, child value) {
			child.from = child.path
			entry(p, key, child)
		})
	}
}

// maxFaults bounds what is reported of one file: millions would tell nobody more, and take long.
const maxFaults = 1000

func (p *parser) fault(pos Pos, path, format string, args ...any) {
	switch {
	case len(p.faults) > maxFaults:
		return
	case len(p.faults) == maxFaults:
		path, format, args = "", "more faults than %d: the rest is not shown", []any{maxFaults}
	}
	p.faults = append(p.faults, Fault{File: p.file, Pos: pos, Path: path, Msg: fmt.Sprintf(format, args...)})
}

// bad reports a fault of a value, where it stands.
func (p *parser) bad(v value, format string, args ...any) {
	p.fault(v.pos(), v.path, format, args...)
}

// badAt reports a fault of a value that was read before.
func (p *parser) badAt(pos Pos, format string, args ...any) {
	p.fault(pos, p.paths[pos], format, args...)
}
