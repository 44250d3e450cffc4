package render

import (
	"bytes"
	"math"
	"text/template"
	"text/template/parse"
)

// filler is what the templates of a Set are filled in with: the values that hosts share, as one of them has them.
type filler struct {
	base *Set
	data Data
	vary varying
}

// maxFilled bounds the texts and values of one part that is filled in: each leaves an empty text behind.
const maxFilled = 1000

// filled is a Set of the same templates in which every part that looks at shared values only is a text.
func (s *Set) filled(d Data, v varying) *Set {
	t := New(s.fsys)
	t.secrets, t.masked, t.fill = s.secrets, s.masked, &filler{s, d, v}
	return t
}

// load gives a template of the base, filled in.
func (f *filler) load(name string, s *Set) (*template.Template, error) {
	t, err := f.base.load(name, nil)
	if err != nil {
		return nil, err
	}
	scratch, err := t.Clone() // whose functions are the base's
	if err != nil {
		return nil, err
	}
	out, err := t.Clone()
	if err != nil {
		return nil, err
	}
	out.Funcs(funcs(s))
	elsewhere := givenParts(t)
	for _, one := range t.Templates() {
		if one.Tree == nil || one.Root == nil || elsewhere[one.Name()] {
			continue
		}
		tree := one.Copy()
		p := filling{f, scratch, &reader{f.base, t, []string{one.Name()}}, nil}
		p.mentions = p.read.of(tree.Root, true).vars
		p.list(tree.Root)
		if _, err := out.AddParseTree(one.Name(), tree); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// givenParts names the templates of a tree that some other gives a part of its Data, or nothing: what their fields are
// cannot be told.
func givenParts(root *template.Template) map[string]bool {
	out := map[string]bool{}
	for more := true; more; {
		before := len(out)
		for _, t := range root.Templates() {
			if t.Tree != nil {
				callsIn(t.Root, !out[t.Name()], func(name string, whole bool) {
					if !whole {
						out[name] = true
					}
				})
			}
		}
		more = len(out) > before
	}
	return out
}

// callsIn finds the templates that a template names, and whether it gives them all that it was given. data says whether
// that is Data.
func callsIn(n parse.Node, data bool, found func(name string, whole bool)) {
	var walk func(n parse.Node, whole bool)
	branch := func(n *parse.BranchNode, inside, whole bool) {
		walk(n.List, inside)
		walk(n.ElseList, whole)
	}
	walk = func(n parse.Node, whole bool) {
		switch n := n.(type) {
		case *parse.ListNode:
			if n != nil {
				for _, c := range n.Nodes {
					walk(c, whole)
				}
			}
		case *parse.IfNode:
			branch(&n.BranchNode, whole, whole)
		case *parse.WithNode:
			branch(&n.BranchNode, false, whole)
		case *parse.RangeNode:
			branch(&n.BranchNode, false, whole)
		case *parse.TemplateNode:
			found(n.Name, data && given(n.Pipe, whole))
		}
	}
	walk(n, true)
}

// filling fills in one template.
type filling struct {
	*filler
	scratch *template.Template
	read    *reader
	// mentions of each variable in the whole template.
	mentions map[string]int
}

// list replaces each run of nodes that looks at shared values only by its text. The dot is the whole Data in it.
func (p *filling) list(l *parse.ListNode) {
	if l == nil {
		return
	}
	all := make([]depends, len(l.Nodes))
	shared := make([]bool, len(l.Nodes))
	for i, n := range l.Nodes {
		all[i] = p.read.of(n, true)
		shared[i] = all[i].shared(p.vary)
	}
	p.keepVariables(all, shared)
	var out []parse.Node
	for i := 0; i < len(l.Nodes); {
		end := i
		for end < len(l.Nodes) && shared[end] {
			end++
		}
		if end > i {
			out = append(out, p.text(l.Nodes[i:end])...)
			i = end
			continue
		}
		if n, ok := l.Nodes[i].(*parse.IfNode); ok {
			for _, v := range n.Pipe.Decl { // its mentions were not counted, and another of its name inside would end too early
				p.mentions[v.Ident[0]] = math.MaxInt
			}
			p.list(n.List)
			p.list(n.ElseList)
		}
		out = append(out, l.Nodes[i])
		i++
	}
	l.Nodes = out
}

// keepVariables takes the nodes out of the runs whose variables somebody mentions who is not of the same run.
func (p *filling) keepVariables(all []depends, shared []bool) {
	for more := true; more; {
		more = false
		for i := 0; i < len(shared); i++ {
			from := i
			inside := map[string]int{}
			for ; i < len(shared) && shared[i]; i++ {
				for name, n := range all[i].vars {
					inside[name] += n
				}
			}
			for j := from; j < i; j++ {
				for name := range all[j].vars {
					if inside[name] < p.mentions[name] {
						shared[j], more = false, true
					}
				}
			}
		}
	}
}

// text executes nodes; where that is an error they stay, and it is told to those who reach them.
func (p *filling) text(run []parse.Node) []parse.Node {
	plain := true
	for _, n := range run {
		_, ok := n.(*parse.TextNode)
		plain = plain && ok
	}
	if plain {
		return run
	}
	const name = "\x00filled" // no file has it
	t, err := p.scratch.AddParseTree(name, &parse.Tree{Name: name, ParseName: name, Root: &parse.ListNode{NodeType: parse.NodeList, Nodes: run}})
	if err != nil {
		return run
	}
	out := limited{most: MaxSize}
	if err := t.Execute(&out, p.data); err != nil || out.steps > maxFilled {
		return run
	}
	// As many steps as before: what goes on for ever does so here too.
	nodes := make([]parse.Node, max(out.steps, 1))
	for i := range nodes {
		nodes[i] = &parse.TextNode{NodeType: parse.NodeText, Pos: run[0].Position()}
	}
	nodes[0].(*parse.TextNode).Text = bytes.Clone(out.buf.Bytes())
	return nodes
}
