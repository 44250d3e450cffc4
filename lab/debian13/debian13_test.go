package debian13

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestClosure(t *testing.T) {
	const index = `kernel/fs/ext4/ext4.ko.xz: kernel/fs/jbd2/jbd2.ko.xz kernel/fs/mbcache.ko.xz
kernel/fs/jbd2/jbd2.ko.xz:
kernel/fs/mbcache.ko.xz:
kernel/fs/xfs/xfs.ko.xz: kernel/fs/mbcache.ko.xz
kernel/fs/nfs/nfs.ko.xz: kernel/net/sunrpc/sunrpc.ko.xz
`
	want := []string{"kernel/fs/jbd2/jbd2.ko.xz", "kernel/fs/mbcache.ko.xz", "kernel/fs/ext4/ext4.ko.xz", "kernel/fs/xfs/xfs.ko.xz"}
	if d := cmp.Diff(want, closure(index)); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

func TestMarked(t *testing.T) {
	udebs := map[string]string{"e2fsprogs-udeb": "Package: e2fsprogs-udeb\nSource: e2fsprogs\nVersion: 1.47\nArchitecture: amd64\nDepends: libc6-udeb\nFilename: pool/e.udeb"}
	got := string(marked([]byte("Package: a\nStatus: install ok installed\n\n"), []string{"e2fsprogs-udeb"}, udebs))
	const want = `Package: a
Status: install ok installed

Package: e2fsprogs-udeb
Status: install ok installed
Architecture: amd64
Version: 1.47
Depends: libc6-udeb

`
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}
