// Package mini makes the lab's stand-in for an installer and an operating system: a kernel, an initial file system and
// a tree to unpack, all of Debian's packages (the cloud kernel, busybox, GRUB, efibootmgr), in seconds where Debian's
// own installer takes ten minutes.
//
// It lives the same life: it fetches answers that bootd rendered, finds the disk by bootd's own guard, partitions it,
// makes file systems, installs a boot loader for BIOS and UEFI, keeps the network first in UEFI's boot order, calls
// back, reboots, and the installed system calls back once more. It speaks IPv6 only, and it is good for nothing else.
package mini

import (
	"context"
	"crypto/sha256"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"bootd.internal/lab/mirror"
)

// Profile is the profile of an inventory whose files are Assets and whose templates are those of WriteTemplates.
const Profile = `  mini:
    kernel: mini/linux
    initrd: [mini/initrd.gz]
    script: ipxe/mini.ipxe
    answers: mini/answers.sh
    console: ttyS0,115200n8
    disk: {min_size: 1M}
`

// What the machine prints at its stations.
const (
	// Up: the installer has started.
	Up = "mini: the installer is up"
	// Running, with the host's name in front, ends a life: the installed system has told bootd that it is up.
	Running = "runs from its disk"
	// Dead: the installer has stopped where the inventory told it to.
	Dead = "mini: dead at"
)

//go:embed templates
var templates embed.FS

//go:embed init.sh network.sh installer.sh installed.sh grub.cfg
var sources embed.FS

// Assets are files in the cache, to be served below mini/.
type Assets struct{ Kernel, Initrd, Root string }

// suite is the Debian release that everything comes from.
const suite = "trixie"

// kernelPackage depends on the newest kernel for virtual machines.
const kernelPackage = "linux-image-cloud-amd64"

// Prepare makes the assets from a mirror (the URL of the directory that holds dists and pool), or finds them in the
// cache, which several runs may use at the same time.
func Prepare(ctx context.Context, mirrorURL string) (Assets, error) {
	cache, err := mirror.Cache("mini")
	if err != nil {
		return Assets{}, err
	}
	scratch, err := os.MkdirTemp(cache, "scratch-*")
	if err != nil {
		return Assets{}, fmt.Errorf("preparing the stand-in installer: %w", err)
	}
	defer os.RemoveAll(scratch)
	release, err := mirror.NewRelease(ctx, mirrorURL, suite, filepath.Join(scratch, "apt"))
	if err != nil {
		return Assets{}, err
	}
	kernel, err := kernelOf(ctx, release)
	if err != nil {
		return Assets{}, err
	}
	version, err := release.Candidate(ctx, kernel)
	if err != nil {
		return Assets{}, err
	}
	sum, err := recipe()
	if err != nil {
		return Assets{}, err
	}
	dir := filepath.Join(cache, fmt.Sprintf("%s-%.8x", version, sum))
	a := Assets{Kernel: filepath.Join(dir, "linux"), Initrd: filepath.Join(dir, "initrd.gz"), Root: filepath.Join(dir, "root.tar")}
	if _, err := os.Stat(dir); err == nil {
		return a, nil
	}
	b := build{release: release, scratch: scratch, out: filepath.Join(scratch, "out"), kernel: kernel}
	if err := b.all(ctx); err != nil {
		return Assets{}, fmt.Errorf("making the stand-in installer: %w", err)
	}
	if err := os.Rename(b.out, dir); err != nil {
		if _, other := os.Stat(dir); other != nil { // else another run was first, with the same
			return Assets{}, fmt.Errorf("keeping the stand-in installer: %w", err)
		}
	}
	return a, nil
}

// kernelOf gives the package that holds the kernel itself.
func kernelOf(ctx context.Context, release *mirror.Release) (string, error) {
	depends, err := release.Depends(ctx, kernelPackage)
	if err != nil {
		return "", err
	}
	if len(depends) == 0 {
		return "", errors.New(kernelPackage + " depends on no kernel")
	}
	return depends[0], nil
}

// recipe sums up what the assets are made by, for the name of their directory.
func recipe() ([]byte, error) {
	sum := sha256.New()
	names, err := fs.Glob(sources, "*")
	if err != nil {
		return nil, err
	}
	slices.Sort(names)
	for _, name := range names {
		text, err := sources.ReadFile(name)
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(sum, "%s %d\n%s", name, len(text), text)
	}
	fmt.Fprint(sum, packages, modules, grubModules)
	return sum.Sum(nil), nil
}

// WriteTemplates puts the templates that Profile names into a directory of templates (serve.templates).
func WriteTemplates(dir string) error {
	sub, err := fs.Sub(templates, "templates")
	if err != nil {
		return err
	}
	if err := os.CopyFS(dir, sub); err != nil {
		return fmt.Errorf("writing the stand-in installer's templates: %w", err)
	}
	return nil
}
