package inventory

import (
	"net/netip"
	"time"
)

// BuiltinFrom is the From of a value that nobody wrote.
const BuiltinFrom = "built in"

func builtin[T any](x T) Value[T] { return Value[T]{V: x, From: BuiltinFrom} }

// Builtin is what a setting is when no section sets it. Those that are not here are unset.
func Builtin() Settings {
	return Settings{
		Domain:     builtin("internal"),
		Unknown:    builtin("ignore"),
		Preferred:  builtin(12 * time.Hour),
		Valid:      builtin(24 * time.Hour),
		Locale:     builtin("C.UTF-8"),
		Language:   builtin("en"),
		Country:    builtin("US"),
		Keyboard:   builtin("us"),
		Timezone:   builtin("Etc/UTC"),
		Addressing: builtin("static"),
		Protected:  builtin(false),
	}
}

// BuiltinServe is what the section serve is when it says nothing. Paths are relative to the inventory.
func BuiltinServe() Serve {
	return Serve{
		Files:     builtin("files"),
		Templates: builtin("templates"),
		Loaders: map[string]Value[string]{
			"x86_64": builtin("ipxe.efi"),
			"arm64":  builtin("ipxe-arm64.efi"),
			"x86":    builtin("ipxe-i386.efi"),
		},
		HTTPPort: builtin(80),
		Metrics:  builtin(netip.AddrPortFrom(netip.IPv6Loopback(), 9547)),
	}
}

// BuiltinDNS is what the section dns is when it says nothing.
func BuiltinDNS() DNS {
	return DNS{
		Cache:         builtin[uint64](16_000_000),
		Stale:         builtin(24 * time.Hour),
		ClientLimit:   builtin(128),
		UpstreamLimit: builtin(512),
	}
}

// BuiltinRA is what a network advertises when it says nothing: M=1 O=1 and an on-link prefix with A=1 make every known
// client work on one link. MinInterval is a third of MaxInterval (RFC 4861 section 6.2.1), Lifetime three times of it once this
// machine can forward; both follow a MaxInterval that is set, and so
// do the lifetimes of resolvers and search domains (RFC 8106 section 5.1).
func BuiltinRA() RA {
	return RA{
		Managed: builtin(true), Other: builtin(true), Autonomous: builtin(true), OnLink: builtin(true),
		MinInterval:   builtin(20 * time.Second),
		MaxInterval:   builtin(60 * time.Second),
		Lifetime:      builtin(180 * time.Second),
		MTU:           builtin(0),
		HopLimit:      builtin(64),
		ReachableTime: builtin(time.Duration(0)),
		RetransTimer:  builtin(time.Duration(0)),
		Preference:    builtin("medium"),
		RDNSSLifetime: builtin(180 * time.Second),
		DNSSLLifetime: builtin(180 * time.Second),
	}
}
