// Package render turns templates and data into the octets that machines boot from: iPXE scripts and installer answers.
// Whatever a template wants and does not get is an error that names template, line and key; nothing is rendered with a
// hole in it.
//
// The package never reads the disk itself (it is given an fs.FS), shows no environment to a template, and knows neither
// tokens nor who asks.
package render

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"text/template"
	"text/template/parse"
)

// MaxSize bounds a rendered text, in octets: the store takes no larger record.
const MaxSize = 1 << 20

// maxSource bounds a template file, in octets.
const maxSource = 1 << 20

// The templates that bootd itself asks for; those of installers are named by profiles.
const (
	LocalScript    = "ipxe/local.ipxe"
	ErrorScript    = "ipxe/error.ipxe"
	AutoexecScript = "ipxe/autoexec.ipxe"
	DiscoverScript = "ipxe/discover.ipxe"
)

// Set is the templates of one file tree, parsed once. It is safe for concurrent use; make a new one to see changed files.
type Set struct {
	fsys    fs.FS
	buffers sync.Pool // of *limited
	// secrets by name; marks: texts say where they come from.
	secrets map[string]string
	masked  bool
	marks   bool
	// fill: the templates are those of another Set, with what hosts share filled in.
	fill *filler

	mu     sync.Mutex
	parsed map[string]*entry
	// sources are the files that were read, or why one could not be.
	sources map[string]string
	// known is a copy of sources, which is never changed.
	known map[string]string
}

type entry struct {
	tmpl *template.Template
	err  error
}

// New takes the templates of a file tree. Nothing is read before it is asked for.
func New(fsys fs.FS) *Set {
	return &Set{fsys: fsys, parsed: map[string]*entry{}, sources: map[string]string{}}
}

// Layer gives one file tree out of several: each file comes from the first that has it. A nil layer is empty.
func Layer(layers ...fs.FS) fs.FS {
	return layered(slices.DeleteFunc(slices.Clone(layers), func(f fs.FS) bool { return f == nil }))
}

type layered []fs.FS

// Open implements fs.FS.
func (l layered) Open(name string) (fs.File, error) {
	for _, layer := range l {
		f, err := layer.Open(name)
		if err == nil || !errors.Is(err, fs.ErrNotExist) {
			return f, err
		}
	}
	return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
}

// Render executes a template. The error is an *Error.
func (s *Set) Render(name string, d Data) ([]byte, error) {
	var out []byte
	err := s.render(name, d, func(b []byte) { out = bytes.Clone(b) })
	return out, err
}

// render gives the rendered text to take, which must not keep it.
func (s *Set) render(name string, d Data, take func([]byte)) error {
	if err := d.faulty(); err != nil {
		return &Error{Template: name, Host: d.Host, Msg: err.Error()}
	}
	t, err := s.load(name, nil)
	if err == nil {
		if d, err = s.reveal(name, d); err == nil {
			err = s.execute(t, d, take)
		}
	}
	if err == nil {
		return nil
	}
	e := located(err, name, d.Host)
	if masked := s.mask(e.Msg); masked != e.Msg {
		e.Msg, e.Err = masked, nil // the cause says it too
	}
	return e
}

// execute uses a buffer that was used before: a check of all hosts renders the same texts thousands of times.
func (s *Set) execute(t *template.Template, data any, take func([]byte)) error {
	out, ok := s.buffers.Get().(*limited)
	if !ok {
		out = new(limited)
	}
	defer s.buffers.Put(out)
	out.buf.Reset()
	out.steps = 0
	out.most = MaxSize
	if s.marks {
		out.most *= 8 // each line carries its place
	}
	if err := t.Execute(out, data); err != nil {
		for _, bound := range []error{errTooLong, errForever} {
			if errors.Is(err, bound) {
				return &Error{Template: t.Name(), Msg: bound.Error(), Err: err}
			}
		}
		return err
	}
	take(out.buf.Bytes())
	return nil
}

var (
	errTooLong = errors.New("renders to more than 1 MiB")
	errForever = errors.New("goes on for ever: a range or a template has no end")
)

// maxSteps bounds the texts and values that one rendering writes, empty ones too; a preseed has some thousand.
const maxSteps = 1 << 20

// limited stops a template that goes on for ever.
type limited struct {
	buf         bytes.Buffer
	most, steps int
}

func (l *limited) Write(p []byte) (int, error) {
	if l.steps++; l.steps > maxSteps {
		return 0, errForever
	}
	if l.buf.Len()+len(p) > l.most {
		return 0, errTooLong
	}
	return l.buf.Write(p)
}

// load parses a template and all that it names, once. above are the templates that include it, outermost first.
func (s *Set) load(name string, above []string) (*template.Template, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.loadLocked(name, above)
}

func (s *Set) loadLocked(name string, above []string) (*template.Template, error) {
	if slices.Contains(above, name) {
		return nil, &Error{Template: above[len(above)-1], Msg: fmt.Sprintf("includes %s, which includes it", name)}
	}
	if e, ok := s.parsed[name]; ok {
		return e.tmpl, e.err
	}
	var t *template.Template
	var err error
	if s.fill != nil {
		t, err = s.fill.load(name, s)
	} else {
		t, err = s.parse(name, append(slices.Clone(above), name))
	}
	s.parsed[name] = &entry{t, err}
	return t, err
}

