// Package debian13 prepares what the complete installation of Debian 13 in the lab needs: the installer's kernel and
// initial file system, as Debian packages them.
//
// Some mirrors lack udebs, the parts that the installer fetches while it runs. Where those of the kernel's modules and
// of ext4's tools are missing, a second initial file system brings their content, taken out of the packages of the same
// versions that an installed system uses, and tells the installer that they are there. With a complete mirror there is
// no second one. Nothing here changes what the installer does, and no signature goes unchecked.
package debian13

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"bootd.internal/lab/mirror"
)

// Assets are files in the cache.
type Assets struct {
	Kernel, Initrd string
	// Extra brings what the mirror lacks; empty: it lacks nothing.
	Extra string
	// Missing are the udebs that Extra stands for.
	Missing []string
}

const (
	suite  = "trixie"
	images = "debian-installer-13-netboot-amd64"
	inside = "usr/lib/debian-installer/images/13/amd64/text/debian-installer/amd64"
	// recipe goes into the names of cached files: another recipe, other files.
	recipe = "2"
)

// Prepare makes the assets from a mirror (the URL of the directory that holds dists and pool), or finds them in the
// cache, which several runs may use at the same time.
func Prepare(ctx context.Context, mirrorURL string) (Assets, error) {
	cache, err := mirror.Cache("debian13")
	if err != nil {
		return Assets{}, err
	}
	scratch, err := os.MkdirTemp(cache, "scratch-*")
	if err != nil {
		return Assets{}, fmt.Errorf("preparing Debian's installer: %w", err)
	}
	defer os.RemoveAll(scratch)
	p := preparation{cache: cache, scratch: scratch}
	if p.release, err = mirror.NewRelease(ctx, mirrorURL, suite, filepath.Join(scratch, "apt")); err != nil {
		return Assets{}, err
	}
	a, err := p.images(ctx)
	if err != nil {
		return Assets{}, err
	}
	return a, p.extra(ctx, &a)
}

// preparation is one call of Prepare.
type preparation struct {
	cache, scratch string
	release        *mirror.Release
}

// images puts the installer's kernel and initial file system into the cache.
func (p preparation) images(ctx context.Context) (Assets, error) {
	version, err := p.release.Candidate(ctx, images)
	if err != nil {
		return Assets{}, err
	}
	dir := filepath.Join(p.cache, "netboot-"+version)
	a := Assets{Kernel: filepath.Join(dir, "linux"), Initrd: filepath.Join(dir, "initrd.gz")}
	if exists(dir) {
		return a, nil
	}
	root := filepath.Join(p.scratch, "netboot")
	if err := p.release.Unpack(ctx, root, images); err != nil {
		return Assets{}, err
	}
	return a, keep(filepath.Join(root, inside), dir)
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// keep moves a finished directory or file to its place in the cache, where another run may have put its equal meanwhile.
func keep(from, to string) error {
	if err := os.Rename(from, to); err != nil && !exists(to) {
		return fmt.Errorf("keeping what was prepared: %w", err)
	}
	return nil
}

// extra makes the second initial file system, if the mirror lacks what it would bring.
func (p preparation) extra(ctx context.Context, a *Assets) error {
	first, err := readInitrd(a.Initrd)
	if err != nil {
		return err
	}
	udebs, err := p.release.InstallerPackages()
	if err != nil {
		return err
	}
	a.Missing, err = p.missing(ctx, udebs, first)
	if err != nil || len(a.Missing) == 0 {
		return err
	}
	sum := sha256.Sum256([]byte(strings.Join(append(a.Missing, filepath.Dir(a.Initrd), recipe), "\n")))
	a.Extra = filepath.Join(p.cache, fmt.Sprintf("extra-%x.gz", sum[:8]))
	if exists(a.Extra) {
		return nil
	}
	text, err := p.makeExtra(ctx, first, a.Missing, udebs)
	if err != nil {
		return fmt.Errorf("making up for udebs that the mirror lacks: %w", err)
	}
	made := filepath.Join(p.scratch, "extra.gz")
	if err := os.WriteFile(made, text, 0o644); err != nil {
		return fmt.Errorf("making up for udebs that the mirror lacks: %w", err)
	}
	return keep(made, a.Extra)
}

// tools are the udebs besides those of the kernel that extra can stand for: file systems, and the library they share.
// What an ext4 installation never runs (ntfs-3g-udeb, xfsprogs-udeb) is only marked as there.
var tools = [...]string{"e2fsprogs-udeb", "libmount1-udeb", "ntfs-3g-udeb", "xfsprogs-udeb"}

// missing lists, of the udebs that the installer may fetch and that extra can stand for, those that are not in the
// first initial file system and not on the mirror.
func (p preparation) missing(ctx context.Context, udebs map[string]string, first *initrd) ([]string, error) {
	var candidates []string
	for name, stanza := range udebs {
		version, _ := mirror.Field(stanza, "Kernel-Version")
		if version == first.kernel && !first.installed[name] {
			candidates = append(candidates, name)
		}
	}
	for _, name := range tools {
		if _, listed := udebs[name]; listed && !first.installed[name] {
			candidates = append(candidates, name)
		}
	}
	slices.Sort(candidates)
	var (
		gone  = make([]bool, len(candidates))
		errs  = make([]error, len(candidates))
		turns = make(chan struct{}, 8)
		all   sync.WaitGroup
	)
	for i, name := range candidates {
		turns <- struct{}{}
		all.Go(func() {
			has, err := p.release.Has(ctx, udebs[name])
			gone[i], errs[i] = !has, err
			<-turns
		})
	}
	all.Wait()
	var names []string
	for i, name := range candidates {
		if gone[i] {
			names = append(names, name)
		}
	}
	return names, errors.Join(errs...)
}

// marked is the installer's list of packages with the missing ones as installed.
func marked(status []byte, missing []string, udebs map[string]string) []byte {
	var b bytes.Buffer
	b.Write(bytes.TrimRight(status, "\n"))
	b.WriteString("\n\n")
	for _, name := range missing {
		fmt.Fprintf(&b, "Package: %s\nStatus: install ok installed\n", name)
		for _, field := range []string{"Priority", "Section", "Installed-Size", "Maintainer", "Architecture", "Version", "Provides", "Depends", "Description"} {
			if value, ok := mirror.Field(udebs[name], field); ok {
				fmt.Fprintf(&b, "%s: %s\n", field, value)
			}
		}
		b.WriteString("\n")
	}
	return b.Bytes()
}
