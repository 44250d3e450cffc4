package option

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"bootd.internal/bootd/ident"
)

// Field is one option as it reads for people.
type Field struct {
	Code uint16 `json:"code"`
	Name string `json:"name"`
	// Value is one line; whatever came from the wire as text is quoted. Empty where Options says it all.
	Value   string  `json:"value,omitempty"`
	Options []Field `json:"options,omitempty"`
	// Message is that of a relay-msg.
	Message *Message `json:"message,omitempty"`
}

// Message is one DHCPv6 message as it reads for people.
type Message struct {
	Type uint8  `json:"type"`
	Name string `json:"name"`
	// XID is the transaction id in hex; relay messages have none.
	XID string `json:"xid,omitempty"`
	// Hops, Link and Peer are those of relay messages (RFC 8415 section 9).
	Hops    *uint8  `json:"hops,omitempty"`
	Link    string  `json:"link_address,omitempty"`
	Peer    string  `json:"peer_address,omitempty"`
	Options []Field `json:"options"`
	// Broken says that the options do not add up; those before the fault are given.
	Broken bool `json:"broken,omitempty"`
}

// Types of relay messages.
const (
	relayForward = 12
	relayReply   = 13
)

// maxDepth bounds options inside options, and relays inside relays.
const maxDepth = 24

// messages are the names of RFC 8415 section 7.3, RFC 5007, 5460, 6977, 7341, 8156 and 9686, by number.
var messages = [...]string{
	1: "Solicit", "Advertise", "Request", "Confirm", "Renew", "Rebind", "Reply", "Release", "Decline", "Reconfigure",
	"Information-request", "Relay-forward", "Relay-reply", "Leasequery", "Leasequery-reply", "Leasequery-done",
	"Leasequery-data", "Reconfigure-request", "Reconfigure-reply", "DHCPv4-query", "DHCPv4-response",
	36: "Addr-reg-inform", "Addr-reg-reply",
}

// MessageName is the name of a message type.
func MessageName(t uint8) string {
	if int(t) < len(messages) && messages[t] != "" {
		return messages[t]
	}
	return "type " + strconv.Itoa(int(t))
}

// Read reads one message for people, whatever its octets are.
func Read(b []byte) Message { return readMessage(b, 0) }

func readMessage(b []byte, depth int) Message {
	const header, relayHeader = 4, 34
	if len(b) == 0 {
		return Message{Name: "empty", Broken: true}
	}
	m := Message{Type: b[0], Name: MessageName(b[0])}
	relay := m.Type == relayForward || m.Type == relayReply
	switch {
	case depth > maxDepth, len(b) < header, relay && len(b) < relayHeader:
		m.Broken = true
		return m
	case relay:
		hops := b[1]
		m.Hops, m.Link, m.Peer = &hops, addr(b[2:18]), addr(b[18:34])
		b = b[relayHeader:]
	default:
		m.XID = hex.EncodeToString(b[1:4])
		b = b[header:]
	}
	var whole bool
	m.Options, whole = readOptions(b, depth+1)
	m.Broken = !whole
	return m
}

// readOptions reads an option area; false: it does not add up.
func readOptions(b []byte, depth int) ([]Field, bool) {
	fields := []Field{}
	for len(b) > 0 {
		if len(b) < 4 || depth > maxDepth {
			return fields, false
		}
		code, n := binary.BigEndian.Uint16(b), int(binary.BigEndian.Uint16(b[2:]))
		if n > len(b)-4 {
			return fields, false
		}
		fields = append(fields, readOption(code, b[4:4+n], depth))
		b = b[4+n:]
	}
	return fields, true
}

func readOption(code uint16, data []byte, depth int) Field {
	f := Field{Code: code, Name: "option-" + strconv.Itoa(int(code))}
	d, known := ByCode(code)
	if known {
		f.Name = d.Name
	}
	if fixed, ok := members(d.Kind); ok && known && len(data) >= fixed {
		f.Value = head(d.Kind, data)
		var whole bool
		if f.Options, whole = readOptions(data[fixed:], depth+1); !whole {
			f.Value = strings.TrimSpace(f.Value + " (its options do not add up)")
		}
		return f
	}
	if d.Kind == relayed && known {
		m := readMessage(data, depth+1)
		f.Message = &m
		return f
	}
	text, ok := "", false
	if known {
		text, ok = value(d.Kind, data)
	}
	if !ok {
		text = octets(data)
	}
	f.Value = text
	return f
}

// members gives the octets before the options of a container.
func members(k Kind) (fixed int, ok bool) {
	switch k {
	case ianaKind, iapd:
		return 12, true
	case iata:
		return 4, true
	case iaAddr:
		return 24, true
	case iaPrefix:
		return 25, true
	}
	return 0, false
}

