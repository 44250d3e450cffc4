package inventory

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"gopkg.in/yaml.v3"
)

const (
	// maxFile bounds the file: 10,000 hosts with every key written out need a tenth of it.
	maxFile = 32 << 20
	// maxAliased bounds what aliases may add to a document, in nodes: some lists of keys are shared, hosts are not.
	maxAliased = 10_000
	// maxDepth of nesting; the grammar needs six.
	maxDepth = 20
)

// document gives the top node of the only document in data, or nil after a fault.
func (p *parser) document(data []byte) *yaml.Node {
	data = bytes.TrimPrefix(data, []byte("\ufeff")) // editors on other systems write it, YAML allows it
	if !p.plainText(data) {
		return nil
	}
	dec := yaml.NewDecoder(bytes.NewReader(data))
	var doc, more yaml.Node
	if err := decode(dec, &doc); err != nil {
		p.syntax(data, err)
		return nil
	}
	if len(doc.Content) == 0 || (value{node: doc.Content[0]}).null() {
		p.empty()
		return nil
	}
	switch err := decode(dec, &more); {
	case errors.Is(err, io.EOF):
	case err != nil:
		p.syntax(data, err)
		return nil
	default:
		p.fault(Pos{more.Line, more.Column}, "", "a second YAML document begins here: an inventory is one document, remove the ---")
		return nil
	}
	budget := maxAliased
	if !p.unalias(doc.Content[0], &budget, 0) {
		return nil
	}
	return doc.Content[0]
}

func (p *parser) empty() {
	p.fault(Pos{1, 1}, "", "the inventory is empty: `bootd init` writes one to begin with")
}

// plainText refuses what is no UTF-8 text before the YAML parser sees it.
func (p *parser) plainText(data []byte) bool {
	if len(data) > maxFile {
		p.fault(Pos{1, 1}, "", "the file has %d octets, an inventory has at most %d", len(data), maxFile)
		return false
	}
	i := bytes.IndexByte(data, 0)
	msg := "a NUL octet: an inventory is UTF-8 text"
	if !utf8.Valid(data) {
		msg = "not UTF-8: save the file as UTF-8"
		i = 0
		for rest := data; len(rest) > 0; {
			r, n := utf8.DecodeRune(rest)
			if r == utf8.RuneError && n <= 1 {
				break
			}
			i, rest = i+n, rest[n:]
		}
	}
	if i < 0 {
		return true
	}
	line := bytes.Count(data[:i], []byte("\n")) + 1
	col := utf8.RuneCount(data[bytes.LastIndexByte(data[:i], '\n')+1:i]) + 1
	p.fault(Pos{line, col}, "", "%s", msg)
	return false
}

// decode shields the daemon, which reloads while it serves, from a panic of the YAML library, which is archived.
func decode(dec *yaml.Decoder, n *yaml.Node) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("yaml: the parser gave up: %v", r)
		}
	}()
	return dec.Decode(n)
}

var (
	yamlLine = regexp.MustCompile(`^yaml: (?:line (\d+): )?(.*)$`)
	// fromZero are the errors of the library's parser; it counts their lines from 0, those of its scanner from 1.
	fromZero = regexp.MustCompile(`^did not find expected (node content|key|',' or|'-' indicator|<)`)
	noAnchor = regexp.MustCompile(`^unknown anchor '(.*)' referenced$`)
	// bareSuffix is an address such as ::102 without quotes, which no YAML flow mapping takes.
	bareSuffix = regexp.MustCompile(`[\[:,]\s*(::[0-9a-fA-F:]+)`)
)

// syntax reports what the YAML parser says, with the line that it names or the tab that it stumbled over.
func (p *parser) syntax(data []byte, err error) {
	if errors.Is(err, io.EOF) {
		p.empty()
		return
	}
	line, msg := 1, err.Error()
	if m := yamlLine.FindStringSubmatch(strings.SplitN(msg, "\n", 2)[0]); m != nil {
		msg = m[2]
		if n, err := strconv.Atoi(m[1]); err == nil {
			line = max(n, 1)
		}
	}
	switch m := noAnchor.FindStringSubmatch(msg); {
	case m != nil: // the library names no line
		line += bytes.Count(data[:max(bytes.Index(data, []byte("*"+m[1])), 0)], []byte("\n"))
	case fromZero.MatchString(msg):
		line++
		msg += " in what begins here: look at its indentation, quotes and brackets"
	case msg == "found unexpected end of stream":
		msg = "a quote is opened here and not closed"
	}
	lines := bytes.Split(data, []byte("\n"))
	line = min(line, len(lines))
	for i := max(line-2, 0); i < min(line+1, len(lines)); i++ {
		indent := lines[i][:len(lines[i])-len(bytes.TrimLeft(lines[i], " \t"))]
		if col := bytes.IndexByte(indent, '\t'); col >= 0 {
			p.fault(Pos{i + 1, col + 1}, "", "a tab in the indentation: YAML wants spaces")
			return
		}
		if m := bareSuffix.FindSubmatchIndex(lines[i]); m != nil {
			p.fault(Pos{i + 1, m[2] + 1}, "", "an address that begins with : must stand in quotes: %q", shorten(string(lines[i][m[2]:m[3]])))
			return
		}
	}
	p.fault(Pos{line, 1}, "", "not YAML: %s", withRemedy(msg))
}

// unalias puts the value of each anchor in the place of its aliases. What they add is bounded, and an alias inside its own
// anchor is refused: neither a bomb nor a cycle gets further.
func (p *parser) unalias(n *yaml.Node, budget *int, depth int) bool {
	if depth > maxDepth {
		p.fault(Pos{n.Line, n.Column}, "", "nested deeper than any key of an inventory")
		return false
	}
	for i, c := range n.Content {
		if c.Kind != yaml.AliasNode {
			if !p.unalias(c, budget, depth+1) {
				return false
			}
			continue
		}
		if !p.simple(c.Alias, budget, 0) {
			if *budget < 0 {
				p.fault(Pos{c.Line, c.Column}, "", "the aliases of this file stand for more than %d values: use defaults or a profile", maxAliased)
			} else {
				p.fault(Pos{c.Line, c.Column}, "", "*%s stands inside its own anchor &%[1]s", shorten(c.Value))
			}
			return false
		}
		n.Content[i] = c.Alias
	}
	return true
}

// simple reports whether n holds no alias any more and fits the budget.
func (p *parser) simple(n *yaml.Node, budget *int, depth int) bool {
	*budget--
	if *budget < 0 || n.Kind == yaml.AliasNode || depth > maxDepth {
		return false
	}
	for _, c := range n.Content {
		if !p.simple(c, budget, depth+1) {
			return false
		}
	}
	return true
}
