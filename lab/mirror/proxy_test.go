package mirror

import (
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// A tree in the middle of an update gives way to its alias, where that is whole and the same release.
func TestTree(t *testing.T) {
	index := func(text string) string {
		return fmt.Sprintf(" %x 3 main/binary-amd64/Packages.xz\n", sha256.Sum256([]byte(text)))
	}
	for _, c := range []struct{ name, trixie, stable, want string }{
		{"whole", "new", "old", "trixie"},
		{"updating", "old", "old", "stable"},
		{"both updating", "old", "new", "trixie"},
	} {
		t.Run(c.name, func(t *testing.T) {
			files := map[string]string{
				"/dists/trixie/InRelease": "Codename: trixie\n" + index("new"), "/dists/trixie/main/binary-amd64/Packages.xz": c.trixie,
				"/dists/stable/InRelease": "Codename: trixie\n" + index("old"), "/dists/stable/main/binary-amd64/Packages.xz": c.stable,
			}
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if text, ok := files[r.URL.Path]; ok {
					_, _ = io.WriteString(w, text)
					return
				}
				http.NotFound(w, r)
			}))
			defer server.Close()
			got := get(t, proxyOf(t, t.TempDir(), server.URL), "GET", "/debian/dists/trixie/InRelease")
			if want := files["/dists/"+c.want+"/InRelease"]; got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		})
	}
}

// origin is a mirror that counts what it is asked for.
type origin struct {
	mu    sync.Mutex
	asked map[string]int
	fail  bool
}

func (o *origin) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	o.mu.Lock()
	o.asked[r.URL.Path]++
	n, fail := o.asked[r.URL.Path], o.fail
	o.mu.Unlock()
	switch {
	case fail:
		http.Error(w, "broken", http.StatusServiceUnavailable)
	case r.URL.Path == "/debian/pool/gone.deb":
		http.NotFound(w, r)
	case r.URL.Path == "/debian/pool/short.deb":
		w.Header().Set("Content-Length", "100")
		_, _ = io.WriteString(w, "too little")
	default:
		_, _ = fmt.Fprintf(w, "%s, answer %d", r.URL.Path, n)
	}
}

func get(t *testing.T, h http.Handler, method, target string) string {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(method, target, nil))
	if w.Code != http.StatusOK {
		return fmt.Sprint(w.Code)
	}
	return w.Body.String()
}

func proxyOf(t *testing.T, dir, mirror string) *proxy {
	t.Helper()
	p := newProxy(dir)
	u, ok := usable(mirror)
	if !ok {
		t.Fatalf("%q is not usable", mirror)
	}
	p.base = func() (upstream, error) { return upstream{url: u}, nil }
	return p
}

// What does not change is fetched once, ever; an index once per run; what is missing is asked for once per run; a file
// that came in part is no file; and a mirror that fails leaves what was there.
func TestProxy(t *testing.T) {
	o := &origin{asked: map[string]int{}}
	server := httptest.NewServer(o)
	defer server.Close()
	dir := t.TempDir()
	for run := 1; run <= 3; run++ {
		o.mu.Lock()
		o.fail = run == 3
		o.mu.Unlock()
		p := proxyOf(t, dir, server.URL+"/debian")
		index := "/debian/dists/trixie/InRelease, answer " + fmt.Sprint(min(run, 2))
		for range 2 {
			got := []string{
				get(t, p, "GET", "/debian/pool/a.deb"), get(t, p, "HEAD", "/x/pool/a.deb"), get(t, p, "GET", "/dists/trixie/InRelease"),
				get(t, p, "GET", "/debian/pool/../secret"), get(t, p, "GET", "/debian/other"), get(t, p, "GET", "/debian/dists/trixie/"),
				get(t, p, "POST", "/debian/pool/a.deb"), get(t, p, "GET", "/debian/pool/short.deb"),
			}
			want := []string{"/debian/pool/a.deb, answer 1", "", index, "404", "404", "404", "405", "502"}
			if d := cmp.Diff(want, got); d != "" {
				t.Fatalf("run %d (-want +got):\n%s", run, d)
			}
			if run < 3 {
				if got := get(t, p, "GET", "/debian/pool/gone.deb"); got != "404" {
					t.Errorf("a missing file: %s, want 404", got)
				}
			}
		}
	}
	want := map[string]int{
		"/debian/pool/a.deb": 1, "/debian/dists/trixie/InRelease": 3, "/debian/pool/short.deb": 6, "/debian/pool/gone.deb": 2,
	}
	if d := cmp.Diff(want, o.asked); d != "" {
		t.Errorf("asked of the mirror (-want +got):\n%s", d)
	}
	left, err := filepath.Glob(filepath.Join(dir, "pool", ".fetching-*"))
	if err != nil || len(left) != 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}

// Many who ask for one file cause one request.
func TestProxyTogether(t *testing.T) {
	o := &origin{asked: map[string]int{}}
	server := httptest.NewServer(o)
	defer server.Close()
	p := proxyOf(t, t.TempDir(), server.URL)
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			if got, want := get(t, p, "GET", "/pool/b.deb"), "/pool/b.deb, answer 1"; got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		})
	}
	all.Wait()
	if n := o.asked["/pool/b.deb"]; n != 1 {
		t.Errorf("%d requests, want 1", n)
	}
}

// The relay inside passes whole responses on, and ends when told to.
func TestServe(t *testing.T) {
	o := &origin{asked: map[string]int{}}
	server := httptest.NewServer(o)
	defer server.Close()
	t.Setenv(Env, server.URL+"/debian")
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	t.Setenv("TMPDIR", t.TempDir())
	t.Setenv(socketEnv, "")
	if err := Outside(); err != nil {
		t.Fatal(err)
	}
	defer os.Unsetenv(socketEnv)
	s, err := Serve(nil, netip.MustParseAddrPort("[::1]:0"))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.Get(s.URL() + "/pool/c.deb")
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil || string(body) != "/debian/pool/c.deb, answer 1" {
		t.Errorf("got %q, %v", body, err)
	}
	if err := resp.Body.Close(); err != nil {
		t.Error(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func TestSources(t *testing.T) {
	const want = "http://mirror.example.net/debian"
	for name, got := range map[string]*url.URL{
		"deb822": deb822("# a comment\nTypes: deb\nURIs: http://mirror.example.net/debian-security\nSuites: trixie-security\nComponents: main\n\n" +
			"Types: deb\nEnabled: no\nURIs: http://off.example.net/debian\nSuites: trixie\nComponents: main\n\n" +
			"Types: deb deb-src\nURIs:\n # within\n http://mirror.example.net/debian\nSuites: trixie trixie-updates\nComponents: main contrib\n"),
		"one line": oneLine("# deb http://off.example.net/debian trixie main\ndeb-src http://src.example.net/debian trixie main\n" +
			"deb cdrom:[x]/ trixie main\ndeb http://apt.example.net/tools stable main\n" +
			"deb [ signed-by=/k.gpg arch=amd64 ] http://mirror.example.net/debian trixie main\n"),
	} {
		if got == nil || got.String() != want {
			t.Errorf("%s: %v, want %s", name, got, want)
		}
	}
	if got := deb822("Types: deb\nURIs: file:/srv/debian\nSuites: trixie\nComponents: main\n"); got != nil {
		t.Errorf("a directory is no mirror: %v", got)
	}
}
