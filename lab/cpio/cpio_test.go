package cpio

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestRoundTrip(t *testing.T) {
	want := []Entry{
		{"bin", Dir | 0o755, []byte{}},
		{"bin/sh", Link | 0o777, []byte("busybox")},
		{"init", Regular | 0o755, []byte("#!/bin/sh\n")},
		{"odd", Regular | 0o600, []byte("12345")},
	}
	var b bytes.Buffer
	if err := Write(&b, want); err != nil {
		t.Fatal(err)
	}
	if b.Len()%4 != 0 {
		t.Errorf("%d octets, want a multiple of 4", b.Len())
	}
	got, err := Read(&b)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

func TestAdd(t *testing.T) {
	dir := t.TempDir()
	for _, err := range []error{
		os.Mkdir(filepath.Join(dir, "d"), 0o755), os.WriteFile(filepath.Join(dir, "d/f"), []byte("x"), 0o644), os.Symlink("d/f", filepath.Join(dir, "l")),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	got, err := Add([]Entry{{Name: "first"}}, dir)
	if err != nil {
		t.Fatal(err)
	}
	want := []Entry{{Name: "first"}, {"d", Dir | 0o755, nil}, {"d/f", Regular | 0o644, []byte("x")}, {"l", Link | 0o777, []byte("d/f")}}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

func FuzzRead(f *testing.F) {
	var b bytes.Buffer
	if err := Write(&b, []Entry{{"a", Regular | 0o644, []byte("b")}}); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	f.Add(b.Bytes()[:115])
	f.Add([]byte("070701"))
	f.Fuzz(func(t *testing.T, data []byte) {
		entries, err := Read(bytes.NewReader(data))
		if err != nil {
			return
		}
		var out bytes.Buffer
		if err := Write(&out, entries); err != nil {
			t.Fatal(err)
		}
		again, err := Read(&out)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(entries, again); d != "" {
			t.Errorf("read, written and read again (-first +second):\n%s", d)
		}
	})
}
