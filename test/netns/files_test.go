package netns_test

import (
	"bytes"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"bootd.internal/lab"
	"bootd.internal/lab/labtest"
)

// host makes a node with the listed host's address, set by hand.
func host(t *testing.T, r *labtest.Rack) *lab.Node {
	t.Helper()
	n := r.Client(t, "host", listedMAC)
	linkLocal(t, n)
	if err := n.AddAddress("eth0", prefixOf(listedAddr)); err != nil {
		t.Fatal(err)
	}
	return n
}

const curlFormat = `%{http_code} %{content_type} %{size_download} %{num_redirects}`

// TestHTTP fetches files the way loaders do, good and bad.
func TestHTTP(t *testing.T) {
	r := newRack(t)
	n := host(t, r)
	base := "http://[2001:db8:1::1]"
	cases := []struct {
		name string
		args []string
		want string // status, type, octets, redirects
	}{
		{"a file", []string{base + "/hello.txt"}, "200 text/plain; charset=utf-8 16 0"},
		{"two slashes, without a redirect", []string{base + "//hello.txt"}, "200 text/plain; charset=utf-8 16 0"},
		{"HEAD", []string{"--head", base + "/hello.txt"}, "200 text/plain; charset=utf-8 0 0"},
		{"a range", []string{"--range", "6-9", base + "/hello.txt"}, "206 text/plain; charset=utf-8 4 0"},
		{"no such file", []string{base + "/missing"}, "404 text/plain; charset=utf-8 20 0"},
		{"out of the directory", []string{"--path-as-is", base + "/../inventory.yaml"}, "404 text/plain; charset=utf-8 20 0"},
		{"out of it, encoded", []string{"--path-as-is", base + "/%2e%2e/inventory.yaml"}, "404 text/plain; charset=utf-8 20 0"},
		{"a method that changes things", []string{"-X", "DELETE", base + "/hello.txt"}, "405 text/plain; charset=utf-8 36 0"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			args := append([]string{"-sS", "-g", "-m", "10", "-o", "/dev/null", "-w", curlFormat}, c.args...)
			if diff := cmp.Diff(c.want, run(t, n, "curl", args...)); diff != "" {
				t.Errorf("curl (-want +got):\n%s", diff)
			}
		})
	}
	out := r.Path("big")
	run(t, n, "curl", "-sS", "-g", "-m", "10", "-o", out, base+"/big.bin")
	sameFile(t, out, big())
}

// TestTFTP fetches a file with two clients of different minds about options,
// and looks at what happens to those that want too much.
func TestTFTP(t *testing.T) {
	r := newRack(t)
	n := host(t, r)
	t.Run("tftp-hpa", func(t *testing.T) {
		out := r.Path("hpa.bin")
		run(t, n, "tftp", "-6", "-m", "binary", "2001:db8:1::1", "-c", "get", "big.bin", out)
		sameFile(t, out, big())
	})
	t.Run("atftp with large windows", func(t *testing.T) {
		out := r.Path("atftp.bin")
		run(t, n, "atftp", "--option", "blksize 1228", "--option", "windowsize 4", "--get", "-r", "big.bin", "-l", out, "2001:db8:1::1")
		sameFile(t, out, big())
	})
	t.Run("a leading slash", func(t *testing.T) {
		out := r.Path("slash.txt")
		run(t, n, "tftp", "-6", "-m", "binary", "2001:db8:1::1", "-c", "get", "/hello.txt", out)
		sameFile(t, out, []byte("hello over IPv6\n"))
	})
	t.Run("no such file: an answer at once", func(t *testing.T) {
		started := time.Now()
		out, _ := n.Command(labtest.Context(t, patience), "tftp", "-6", "-m", "binary", "2001:db8:1::1", "-c", "get", "missing", r.Path("none")).CombinedOutput()
		if !strings.Contains(string(out), "Error code 1: file not found") {
			t.Errorf("tftp says %q", out)
		}
		if took := time.Since(started); took > 4*time.Second { // after five the client asks again
			t.Errorf("it took %s", took)
		}
	})
	t.Run("out of the directory", func(t *testing.T) {
		out, _ := n.Command(labtest.Context(t, patience), "tftp", "-6", "-m", "binary", "2001:db8:1::1", "-c", "get", "../inventory.yaml", r.Path("none")).CombinedOutput()
		if !strings.Contains(string(out), "Error code 2: access violation") {
			t.Errorf("tftp says %q", out)
		}
	})
}

func sameFile(t *testing.T, path string, want []byte) {
	t.Helper()
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(want, got) {
		t.Errorf("%s: %d octets that are not the %d that are served", path, len(got), len(want))
	}
}
