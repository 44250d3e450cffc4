package inventory

import (
	"net/netip"
	"strings"
	"time"

	"gopkg.in/yaml.v3"
)

// Follow is one entry of `follow:`, or the section `docker:`: a file that holds a prefix, and a command that is run when it changed.
type Follow struct {
	Name string
	Pos  Pos
	Source
	// Inner is the length of the first part of the prefix, which is what is followed; unset: all of it.
	Inner Value[int]
	// File is a whole path; Template, below the directory of templates, makes its content; without one it is the prefix alone.
	File, Template Value[string]
	// Merge: the file is a daemon.json of Docker.
	Merge bool
	// Command is a program and its arguments, Timeout how long it may take.
	Command Value[[]string]
	Timeout Value[time.Duration]
}

// What Docker is followed by where nobody wrote anything else.
const (
	dockerName   = "docker"
	dockerConfig = "/etc/docker/daemon.json"
)

// Limits of a Follow.
const (
	defaultTimeout = time.Minute
	maxTimeout     = 10 * time.Minute
	maxArguments   = 32
	maxFollow      = 256
)

// Path is the key path of the entry.
func (f Follow) Path() string {
	if f.Name == dockerName {
		return dockerName
	}
	return "follow." + f.Name
}

func (f *Follow) from() *From { return &f.From }

var followFields = []field[Follow]{
	{name: "prefix", set: put(func(f *Follow) *Value[netip.Prefix] { return &f.Prefix }, (*parser).delegable)},
	{name: "inner", set: put(func(f *Follow) *Value[int] { return &f.Inner }, between(16, 126))},
	{name: "file", set: put(func(f *Follow) *Value[string] { return &f.File }, (*parser).wholePath)},
	{name: "template", set: put(func(f *Follow) *Value[string] { return &f.Template }, (*parser).below)},
	{name: "command", set: put(func(f *Follow) *Value[[]string] { return &f.Command }, (*parser).argv)},
	{name: "timeout", set: put(func(f *Follow) *Value[time.Duration] { return &f.Timeout }, within(time.Second, maxTimeout, ""))},
}

var dockerFields = []field[Follow]{
	{name: "prefix", set: put(func(f *Follow) *Value[netip.Prefix] { return &f.Prefix }, (*parser).delegable)},
	{name: "inner", set: put(func(f *Follow) *Value[int] { return &f.Inner }, between(16, 126))},
	{name: "config", set: func(p *parser, f *Follow, v value) {
		s, ok := p.wholePath(v)
		if ok && f.File.Set() {
			p.bad(v, "config and file: Docker reads the prefix out of one of the two")
		} else if ok {
			f.File, f.Merge = keep(p, v, s), true
		}
	}},
	{name: "file", set: func(p *parser, f *Follow, v value) {
		s, ok := p.wholePath(v)
		if ok && f.Merge {
			p.bad(v, "config and file: Docker reads the prefix out of one of the two")
		} else if ok {
			f.File = keep(p, v, s)
		}
	}},
	{name: "restart", set: put(func(f *Follow) *Value[[]string] { return &f.Command }, (*parser).argv)},
	{name: "timeout", set: put(func(f *Follow) *Value[time.Duration] { return &f.Timeout }, within(time.Second, maxTimeout, ""))},
}

// docker reads the section docker.
func (p *parser) docker(v value) {
	if v.null() {
		return
	}
	f := Follow{Name: dockerName, Pos: v.pos()}
	before := len(p.faults)
	if !walk(p, v, withFrom(dockerFields, (*Follow).from), &f) || len(p.faults) > before || !p.followed(v, &f, false) {
		return
	}
	if !f.File.Set() {
		f.File, f.Merge = Value[string]{V: dockerConfig, From: "built in"}, true
	}
	if !f.Command.Set() {
		f.Command = Value[[]string]{V: []string{"systemctl", "restart", "docker"}, From: "built in"}
	}
	p.inv.Follow = append(p.inv.Follow, f)
}

// follow reads one entry of the section follow.
func (p *parser) follow(key *yaml.Node, v value) {
	f := Follow{Name: key.Value, Pos: Pos{key.Line, key.Column}}
	p.entryName(f.Pos, v.path, key.Value)
	before := len(p.faults)
	if !walk(p, v, withFrom(followFields, (*Follow).from), &f) || len(p.faults) > before {
		return
	}
	switch {
	case f.Name == dockerName:
		p.fault(f.Pos, v.path, "is the name of the section docker: take another one")
	case !f.File.Set() && !f.Command.Set():
		p.fault(f.Pos, v.path, "does nothing: write file, command or both")
	case f.Template.Set() && !f.File.Set():
		p.badAt(f.Template.Pos, "has no file to write: write file: /etc/nginx/conf.d/prefix.conf")
	case len(p.inv.Follow) == maxFollow:
		p.fault(f.Pos, v.path, "there are %d entries already", maxFollow)
	case p.followed(v, &f, true):
		p.inv.Follow = append(p.inv.Follow, f)
	}
}

// followed checks the prefix, and that inner fits into it; shared: it may be another section's as well.
func (p *parser) followed(v value, f *Follow, shared bool) bool {
	bits := f.Prefix.V.Bits()
	switch {
	case f.Prefix.Set() && f.From.some():
		p.bad(v, "has a prefix of its own and one of an upstream: leave one out")
		return false
	case !f.Prefix.Set() && !f.From.some():
		p.bad(v, "has no prefix: write prefix: \"2001:db8:0:3::/64\", or from: isp and subnet: 3")
		return false
	case !f.Prefix.Set():
		if !p.derived(v, &f.From, 16, 126) {
			return false
		}
		p.froms[len(p.froms)-1].shared = shared
		bits = f.From.Bits()
	}
	if f.Inner.Set() && f.Inner.V < bits {
		p.badAt(f.Inner.Pos, "the prefix is a /%d, which has no /%d inside: take a longer one", bits, f.Inner.V)
		return false
	}
	for _, other := range p.inv.Follow {
		if f.File.Set() && other.File.V == f.File.V {
			p.badAt(f.File.Pos, "%s is written by %s already (line %d)", shorten(f.File.V), other.Path(), other.Pos.Line)
			return false
		}
	}
	if !f.Timeout.Set() {
		f.Timeout = Value[time.Duration]{V: defaultTimeout, From: "built in"}
	}
	return true
}

// wholePath reads the path of a file of another program.
func (p *parser) wholePath(v value) (string, bool) {
	s, ok := p.text(v)
	if ok && (!strings.HasPrefix(s, "/") || strings.HasSuffix(s, "/")) {
		p.bad(v, "%q is not the whole path of a file, such as /etc/docker/daemon.json", shorten(s))
		return "", false
	}
	return s, ok
}

// argv reads a program and its arguments. No shell looks at them.
func (p *parser) argv(v value) ([]string, bool) {
	all, ok := someOf((*parser).text)(p, v)
	switch {
	case !ok:
	case len(all) > maxArguments:
		p.bad(v, "has %d words: a command has %d at most", len(all), maxArguments)
	case v.node.Kind != yaml.SequenceNode && strings.Contains(all[0], " "):
		p.bad(v, "%q: no shell takes that apart: write a list, such as [%s]", shorten(all[0]), shorten(strings.Join(strings.Fields(all[0]), ", ")))
	case strings.Contains(all[0], "/") && !strings.HasPrefix(all[0], "/"):
		p.bad(v, "%q is neither a name that PATH finds nor a whole path", shorten(all[0]))
	default:
		return all, true
	}
	return nil, false
}
