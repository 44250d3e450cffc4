package importer

import (
	"slices"
	"strings"
	"unicode/utf8"
)

// statement is one statement of dhcpd.conf or radvd.conf: words, and a block where it has one.
type statement struct {
	Place
	words []word
	// block is what stands in its braces; hasBlock tells an empty one from none.
	block    []*statement
	hasBlock bool
}

// head is the first word.
func (s *statement) head() string { return s.arg(0) }

// arg is a word, empty where there is none.
func (s *statement) arg(i int) string {
	if i >= len(s.words) {
		return ""
	}
	return s.words[i].text
}

// rest are the words from i, commas left out.
func (s *statement) rest(i int) []string {
	var out []string
	for _, w := range s.words[min(i, len(s.words)):] {
		if w.quoted || w.text != "," {
			out = append(out, w.text)
		}
	}
	return out
}

// String is the statement as it stood there, shortened.
func (s *statement) String() string {
	var b strings.Builder
	for i, w := range s.words {
		if i > 0 && w.text != "," && w.text != ")" && w.text != "]" && s.words[i-1].text != "(" && s.words[i-1].text != "[" {
			b.WriteByte(' ')
		}
		if w.quoted {
			b.WriteString(`"` + w.text + `"`)
		} else {
			b.WriteString(w.text)
		}
	}
	text := oneLine(b.String())
	if len(text) > 100 {
		cut := 98
		for !utf8.RuneStart(text[cut]) {
			cut--
		}
		text = text[:cut] + "..."
	}
	return text
}

// iscReader reads statements that end in semicolons or blocks.
type iscReader struct {
	open     Open
	stack    []string
	included int
	octets   int
	// begins are words that only ever begin a statement: one in the middle shows a semicolon that is missing.
	begins []string
}

// read reads a whole file.
func (r *iscReader) read(file string, data []byte, at Place) ([]*statement, error) {
	if r.octets += len(data); r.octets > maxOctets {
		return nil, syntax(at, "more than %d MB, includes counted, is not read", maxOctets>>20)
	}
	if !utf8.Valid(data) {
		return nil, syntax(Place{file, 1}, "the file is not UTF-8 text")
	}
	words, last, err := iscWords(file, string(data))
	if err != nil {
		return nil, err
	}
	r.stack = append(r.stack, file)
	if len(words) > 0 {
		last = words[len(words)-1].line
	}
	p := &iscParser{iscReader: r, file: file, words: words, last: last}
	list, err := p.statements(nil)
	r.stack = r.stack[:len(r.stack)-1]
	return list, err
}

// iscWords splits a file into words; # begins a comment.
func iscWords(file, s string) (words []word, line int, err error) {
	line = 1
	for i := 0; i < len(s); {
		c := s[i]
		switch {
		case c == '\n':
			line++
			i++
		case c == ' ' || c == '\t' || c == '\r' || c == '\f':
			i++
		case c == '#':
			for i < len(s) && s[i] != '\n' {
				i++
			}
		case c == '"':
			text, n, ok := iscString(s[i:])
			if !ok {
				return nil, 0, syntax(Place{file, line}, "the text that begins here is not closed on its line: a quote is missing")
			}
			words = append(words, word{text: text, quoted: true, line: line})
			i += n
		case strings.IndexByte("{};,()=", c) >= 0:
			n := 1
			if c == '=' && strings.HasPrefix(s[i:], "==") {
				n = 2
			}
			words = append(words, word{text: s[i : i+n], line: line})
			i += n
		case strings.HasPrefix(s[i:], "!=") || strings.HasPrefix(s[i:], "~=") || strings.HasPrefix(s[i:], "~~"):
			words = append(words, word{text: s[i : i+2], line: line})
			i += 2
		default:
			from := i
			for i++; i < len(s) && strings.IndexByte(" \t\r\n\f#\"{};,()=", s[i]) < 0; i++ {
			}
			words = append(words, word{text: s[from:i], line: line})
		}
	}
	return words, line, nil
}

// iscString reads a text in quotes; n are the octets it takes.
func iscString(s string) (text string, n int, ok bool) {
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"':
			return b.String(), i + 1, true
		case c == '\n':
			return "", 0, false
		case c == '\\' && i+1 < len(s) && s[i+1] != '\n':
			i++
			if k := strings.IndexByte("nrtb", s[i]); k >= 0 {
				b.WriteByte("\n\r\t\b"[k])
				continue
			}
			b.WriteByte(s[i])
		default:
			b.WriteByte(c)
		}
	}
	return "", 0, false
}

