package render

import (
	"bytes"
	"regexp"
	"strconv"
	"text/template"
	"text/template/parse"
)

// Place is a line of a template.
type Place struct {
	Template string
	// Line counts from 1; 0: unknown.
	Line int
}

// A mark stands at the begin of each line of a template's own text and says where it is: file and line between two
// characters that no text of ours holds (data.faulty and the functions refuse them).
const (
	markBegin = '\x01'
	markEnd   = '\x02'
)

// traced is a Set of the same templates whose texts are full of marks.
func (s *Set) traced() *Set {
	t := New(s.fsys)
	t.secrets, t.masked, t.marks = s.secrets, s.masked, true
	return t
}

// places says for each line of a rendered text which line of which template it came from; nil when that cannot be told,
// which is no fault of its own.
func (s *Set) places(name string, d Data, plain *Set) []Place {
	var out []Place
	var text []byte
	if err := s.render(name, d, func(b []byte) { text, out = marks.ReplaceAll(b, nil), readMarks(b) }); err != nil {
		return nil
	}
	same := false
	if err := plain.render(name, d, func(b []byte) { same = bytes.Equal(b, text) }); err != nil || !same {
		return nil
	}
	return out
}

var marks = regexp.MustCompile(string(markBegin) + "[^" + string(markEnd) + "]*" + string(markEnd))

// mark writes marks into the texts of a template and of all that it defines.
func mark(root *template.Template) {
	for _, t := range root.Templates() {
		if t.Tree != nil && t.Root != nil {
			markNode(t.Tree, t.Root)
			trimLast(t.Root)
		}
	}
}

func markNode(tree *parse.Tree, n parse.Node) {
	switch n := n.(type) {
	case *parse.ListNode:
		if n == nil {
			return
		}
		for _, c := range n.Nodes {
			markNode(tree, c)
		}
	case *parse.IfNode:
		markNode(tree, n.List)
		markNode(tree, n.ElseList)
	case *parse.RangeNode:
		markNode(tree, n.List)
		markNode(tree, n.ElseList)
	case *parse.WithNode:
		markNode(tree, n.List)
		markNode(tree, n.ElseList)
	case *parse.TextNode:
		markText(tree, n)
	}
}

// trimLast takes the mark off that stands behind the last line: functions that work on lines would see one more.
func trimLast(root *parse.ListNode) {
	if len(root.Nodes) == 0 {
		return
	}
	n, ok := root.Nodes[len(root.Nodes)-1].(*parse.TextNode)
	if !ok {
		return
	}
	if i := bytes.LastIndexByte(n.Text, markBegin); i > 0 && n.Text[i-1] == '\n' && bytes.IndexByte(n.Text[i:], markEnd) == len(n.Text)-i-1 {
		n.Text = n.Text[:i]
	}
}

func markText(tree *parse.Tree, n *parse.TextNode) {
	where, _ := tree.ErrorContext(n)
	file, line := place(where)
	if len(n.Text) == 0 || file == "" || bytes.IndexByte(n.Text, markBegin) >= 0 {
		return
	}
	var b bytes.Buffer
	at := func() {
		b.WriteByte(markBegin)
		b.WriteString(file + ":" + strconv.Itoa(line))
		b.WriteByte(markEnd)
	}
	at()
	for _, c := range n.Text {
		b.WriteByte(c)
		if c == '\n' {
			line++
			at()
		}
	}
	n.Text = b.Bytes()
}

// readMarks finds the place of each line: the last of the first marks in a row, else the last one before it.
func readMarks(b []byte) []Place {
	var out []Place
	var last Place
	for line := range bytes.Lines(b) {
		var at Place
		for run := true; len(line) > 0; {
			i := bytes.IndexByte(line, markBegin)
			if i < 0 {
				break
			}
			run = run && (i == 0 || at.Line == 0)
			end := bytes.IndexByte(line, markEnd)
			if end < i {
				return nil // a mark was cut or doubled by a function
			}
			colon := bytes.LastIndexByte(line[:end], ':')
			n, err := strconv.Atoi(string(line[max(colon, 0)+1 : end]))
			if err != nil || colon < i {
				return nil
			}
			last = Place{string(line[i+1 : colon]), n}
			if run {
				at = last
			}
			line = line[end+1:]
		}
		if at.Line == 0 {
			at = last
		}
		out = append(out, at)
	}
	return out
}
