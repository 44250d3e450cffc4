package mini

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"bootd.internal/lab/cpio"
	"bootd.internal/lab/mirror"
)

// packages are where everything but the kernel comes from.
var packages = [...]string{
	"busybox-static", "xz-utils", "grub-common", "grub-pc-bin", "grub-efi-amd64-bin", "grub-efi-amd64-unsigned", "efibootmgr",
	"libc6", "liblzma5", "libdevmapper1.02.1", "libselinux1", "libudev1", "libpcre2-8-0", "libcap2",
	"libefiboot1t64", "libefivar1t64", "libpopt0",
}

// modules are the kernel's that are needed and not built in, each behind those that it needs.
var modules = [...]string{
	"failover", "net_failover", "virtio_net", "virtio_blk", "nls_cp437", "nls_ascii", "fat", "vfat", "efivarfs",
}

// grubModules are those of both kinds of GRUB.
var grubModules = [...]string{"part_msdos", "ext2", "search", "search_label", "normal", "configfile", "linux", "serial", "terminal", "echo"}

const libs = "usr/lib/x86_64-linux-gnu"

// efiPrograms are what efibootmgr consists of: the program, its libraries, and what loads them.
var efiPrograms = [...]string{
	"usr/bin/efibootmgr", libs + "/libefiboot.so.1", libs + "/libefivar.so.1", libs + "/libpopt.so.0", libs + "/libc.so.6",
	libs + "/libdl.so.2", libs + "/libpthread.so.0", libs + "/ld-linux-x86-64.so.2",
}

// build is one making of the assets.
type build struct {
	release            *mirror.Release
	scratch, out, root string
	kernel             string // package
}

func (b build) all(ctx context.Context) error {
	b.root = filepath.Join(b.scratch, "root")
	if err := b.release.Root(ctx, b.root, append(packages[:], b.kernel)...); err != nil {
		return err
	}
	if err := os.MkdirAll(b.out, 0o755); err != nil {
		return err
	}
	images, _ := filepath.Glob(filepath.Join(b.root, "boot/vmlinuz-*"))
	if len(images) != 1 {
		return fmt.Errorf("%s holds %d kernels", b.kernel, len(images))
	}
	if err := os.Rename(images[0], filepath.Join(b.out, "linux")); err != nil {
		return err
	}
	if err := b.initrd(ctx); err != nil {
		return err
	}
	if err := b.grub(ctx); err != nil {
		return err
	}
	return b.tar()
}

// source is a file of this package as an entry.
func source(name, to string, mode uint32) (cpio.Entry, error) {
	text, err := sources.ReadFile(name)
	return cpio.Entry{Name: to, Mode: cpio.Regular | mode, Body: text}, err
}

// file is a file of the packages as an entry; a link counts as what it points to.
func (b build) file(from, to string, mode uint32) (cpio.Entry, error) {
	text, err := os.ReadFile(filepath.Join(b.root, from))
	return cpio.Entry{Name: to, Mode: cpio.Regular | mode, Body: text}, err
}

func dirs(names ...string) []cpio.Entry {
	var entries []cpio.Entry
	for _, name := range names {
		entries = append(entries, cpio.Entry{Name: name, Mode: cpio.Dir | 0o755})
	}
	return entries
}

// busybox is busybox under all its names, in bin.
func (b build) busybox(ctx context.Context) ([]cpio.Entry, error) {
	program, err := b.file("usr/bin/busybox", "bin/busybox", 0o755)
	if err != nil {
		return nil, err
	}
	names, err := mirror.OutputIn(ctx, b.root, "/usr/bin/busybox", "--list")
	if err != nil {
		return nil, err
	}
	entries := []cpio.Entry{program}
	for name := range strings.FieldsSeq(names) {
		if name != "busybox" {
			entries = append(entries, cpio.Entry{Name: "bin/" + name, Mode: cpio.Link | 0o777, Body: []byte("busybox")})
		}
	}
	return entries, nil
}

// initrd makes the initial file system that installer and installed system share.
func (b build) initrd(ctx context.Context) error {
	entries := dirs("bin", "dev", "etc", "lib", "lib/modules", "proc", "sys", "tmp")
	programs, err := b.busybox(ctx)
	if err != nil {
		return err
	}
	entries = append(entries, programs...)
	for _, s := range []struct {
		name, to string
		mode     uint32
	}{{"init.sh", "init", 0o755}, {"installer.sh", "installer.sh", 0o755}, {"network.sh", "network.sh", 0o644}} {
		e, err := source(s.name, s.to, s.mode)
		if err != nil {
			return err
		}
		entries = append(entries, e)
	}
	drivers, err := b.modules(ctx)
	if err != nil {
		return err
	}
	f, err := os.Create(filepath.Join(b.out, "initrd.gz"))
	if err != nil {
		return err
	}
	z := gzip.NewWriter(f)
	return errors.Join(cpio.Write(z, append(entries, drivers...)), z.Close(), f.Close())
}

