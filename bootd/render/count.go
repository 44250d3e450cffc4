package render

import (
	"text/template"
	"text/template/parse"
)

// count makes every turn of a range and every call of a template write something, if only nothing: text/template has no
// other way to stop one that goes on for ever.
func count(root *template.Template) {
	for _, t := range root.Templates() {
		if t.Tree != nil && t.Root != nil {
			countNode(t.Root)
			step(t.Root)
		}
	}
}

func countNode(n parse.Node) {
	switch n := n.(type) {
	case *parse.ListNode:
		if n == nil {
			return
		}
		for _, c := range n.Nodes {
			countNode(c)
		}
	case *parse.IfNode:
		countNode(n.List)
		countNode(n.ElseList)
	case *parse.WithNode:
		countNode(n.List)
		countNode(n.ElseList)
	case *parse.RangeNode:
		countNode(n.List)
		countNode(n.ElseList)
		step(n.List)
	}
}

// step puts an empty text first, where no break or continue passes it by.
func step(l *parse.ListNode) {
	l.Nodes = append([]parse.Node{&parse.TextNode{NodeType: parse.NodeText, Pos: l.Pos}}, l.Nodes...)
}
