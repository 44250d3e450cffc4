package render

import (
	"reflect"
	"slices"
	"text/template"
	"text/template/parse"

	"bootd.internal/bootd/inventory"
)

// depends is which values of Data a part of a template looks at, by its text alone; it may say too much, never too little.
type depends struct {
	// all: it cannot be told.
	all bool
	// paths are named as in varying.
	paths map[string]bool
	// vars counts the mentions of each variable of the template.
	vars map[string]int
}

// reader finds what parts of one template, and of those it defines or names, look at.
type reader struct {
	set   *Set
	root  *template.Template
	above []string // templates that are being read: one that names itself depends on everything
}

// of reads one node of a template that is given Data. whole says that the dot is that Data there, and not a part of it.
func (r *reader) of(n parse.Node, whole bool) depends {
	d := depends{paths: map[string]bool{}, vars: map[string]int{}}
	r.node(&d, n, whole)
	return d
}

func (r *reader) node(d *depends, n parse.Node, whole bool) {
	switch n := n.(type) {
	case *parse.TextNode, *parse.CommentNode, *parse.BreakNode, *parse.ContinueNode,
		*parse.StringNode, *parse.NumberNode, *parse.BoolNode, *parse.NilNode, *parse.IdentifierNode:
	case *parse.ListNode:
		if n != nil {
			for _, c := range n.Nodes {
				r.node(d, c, whole)
			}
		}
	case *parse.ActionNode:
		r.pipe(d, n.Pipe, whole)
	case *parse.IfNode:
		r.branch(d, &n.BranchNode, whole, whole)
	case *parse.WithNode:
		r.branch(d, &n.BranchNode, whole, false)
	case *parse.RangeNode:
		r.branch(d, &n.BranchNode, whole, false)
	case *parse.TemplateNode:
		if given(n.Pipe, whole) {
			r.template(d, n.Name)
		} else {
			r.pipe(d, n.Pipe, whole)
		}
	case *parse.PipeNode:
		r.pipe(d, n, whole)
	case *parse.ChainNode:
		r.node(d, n.Node, whole)
	case *parse.DotNode:
		d.all = d.all || whole
	case *parse.FieldNode:
		if whole {
			d.path(n.Ident)
		}
	case *parse.VariableNode:
		switch {
		case n.Ident[0] != "$":
			d.vars[n.Ident[0]]++
		case len(n.Ident) == 1:
			d.all = true
		default:
			d.path(n.Ident[1:])
		}
	default:
		d.all = true
	}
}

// branch reads what if, with and range have in common; inside says whether the dot is still the whole in the list.
func (r *reader) branch(d *depends, n *parse.BranchNode, whole, inside bool) {
	r.pipe(d, n.Pipe, whole)
	own := map[string]int{}
	for _, v := range n.Pipe.Decl {
		if !n.Pipe.IsAssign { // nobody else sees it
			own[v.Ident[0]] = d.vars[v.Ident[0]] - 1
		}
	}
	r.node(d, n.List, inside)
	r.node(d, n.ElseList, whole)
	for name, before := range own {
		d.vars[name] = before
	}
}

func (r *reader) pipe(d *depends, n *parse.PipeNode, whole bool) {
	if n == nil {
		return
	}
	for _, v := range n.Decl {
		r.node(d, v, whole)
	}
	for _, c := range n.Cmds {
		r.command(d, c, whole)
	}
}

// command reads one call. Of the two that take a name in quotes it knows what they look at.
func (r *reader) command(d *depends, c *parse.CommandNode, whole bool) {
	args := c.Args
	if len(args) > 1 {
		if name, ok := args[1].(*parse.StringNode); ok {
			switch {
			case isVar(args[0], whole):
				d.paths["Vars."+name.Text] = true
				args = args[2:]
			case isInclude(args[0]) && len(args) == 3 && isWhole(args[2], whole):
				r.included(d, name.Text)
				args = nil
			}
		}
	}
	for _, a := range args {
		r.node(d, a, whole)
	}
}

// isVar reports whether a call is of the method Var.
func isVar(n parse.Node, whole bool) bool {
	switch n := n.(type) {
	case *parse.FieldNode:
		return whole && slices.Equal(n.Ident, []string{"Var"})
	case *parse.VariableNode:
		return slices.Equal(n.Ident, []string{"$", "Var"})
	}
	return false
}

func isInclude(n parse.Node) bool {
	id, ok := n.(*parse.IdentifierNode)
	return ok && id.Ident == "include"
}

// isWhole reports whether a value is the Data that the template was given.
func isWhole(n parse.Node, whole bool) bool {
	switch n := n.(type) {
	case *parse.DotNode:
		return whole
	case *parse.VariableNode:
		return slices.Equal(n.Ident, []string{"$"})
	}
	return false
}

// given reports whether a template is given the Data that the one which names it was given.
func given(p *parse.PipeNode, whole bool) bool {
	return p != nil && len(p.Decl) == 0 && len(p.Cmds) == 1 && len(p.Cmds[0].Args) == 1 && isWhole(p.Cmds[0].Args[0], whole)
}

// template reads what another template of the same tree looks at.
func (r *reader) template(d *depends, name string) {
	t := r.root.Lookup(name)
	if t == nil || t.Tree == nil || slices.Contains(r.above, name) {
		d.all = true
		return
	}
	inner := reader{r.set, r.root, append(slices.Clone(r.above), name)}
	d.add(inner.of(t.Root, true))
}

// included reads what a template of a tree of its own looks at.
func (r *reader) included(d *depends, name string) {
	t, err := r.set.load(name, nil)
	if err != nil || t.Tree == nil {
		d.all = true
		return
	}
	inner := reader{r.set, t, []string{name}}
	d.add(inner.of(t.Root, true))
}

// add takes over what another template looks at; its variables are its own.
func (d *depends) add(o depends) {
	d.all = d.all || o.all
	for p := range o.paths {
		d.paths[p] = true
	}
}

// path notes a field of Data, or a method of it.
func (d *depends) path(ident []string) {
	switch {
	case ident[0] == "Secret": // is the same for all hosts
	case ident[0] == "Var":
		d.paths["Vars"] = true
	case len(ident) > 1 && (ident[0] == "Vars" || ident[0] == "Disk" && diskHas(ident[1])):
		d.paths[ident[0]+"."+ident[1]] = true
	default:
		d.paths[ident[0]] = true
	}
}

// shared reports whether nothing that is looked at differs between hosts.
func (d *depends) shared(v varying) bool {
	if d.all {
		return false
	}
	for p := range d.paths {
		if v[p] {
			return false
		}
	}
	return true
}

// diskHas reports whether a part of the disk is a field: what a method says follows from all of them.
func diskHas(name string) bool {
	_, ok := reflect.TypeFor[inventory.Disk]().FieldByName(name)
	return ok
}