// head reads what stands before the options of a container.
func head(k Kind, b []byte) string {
	u32 := binary.BigEndian.Uint32
	switch k {
	case ianaKind, iapd:
		return fmt.Sprintf("iaid %s, T1 %s, T2 %s", ident.IAID(u32(b)), lasting(u32(b[4:])), lasting(u32(b[8:])))
	case iata:
		return fmt.Sprintf("iaid %s", ident.IAID(u32(b)))
	case iaAddr:
		return fmt.Sprintf("%s, preferred %s, valid %s", addr(b[:16]), lasting(u32(b[16:])), lasting(u32(b[20:])))
	}
	return fmt.Sprintf("%s/%d, preferred %s, valid %s", addr(b[9:25]), b[8], lasting(u32(b)), lasting(u32(b[4:])))
}

// Value reads the content of an option as one line for people.
func Value(code uint16, data []byte) string { return readOption(code, data, maxDepth-1).Value }

// value reads the content of one kind; false: it is not of that form.
func value(k Kind, b []byte) (string, bool) {
	switch k {
	case Addrs:
		return addrs(b)
	case Name, Names:
		return names(b)
	case Text, URI:
		return strconv.Quote(string(b)), true
	case URIs:
		return counted(b)
	case Seconds:
		if len(b) == 4 {
			return lasting(binary.BigEndian.Uint32(b)), true
		}
	case Number:
		if len(b) == 1 {
			return strconv.Itoa(int(b[0])), true
		}
	case NTP:
		return ntp(b)
	case Vendor:
		return vendor(b)
	case DNR:
		return resolver(b)
	case duid:
		if d, ok := ident.DUIDFrom(b); ok {
			return d.String(), true
		}
	case codes:
		return codeNames(b)
	case archs:
		return numbers(b)
	case centiseconds:
		if len(b) == 2 {
			n := binary.BigEndian.Uint16(b)
			return fmt.Sprintf("%d.%02ds", n/100, n%100), true
		}
	case status:
		if len(b) >= 2 {
			return strings.TrimSpace(statusName(binary.BigEndian.Uint16(b)) + " " + quotedOrNothing(b[2:])), true
		}
	case empty:
		return "", len(b) == 0
	case classes:
		return counted(b)
	case vendorClass:
		if len(b) >= 4 {
			text, ok := counted(b[4:])
			return fmt.Sprintf("enterprise %d, %s", binary.BigEndian.Uint32(b), text), ok
		}
	case fqdn:
		return fullName(b)
	case nii:
		if len(b) == 3 {
			return fmt.Sprintf("type %d, version %d.%d", b[0], b[1], b[2]), true
		}
	case linkLayer:
		if m, ok := ident.MACFrom(b[min(2, len(b)):]); ok {
			return fmt.Sprintf("%s (hardware type %d)", m, binary.BigEndian.Uint16(b)), true
		}
	}
	return "", false
}

func addr(b []byte) string { return netip.AddrFrom16([16]byte(b)).String() }

func addrs(b []byte) (string, bool) {
	if len(b) == 0 || len(b)%16 != 0 {
		return "", false
	}
	var out []string
	for ; len(b) > 0; b = b[16:] {
		out = append(out, addr(b[:16]))
	}
	return strings.Join(out, ", "), true
}

// names reads domain names; labels are quoted where they hold anything but letters, digits, - and _.
func names(b []byte) (string, bool) {
	var out, labels []string
	for len(b) > 0 {
		n := int(b[0])
		if n > maxLabel || n > len(b)-1 {
			return "", false
		}
		if n == 0 {
			out, labels = append(out, strings.Join(labels, ".")), nil
		} else {
			labels = append(labels, plain(string(b[1:1+n])))
		}
		b = b[1+n:]
	}
	if len(labels) > 0 { // without its root (RFC 4704 section 4.2)
		out = append(out, strings.Join(labels, ".")+" (not whole)")
	}
	return strings.Join(out, ", "), true
}

