package tftp

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// FuzzRequest parses what a client may send and negotiates over it: no panic, no stall, an answer that holds only what was
// asked and stays inside the limits.
func FuzzRequest(f *testing.F) {
	for _, s := range []string{
		"", "\x00\x01", "\x00\x01ipxe.efi\x00octet\x00", "\x00\x02new\x00netascii\x00",
		"\x00\x01ipxe.efi\x00octet\x00tsize\x000\x00blksize\x001228\x00windowsize\x004\x00",
		"\x00\x01x\x00octet\x00blksize\x00-1\x00", "\x00\x01x\x00octet\x00blksize\x0099999999999\x00",
		"\x00\x01x\x00octet\x00windowsize\x0065536\x00timeout\x00255\x00", "\x00\x01x\x00octet\x00a\x00b\x00A\x00c\x00",
		"\x00\x01" + strings.Repeat("\x00", 1400),
	} {
		f.Add([]byte(s), int64(5000), 1500)
	}
	f.Fuzz(func(t *testing.T, p []byte, size int64, mtu int) {
		if len(p) > maxRequest {
			return // the socket gives no more
		}
		began := time.Now()
		r, err := parseRequest(p)
		took := time.Since(began)
		for range 5 { // a machine under load stalls now and then; a slow parser does each time
			began = time.Now()
			_, _ = parseRequest(p)
			took = min(took, time.Since(began))
		}
		if took > 10*time.Millisecond {
			t.Errorf("took %v", took)
		}
		if err == nil {
			checkTerms(t, r, size, mtu)
		}
	})
}

func checkTerms(t *testing.T, r request, size int64, mtu int) {
	t.Helper()
	got := negotiate(r.opts, size, mtu)
	if got.block < 512 || got.block > maxBlock || got.window < 1 || got.window > maxWindow ||
		got.interval < 0 || got.interval > maxTimeout*time.Second {
		t.Errorf("agreed on %+v", got)
	}
	asked := map[string]bool{}
	for _, o := range r.opts {
		asked[o.name] = true
	}
	for _, o := range got.oack {
		if !asked[o.name] {
			t.Errorf("acknowledges %q, which nobody asked for", o.name)
		}
	}
	again, err := parseRequest(append(append([]byte("\x00\x01"+r.name+"\x00"+r.mode), 0), packOACK(r.opts)[2:]...))
	again.op = r.op
	if diff := cmp.Diff(r, again, cmp.AllowUnexported(request{}, option{})); diff != "" || err != nil {
		t.Errorf("packed and parsed again: %v\n%s", err, diff)
	}
}
