package yealink

import (
	"strings"

	"bootd.internal/bootd/ident"
)

// Agent is what a phone says of itself in the User-Agent header.
type Agent struct {
	// Model is as it was said, without "SIP-": T41S. Firmware is such as 66.86.0.15.
	Model, Firmware string
	// MAC is invalid where the phone does not say it (static.auto_provision.user_agent_mac.enable = 0).
	MAC ident.MAC
}

const maxWord = 32

// ParseAgent reads "Yealink SIP-T41S 66.86.0.15 80:5e:c0:00:00:12", the MAC being optional, or "yealink-T58 58.85.0.5". What
// comes from the wire stays short and holds letters, digits, dots, dashes and underscores only.
func ParseAgent(s string) (Agent, bool) {
	f := strings.Fields(s)
	if len(f) == 0 || len(s) > 200 {
		return Agent{}, false
	}
	switch vendor := strings.ToLower(f[0]); {
	case vendor == "yealink":
		f = f[1:]
	case strings.HasPrefix(vendor, "yealink-"):
		f[0] = f[0][len("yealink-"):]
	default:
		return Agent{}, false
	}
	if len(f) < 2 || len(f) > 3 || !word(f[0]) || !word(f[1]) || f[1][0] < '0' || f[1][0] > '9' {
		return Agent{}, false
	}
	a := Agent{Model: strings.TrimPrefix(strings.ToUpper(f[0]), "SIP-"), Firmware: f[1]}
	if a.Model == "" {
		return Agent{}, false
	}
	if len(f) == 3 {
		m, err := ident.ParseMAC(f[2])
		if err != nil {
			return Agent{}, false
		}
		a.MAC = m
	}
	return a, true
}

func word(s string) bool {
	return s != "" && len(s) <= maxWord && !strings.ContainsFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("._-", r)
	})
}

// Fits reports whether a phone that calls itself said may be one that is listed as model: T58 and T58A are told apart by
// people only, so one may be the beginning of the other.
func Fits(said, model string) bool {
	if said == model {
		return true
	}
	short, long := said, model
	if len(short) > len(long) {
		short, long = long, short
	}
	return strings.HasPrefix(long, short) && len(long)-len(short) == 1 && len(short) >= 3
}
