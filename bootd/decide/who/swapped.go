package who

import (
	"fmt"
	"path"

	"bootd.internal/bootd/ident"
	"bootd.internal/bootd/site"
	"bootd.internal/bootd/store"
)

// Claimed is the host whose UUID an unlisted machine says, as listed or as learned: its board was kept and its card
// replaced, or two boards came with one UUID. It gets nothing by that; people get told. nil: none.
func Claimed(snap *site.Snapshot, v store.View, ev []Evidence) (*site.Host, string) {
	e, ok := find(ev, SMBIOSUUID)
	if !ok {
		return nil, ""
	}
	return byUUID(snap, v, e.UUID), "UUID " + e.UUID.String()
}

// Swapped says what to change where an unlisted machine shows what is a host's: by is what it shows.
func Swapped(snap *site.Snapshot, h *site.Host, m ident.MAC, by string) string {
	switch {
	case h == nil || len(h.NICs) == 0 || !m.Valid():
		return ""
	case h.Nameless(): // known by DHCPv6, and by what it says alone to nobody who has secrets
		return fmt.Sprintf("this machine says %s, which is that of %s: over HTTP only a MAC tells who asks; write mac: %s for %s to boot it from here",
			by, h.Name, m, h.Name)
	case !h.NICs[0].MAC.Valid():
		return ""
	}
	where := ""
	if at := h.Origins["nics."+h.NICs[0].Name+".mac"].Pos; at.Line > 0 {
		where = fmt.Sprintf(" in %s line %d", path.Base(snap.Inventory.File), at.Line)
	}
	return fmt.Sprintf("this machine says %s, which is that of %s: if its board was replaced, change %s to %s%s",
		by, h.Name, h.NICs[0].MAC, m, where)
}
