// Package emulator finds a QEMU that can emulate a machine for a recent kernel.
//
// QEMU 7.2, that of Debian 12, breaks Linux 6.12, that of Debian 13, in every fourth or fifth boot without KVM: seconds
// after power-on a function returns to nowhere, after an interrupt (seen in extract_entropy, __kmalloc and
// do_sync_core; 11 of 48 boots, on a busy machine). Linux 6.1 did not break in 10 boots, and neither did Linux 6.12 on
// QEMU 10 in 26. So on Debian 12 the one of its backports is used, unpacked beside the machine's own, whose libraries
// it shares, and installed nowhere.
package emulator

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"

	"bootd.internal/lab"
	"bootd.internal/lab/mirror"
)

const (
	program = "qemu-system-x86_64"
	// fixed is the first major version that is trusted.
	fixed = 8
	suite = "bookworm-backports"
)

// packages are QEMU without firmware for network cards, which machines of the lab do without.
var packages = [...]string{"qemu-system-x86", "qemu-system-common", "qemu-system-data", "seabios"}

// Path gives the PATH by which a good enough QEMU is found: the present one, unless this machine's QEMU is too old and
// has no KVM to do its work. What is fetched from the mirror (the URL of the directory that holds dists and pool) stays
// in the cache.
func Path(ctx context.Context, mirrorURL string) (string, error) {
	path := os.Getenv("PATH")
	if lab.Accelerator() == "kvm" {
		return path, nil
	}
	have, err := version(ctx, program)
	if err != nil {
		return "", err
	}
	if have >= fixed {
		return path, nil
	}
	dir, err := newer(ctx, mirrorURL)
	if err != nil {
		return "", fmt.Errorf("getting a QEMU newer than %d: %w", have, err)
	}
	return dir + string(os.PathListSeparator) + path, nil
}

// version gives the major version of a QEMU.
func version(ctx context.Context, name string) (int, error) {
	out, err := exec.CommandContext(ctx, name, "--version").CombinedOutput()
	if err != nil {
		return 0, fmt.Errorf("asking QEMU for its version (scripts/deps.sh test installs it): %w: %s", err, out)
	}
	m := regexp.MustCompile(`version ([0-9]+)\.`).FindSubmatch(out)
	if m == nil {
		return 0, fmt.Errorf("asking QEMU for its version: it says %q", out)
	}
	return strconv.Atoi(string(m[1]))
}

// newer gives a directory with a program of QEMU's name that runs the one of the backports.
func newer(ctx context.Context, mirrorURL string) (string, error) {
	cache, err := mirror.Cache("emulator")
	if err != nil {
		return "", err
	}
	scratch, err := os.MkdirTemp(cache, "scratch-*")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(scratch)
	release, err := mirror.NewRelease(ctx, mirrorURL, suite, filepath.Join(scratch, "apt"))
	if err != nil {
		return "", err
	}
	candidate, err := release.Candidate(ctx, packages[0])
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, regexp.MustCompile(`[^0-9A-Za-z.+~-]`).ReplaceAllString(candidate, "_"))
	if _, err := os.Stat(dir); err == nil {
		return filepath.Join(dir, "bin"), nil
	}
	root := filepath.Join(scratch, "root")
	if err := release.Unpack(ctx, root, packages[:]...); err != nil {
		return "", err
	}
	// The name of the final place, which the directory is moved to when it is whole.
	script := fmt.Sprintf("#!/bin/sh\nexec '%[1]s/usr/bin/%[2]s' -L '%[1]s/usr/share/qemu' -L '%[1]s/usr/share/seabios' \"$@\"\n", dir, program)
	if err := os.MkdirAll(filepath.Join(root, "bin"), 0o755); err != nil {
		return "", err
	}
	if err := os.WriteFile(filepath.Join(root, "bin", program), []byte(script), 0o755); err != nil {
		return "", err
	}
	if _, err := version(ctx, filepath.Join(root, "usr/bin", program)); err != nil {
		return "", err
	}
	if err := os.Rename(root, dir); err != nil {
		if _, other := os.Stat(dir); other != nil { // else another run was first, with the same
			return "", fmt.Errorf("keeping QEMU: %w", err)
		}
	}
	return filepath.Join(dir, "bin"), nil
}
