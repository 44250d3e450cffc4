package debian13

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"bootd.internal/lab/cpio"
	"bootd.internal/lab/mirror"
)

// initrd is what extra must know of the installer's own initial file system.
type initrd struct {
	kernel    string // version, such as 6.12.107+deb13-amd64
	files     []cpio.Entry
	status    []byte          // the installer's list of its packages
	installed map[string]bool // the names on it
	libs      string          // the directory of its libraries
}

const statusFile = "var/lib/dpkg/status"

var moduleDir = regexp.MustCompile(`^usr/lib/modules/([^/]+)$`)

func readInitrd(path string) (*initrd, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("reading the installer: %w", err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	in := &initrd{installed: map[string]bool{}}
	if in.files, err = cpio.Read(z); err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	for _, e := range in.files {
		if m := moduleDir.FindStringSubmatch(e.Name); m != nil {
			in.kernel = m[1]
		}
		if e.Name == statusFile {
			in.status = e.Body
		}
		if strings.HasPrefix(filepath.Base(e.Name), "libuuid.so.1") {
			in.libs = filepath.Dir(e.Name)
		}
	}
	if in.kernel == "" || in.status == nil || in.libs == "" {
		return nil, fmt.Errorf("reading %s: no modules (%q), list of packages or libraries (%q) where they were", path, in.kernel, in.libs)
	}
	for stanza := range strings.SplitSeq(string(in.status), "\n\n") {
		if name, ok := mirror.Field(stanza, "Package"); ok {
			in.installed[name] = true
		}
	}
	return in, nil
}

// wantedModules are those that an installation onto a virtual machine's or an ordinary disk needs; what they depend on
// comes along. The installer's own initial file system holds the network's.
var wantedModules = [...]string{
	"virtio_blk", "virtio_scsi", "sd_mod", "sr_mod", "ahci", "ata_piix", "nvme", "usb-storage", "loop", "ext4", "vfat", "nls_ascii",
	"nls_cp437", "nls_iso8859-1", "nls_utf8", "efivarfs", "efi-pstore", "isofs", "md-mod", "raid0", "raid1", "raid10", "raid456",
	"dm-mod", "dm-crypt", "dm-snapshot", "dm-mirror", "xfs", "jfs", "btrfs", "fuse", "crc32c_generic", "crc32c-intel",
}

// makeExtra makes the second initial file system.
func (p preparation) makeExtra(ctx context.Context, first *initrd, missing []string, udebs map[string]string) ([]byte, error) {
	source, kmod, out := filepath.Join(p.scratch, "source"), filepath.Join(p.scratch, "kmod"), filepath.Join(p.scratch, "extra")
	packages := []string{"linux-image-" + first.kernel, "e2fsprogs", "libext2fs2t64", "libcom-err2", "libss2", "libmount1"}
	if err := p.release.Unpack(ctx, source, packages...); err != nil {
		return nil, err
	}
	// The machine's own depmod may be missing, or not know how this release packs modules.
	err := p.release.Root(ctx, kmod, "kmod", "libkmod2", "libc6", "liblzma5", "libzstd1", "libssl3t64", "zlib1g")
	if err != nil {
		return nil, err
	}
	if err := modules(ctx, first, source, kmod, out); err != nil {
		return nil, err
	}
	if err := programs(first, source, out); err != nil {
		return nil, err
	}
	if err := write(filepath.Join(out, statusFile), marked(first.status, missing, udebs), 0o644); err != nil {
		return nil, err
	}
	entries, err := cpio.Add(nil, out)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if err := errors.Join(cpio.Write(z, entries), z.Close()); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

func write(path string, text []byte, mode os.FileMode) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, text, mode)
}