func plain(s string) string {
	for _, r := range s {
		if (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '_' {
			return strconv.Quote(s)
		}
	}
	return s
}

// counted reads texts with a length of 16 bits each.
func counted(b []byte) (string, bool) {
	var out []string
	for len(b) > 0 {
		if len(b) < 2 || int(binary.BigEndian.Uint16(b)) > len(b)-2 {
			return "", false
		}
		n := int(binary.BigEndian.Uint16(b))
		out = append(out, strconv.Quote(string(b[2:2+n])))
		b = b[2+n:]
	}
	return strings.Join(out, ", "), true
}

// Each walks an option area; false: a length runs past the end, or one to three octets trail. What stood before was taken.
func Each(b []byte, take func(code uint16, data []byte)) bool {
	for len(b) > 0 {
		if len(b) < 4 || int(binary.BigEndian.Uint16(b[2:])) > len(b)-4 {
			return false
		}
		n := int(binary.BigEndian.Uint16(b[2:]))
		take(binary.BigEndian.Uint16(b), b[4:4+n])
		b = b[4+n:]
	}
	return true
}

func ntp(b []byte) (string, bool) {
	var out []string
	good := true
	ok := Each(b, func(code uint16, data []byte) {
		text := ""
		switch {
		case (code == ntpAddr || code == ntpMulticast) && len(data) == 16:
			text = addr(data)
		case code == ntpName:
			var is bool
			text, is = names(data)
			good = good && is
		default:
			text = fmt.Sprintf("suboption %d %s", code, octets(data))
		}
		out = append(out, text)
	})
	return strings.Join(out, ", "), ok && good
}

func vendor(b []byte) (string, bool) {
	if len(b) < 4 {
		return "", false
	}
	out := []string{fmt.Sprintf("enterprise %d", binary.BigEndian.Uint32(b))}
	ok := Each(b[4:], func(code uint16, data []byte) { out = append(out, fmt.Sprintf("%d: %s", code, octets(data))) })
	return strings.Join(out, ", "), ok
}

// resolver reads an encrypted resolver (RFC 9463 section 4.1).
func resolver(b []byte) (string, bool) {
	if len(b) < 4 || int(binary.BigEndian.Uint16(b[2:])) > len(b)-4 {
		return "", false
	}
	n := int(binary.BigEndian.Uint16(b[2:]))
	name, ok := names(b[4 : 4+n])
	text := fmt.Sprintf("priority %d, %s", binary.BigEndian.Uint16(b), name)
	b = b[4+n:]
	if !ok || len(b) == 0 {
		return text, ok
	}
	if len(b) < 2 || int(binary.BigEndian.Uint16(b)) > len(b)-2 {
		return "", false
	}
	n = int(binary.BigEndian.Uint16(b))
	at, ok := addrs(b[2 : 2+n])
	text += ", " + at
	params := Each(b[2+n:], func(key uint16, data []byte) {
		switch {
		case key == svcALPN:
			var ids []string
			for len(data) > 0 && int(data[0]) < len(data) {
				ids = append(ids, plain(string(data[1:1+int(data[0])])))
				data = data[1+int(data[0]):]
			}
			text += ", alpn " + strings.Join(ids, " ")
		case key == svcPort && len(data) == 2:
			text += fmt.Sprintf(", port %d", binary.BigEndian.Uint16(data))
		case key == svcDoHPath:
			text += ", path " + strconv.Quote(string(data))
		default:
			text += fmt.Sprintf(", key%d %s", key, octets(data))
		}
	})
	return text, ok && params
}

// codeNames reads a list of option codes.
func codeNames(b []byte) (string, bool) {
	var out []string
	for ; len(b) >= 2; b = b[2:] {
		code := binary.BigEndian.Uint16(b)
		if d, ok := ByCode(code); ok {
			out = append(out, d.Name)
		} else {
			out = append(out, strconv.Itoa(int(code)))
		}
	}
	return strings.Join(out, ", "), len(b) == 0
}

func numbers(b []byte) (string, bool) {
	var out []string
	for ; len(b) >= 2; b = b[2:] {
		out = append(out, strconv.Itoa(int(binary.BigEndian.Uint16(b))))
	}
	return strings.Join(out, ", "), len(b) == 0
}

// Flags of option 39 (RFC 4704 section 4.1).
const (
	FlagS = 1
	FlagO = 2
	FlagN = 4
)

func fullName(b []byte) (string, bool) {
	if len(b) == 0 {
		return "", false
	}
	flags := ""
	for _, f := range []struct {
		bit  byte
		name string
	}{{FlagS, "S"}, {FlagO, "O"}, {FlagN, "N"}} {
		if b[0]&f.bit != 0 {
			flags += f.name
		}
	}
	if flags == "" {
		flags = "none"
	}
	name, ok := names(b[1:])
	return strings.TrimSpace("flags " + flags + ", " + name), ok
}

func statusName(code uint16) string {
	names := [...]string{"Success", "UnspecFail", "NoAddrsAvail", "NoBinding", "NotOnLink", "UseMulticast", "NoPrefixAvail"}
	if int(code) < len(names) {
		return names[code]
	}
	return "status " + strconv.Itoa(int(code))
}

func quotedOrNothing(b []byte) string {
	if len(b) == 0 {
		return ""
	}
	return strconv.Quote(string(b))
}

// lasting is a number of seconds as a duration; all ones are for ever (RFC 8415 section 7.7).
func lasting(s uint32) string {
	switch s {
	case 1<<32 - 1:
		return "infinite"
	case 0:
		return "0s"
	}
	text := ""
	for _, unit := range []struct {
		seconds uint32
		name    string
	}{{3600, "h"}, {60, "m"}, {1, "s"}} {
		if n := s / unit.seconds; n > 0 {
			text += strconv.Itoa(int(n)) + unit.name
			s %= unit.seconds
		}
	}
	return text
}

// octets is hex, shortened where nobody would read it.
func octets(b []byte) string {
	const most = 64
	switch {
	case len(b) == 0:
		return "(empty)"
	case len(b) > most:
		return fmt.Sprintf("%x... (%d octets)", b[:most], len(b))
	}
	text := hex.EncodeToString(b)
	if len(b) >= 3 && !slices.ContainsFunc(b, func(c byte) bool { return c < ' ' || c > '~' }) {
		text += " (" + strconv.Quote(string(b)) + ")"
	}
	return text
}
