package boot

import "strings"

// Path is a request's path, sorted by what it asks for.
type Path struct {
	Kind Kind
	// Autoexec: the script that iPXE asks for by itself, before it has an address.
	Autoexec bool
	// Token and Leaf are those of /t/TOKEN/LEAF; an unknown leaf leaves both empty.
	Token, Leaf string
	// File is the path of a file, without a leading slash and with single slashes.
	File string
}

// The names below a token.
const (
	leafAnswers   = "preseed.cfg"
	leafInstalled = "installed"
	leafFirstBoot = "first-boot"
	leafProgress  = "progress"
	leafFailed    = "failed"
)

// ParsePath sorts a decoded path. Repeated slashes count as one: shim asks for ".../dir//grubx64.efi". Dots are left as
// they are, the served directory refuses them.
func ParsePath(p string) Path {
	parts := strings.FieldsFunc(p, func(r rune) bool { return r == '/' })
	switch {
	case len(parts) == 1 && (parts[0] == "boot.ipxe" || parts[0] == "autoexec.ipxe") && !strings.HasSuffix(p, "/"):
		return Path{Kind: Script, Autoexec: parts[0] == "autoexec.ipxe"}
	case len(parts) == 1 && parts[0] == "discovered":
		return Path{Kind: Discovered}
	case len(parts) > 0 && parts[0] == "t":
		return tokenPath(parts[1:])
	}
	file := strings.Join(parts, "/")
	if strings.HasSuffix(p, "/") && file != "" {
		file += "/" // a directory, which is never served
	}
	return Path{Kind: File, File: file}
}

func tokenPath(parts []string) Path {
	none := Path{Kind: Callback}
	if len(parts) != 2 {
		return none
	}
	token, leaf := parts[0], parts[1]
	switch leaf {
	case leafAnswers:
		return Path{Kind: Answers, Token: token, Leaf: leaf}
	case leafInstalled, leafFirstBoot, leafProgress, leafFailed:
		return Path{Kind: Callback, Token: token, Leaf: leaf}
	}
	return none
}