// modules puts the wanted modules that the first initial file system lacks, and an index of both together, into out.
// It works inside the root kmod, with two trees: whole, all modules there are, and both, those that the installer will
// have.
func modules(ctx context.Context, first *initrd, source, kmod, out string) error {
	dir := filepath.Join("usr/lib/modules", first.kernel)
	whole, both := filepath.Join(kmod, "whole"), filepath.Join(kmod, "both")
	for _, tree := range []string{whole, both} {
		if err := os.MkdirAll(filepath.Join(tree, "usr/lib/modules"), 0o755); err != nil {
			return err
		}
		if err := os.Symlink("usr/lib", filepath.Join(tree, "lib")); err != nil { // where depmod looks
			return err
		}
	}
	if err := os.Rename(filepath.Join(source, dir), filepath.Join(whole, dir)); err != nil {
		return err
	}
	if err := mirror.RunIn(ctx, kmod, "/usr/sbin/depmod", "-b", "/whole", first.kernel); err != nil {
		return err
	}
	index, err := os.ReadFile(filepath.Join(whole, dir, "modules.dep"))
	if err != nil {
		return err
	}
	have := map[string]bool{}
	for _, e := range first.files {
		have[e.Name] = true
		if e.Mode&cpio.Regular == cpio.Regular && strings.HasPrefix(e.Name, dir+"/") {
			if err := write(filepath.Join(both, e.Name), e.Body, 0o644); err != nil {
				return err
			}
		}
	}
	for _, file := range closure(string(index)) {
		if name := filepath.Join(dir, file); !have[name] {
			if err := copyInto(name, whole, both, out); err != nil {
				return err
			}
		}
	}
	for _, name := range []string{"modules.order", "modules.builtin", "modules.builtin.modinfo"} {
		if err := copyInto(filepath.Join(dir, name), whole, both); err != nil {
			return err
		}
	}
	if err := mirror.RunIn(ctx, kmod, "/usr/sbin/depmod", "-b", "/both", first.kernel); err != nil {
		return err
	}
	indexes, _ := filepath.Glob(filepath.Join(both, dir, "modules.*"))
	for _, path := range indexes {
		if err := copyInto(filepath.Join(dir, filepath.Base(path)), both, out); err != nil {
			return err
		}
	}
	return nil
}

// copyInto copies a file of one tree into others.
func copyInto(name, from string, to ...string) error {
	body, err := os.ReadFile(filepath.Join(from, name))
	if err != nil {
		return err
	}
	for _, tree := range to {
		if err := write(filepath.Join(tree, name), body, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// closure lists the files of the wanted modules and of all that they depend on, by what depmod found (modules.dep(5)). A
// module that the kernel has built in, or that a release dropped, is not there.
func closure(index string) []string {
	var files []string
	seen := map[string]bool{}
	for line := range strings.Lines(index) {
		file, depends, ok := strings.Cut(strings.TrimSpace(line), ":")
		name, _, _ := strings.Cut(filepath.Base(file), ".ko")
		if !ok || !slices.Contains(wantedModules[:], name) {
			continue
		}
		for _, f := range append(strings.Fields(depends), file) {
			if !seen[f] {
				seen[f] = true
				files = append(files, f)
			}
		}
	}
	return files
}

// programs puts ext4's tools and their libraries into out.
func programs(first *initrd, source, out string) error {
	for _, name := range []string{"mke2fs", "e2fsck", "tune2fs", "resize2fs"} {
		body, err := os.ReadFile(filepath.Join(source, "usr/sbin", name))
		if err != nil {
			return err
		}
		if err := write(filepath.Join(out, "usr/sbin", name), body, 0o755); err != nil {
			return err
		}
	}
	var errs []error
	for _, kind := range []string{"ext2", "ext3", "ext4"} {
		errs = append(errs, os.Symlink("mke2fs", filepath.Join(out, "usr/sbin/mkfs."+kind)), os.Symlink("e2fsck", filepath.Join(out, "usr/sbin/fsck."+kind)))
	}
	config, err := os.ReadFile(filepath.Join(source, "etc/mke2fs.conf"))
	errs = append(errs, err, write(filepath.Join(out, "etc/mke2fs.conf"), config, 0o644))
	for _, lib := range []string{"libext2fs", "libe2p", "libcom_err", "libss", "libmount"} {
		found, _ := filepath.Glob(filepath.Join(source, "usr/lib/x86_64-linux-gnu", lib+".so.*"))
		if len(found) == 0 {
			errs = append(errs, fmt.Errorf("the packages lack %s", lib))
		}
		for _, path := range found { // links come as the file they name: a few kilobytes twice
			body, err := os.ReadFile(path)
			errs = append(errs, err, write(filepath.Join(out, first.libs, filepath.Base(path)), body, 0o644))
		}
	}
	return errors.Join(errs...)
}
