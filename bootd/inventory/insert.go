package inventory

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"

	"bootd.internal/bootd/ident"
)

// NewHost is a host to be written into an inventory. Zero values are not written.
type NewHost struct {
	Name    string
	MAC     ident.MAC
	Network string
	UUID    ident.UUID
	Serial  string
}

// String is the host as a line of the section hosts, without indentation.
func (h NewHost) String() string {
	var more []string
	if h.Network != "" {
		more = append(more, "network: "+plainOrQuoted(h.Network))
	}
	if h.UUID.Identifies() {
		more = append(more, "uuid: "+h.UUID.String())
	}
	if h.Serial != "" {
		more = append(more, "serial: "+strconv.Quote(h.Serial))
	}
	if len(more) == 0 {
		return h.Name + ": " + h.MAC.String()
	}
	return fmt.Sprintf("%s: {mac: %s, %s}", h.Name, h.MAC, strings.Join(more, ", "))
}

// plainOrQuoted quotes what YAML would not read as text.
func plainOrQuoted(s string) string {
	var n yaml.Node
	if label(s) && yaml.Unmarshal([]byte(s), &n) == nil && len(n.Content) == 1 && n.Content[0].Tag == "!!str" {
		return s
	}
	return strconv.Quote(s)
}

var errNoPlace = errors.New("the section hosts is written in a way that cannot be added to without touching the rest: add the line yourself")

// Insert adds a host at the end of the section hosts and touches nothing else: comments, order and formatting stay. The
// result is proved: it parses without fault, and it is the old inventory with this host and nothing else. The error is
// the list of faults where the old or the new text has some, such as a name or a MAC that is listed already.
func Insert(file string, data []byte, h NewHost) ([]byte, error) {
	if _, faults := Parse(file, data); len(faults) > 0 {
		return nil, fmt.Errorf("the inventory has faults already (bootd check): %w", faults[0])
	}
	before, err := tree(data)
	if err != nil {
		return nil, err
	}
	var fault error
	for _, next := range places(data, h.String()) {
		after, err := tree(next)
		if err != nil || !added(before, after, h.Name) {
			continue
		}
		_, faults := Parse(file, next)
		if len(faults) == 0 {
			return next, nil
		}
		fault = faults[0]
	}
	if fault != nil {
		return nil, fault
	}
	return nil, errNoPlace
}

// tree is the document with everything but places, comments and style.
func tree(data []byte) (*yaml.Node, error) {
	var doc yaml.Node
	if err := yaml.Unmarshal(data, &doc); err != nil {
		return nil, fmt.Errorf("reading the inventory: %w", err)
	}
	if len(doc.Content) != 1 || doc.Content[0].Kind != yaml.MappingNode {
		return nil, errNoPlace
	}
	return doc.Content[0], nil
}

// added reports whether after is before with one more host of that name.
func added(before, after *yaml.Node, name string) bool {
	a, b := values(before), values(after)
	hosts, ok := b["hosts"].(map[string]any)
	if !ok {
		return false
	}
	if _, ok := hosts[name]; !ok {
		return false
	}
	old, _ := a["hosts"].(map[string]any)
	if _, twice := old[name]; twice {
		return true // Parse says it better
	}
	delete(hosts, name)
	if len(hosts) == 0 && len(old) == 0 {
		delete(a, "hosts")
		delete(b, "hosts")
	}
	return reflect.DeepEqual(a, b)
}

// values turns a mapping into what it means.
func values(n *yaml.Node) map[string]any {
	out := make(map[string]any, len(n.Content)/2)
	for i := 0; i+1 < len(n.Content); i += 2 {
		out[n.Content[i].Value] = meaning(n.Content[i+1])
	}
	return out
}

func meaning(n *yaml.Node) any {
	switch n.Kind {
	case yaml.MappingNode:
		return values(n)
	case yaml.SequenceNode:
		out := make([]any, len(n.Content))
		for i, c := range n.Content {
			out[i] = meaning(c)
		}
		return out
	case yaml.AliasNode:
		return "*" + n.Value
	}
	return n.Tag + " " + n.Value
}

// places gives the texts that the host's line may make of an inventory, best first. None of them is proved.
func places(data []byte, line string) [][]byte {
	root, err := tree(data)
	if err != nil {
		return nil
	}
	t := text{data: data, newline: "\n"}
	if bytes.Contains(data, []byte("\r\n")) {
		t.newline = "\r\n"
	}
	for i := 0; i+1 < len(root.Content); i += 2 {
		key, hosts := root.Content[i], root.Content[i+1]
		if key.Value != "hosts" {
			continue
		}
		end := t.lines() + 1
		if i+2 < len(root.Content) {
			end = root.Content[i+2].Line
		}
		switch {
		case hosts.Kind == yaml.MappingNode && hosts.Style&yaml.FlowStyle != 0:
			return t.flow(hosts, line)
		case hosts.Kind == yaml.MappingNode && len(hosts.Content) > 0:
			first := hosts.Content[0]
			return t.block(first.Line, end, strings.Repeat(" ", first.Column-1)+line)
		case hosts.Kind == yaml.ScalarNode && hosts.Value == "":
			return [][]byte{t.after(key.Line, strings.Repeat(" ", key.Column+1)+line)}
		}
		return nil
	}
	if root.Style&yaml.FlowStyle != 0 {
		return t.flow(root, "hosts: {"+line+"}")
	}
	indent := strings.Repeat(" ", max(0, root.Content[0].Column-1))
	return t.block(root.Content[0].Line, t.lines()+1, t.newline+indent+"hosts:"+t.newline+indent+"  "+line)
}
