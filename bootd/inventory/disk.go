package inventory

import (
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"
)

var diskFields = []field[Disk]{
	{name: "serial", set: func(p *parser, d *Disk, v value) { d.Serial, _ = p.diskName(v) }},
	{name: "by_id", set: func(p *parser, d *Disk, v value) { d.ByID, _ = p.diskID(v) }},
	{name: "model", set: func(p *parser, d *Disk, v value) { d.Model, _ = p.diskName(v) }},
	{name: "min_size", set: func(p *parser, d *Disk, v value) { d.MinSize, _ = p.size(v) }},
	{name: "max_size", set: func(p *parser, d *Disk, v value) { d.MaxSize, _ = p.size(v) }},
	{name: "wipe", set: func(p *parser, d *Disk, v value) { d.Wipe, _ = p.boolean(v) }},
}

func (p *parser) disk(v value) (Disk, bool) {
	var d Disk
	before := len(p.faults)
	switch {
	case v.node.Kind == yaml.ScalarNode && strings.HasPrefix(v.node.Value, "/dev/"):
		p.bad(v, "%s may name another disk at the next boot: write {serial: ...}, {by_id: ...} or {min_size: ...}", shorten(v.node.Value))
		return d, false
	case !walk(p, v, diskFields, &d) || len(p.faults) > before:
		return d, false
	case d.Serial == "" && d.ByID == "" && d.Model == "" && d.MinSize == 0 && d.MaxSize == 0:
		p.bad(v, "chooses no disk: write serial, by_id, model, min_size or max_size")
	case d.MaxSize != 0 && d.MinSize > d.MaxSize:
		p.bad(v, "min_size is more than max_size: no disk fits")
	}
	return d, len(p.faults) == before
}

// String writes the choice as an inventory has it.
func (d Disk) String() string {
	var out []string
	for _, f := range []struct{ key, text string }{
		{"serial", d.Serial}, {"by_id", d.ByID}, {"model", d.Model}, {"min_size", sizeText(d.MinSize)}, {"max_size", sizeText(d.MaxSize)},
	} {
		if f.text != "" {
			out = append(out, f.key+": "+f.text)
		}
	}
	if d.Wipe {
		out = append(out, "wipe: true")
	}
	return "{" + strings.Join(out, ", ") + "}"
}

// sizeText writes a size in the largest unit that needs no fraction, "" for 0.
func sizeText(n uint64) string {
	if n == 0 {
		return ""
	}
	best := strconv.FormatUint(n, 10)
	for _, system := range []struct {
		base   uint64
		suffix string
	}{{1000, ""}, {1024, "iB"}} {
		rest := n
		for _, unit := range "KMGTP" {
			if rest%system.base != 0 {
				break
			}
			rest /= system.base
			if text := strconv.FormatUint(rest, 10) + string(unit) + system.suffix; len(text) < len(best) {
				best = text
			}
		}
	}
	return best
}

// diskName reads a serial number or model. Both end up in an installer's shell script, which compares them: characters that
// mean something to a shell stand in no disk's name.
func (p *parser) diskName(v value) (string, bool) {
	s, ok := p.text(v)
	if ok && strings.ContainsAny(s, "\"'`$\\;&|<>*?") {
		p.bad(v, "%q holds characters that no disk's name has", shorten(s))
		return "", false
	}
	return s, ok
}

func (p *parser) diskID(v value) (string, bool) {
	s, ok := p.diskName(v)
	if ok && strings.Contains(s, "/") {
		p.bad(v, "%q is a path: write only the name below /dev/disk/by-id", shorten(s))
		return "", false
	}
	return s, ok
}
