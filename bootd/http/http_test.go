package http

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"bootd.internal/bootd/reason"
	"bootd.internal/bootd/timeline"
)

func TestFiles(t *testing.T) {
	l := newLab(t, nil)
	for _, tc := range []struct {
		name, method, path string
		header             []string
		status             int
		body               string
		want               map[string]string
		reason             reason.Reason
		event              timeline.Kind
	}{
		{"loader", "GET", "/ipxe.efi", nil, 200, strings.Repeat("efi!", 1000), map[string]string{"Content-Type": "application/efi", "Content-Length": "4000", "Accept-Ranges": "bytes", "Content-Encoding": ""}, reason.Answered, timeline.LoaderFetched},
		{"HEAD", "HEAD", "/ipxe.efi", nil, 200, "", map[string]string{"Content-Type": "application/efi", "Content-Length": "4000"}, reason.Answered, ""},
		{"two slashes", "GET", "/dir//grubx64.efi", nil, 200, "grub", map[string]string{"Content-Length": "4"}, reason.Answered, timeline.LoaderFetched},
		{"gzip is not ours", "GET", "/debian13/initrd.gz", []string{"Accept-Encoding", "gzip"}, 200, "initrd", map[string]string{"Content-Encoding": "", "Content-Type": "application/octet-stream"}, reason.Answered, timeline.FileFetched},
		{"range", "GET", "/ipxe.efi", []string{"Range", "bytes=2-5"}, 206, "i!ef", map[string]string{"Content-Range": "bytes 2-5/4000"}, reason.Answered, ""},
		{"range of another file", "GET", "/ipxe.efi", []string{"Range", "bytes=2-5", "If-Range", `"other"`}, 200, strings.Repeat("efi!", 1000), nil, reason.Answered, timeline.LoaderFetched},
		{"range past the end", "GET", "/ipxe.efi", []string{"Range", "bytes=4000-"}, 416, "invalid range: failed to overlap\n", map[string]string{"Content-Range": "bytes */4000"}, reason.Answered, ""},
		{"condition that fails", "GET", "/ipxe.efi", []string{"If-Match", `"other"`}, 412, "", nil, reason.Answered, ""},
		{"not there", "GET", "/revocations_sku.efi", nil, 404, "bootd: no such file\n", map[string]string{"Content-Length": "20"}, reason.NotFound, ""},
		{"directory", "GET", "/debian13/", nil, 404, "bootd: no such file\n", nil, reason.NotFound, ""},
		{"directory without slash", "GET", "/debian13", nil, 404, "bootd: no such file\n", nil, reason.NotFound, ""},
		{"root", "GET", "/", nil, 404, "bootd: no such file\n", nil, reason.NotFound, ""},
		{"up", "GET", "/%2e%2e/etc/passwd", nil, 404, "bootd: no such file\n", nil, reason.OutsideRoot, ""},
		{"up, slash encoded", "GET", "/..%2f..%2fetc%2fpasswd", nil, 404, "bootd: no such file\n", nil, reason.OutsideRoot, ""},
		{"up, encoded twice", "GET", "/%252e%252e/etc/passwd", nil, 404, "bootd: no such file\n", nil, reason.OutsideRoot, ""},
		{"NUL", "GET", "/ipxe.efi%00.txt", nil, 404, "bootd: no such file\n", nil, reason.OutsideRoot, ""},
		{"POST", "POST", "/ipxe.efi", nil, 405, "bootd: GET and HEAD are served here\n", map[string]string{"Allow": "GET, HEAD"}, reason.BadMethod, ""},
		{"PUT", "PUT", "/ipxe.efi", nil, 405, "bootd: GET and HEAD are served here\n", nil, reason.BadMethod, ""},
		{"POST of a script", "POST", "/boot.ipxe", nil, 405, "bootd: GET and HEAD are served here\n", nil, reason.BadMethod, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			l.t = t
			res, body := l.do(tc.method, tc.path, tc.header...)
			if res.StatusCode != tc.status || body != tc.body {
				t.Errorf("got %d %.60q, want %d %.60q", res.StatusCode, body, tc.status, tc.body)
			}
			for k, want := range tc.want {
				if got := res.Header.Get(k); got != want {
					t.Errorf("%s: %q, want %q", k, got, want)
				}
			}
			o := l.next()
			if o.Outcome.Reason != tc.reason || o.Err != nil {
				t.Errorf("observed %+v", o)
			}
			var event timeline.Kind
			for _, e := range o.Events {
				event = e.Kind
				if e.Host != "r1n01" || e.MAC != mac1 {
					t.Errorf("event of %q, %s", e.Host, e.MAC)
				}
			}
			if event != tc.event {
				t.Errorf("event %q, want %q", event, tc.event)
			}
		})
	}
}

func TestResumeWithETag(t *testing.T) {
	l := newLab(t, nil)
	head, _ := l.do("HEAD", "/debian13/linux")
	tag := head.Header.Get("ETag")
	res, body := l.do("GET", "/debian13/linux", "Range", "bytes=2999995-", "If-Range", tag, "If-Match", tag)
	if res.StatusCode != 206 || body != "56789" || res.Header.Get("Content-Range") != "bytes 2999995-2999999/3000000" {
		t.Errorf("got %d %q %v", res.StatusCode, body, res.Header)
	}
}

