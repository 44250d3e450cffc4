package boot_test

import (
	"strings"
	"testing"

	"bootd.internal/bootd/decide/boot"
	"github.com/google/go-cmp/cmp"
)

func TestParsePath(t *testing.T) {
	token := strings.Repeat("a", 32)
	for in, want := range map[string]boot.Path{
		"/boot.ipxe":                      {Kind: boot.Script},
		"//boot.ipxe":                     {Kind: boot.Script},
		"/boot.ipxe/":                     {Kind: boot.File, File: "boot.ipxe/"},
		"/x/boot.ipxe":                    {Kind: boot.File, File: "x/boot.ipxe"},
		"/autoexec.ipxe":                  {Kind: boot.Script, Autoexec: true},
		"/dir//grubx64.efi":               {Kind: boot.File, File: "dir/grubx64.efi"},
		"/":                               {Kind: boot.File},
		"":                                {Kind: boot.File},
		"*":                               {Kind: boot.File, File: "*"},
		"/../etc/passwd":                  {Kind: boot.File, File: "../etc/passwd"},
		"/t":                              {Kind: boot.Callback},
		"/t/" + token:                     {Kind: boot.Callback},
		"/t/" + token + "/preseed.cfg":    {Kind: boot.Answers, Token: token, Leaf: "preseed.cfg"},
		"//t//" + token + "//preseed.cfg": {Kind: boot.Answers, Token: token, Leaf: "preseed.cfg"},
		"/t/" + token + "/installed":      {Kind: boot.Callback, Token: token, Leaf: "installed"},
		"/t/" + token + "/first-boot":     {Kind: boot.Callback, Token: token, Leaf: "first-boot"},
		"/t/" + token + "/other":          {Kind: boot.Callback},
		"/t/" + token + "/installed/x":    {Kind: boot.Callback},
		"/t/../boot.ipxe":                 {Kind: boot.Callback},
		"/tx/file":                        {Kind: boot.File, File: "tx/file"},
	} {
		if diff := cmp.Diff(want, boot.ParsePath(in)); diff != "" {
			t.Errorf("%q: %s", in, diff)
		}
	}
}

func FuzzParsePath(f *testing.F) {
	for _, s := range []string{"/boot.ipxe", "//t//x/installed", "/t/x/preseed.cfg", "/a/../b", "/", "*", "/%2e%2e/x", "\x00/\xff"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p := boot.ParsePath(s)
		switch {
		case p.Kind == boot.File && (p.Token != "" || p.Autoexec || strings.Contains(p.File, "//") || strings.HasPrefix(p.File, "/")):
			t.Fatalf("%q: %+v", s, p)
		case p.Kind != boot.File && p.File != "", (p.Token == "") != (p.Leaf == ""):
			t.Fatalf("%q: %+v", s, p)
		case strings.Contains(p.Token, "/"):
			t.Fatalf("%q: %+v", s, p)
		}
		if again := boot.ParsePath("/" + s); again != p && s != "" {
			t.Fatalf("%q: a leading slash makes %+v of %+v", s, again, p)
		}
	})
}
