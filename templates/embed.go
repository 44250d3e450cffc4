// Package templates carries the built-in templates inside the binary. A directory of the user's overrides them file by
// file (render.Layer).
//
// The package never renders anything; bootd/render does.
package templates

import "embed"

// Files are the built-in templates, by the names that profiles use: ipxe/install.ipxe, preseed/debian13.cfg.
//
//go:embed guard ipxe preseed yealink
var files embed.FS

// FS gives the built-in templates.
func FS() embed.FS { return files }
