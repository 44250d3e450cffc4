package inventory

import (
	"slices"

	"gopkg.in/yaml.v3"
)

var secretFields = []field[Secret]{
	{name: "file", set: put(func(s *Secret) *Value[string] { return &s.File }, (*parser).text)},
	{name: "env", set: put(func(s *Secret) *Value[string] { return &s.Env }, (*parser).variableName)},
	{name: "age", set: put(func(s *Secret) *Value[string] { return &s.Age }, (*parser).text)},
	{name: "identity", set: put(func(s *Secret) *Value[string] { return &s.Identity }, (*parser).text)},
}

// secret reads where one secret is kept. What stands in its place may be the secret itself: no fault repeats it.
func (p *parser) secret(key *yaml.Node, v value) {
	at := Pos{key.Line, key.Column}
	p.entryName(at, v.path, key.Value)
	s := Secret{Name: key.Value, Pos: at}
	if v.node.Kind != yaml.MappingNode {
		p.bad(v, "wants {file: PATH}, {env: NAME} or {age: FILE, identity: FILE}: a secret itself must not stand here")
		return
	}
	before := len(p.faults)
	walk(p, v, secretFields, &s)
	kinds := 0
	for _, k := range []Value[string]{s.File, s.Env, s.Age} {
		if k.Set() {
			kinds++
		}
	}
	switch {
	case len(p.faults) > before:
	case kinds != 1:
		p.fault(at, v.path, "wants one of file, env and age")
	case s.Age.Set() != s.Identity.Set():
		p.fault(at, v.path, "age and identity belong together: the encrypted file and the key that opens it")
	}
	p.inv.Secrets = append(p.inv.Secrets, s)
}

func (p *parser) variableName(v value) (string, bool) {
	s, ok := p.text(v)
	if ok && !identifier(s) {
		p.bad(v, "is not the name of an environment variable")
		return "", false
	}
	return s, ok
}

// secretRef is a place that names a secret.
type secretRef struct {
	name, path string
	pos        Pos
	// line: the value becomes a line of a phone's file, and no hash of a password.
	line bool
}

type reference struct{ name string }

var referenceFields = []field[reference]{
	{name: "secret", set: func(p *parser, r *reference, v value) {
		name, ok := p.text(v)
		if ok {
			r.name = name
			p.wanted = append(p.wanted, secretRef{name: name, path: v.path, pos: v.pos()})
		}
	}},
}

// reference reads {secret: NAME}.
func (p *parser) reference(v value) (string, bool) {
	var r reference
	before := len(p.faults)
	walk(p, v, referenceFields, &r)
	if len(p.faults) == before && r.name == "" {
		p.bad(v, "wants {secret: NAME}")
	}
	return r.name, len(p.faults) == before
}

// secrets finds names that the section secrets does not list, and notes which ones are passwords.
func (c *checker) secrets() {
	for _, r := range c.wanted {
		i := slices.IndexFunc(c.inv.Secrets, func(s Secret) bool { return s.Name == r.name })
		if i < 0 {
			c.fault(r.pos, r.path, "no secret is named %s%s", shorten(r.name), suggest(r.name, names(c.inv.Secrets, func(s Secret) string { return s.Name })))
			continue
		}
		if r.line {
			c.inv.Secrets[i].Line = true
		} else {
			c.inv.Secrets[i].Password = true
		}
	}
}
