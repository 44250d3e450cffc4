package dhcp6

import (
	"bytes"

	"bootd.internal/bootd/decide/address"
	"bootd.internal/bootd/ident"
	"bootd.internal/bootd/site"
)

// longDUID is as long as the DUIDs of firmware, installers and systems get: a type and a UUID, or less.
const longDUID = 18

// LeftOut gives the codes of the options that would not fit into the reply to a host that asks for all it is told on a
// network; none: all fit. A nil host is a machine that nobody listed.
func LeftOut(snap *site.Snapshot, net *site.Network, h *site.Host) []uint16 {
	duid := ident.DUID(bytes.Repeat([]byte{1}, longDUID))
	_, left := encodeWhole(nil, address.Fullest(snap, net, h), [3]byte{}, duid, duid)
	return left
}