// modules are the drivers, unpacked, and the order to load them in.
func (b build) modules(ctx context.Context) ([]cpio.Entry, error) {
	var entries []cpio.Entry
	order := ""
	for _, name := range modules {
		found, err := b.find(name)
		if err != nil {
			return nil, err
		}
		if found == "" {
			continue // built in
		}
		if strings.HasSuffix(found, ".xz") {
			if err := mirror.RunIn(ctx, b.root, "/usr/bin/xz", "-d", "/"+found); err != nil {
				return nil, err
			}
			found = strings.TrimSuffix(found, ".xz")
		}
		e, err := b.file(found, "lib/modules/"+name+".ko", 0o644)
		if err != nil {
			return nil, err
		}
		entries = append(entries, e)
		order += name + "\n"
	}
	return append(entries, cpio.Entry{Name: "lib/modules/order", Mode: cpio.Regular | 0o644, Body: []byte(order)}), nil
}

// find gives the path of a module inside the root, empty when there is none.
func (b build) find(name string) (string, error) {
	var found string
	err := filepath.WalkDir(filepath.Join(b.root, "usr/lib/modules"), func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() && strings.HasPrefix(strings.ReplaceAll(d.Name(), "-", "_"), name+".ko") {
			found, err = filepath.Rel(b.root, path)
		}
		return err
	})
	return found, err
}

// grub makes GRUB's images: for BIOS one that stands behind the boot sector, for UEFI a program. Both find the installed
// system by the label of its file system.
func (b build) grub(ctx context.Context) error {
	config, err := sources.ReadFile("grub.cfg")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(b.root, "grub.cfg"), config, 0o644); err != nil {
		return err
	}
	bios := append([]string{"-O", "i386-pc", "-o", "/core.img", "-p", "/boot/grub", "-c", "/grub.cfg", "biosdisk"}, grubModules[:]...)
	uefi := append([]string{"-O", "x86_64-efi", "-o", "/grubx64.efi", "-p", "/boot/grub", "-c", "/grub.cfg", "fat"}, grubModules[:]...)
	return errors.Join(mirror.RunIn(ctx, b.root, "/usr/bin/grub-mkimage", bios...), mirror.RunIn(ctx, b.root, "/usr/bin/grub-mkimage", uefi...))
}

// tar makes the tree that the installer unpacks.
func (b build) tar() error {
	entries := dirs("bin", "boot", "boot/grub", "dev", "etc", "proc", "sbin", "sys", "tmp", "usr", "usr/bin", "usr/lib", libs, "usr/lib64")
	entries = append(entries, cpio.Entry{Name: "lib64", Mode: cpio.Link | 0o777, Body: []byte("usr/lib64")},
		cpio.Entry{Name: "lib", Mode: cpio.Link | 0o777, Body: []byte("usr/lib")},
		cpio.Entry{Name: "usr/lib64/ld-linux-x86-64.so.2", Mode: cpio.Link | 0o777, Body: []byte("/" + libs + "/ld-linux-x86-64.so.2")})
	add := func(e cpio.Entry, err error) error {
		entries = append(entries, e)
		return err
	}
	var errs []error
	for _, name := range efiPrograms {
		errs = append(errs, add(b.file(name, name, 0o755)))
	}
	for _, f := range []struct {
		from, to string
		mode     uint32
	}{
		{"usr/lib/grub/i386-pc/boot.img", "boot/grub/boot.img", 0o644},
		{"core.img", "boot/grub/core.img", 0o644},
		{"grubx64.efi", "boot/grub/grubx64.efi", 0o644},
		{"../out/linux", "boot/vmlinuz", 0o644},
		{"../out/initrd.gz", "boot/initrd.gz", 0o644},
		{"usr/bin/busybox", "bin/busybox", 0o755},
	} {
		errs = append(errs, add(b.file(f.from, f.to, f.mode)))
	}
	for _, name := range []string{"sh", "mount", "hostname", "echo", "ip", "grep", "sed", "usleep", "wget", "cat", "rm", "sync", "sleep"} {
		entries = append(entries, cpio.Entry{Name: "bin/" + name, Mode: cpio.Link | 0o777, Body: []byte("busybox")})
	}
	errs = append(errs, add(source("installed.sh", "sbin/init", 0o755)), add(source("network.sh", "etc/network.sh", 0o644)))
	if err := errors.Join(errs...); err != nil {
		return err
	}
	return writeTar(filepath.Join(b.out, "root.tar"), entries)
}

func writeTar(path string, entries []cpio.Entry) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	w := tar.NewWriter(f)
	for _, e := range entries {
		h := &tar.Header{Name: e.Name, Mode: int64(e.Mode & 0o7777), Format: tar.FormatUSTAR}
		switch e.Mode &^ 0o7777 {
		case cpio.Dir:
			h.Typeflag = tar.TypeDir
		case cpio.Link:
			h.Typeflag, h.Linkname = tar.TypeSymlink, string(e.Body)
		default:
			h.Typeflag, h.Size = tar.TypeReg, int64(len(e.Body))
		}
		if err := w.WriteHeader(h); err != nil {
			return errors.Join(err, f.Close())
		}
		if h.Typeflag == tar.TypeReg {
			if _, err := w.Write(e.Body); err != nil {
				return errors.Join(err, f.Close())
			}
		}
	}
	return errors.Join(w.Close(), f.Close())
}
