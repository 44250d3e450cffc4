package boot

import (
	"strings"

	"bootd.internal/bootd/ident"
	"bootd.internal/bootd/reason"
	"bootd.internal/bootd/render"
	"bootd.internal/bootd/timeline"
)

// Said is what an unlisted machine says of itself. Whoever asks can say anything: it is for people, and decides nothing.
type Said struct {
	MAC                   ident.MAC
	Manufacturer, Product string
	BuildArch, Platform   string
}

// maxSaid bounds what a machine says, in octets.
const maxSaid = 128

// Printable makes text from the wire fit for a terminal: what does not print is left out, the rest cut to 128 octets.
func Printable(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == '\uFFFD' || r >= 0x80 && r < 0xa0 {
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, ""))
	if s = strings.TrimSpace(s); len(s) > maxSaid {
		s = strings.TrimSpace(strings.ToValidUTF8(s[:maxSaid], ""))
	}
	return s
}

// discover is whether an unlisted machine is asked who it is.
func (c client) discover() bool {
	return c.match.Host == nil && c.net.Unknown == "discover" && c.net.Own.IsValid()
}

// unlisted sends a machine that nobody listed to its disk, and asks who it is where the network says so.
func (c client) unlisted() Decision {
	if c.discover() {
		return c.ask()
	}
	d := c.local(reason.UnknownHost, sentence("this machine (%s) is not in the inventory", c.mac()))
	d.Heard = c.heard()
	return d
}

// ask sends an unlisted machine to say who it is; it boots its own disk afterwards.
func (c client) ask() Decision {
	d := Decision{Outcome: c.outcome(reason.Discover), Kind: Script, Status: statusOK, Type: typeText, Heard: c.heard()}
	d.Rule = "unknown: discover"
	why := sentence("this machine (%s) is not in the inventory", c.mac())
	data := render.At(c.snap, c.net)
	data.Reason = why
	if m := c.mac(); m.Valid() {
		data.MAC = m.String()
	}
	var err error
	if d.Body, err = c.render.Render(render.DiscoverScript, data); err != nil {
		d.Reason = reason.TemplateError
		d.Body = plain(c.render, render.LocalScript, data, why)
		d.Events = []timeline.Event{c.event(timeline.Warning, reason.TemplateError, err.Error())}
		return d
	}
	d.Events = []timeline.Event{c.event(timeline.ScriptFetched, reason.Discover, why)}
	return d
}

// discovered notes what a machine said. The answer is a script, because iPXE ran into it as one.
func (c client) discovered() Decision {
	d := Decision{Outcome: c.outcome(reason.Answered), Kind: Discovered, Status: statusOK, Type: typeText}
	text := "bootd knows now who this is"
	switch {
	case c.match.Host != nil:
		text = "this machine is listed as " + c.match.Host.Name
	default:
		d.Heard = c.heard()
		d.Reason = reason.Discover
		d.Events = []timeline.Event{c.event(timeline.Discovered, reason.Discover, strings.Join(strings.Fields(sentence(
			"%s %s serial %q uuid %s", c.fetch.Said.Manufacturer, c.fetch.Said.Product, c.fetch.Serial, c.fetch.UUID)), " "))}
	}
	d.Body = []byte("#!ipxe\necho bootd: " + text + "\n")
	return d
}

// heard is what is known of an unlisted machine. The MAC that it came from goes before the one that it names; one that it
// names counts only while nobody listed it.
func (c client) heard() *timeline.Machine {
	said := c.fetch.Said
	m := &timeline.Machine{
		MAC: c.match.Observed, Network: c.net.Name, Link: c.fetch.At.Link, Client: "ipxe", Addr: c.fetch.At.Source.String(),
		UUID: c.fetch.UUID, Serial: Printable(c.fetch.Serial), Manufacturer: Printable(said.Manufacturer),
		Product: Printable(said.Product), Arch: archOf(said),
	}
	if _, listed := c.snap.NIC(said.MAC); !m.MAC.Valid() && said.MAC.Valid() && !listed {
		m.MAC = said.MAC
	}
	return m
}

// archOf is the inventory's name of what iPXE was built for.
func archOf(s Said) string {
	if s.Platform == "pcbios" {
		return "bios"
	}
	return map[string]string{"i386": "x86", "x86_64": "x86_64", "arm32": "arm", "arm64": "arm64"}[s.BuildArch]
}