// iscParser makes statements of the words of one file.
type iscParser struct {
	*iscReader
	file  string
	words []word
	// last is the last line that says anything.
	last int
	open []*statement // blocks that are open
}

func (p *iscParser) at(w word) Place { return Place{p.file, w.line} }

// statements reads to the end of a block, or of the file where there is none.
func (p *iscParser) statements(in *statement) ([]*statement, error) {
	var out []*statement
	for len(p.words) > 0 {
		w := p.words[0]
		if !w.quoted && w.text == "}" {
			if in == nil {
				return nil, syntax(p.at(w), "} closes nothing: a { before it is missing, or this one is one too many")
			}
			p.words = p.words[1:]
			return out, nil
		}
		if !w.quoted && w.text == ";" {
			p.words = p.words[1:]
			continue
		}
		s, err := p.statement()
		if err != nil {
			return nil, err
		}
		if s.head() != "include" || s.hasBlock || p.iscReader.open == nil {
			out = append(out, s)
			continue
		}
		file, data, err := included(p.iscReader.open, p.stack, s.arg(1), s.Place, &p.included)
		if err != nil {
			return nil, err
		}
		more, err := p.read(file, data, s.Place)
		if err != nil {
			return nil, err
		}
		out = append(out, more...)
	}
	if in != nil {
		return nil, syntax(Place{p.file, p.last}, "the file ends inside the block that begins on line %d (%s): } is missing", in.Line, in)
	}
	return out, nil
}

// statement reads one statement with its block.
func (p *iscParser) statement() (*statement, error) {
	s := &statement{Place: p.at(p.words[0])}
	for len(p.words) > 0 {
		w := p.words[0]
		switch {
		case w.quoted:
		case w.text == ";":
			p.words = p.words[1:]
			return s, nil
		case w.text == "}":
			return nil, syntax(p.before(s), "; is missing after %s", s)
		case w.text == "{" && len(s.words) > 0 && s.words[len(s.words)-1].text == "=":
			if err := p.record(s); err != nil {
				return nil, err
			}
			continue
		case w.text == "{":
			return s, p.braces(s)
		case len(s.words) > 0 && w.line > s.words[len(s.words)-1].line && slices.Contains(p.begins, w.text) && s.words[len(s.words)-1].text != ",":
			return nil, syntax(p.before(s), "; is missing after %s", s)
		}
		s.words = append(s.words, w)
		p.words = p.words[1:]
	}
	return nil, syntax(Place{p.file, p.last}, "the file ends inside the statement that begins on line %d (%s): ; is missing", s.Line, s)
}

// before is the line of the last word that was read.
func (p *iscParser) before(s *statement) Place {
	if len(s.words) == 0 {
		return s.Place
	}
	return p.at(s.words[len(s.words)-1])
}

// record reads the braces of a type: { ip-address, text }.
func (p *iscParser) record(s *statement) error {
	for len(p.words) > 0 {
		w := p.words[0]
		p.words = p.words[1:]
		s.words = append(s.words, w)
		if !w.quoted && w.text == "}" {
			return nil
		}
		if !w.quoted && w.text == ";" {
			break
		}
	}
	return syntax(p.before(s), "the record that begins on line %d is not closed: } is missing", s.Line)
}

// braces reads the block of a statement.
func (p *iscParser) braces(s *statement) error {
	p.words = p.words[1:]
	s.hasBlock = true
	if len(p.open) >= maxDepth {
		return syntax(s.Place, "more than %d blocks inside each other are not read", maxDepth)
	}
	for _, o := range p.open {
		if o.head() == s.head() && oncePerBranch(s.head()) {
			return syntax(s.Place, "%s inside the %s of line %d: a } before it is missing", s.head(), s.head(), o.Line)
		}
	}
	p.open = append(p.open, s)
	var err error
	s.block, err = p.statements(s)
	p.open = p.open[:len(p.open)-1]
	return err
}

// oncePerBranch: blocks that never stand inside one of their kind.
func oncePerBranch(head string) bool {
	switch head {
	case "subnet6", "subnet", "shared-network", "host", "interface", "prefix", "route", "RDNSS", "DNSSL", "class", "pool6":
		return true
	}
	return false
}
