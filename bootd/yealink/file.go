package yealink

import (
	"strconv"
	"strings"

	"bootd.internal/bootd/ident"
)

// Kind says which of its files a phone asks for. The set is closed.
type Kind string

// The files of a phone, in the order in which it asks (Yealink's Auto Provisioning Guide V81, "Downloading Boot, Configuration
// and Resource Files").
const (
	OwnBoot    Kind = "mac-boot"    // <mac>.boot
	CommonBoot Kind = "common-boot" // y000000000000.boot
	Common     Kind = "common"      // y0000000000NN.cfg
	Own        Kind = "mac"         // <mac>.cfg
	Local      Kind = "mac-local"   // <mac>-local.cfg, what people set at the phone itself
	Authority  Kind = "ca"          // ca.crt, bootd's own certificate authority
	Other      Kind = "other"       // whatever else: contacts, call logs, firmware
)

// AuthorityFile is the name under which the certificate of bootd's own authority is served.
const AuthorityFile = "ca.crt"

// File is one name that a phone asked for.
type File struct {
	Kind Kind
	// MAC is that of OwnBoot, Own and Local, Number NN of Common.
	MAC    ident.MAC
	Number int
}

// ParseFile sorts a file name. Phones write their MAC in twelve small hex digits; capitals and separators mean the same.
func ParseFile(name string) File {
	if name == AuthorityFile {
		return File{Kind: Authority}
	}
	stem, boot := strings.CutSuffix(name, ".boot")
	if !boot {
		var cfg bool
		if stem, cfg = strings.CutSuffix(name, ".cfg"); !cfg {
			return File{Kind: Other}
		}
	}
	if digits, ok := strings.CutPrefix(stem, "y"); ok && len(digits) == 12 {
		n, err := strconv.ParseUint(digits, 10, 32)
		switch {
		case err != nil || boot && n != 0:
			return File{Kind: Other}
		case boot:
			return File{Kind: CommonBoot}
		}
		return File{Kind: Common, Number: int(n)}
	}
	kind := Own
	if boot {
		kind = OwnBoot
	} else if rest, ok := strings.CutSuffix(stem, "-local"); ok {
		stem, kind = rest, Local
	}
	m, ok := parseMAC(stem)
	if !ok {
		return File{Kind: Other}
	}
	return File{Kind: kind, MAC: m}
}

// parseMAC takes six pairs of hex digits, together or with one kind of separator between them.
func parseMAC(s string) (ident.MAC, bool) {
	if len(s) == 17 && (s[2] == ':' || s[2] == '-') {
		sep := s[2]
		for i := 2; i < len(s); i += 3 {
			if s[i] != sep {
				return ident.MAC{}, false
			}
		}
		s = strings.ReplaceAll(s, string(sep), "")
	}
	if len(s) != 12 {
		return ident.MAC{}, false
	}
	var m ident.MAC
	for i := range m {
		b, err := strconv.ParseUint(s[2*i:2*i+2], 16, 8)
		if err != nil {
			return ident.MAC{}, false
		}
		m[i] = byte(b)
	}
	return m, m.Valid()
}

// Plain is a MAC as phones write it into file names.
func Plain(m ident.MAC) string { return strings.ReplaceAll(m.String(), ":", "") }
