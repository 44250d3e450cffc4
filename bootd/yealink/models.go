// Package yealink is what is known of Yealink's desk phones: models with the names of their common files, their MAC
// prefixes, how they introduce themselves over HTTP, and which words their files use for zones and languages. It knows
// public sources only; docs/modules/yealink.md names them and says what nobody has verified with a phone.
//
// The package never decides who gets a file (decide/phone does) and reads nothing but its arguments.
package yealink

import (
	"fmt"
	"strings"

	"bootd.internal/bootd/ident"
)

// Model is one kind of phone.
type Model struct {
	// Name is as the inventory writes it: T41S.
	Name string
	// Number is NN of the common file y0000000000NN.cfg.
	Number int
	// Accounts and Keys are how many SIP accounts and line keys it has at most; 0: not known, so anything is taken.
	Accounts, Keys int
	// Old firmware (V73 and before) names its keys without "static." and has one transport for all servers of an account.
	Old bool
	// NoDHCPv6: the phone takes addresses from router advertisements alone and is told its provisioning URL by hand.
	NoDHCPv6 bool
}

// Models lists every known model. Common files: Wazo's provd plugins and FreePBX's endpoint tables; accounts and keys: Wazo's
// plugin for V86 and Yealink's administrator guide for V83 (table of X in account.X).
func Models() []Model {
	return []Model{
		{"T18P", 9, 1, 0, true, true},
		{"T19P", 31, 1, 0, true, true},
		{"T19P_E2", 53, 1, 0, false, false},
		{"T20P", 7, 2, 2, true, true},
		{"T21P", 34, 2, 2, true, true},
		{"T21P_E2", 52, 2, 2, false, false},
		{"T22P", 5, 3, 3, true, true},
		{"T23P", 44, 3, 3, false, false},
		{"T23G", 44, 3, 3, false, false},
		{"T26P", 4, 3, 3, true, true},
		{"T27P", 45, 6, 21, false, false},
		{"T27G", 69, 6, 21, false, false},
		{"T28P", 0, 6, 6, true, true},
		{"T29G", 46, 16, 27, false, false},
		{"T30", 127, 1, 0, false, false},
		{"T30P", 127, 1, 0, false, false},
		{"T31", 123, 2, 2, false, false},
		{"T31P", 123, 2, 2, false, false},
		{"T31G", 123, 2, 2, false, false},
		{"T31W", 123, 2, 2, false, false},
		{"T33P", 124, 4, 12, false, false},
		{"T33G", 124, 4, 12, false, false},
		{"T34W", 124, 4, 12, false, false},
		{"T40P", 54, 3, 3, false, false},
		{"T40G", 76, 3, 3, false, false},
		{"T41P", 36, 6, 15, false, false},
		{"T41S", 68, 6, 15, false, false},
		{"T42G", 29, 12, 15, false, false},
		{"T42S", 67, 12, 15, false, false},
		{"T42U", 116, 12, 15, false, false},
		{"T43U", 107, 12, 15, false, false},
		{"T46G", 28, 16, 27, false, false},
		{"T46S", 66, 16, 27, false, false},
		{"T46U", 108, 16, 27, false, false},
		{"T48G", 35, 16, 29, false, false},
		{"T48S", 65, 16, 29, false, false},
		{"T48U", 109, 16, 29, false, false},
		{"T52S", 74, 12, 21, false, false},
		{"T53", 95, 12, 21, false, false},
		{"T53W", 95, 12, 21, false, false},
		{"T54S", 70, 16, 27, false, false},
		{"T54W", 96, 16, 27, false, false},
		{"T57W", 97, 16, 29, false, false},
		{"T58", 58, 16, 27, false, false},
		{"T58A", 58, 16, 27, false, false},
		{"T58V", 58, 16, 27, false, false},
		{"T58W", 150, 16, 27, false, false},
	}
}

// Common is the name of the model's common file.
func (m Model) Common() string { return fmt.Sprintf("y%012d.cfg", m.Number) }

// ByName finds a model; "SIP-" before it and small letters do not matter.
func ByName(name string) (Model, bool) {
	name = strings.ToUpper(name)
	name = strings.TrimPrefix(strings.TrimPrefix(name, "YEALINK "), "SIP-")
	for _, m := range Models() {
		if m.Name == name {
			return m, true
		}
	}
	return Model{}, false
}

// ByNumber finds the first model whose common file has the number; several share one.
func ByNumber(n int) (Model, bool) {
	for _, m := range Models() {
		if m.Number == n {
			return m, true
		}
	}
	return Model{}, false
}

// Names are those of Models, for suggestions.
func Names() []string {
	all := Models()
	names := make([]string, len(all))
	for i, m := range all {
		names[i] = m.Name
	}
	return names
}

// Listed reports whether IEEE gave the MAC's prefix to Yealink (MA-L registry as of 2022-08, Debian's ieee-data; the last two
// come from Wazo's provd plugin for Yealink).
func Listed(m ident.MAC) bool {
	switch [3]byte(m[:3]) {
	case [3]byte{0x00, 0x15, 0x65}, [3]byte{0x80, 0x5e, 0xc0}, [3]byte{0x80, 0x5e, 0x0c}, [3]byte{0x24, 0x9a, 0xd8},
		[3]byte{0x44, 0xdb, 0xd2}, [3]byte{0xe4, 0x34, 0xd7}:
		return true
	}
	return false
}