func TestSymlinkOutOfRoot(t *testing.T) {
	l := newLab(t, nil)
	secret := filepath.Join(t.TempDir(), "secret")
	write(t, secret, []byte("secret"))
	if err := os.Symlink(secret, filepath.Join(l.dir, "link")); err != nil {
		t.Fatal(err)
	}
	res, body := l.do("GET", "/link")
	if res.StatusCode != 404 || body != "bootd: no such file\n" || l.next().Outcome.Reason != reason.OutsideRoot {
		t.Errorf("got %d %q", res.StatusCode, body)
	}
}

func TestHostHeaderChangesNothing(t *testing.T) {
	l := newLab(t, nil)
	l.arm("r1n01")
	for _, host := range []string{"[2001:db8:1::1]", "[2001:db8:1::1]:80", "evil.example.net", ""} {
		got := l.raw("GET /boot.ipxe HTTP/1.1\r\nHost: " + host + "\r\nConnection: close\r\n\r\n")
		if !strings.HasPrefix(got, "HTTP/1.1 200 OK\r\n") || strings.Contains(got, "evil") {
			t.Errorf("host %q: %s", host, got)
		}
	}
}

func TestLifeOverHTTP(t *testing.T) {
	l := newLab(t, nil)
	res, body := l.do("GET", "/boot.ipxe")
	if res.StatusCode != 200 || !strings.Contains(body, "r1n01 is not armed: booting the local disk") {
		t.Fatalf("%d %s", res.StatusCode, body)
	}
	if o := l.next(); o.Outcome != (reason.Outcome{Reason: reason.LocalDisk, Host: "r1n01", Network: "rack1", Rule: "frame-mac"}) || o.Message != "script" {
		t.Errorf("%+v", o)
	}
	l.arm("r1n01")
	_, script := l.do("GET", "/boot.ipxe?uuid=00112233-4455-6677-8899-aabbccddeeff")
	if o := l.next(); o.Outcome.Reason != reason.Install || o.Events[0].Kind != timeline.ScriptFetched {
		t.Errorf("%+v", o)
	}
	if !strings.Contains(script, "kernel http://[2001:db8:1::1]/debian13/linux initrd=initrd0 auto=true") {
		t.Fatal(script)
	}
	path := between(t, script, "url=http://[2001:db8:1::1]", "?")
	token := strings.Split(path, "/")[2]

	l.as(mac2)
	if res, body := l.do("GET", path); res.StatusCode != 403 || body != "bootd: not yours\n" {
		t.Errorf("another host got %d %s", res.StatusCode, body)
	}
	if o := l.next(); o.Outcome.Reason != reason.TokenOtherHost || o.Outcome.Host != "r1n02" {
		t.Errorf("%+v", o)
	}
	l.as(mac1)
	head, _ := l.do("HEAD", path)
	l.next()
	answersRes, answers := l.do("GET", path+"?uuid=00112233-4455-6677-8899-aabbccddeeff")
	if o := l.next(); o.Outcome.Reason != reason.Answered || o.Message != "answers" || len(o.Events) != 1 || o.Events[0].Kind != timeline.AnswersServed {
		t.Errorf("%+v", o)
	}
	if head.StatusCode != 200 || answersRes.StatusCode != 200 || answersRes.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("HEAD %d, GET %d %v", head.StatusCode, answersRes.StatusCode, answersRes.Header)
	}
	installed := between(t, answers, "tell 'http://[2001:db8:1::1]", "'")
	installed = "/t/" + strings.Split(installed, "/")[2] + "/installed"
	first := between(t, answers, "#|url='http://[2001:db8:1::1]", "'")
	for _, step := range []struct {
		method, path string
		status       int
		reason       reason.Reason
		event        timeline.Kind
	}{
		{"GET", strings.Replace(installed, "installed", "progress?stage=base", 1), 200, reason.Callback, timeline.Progress},
		{"POST", installed, 200, reason.Callback, timeline.Installed},
		{"GET", installed, 200, reason.TokenSpent, ""},
		{"GET", first, 200, reason.Callback, timeline.FirstBoot},
		{"GET", path, 403, reason.TokenExpired, ""},
		{"GET", "/t/" + strings.Repeat("0", 32) + "/installed", 403, reason.TokenUnknown, ""},
		{"GET", "/t/" + token + "/other", 404, reason.NotFound, ""},
		{"GET", "/t/" + token, 404, reason.NotFound, ""},
	} {
		res, _ := l.do(step.method, step.path)
		o := l.next()
		var event timeline.Kind
		if len(o.Events) > 0 {
			event = o.Events[0].Kind
		}
		if res.StatusCode != step.status || o.Outcome.Reason != step.reason || event != step.event {
			t.Errorf("%s %s: %d %s %q, want %d %s %q", step.method, step.path, res.StatusCode, o.Outcome.Reason, event, step.status, step.reason, step.event)
		}
		if strings.Contains(fmt.Sprintf("%+v", o), token) || strings.Contains(fmt.Sprintf("%+v", o), strings.Split(first, "/")[2]) {
			t.Errorf("a token is in %+v", o)
		}
	}
}

func between(t *testing.T, s, before, after string) string {
	t.Helper()
	_, rest, ok := strings.Cut(s, before)
	got, _, ok2 := strings.Cut(rest, after)
	if !ok || !ok2 {
		t.Fatalf("%q and %q not found in\n%s", before, after, s)
	}
	return got
}
