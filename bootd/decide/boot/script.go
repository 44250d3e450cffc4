package boot

import (
	"bootd.internal/bootd/install"
	"bootd.internal/bootd/reason"
	"bootd.internal/bootd/render"
	"bootd.internal/bootd/timeline"
)

// script decides what iPXE is given. It is always a script with status 200: a bare error would leave a machine standing.
func (c client) script() Decision {
	switch {
	case c.match.Reason == reason.WrongNetwork && c.match.Host != nil:
		return c.local(reason.WrongNetwork, sentence("%s is not listed for network %s", c.match.Host.Name, c.net.Name))
	case c.host == nil:
		d := c.unlisted()
		d.Events = append(d.Events, c.swapped()...)
		return d
	}
	ask := install.Asked(c.view, c.host.Name, c.seen(), c.now)
	d := Decision{}
	if ask.Reason != reason.Install {
		d = c.notArmed(ask)
	} else {
		d = c.installer(ask)
	}
	if !c.fetch.Head {
		d.Events = append(d.Events, c.doubled()...)
	}
	return d
}

// autoexec sends iPXE, once it has an address, to the boot script that is meant for it.
func (c client) autoexec() Decision {
	d := Decision{Outcome: c.outcome(reason.BootScript), Kind: Script, Status: statusOK, Type: typeText}
	var err error
	if d.Body, err = c.render.Render(render.AutoexecScript, render.At(c.snap, c.net)); err != nil {
		return c.failed(reason.TemplateError, err.Error())
	}
	d.Events = []timeline.Event{c.event(timeline.ScriptOffered, reason.BootScript, "autoexec.ipxe")}
	return d
}

// notArmed sends a host to its disk and tidies what came to light.
func (c client) notArmed(ask install.Ask) Decision {
	name := c.host.Name
	said := map[reason.Reason]string{
		reason.LocalDisk:      name + " is not armed",
		reason.ArmExpired:     name + " is not armed any more (" + ask.Why + ")",
		reason.ArmMismatch:    name + " is armed, but this is another machine (UUID, serial or MAC)",
		reason.AttemptsSpent:  name + " asked for its installer too often",
		reason.AlreadyFetched: name + " was installed or tried to, and is not armed again",
	}[ask.Reason]
	d := c.local(ask.Reason, said)
	d.Ops = ask.Ops
	switch {
	case ask.Err != nil:
		d.Events = append(d.Events, c.event(timeline.Warning, ask.Reason, ask.Err.Error()))
	case ask.Reason == reason.ArmExpired:
		d.Events = append(d.Events, c.event(timeline.ArmExpired, ask.Reason, ask.Why))
	case ask.Reason == reason.ArmMismatch:
		d.Events = append(d.Events, c.event(timeline.Warning, ask.Reason,
			sentence("armed is another machine: this one says MAC %s, UUID %s, serial %q", c.mac(), c.fetch.UUID, clip(c.fetch.Serial))))
	}
	if ask.Failed != "" {
		d.Events = append(d.Events, c.event(timeline.InstallFailed, ask.Reason, ask.Failed))
	}
	return d
}

// local is the script that boots the local disk and says why.
func (c client) local(r reason.Reason, why string) Decision {
	return Decision{
		Outcome: c.outcome(r), Kind: Script, Status: statusOK, Type: typeText, Body: c.plain(render.LocalScript, why),
		Events: []timeline.Event{c.event(timeline.ScriptFetched, r, why)},
	}
}

// failed is the script that says what is wrong, waits a minute and boots the local disk.
func (c client) failed(r reason.Reason, why string) Decision {
	return Decision{
		Outcome: c.outcome(r), Kind: Script, Status: statusOK, Type: typeText, Body: c.plain(render.ErrorScript, why),
		Events: []timeline.Event{c.event(timeline.ScriptFetched, r, why)},
	}
}

// installer gives an armed host its script: the one that was rendered when its attempt began, or a new one.
func (c client) installer(ask install.Ask) Decision {
	script, answers, ok := install.Kept(c.view, ask.Attempt)
	if !ok {
		var d *Decision
		if script, answers, d = c.renderNew(); d != nil {
			return *d
		}
	}
	secrets := install.NewSecrets(c.random)
	d := Decision{
		Outcome: c.outcome(reason.Install), Kind: Script, Status: statusOK, Type: typeText,
		Body:   reveal(script, secrets),
		Events: []timeline.Event{c.event(timeline.ScriptFetched, reason.Install, sentence("attempt %d", ask.Arm.Scripts+1))},
	}
	if c.fetch.Head { // only the length is wanted, and all tokens are of one length
		d.Events = nil
		return d
	}
	d.Ops = install.Start(ask, c.seen(), secrets, script, answers, c.now)
	return d
}

// renderNew renders script and answers, or gives the Decision that says why it cannot.
func (c client) renderNew() (script, answers []byte, failed *Decision) {
	fail := func(r reason.Reason, why string) *Decision {
		d := c.failed(r, why)
		return &d
	}
	p := c.host.Profile
	switch {
	case p == nil:
		return nil, nil, fail(reason.TemplateError, c.host.Name+" is armed, but the inventory gives it no profile any more")
	case !c.net.Own.IsValid():
		return nil, nil, fail(reason.NoServerAddress, c.host.Name+" is armed, but bootd has no address on network "+c.net.Name)
	}
	data := render.Of(c.snap, c.host, c.match.NIC, c.net)
	script, err := c.render.Render(p.Script, data)
	if err == nil && p.Answers != "" {
		answers, err = c.render.Render(p.Answers, data)
	}
	if err != nil {
		return nil, nil, fail(reason.TemplateError, c.host.Name+" is armed, but "+err.Error())
	}
	return script, answers, nil
}

func reveal(text []byte, s install.Secrets) []byte {
	return render.Reveal(text, s.Answers, s.Installed, s.FirstBoot)
}

// lastResort is for a template of one's own that is broken: the local disk must boot whatever happens.
const lastResort = `#!ipxe
echo bootd: the templates of bootd cannot be rendered: booting the local disk
iseq ${platform} efi && exit 1 ||
isset ${local-drive} || set local-drive 0x80
sanboot --no-describe --drive ${local-drive} ||
exit 1
`

func (c client) plain(name, why string) []byte {
	d := render.At(c.snap, c.net)
	if c.host != nil {
		d = render.Of(c.snap, c.host, c.match.NIC, c.net)
	}
	return plain(c.render, name, d, why)
}

// plain renders a script that says why; where a template of one's own is broken, the built-in way to the local disk.
func plain(r Renderer, name string, d render.Data, why string) []byte {
	d.Reason = why
	out, err := r.Render(name, d)
	if err == nil {
		return out
	}
	if name != render.LocalScript {
		return plain(r, render.LocalScript, d, why)
	}
	return []byte(lastResort)
}
