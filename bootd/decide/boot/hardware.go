package boot

import (
	"bootd.internal/bootd/decide/who"
	"bootd.internal/bootd/ident"
	"bootd.internal/bootd/reason"
	"bootd.internal/bootd/site"
	"bootd.internal/bootd/timeline"
)

// swapped tells of a machine whose MAC nobody listed, but whose serial or UUID is that of a host: its board or its card
// was replaced. It gets nothing by that, anybody can say a serial; people get the line to change.
func (c client) swapped() []timeline.Event {
	h, by := c.named()
	detail := who.Swapped(c.snap, h, c.mac(), by)
	if detail == "" {
		return nil
	}
	return []timeline.Event{c.event(timeline.BoardChanged, reason.UnknownHost, detail)}
}

// named is the host whose serial or UUID the machine says.
func (c client) named() (h *site.Host, by string) {
	if serial := c.fetch.Serial; serial != "" {
		for _, h := range c.snap.Hosts {
			if h.Serial == serial {
				return h, sentence("serial %q", serial)
			}
		}
	}
	return who.Claimed(c.snap, c.view, []who.Evidence{{Kind: who.SMBIOSUUID, UUID: c.fetch.UUID}})
}

// doubled tells of a listed machine that says another host's UUID: its MAC decides who it is, but one of the two lines is
// wrong, or both boards came with one UUID.
func (c client) doubled() []timeline.Event {
	if c.fetch.UUID == (ident.UUID{}) {
		return nil
	}
	h, ok := c.snap.HostByUUID(c.fetch.UUID)
	if !ok || h == c.host {
		return nil
	}
	return []timeline.Event{c.event(timeline.Warning, reason.None, sentence(
		"%s says UUID %s, which is listed for %s; its MAC decides", c.name(), c.fetch.UUID, h.Name))}
}