func (s *Set) parse(name string, path []string) (*template.Template, error) {
	text, err := s.source(name)
	if err != nil {
		return nil, err
	}
	root, err := template.New(name).Option("missingkey=error").Funcs(funcs(s)).Parse(text)
	if err != nil {
		return nil, err
	}
	for {
		want := wanted(root)
		if err := s.includes(want.included, path); err != nil {
			return nil, err
		}
		var added bool
		for _, ref := range want.templates {
			if root.Lookup(ref.name) != nil {
				continue
			}
			text, err := s.source(ref.name)
			if err != nil {
				return nil, ref.missing(err)
			}
			if _, err := root.New(ref.name).Parse(text); err != nil {
				return nil, err
			}
			added = true
		}
		if !added {
			count(root)
			if s.marks {
				mark(root)
			}
			return root, nil
		}
	}
}

func (s *Set) includes(refs []reference, path []string) error {
	for _, ref := range refs {
		if ref.name == "" {
			return &Error{Template: ref.from, Line: ref.line, Msg: `include wants the name of a template in quotes`}
		}
		if _, err := s.loadLocked(ref.name, path); err != nil {
			return ref.missing(err)
		}
	}
	return nil
}

// source reads a file and notes what it holds; the caller holds mu.
func (s *Set) source(name string) (string, error) {
	text, err := s.read(name)
	s.sources[name] = text
	if err != nil {
		s.sources[name] = "\x00" + err.Error()
	}
	return text, err
}

func (s *Set) read(name string) (string, error) {
	f, err := s.fsys.Open(name)
	if err != nil {
		return "", fmt.Errorf("opening template %s: %w", name, err)
	}
	defer f.Close()
	var b bytes.Buffer
	if _, err := b.ReadFrom(&capped{f, maxSource + 1}); err != nil {
		return "", fmt.Errorf("reading template %s: %w", name, err)
	}
	if b.Len() > maxSource {
		return "", &Error{Template: name, Msg: "is longer than 1 MiB"}
	}
	return b.String(), nil
}

// capped is io.LimitReader over an fs.File.
type capped struct {
	f    fs.File
	left int
}

func (c *capped) Read(p []byte) (int, error) {
	if len(p) > c.left {
		p = p[:c.left]
	}
	if len(p) == 0 {
		return 0, io.EOF
	}
	n, err := c.f.Read(p)
	c.left -= n
	return n, err
}

// reference is one place where a template names another.
type reference struct {
	name, from string
	line       int
}

func (r reference) missing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		var e *Error
		if errors.As(err, &e) {
			return err
		}
		return &Error{Template: r.from, Line: r.line, Msg: fmt.Sprintf("names the template %s, which does not exist", r.name), Err: err}
	}
	return err
}

type references struct{ templates, included []reference }

// wanted finds what the templates of one tree name: {{template "x"}} and (include "x" .).
func wanted(root *template.Template) references {
	var refs references
	for _, t := range root.Templates() {
		if t.Tree == nil || t.Root == nil {
			continue
		}
		w := walker{tree: t.Tree, refs: &refs}
		w.walk(t.Root)
	}
	return refs
}

type walker struct {
	tree *parse.Tree
	refs *references
}

func (w walker) walk(n parse.Node) {
	switch n := n.(type) {
	case *parse.ListNode:
		if n == nil {
			return
		}
		for _, c := range n.Nodes {
			w.walk(c)
		}
	case *parse.IfNode:
		w.branch(&n.BranchNode)
	case *parse.RangeNode:
		w.branch(&n.BranchNode)
	case *parse.WithNode:
		w.branch(&n.BranchNode)
	case *parse.ActionNode:
		w.walk(n.Pipe)
	case *parse.TemplateNode:
		w.refs.templates = append(w.refs.templates, w.at(n, n.Name))
		w.walk(n.Pipe)
	case *parse.PipeNode:
		if n == nil {
			return
		}
		for _, c := range n.Cmds {
			w.command(c)
		}
	}
}

func (w walker) branch(n *parse.BranchNode) {
	w.walk(n.Pipe)
	w.walk(n.List)
	w.walk(n.ElseList)
}

func (w walker) command(c *parse.CommandNode) {
	for i, arg := range c.Args {
		w.walk(arg)
		id, ok := arg.(*parse.IdentifierNode)
		if !ok || id.Ident != "include" {
			continue
		}
		var name string
		if i+1 < len(c.Args) {
			if s, ok := c.Args[i+1].(*parse.StringNode); ok {
				name = s.Text
			}
		}
		w.refs.included = append(w.refs.included, w.at(c, name))
	}
}

func (w walker) at(n parse.Node, name string) reference {
	where, _ := w.tree.ErrorContext(n)
	file, line := place(where)
	if file == "" {
		file = w.tree.ParseName
	}
	return reference{name: strings.TrimSpace(name), from: file, line: line}
}
