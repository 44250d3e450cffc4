package inventory

import (
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"
)

// value is a node in its place.
type value struct {
	node *yaml.Node
	// path is the key path, from the section that the value belongs to.
	path, from string
}

func (v value) pos() Pos { return Pos{v.node.Line, v.node.Column} }

func (v value) null() bool { return v.node.Kind == yaml.ScalarNode && v.node.Tag == "!!null" }

// field is one key of a mapping.
type field[T any] struct {
	name string
	// in are the sections where a setting may stand, 0: all.
	in scope
	// set reads the value.
	set func(*parser, *T, value)
	// misplaced says where the key belongs instead.
	misplaced string
}

// put reads one value with its place.
func put[S, T any](get func(*S) *Value[T], parse func(*parser, value) (T, bool)) func(*parser, *S, value) {
	return func(p *parser, s *S, v value) {
		if x, ok := parse(p, v); ok {
			*get(s) = keep(p, v, x)
		}
	}
}

// walk reads a mapping whose keys are known.
func walk[T any](p *parser, v value, fields []field[T], t *T) bool {
	return p.each(v, func(key *yaml.Node, child value) {
		at := Pos{key.Line, key.Column}
		for i := range fields {
			f := &fields[i]
			switch {
			case f.name != key.Value:
				continue
			case f.misplaced != "":
				p.fault(at, child.path, "%s", f.misplaced)
			default:
				f.set(p, t, child)
			}
			return
		}
		names := make([]string, 0, len(fields))
		for _, f := range fields {
			if f.set != nil {
				names = append(names, f.name)
			}
		}
		p.fault(at, child.path, "unknown key%s", suggest(key.Value, names))
	})
}

// each calls do for every entry of a mapping whose key is text and there once; it reports what is no mapping.
func (p *parser) each(v value, do func(key *yaml.Node, child value)) bool {
	if v.node.Kind != yaml.MappingNode || v.node.Tag != "!!map" {
		p.bad(v, "wants keys with values, got %s", describe(v.node))
		return false
	}
	seen := make(map[string]int, len(v.node.Content)/2)
	for i := 0; i+1 < len(v.node.Content); i += 2 {
		key := v.node.Content[i]
		at := Pos{key.Line, key.Column}
		if key.Kind != yaml.ScalarNode {
			p.fault(at, v.path, "a key is text, got %s", describe(key))
			continue
		}
		path := pathKey(key.Value)
		if v.path != "" {
			path = v.path + "." + path
		}
		if key.Tag == "!!merge" {
			p.fault(at, path, "merge keys are not supported: put shared values in defaults or a profile")
			continue
		}
		if line, dup := seen[key.Value]; dup {
			p.fault(at, path, "is there twice, first on line %d", line)
			continue
		}
		seen[key.Value] = key.Line
		do(key, value{node: v.node.Content[i+1], path: path, from: v.from})
	}
	return true
}

// listOf reads a list, or one value as a list of one.
func listOf[T any](parse func(*parser, value) (T, bool)) func(*parser, value) ([]T, bool) {
	return func(p *parser, v value) ([]T, bool) {
		if v.node.Kind != yaml.SequenceNode {
			x, ok := parse(p, v)
			if !ok {
				return nil, false
			}
			return []T{x}, true
		}
		all := make([]T, 0, len(v.node.Content))
		for i, n := range v.node.Content {
			item := value{node: n, path: v.path + "[" + strconv.Itoa(i) + "]", from: v.from}
			if x, ok := parse(p, item); ok {
				all = append(all, x)
			}
		}
		return all, len(all) == len(v.node.Content)
	}
}

// someOf is listOf for lists that may not be empty.
func someOf[T any](parse func(*parser, value) (T, bool)) func(*parser, value) ([]T, bool) {
	return func(p *parser, v value) ([]T, bool) {
		if v.node.Kind == yaml.SequenceNode && len(v.node.Content) == 0 {
			p.bad(v, "the list is empty: write at least one value")
			return nil, false
		}
		return listOf(parse)(p, v)
	}
}

// placed wraps a parser so that each value of a list knows its own place.
func placed[T any](parse func(*parser, value) (T, bool)) func(*parser, value) (Value[T], bool) {
	return func(p *parser, v value) (Value[T], bool) {
		x, ok := parse(p, v)
		if !ok {
			return Value[T]{}, false
		}
		return keep(p, v, x), true
	}
}

// keep makes a Value and remembers its path.
func keep[T any](p *parser, v value, x T) Value[T] {
	p.paths[v.pos()] = v.path
	return Value[T]{V: x, Pos: v.pos(), From: v.from}
}

// describe says what a node is, for faults.
func describe(n *yaml.Node) string {
	switch {
	case n.Kind == yaml.MappingNode && n.Tag == "!!map":
		return "keys with values"
	case n.Kind == yaml.SequenceNode && n.Tag == "!!seq":
		return "a list"
	case n.Tag == "!!null":
		return "nothing"
	case n.Tag == "!!int" || n.Tag == "!!float":
		return "the number " + shorten(n.Value)
	case n.Tag == "!!bool":
		return n.Value
	case n.Tag == "!!timestamp":
		return "the date " + shorten(n.Value)
	case n.Tag == "!!str":
		return strconv.Quote(shorten(n.Value))
	}
	return "a value tagged " + shorten(n.Tag) + ": remove the tag, or put a value that begins with ! in quotes"
}

// shorten keeps faults readable, whatever stands in the file.
func shorten(s string) string {
	const most = 60
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "..."
}

func pathKey(k string) string {
	plain := k != "" && len(k) <= 63
	for i := 0; plain && i < len(k); i++ {
		plain = k[i] > ' ' && k[i] < 0x7f && k[i] != '"' && k[i] != '.'
	}
	if plain {
		return k
	}
	return strconv.Quote(shorten(k))
}
