package inventory

import (
	"bytes"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

// text is an inventory as octets; lines count from 1, as in yaml.Node.
type text struct {
	data    []byte
	newline string
}

func (t text) lines() int {
	n := bytes.Count(t.data, []byte("\n"))
	if len(t.data) > 0 && t.data[len(t.data)-1] != '\n' {
		n++
	}
	return n
}

// start is the offset of a line; of one behind the last, the end.
func (t text) start(line int) int {
	at := 0
	for range line - 1 {
		i := bytes.IndexByte(t.data[at:], '\n')
		if i < 0 {
			return len(t.data)
		}
		at += i + 1
	}
	return at
}

func (t text) line(n int) string {
	return strings.TrimRight(string(t.data[t.start(n):t.start(n+1)]), "\r\n")
}

// after puts a line of its own behind a line.
func (t text) after(line int, s string) []byte {
	at := t.start(line + 1)
	if at > 0 && t.data[at-1] != '\n' {
		s = t.newline + s
	} else {
		s += t.newline
	}
	return slices.Concat(t.data[:at], []byte(s), t.data[at:])
}

// block puts a line at the end of a block that reaches from a line to before another: behind the last line that is neither
// empty nor a comment, else behind the last one, where what looks like a comment is the end of a text.
func (t text) block(first, end int, s string) [][]byte {
	last := end - 1
	for last > first && !content(t.line(last)) {
		last--
	}
	out := [][]byte{t.after(last, s)}
	for n := end - 1; n > last; n-- {
		if l := t.line(n); strings.TrimSpace(l) != "" && !strings.HasPrefix(l, "...") {
			out = append(out, t.after(n, s))
			break
		}
	}
	return out
}

// content reports whether a line holds more than blanks, a comment or the end of the document.
func content(line string) bool {
	s := strings.TrimSpace(line)
	return s != "" && !strings.HasPrefix(s, "#") && !strings.HasPrefix(line, "...")
}

// flow puts an entry before the closing brace of a mapping in braces: behind the last entry, on a line of its own where the
// brace has one.
func (t text) flow(n *yaml.Node, s string) [][]byte {
	open := t.offset(n.Line, n.Column)
	open += max(0, bytes.IndexByte(t.data[min(open, len(t.data)):], '{')) // an anchor or a tag may stand before it
	last, brace, ok := closing(t.data, open)
	if !ok {
		return nil
	}
	separator := ", "
	switch t.data[last] {
	case '{':
		separator = ""
	case ',':
		separator = " "
	}
	lineStart := bytes.LastIndexByte(t.data[:brace], '\n') + 1
	if own := strings.TrimSpace(string(t.data[lineStart:brace])) == ""; own && lineStart > last && len(n.Content) > 0 {
		comma := ","
		if t.data[last] == ',' {
			comma = ""
		}
		indent := strings.Repeat(" ", n.Content[0].Column-1)
		return [][]byte{slices.Concat(t.data[:last+1], []byte(comma), t.data[last+1:lineStart], []byte(indent+s+t.newline), t.data[lineStart:])}
	}
	return [][]byte{slices.Concat(t.data[:last+1], []byte(separator+s), t.data[last+1:])}
}

// offset is the octet of a line and a column, which counts characters.
func (t text) offset(line, column int) int {
	at := t.start(line)
	for i := range string(t.data[at:]) {
		if column--; column == 0 {
			return at + i
		}
	}
	return at
}

// closing finds the brace that closes the one at open, and the last octet before it that is neither blank nor comment.
func closing(b []byte, open int) (last, brace int, ok bool) {
	if open >= len(b) || b[open] != '{' {
		return 0, 0, false
	}
	depth := 0
	for i := open; i < len(b); i++ {
		switch c := b[i]; {
		case c == '{' || c == '[':
			depth++
		case c == '}' || c == ']':
			if depth--; depth == 0 {
				return last, i, true
			}
		case c == '"' || c == '\'':
			if prev := b[last]; prev == '{' || prev == '[' || prev == ',' || prev == ':' {
				i = quoted(b, i)
			}
		case c == '#' && (b[i-1] == ' ' || b[i-1] == '\t' || b[i-1] == '\n'):
			for i+1 < len(b) && b[i+1] != '\n' {
				i++
			}
			continue
		case c == ' ' || c == '\t' || c == '\n' || c == '\r':
			continue
		}
		last = min(i, len(b)-1)
	}
	return 0, 0, false
}

// quoted gives the octet that ends the quoted text at i.
func quoted(b []byte, i int) int {
	q := b[i]
	for i++; i < len(b); i++ {
		switch {
		case q == '"' && b[i] == '\\', q == '\'' && b[i] == q && i+1 < len(b) && b[i+1] == q:
			i++
		case b[i] == q:
			return i
		}
	}
	return i
}
