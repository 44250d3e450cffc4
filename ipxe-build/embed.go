// Package ipxebuild carries the script that bootd's boot media give to iPXE.
//
// The package never builds anything: media.sh beside it does, from packaged
// binaries, and README.md says how to build iPXE from its source.
package ipxebuild

import _ "embed"

// V6Only is the script: IPv6 alone, one network card after the other, the local
// disk when nobody answers.
//
//go:embed v6only.ipxe
var V6Only string
