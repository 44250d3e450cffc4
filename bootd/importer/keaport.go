package importer

import (
	"encoding/hex"
	"regexp"
	"strconv"
	"strings"
	"unicode"
)

// flexID is what Kea's hook libdhcp_flex_id identifies machines by, where that is a port of the relay next to them.
type flexID struct {
	// key is that of an inventory's port.
	key string
	// enterprise: an enterprise number of four octets stands before what the inventory says (RFC 4649 section 3).
	enterprise bool
}

var portExpression = regexp.MustCompile(`^(substring\()?relay6\[(?:0|-1)\]\.option\[(18|37)\]\.hex(,4,all\))?$`)

// readFlexID reads an identifier-expression; false: it is about something else than a port.
func readFlexID(expression string) (flexID, bool) {
	bare := strings.Join(strings.Fields(expression), "")
	m := portExpression.FindStringSubmatch(bare)
	switch {
	case m == nil || (m[1] == "") != (m[3] == ""):
		return flexID{}, false
	case m[2] == "18" && m[1] == "":
		return flexID{key: "interface_id"}, true
	case m[2] == "37":
		return flexID{key: "remote_id", enterprise: m[1] == ""}, true
	}
	return flexID{}, false
}

// flex finds out what flex-id of reservations means: they may stand before the hook.
func (k *kea) flex(server *jvalue) {
	hooks := server.get("hooks-libraries")
	if hooks == nil {
		return
	}
	for _, v := range hooks.list {
		if lib := v.get("library"); lib == nil || !strings.Contains(lib.text, "libdhcp_flex_id") {
			continue
		}
		if x := v.get("parameters").get("identifier-expression"); x != nil {
			if f, ok := readFlexID(x.text); ok {
				k.port = &f
			}
		}
	}
}

// relayOf is the relay that a subnet or a shared network names first.
func relayOf(v *jvalue) string {
	r := v.get("relay")
	if r == nil {
		return ""
	}
	if all := r.get("ip-addresses"); all != nil && len(all.list) > 0 {
		return all.list[0].text
	}
	if one := r.get("ip-address"); one != nil {
		return one.text
	}
	return ""
}

// flexID makes a host one of a port.
func (k *kea) flexID(h *newHost, m jmember, l *keaLink) {
	text := strings.TrimSpace(m.value.text)
	octets := []byte(strings.Trim(text, "'"))
	if !strings.HasPrefix(text, "'") {
		digits := strings.TrimPrefix(text, "0x")
		if strings.Contains(text, ":") {
			digits = colonHex(text)
		}
		b, err := hex.DecodeString(digits)
		if err != nil || len(b) == 0 {
			k.lost(m.Place, "%s.flex-id %s is neither text in single quotes nor hex", h.path, oneLine(text))
			return
		}
		octets = b
	}
	switch {
	case k.port == nil:
		k.lost(m.Place, "%s.flex-id %s: no identifier-expression of libdhcp_flex_id is the interface-id or remote-id of one relay, which is what a host can be known by besides MAC, UUID and DUID (port:)", h.path, oneLine(text))
		return
	case l == nil || l.relay == "":
		k.lost(m.Place, "%s.flex-id %s: a port is one of a relay, and the subnet names none: write port: {relay: LINK-ADDRESS, %s: ...}", h.path, oneLine(text), k.port.key)
		return
	case k.port.enterprise && len(octets) > 4:
		octets = octets[4:]
	case k.port.enterprise || len(octets) == 0:
		k.lost(m.Place, "%s.flex-id %s: a remote-id begins with an enterprise number of four octets", h.path, oneLine(text))
		return
	}
	h.port = portNode(quote(l.relay), k.port.key, octets, m.Place)
}

// portNode is a host's port: text where the octets are text, else hex. relay is quoted as the inventory has it.
func portNode(relay, key string, octets []byte, at Place) *node {
	value := "0x" + hex.EncodeToString(octets)
	if s := string(octets); !strings.HasPrefix(s, "0x") && !strings.ContainsFunc(s, func(r rune) bool { return r > unicode.MaxASCII || !unicode.IsPrint(r) }) {
		value = s
	}
	return &node{key: "port", value: "{relay: " + relay + ", " + key + ": " + quote(value) + "}", from: at}
}

// octetsOf reads hex digits, nil where there are none.
func octetsOf(digits string) []byte {
	b, err := hex.DecodeString(digits)
	if err != nil || len(b) == 0 {
		return nil
	}
	return b
}

// unquoted is the text of a value.
func unquoted(v string) string {
	if s, err := strconv.Unquote(v); err == nil {
		return s
	}
	return v
}
