package importer

import (
	"slices"
	"testing"
)

// TestWhoBelongs: the tests that people write to tell boot clients apart, and whom they find. A client without a user class
// is nobody's iPXE.
func TestWhoBelongs(t *testing.T) {
	all := boots()
	only := func(fits func(pretend) bool) (names []string) {
		for _, p := range all {
			if fits(p) {
				names = append(names, p.name)
			}
		}
		return names
	}
	ipxe := func(p pretend) bool { return p.ipxe }
	x64 := func(p pretend) bool { return p.arch == 7 }
	for text, fits := range map[string]func(pretend) bool{
		"substring(option[15].hex, 2, 4) == 'iPXE'":                        ipxe,
		"substring(option[user-class].hex,2,4) == 'iPXE'":                  ipxe,
		"option[15].exists":                                                ipxe,
		"option[15].hex == 0x000469505845":                                 ipxe,
		"not (substring(option[15].hex, 2, 4) == 'iPXE')":                  func(p pretend) bool { return !p.ipxe },
		"substring(option[15].hex, 2, 4) != 'iPXE'":                        func(p pretend) bool { return !p.ipxe },
		"option[61].hex == 0x0007":                                         x64,
		"option[client-arch-type].hex == 0x0007 and not option[15].exists": func(p pretend) bool { return x64(p) && !p.ipxe },
		"substring(option[16].hex, 6, 10) == 'HTTPClient'":                 func(p pretend) bool { return p.http },
		"option[61].hex == 0x0063":                                         func(pretend) bool { return false },
	} {
		k := &kea{draft: newDraft()}
		var got []string
		for _, p := range all {
			in, err := k.member(keaClass{test: exprWords(text, 1)}, nil, p)
			if err != nil {
				t.Errorf("%s: %v", text, err)
			}
			if in {
				got = append(got, p.name)
			}
		}
		if want := only(fits); !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
}
