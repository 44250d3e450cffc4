package inventory

import "gopkg.in/yaml.v3"

var profileFields = withSettings([]field[Profile]{
	{name: "kernel", set: put(func(f *Profile) *Value[string] { return &f.Kernel }, (*parser).below)},
	{name: "initrd", set: put(func(f *Profile) *Value[[]string] { return &f.Initrd }, listOf((*parser).below))},
	{name: "script", set: put(func(f *Profile) *Value[string] { return &f.Script }, (*parser).below)},
	{name: "answers", set: put(func(f *Profile) *Value[string] { return &f.Answers }, (*parser).below)},
}, inProfiles, func(f *Profile) *Settings { return &f.Settings })

func (p *parser) profile(key *yaml.Node, v value) {
	at := Pos{key.Line, key.Column}
	p.entryName(at, v.path, key.Value)
	f := Profile{Name: key.Value, Pos: at}
	before := len(p.faults)
	walk(p, v, profileFields, &f)
	if len(p.faults) == before && !f.Script.Set() {
		p.fault(at, v.path, "has no script: write script: ipxe/debian.ipxe")
	}
	p.inv.Profiles = append(p.inv.Profiles, f)
}
