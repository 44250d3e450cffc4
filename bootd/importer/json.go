package importer

import (
	"fmt"
	"path"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// Bounds of what is read: real configurations of ten thousand hosts have two megabytes.
const (
	maxOctets       = 16 << 20
	maxIncludes     = 64
	maxIncludeDepth = 10
)

// jkind is the kind of a JSON value, in the words of messages.
type jkind string

const (
	jMap    jkind = "a map"
	jList   jkind = "a list"
	jString jkind = "text"
	jNumber jkind = "a number"
	jBool   jkind = "true or false"
	jNull   jkind = "null"
)

// jvalue is a value with its place. text is a string's content, or a number or word as written.
type jvalue struct {
	Place
	kind    jkind
	text    string
	list    []*jvalue
	members []jmember
}

type jmember struct {
	Place
	name  string
	value *jvalue
}

// get is the last value of a name, as Kea takes it; nil without one.
func (v *jvalue) get(name string) *jvalue {
	if v == nil {
		return nil
	}
	for i := len(v.members) - 1; i >= 0; i-- {
		if v.members[i].name == name {
			return v.members[i].value
		}
	}
	return nil
}

// source is one file that is being read.
type source struct {
	name string
	data []byte
	at   int
	line int
}

// jreader reads Kea's dialect of JSON: comments of three kinds, commas before closing brackets, files included anywhere.
type jreader struct {
	open Open
	// stack are the files that include each other, the innermost last.
	stack    []*source
	included int
	octets   int
	depth    int
}

// readJSON reads a whole file.
func readJSON(file string, data []byte, open Open) (*jvalue, error) {
	r := &jreader{open: open}
	if err := r.push(file, data, Place{file, 1}); err != nil {
		return nil, err
	}
	v, err := r.value()
	if err != nil {
		return nil, err
	}
	c, err := r.next()
	if err != nil {
		return nil, err
	}
	if c != 0 {
		return nil, syntax(r.place(), "%s after the end of the configuration: a closing bracket before it is one too many, or an opening one is missing", char(c))
	}
	return v, nil
}

func (r *jreader) push(file string, data []byte, at Place) error {
	if r.octets += len(data); r.octets > maxOctets {
		return syntax(at, "more than %d MB, includes counted, is not read", maxOctets>>20)
	}
	if !utf8.Valid(data) {
		return syntax(Place{file, 1}, "the file is not UTF-8 text")
	}
	r.stack = append(r.stack, &source{name: file, data: data, line: 1})
	return nil
}

func (r *jreader) top() *source { return r.stack[len(r.stack)-1] }
func (r *jreader) place() Place { s := r.top(); return Place{s.name, s.line} }

// next gives the next octet that means something without taking it, 0 at the end of all.
func (r *jreader) next() (byte, error) {
	for {
		s := r.top()
		rest := s.data[s.at:]
		switch {
		case len(rest) == 0:
			if len(r.stack) == 1 {
				return 0, nil
			}
			r.stack = r.stack[:len(r.stack)-1]
		case rest[0] == '\n':
			s.at, s.line = s.at+1, s.line+1
		case rest[0] == ' ' || rest[0] == '\t' || rest[0] == '\r':
			s.at++
		case rest[0] == '#' || strings.HasPrefix(string(rest[:min(2, len(rest))]), "//"):
			for s.at < len(s.data) && s.data[s.at] != '\n' {
				s.at++
			}
		case strings.HasPrefix(string(rest[:min(2, len(rest))]), "/*"):
			end := strings.Index(string(rest), "*/")
			if end < 0 {
				return 0, syntax(r.place(), "the comment that begins here never ends: */ is missing")
			}
			s.line += strings.Count(string(rest[:end]), "\n")
			s.at += end + 2
		case strings.HasPrefix(string(rest[:min(2, len(rest))]), "<?"):
			if err := r.include(); err != nil {
				return 0, err
			}
		default:
			return rest[0], nil
		}
	}
}

// include reads <?include "file"?>.
func (r *jreader) include() error {
	s, at := r.top(), r.place()
	text, _, whole := strings.Cut(string(s.data[s.at:min(len(s.data), s.at+4096)]), "?>")
	name, ok := strings.CutPrefix(text, "<?include")
	name = strings.TrimSpace(name)
	if !whole || !ok || len(name) < 3 || name[0] != '"' || name[len(name)-1] != '"' || strings.Contains(name, "\n") {
		return syntax(at, `what begins with <? is no include: it is written <?include "FILE"?>`)
	}
	s.at += len(text) + 2
	file, data, err := included(r.open, r.files(), name[1:len(name)-1], at, &r.included)
	if err != nil {
		return err
	}
	return r.push(file, data, at)
}

func (r *jreader) files() []string {
	var all []string
	for _, s := range r.stack {
		all = append(all, s.name)
	}
	return all
}

// included opens a file that another one names, within bounds. It is called by its whole name from then on: what it includes in
// turn is beside it, not beside whoever runs the import.
func included(open Open, stack []string, name string, at Place, count *int) (file string, data []byte, err error) {
	file = name
	if !path.IsAbs(name) {
		file = path.Join(path.Dir(at.File), name)
	}
	for _, f := range stack {
		if f == file {
			return "", nil, syntax(at, "%s includes itself", name)
		}
	}
	if *count++; *count > maxIncludes || len(stack) > maxIncludeDepth {
		return "", nil, syntax(at, "more than %d included files, or %d levels of them, are not read", maxIncludes, maxIncludeDepth)
	}
	data, err = open(at.File, name)
	if err != nil {
		return "", nil, fmt.Errorf("%s: including %s: %w", at, name, err)
	}
	return file, data, nil
}

func char(c byte) string {
	if c == 0 {
		return "the end of the file"
	}
	if c < ' ' || c >= 0x7f {
		return fmt.Sprintf("the octet 0x%02x", c)
	}
	return string(rune(c))
}

func (r *jreader) value() (*jvalue, error) {
	if r.depth++; r.depth > maxDepth {
		return nil, syntax(r.place(), "more than %d maps and lists inside each other are not read", maxDepth)
	}
	defer func() { r.depth-- }()
	c, err := r.next()
	if err != nil {
		return nil, err
	}
	v := &jvalue{Place: r.place()}
	switch c {
	case '{':
		v.kind = jMap
		return v, r.entries(v, '}', func() error { return r.member(v) })
	case '[':
		v.kind = jList
		return v, r.entries(v, ']', func() error {
			item, err := r.value()
			v.list = append(v.list, item)
			return err
		})
	case '"':
		v.kind = jString
		v.text, err = r.text()
		return v, err
	}
	return v, r.bare(v, c)
}

// entries reads what stands between brackets; a comma before the closing one is welcome.
func (r *jreader) entries(v *jvalue, end byte, entry func() error) error {
	r.top().at++
	for {
		c, err := r.next()
		switch {
		case err != nil:
			return err
		case c == 0:
			return syntax(r.place(), "the file ends inside %s that begins on line %d of %s: %c is missing", v.kind, v.Line, v.File, end)
		case c == end:
			r.top().at++
			return nil
		}
		if err := entry(); err != nil {
			return err
		}
		last := r.place()
		switch c, err = r.next(); {
		case err != nil:
			return err
		case c == ',':
			r.top().at++
		case c == '"' || c == '{' && end == ']':
			return syntax(last, "a comma is missing at the end of this line")
		case c != end && c != 0:
			return syntax(r.place(), "%s where a comma or %c should be: %s begins on line %d of %s", char(c), end, v.kind, v.Line, v.File)
		}
	}
}

func (r *jreader) member(v *jvalue) error {
	c, err := r.next()
	if err != nil {
		return err
	}
	at := r.place()
	if c != '"' {
		return syntax(at, `%s where a name in quotes should be, in the map that begins on line %d of %s`, char(c), v.Line, v.File)
	}
	name, err := r.text()
	if err != nil {
		return err
	}
	if c, err = r.next(); err != nil {
		return err
	}
	if c != ':' {
		return syntax(r.place(), "%s where the colon after %q should be", char(c), name)
	}
	r.top().at++
	val, err := r.value()
	v.members = append(v.members, jmember{at, name, val})
	return err
}

// bare reads a number, true, false or null.
func (r *jreader) bare(v *jvalue, c byte) error {
	if c == 0 {
		return syntax(r.place(), "the file ends where a value should be")
	}
	s := r.top()
	from := s.at
	for s.at < len(s.data) && (strings.IndexByte("+-._", s.data[s.at]) >= 0 || s.data[s.at]|0x20 >= 'a' && s.data[s.at]|0x20 <= 'z' || s.data[s.at] >= '0' && s.data[s.at] <= '9') {
		s.at++
	}
	v.text = string(s.data[from:s.at])
	switch v.text {
	case "":
		return syntax(r.place(), "%s where a value should be", char(c))
	case "true", "false":
		v.kind = jBool
		return nil
	case "null":
		v.kind = jNull
		return nil
	}
	v.kind = jNumber
	if _, err := strconv.ParseFloat(v.text, 64); err != nil {
		return syntax(r.place(), "%q is no value: text stands in quotes", v.text)
	}
	return nil
}

// text reads a string.
func (r *jreader) text() (string, error) {
	s, at := r.top(), r.place()
	var b strings.Builder
	for s.at++; s.at < len(s.data); s.at++ {
		switch c := s.data[s.at]; c {
		case '"':
			s.at++
			return b.String(), nil
		case '\n':
			return "", syntax(at, "the text that begins here is not closed on its line: a quote is missing")
		case '\\':
			if s.at++; s.at == len(s.data) {
				continue
			}
			if !s.escape(&b) {
				return "", syntax(at, `\%c in the text is unknown`, s.data[s.at])
			}
		default:
			b.WriteByte(c)
		}
	}
	return "", syntax(at, "the file ends inside the text that begins here")
}

// escape writes what follows a backslash.
func (s *source) escape(b *strings.Builder) bool {
	switch c := s.data[s.at]; c {
	case '"', '\\', '/':
		b.WriteByte(c)
	case 'b', 'f', 'n', 'r', 't':
		b.WriteByte("\b\f\n\r\t"[strings.IndexByte("bfnrt", c)])
	case 'u':
		one, ok := s.hex4(s.at + 1)
		if !ok {
			return false
		}
		s.at += 4
		if two, ok := s.hex4(s.at + 3); ok && utf16.IsSurrogate(one) && string(s.data[s.at+1:s.at+3]) == `\u` {
			one = utf16.DecodeRune(one, two)
			s.at += 6
		}
		b.WriteRune(one)
	default:
		return false
	}
	return true
}

func (s *source) hex4(from int) (rune, bool) {
	if from+4 > len(s.data) {
		return 0, false
	}
	n, err := strconv.ParseUint(string(s.data[from:from+4]), 16, 16)
	return rune(n), err == nil
}
