package mirror

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// proxy answers from its directory, and fills that from the machine's mirror.
type proxy struct {
	dir    string
	base   func() (upstream, error)
	client *http.Client

	mu    sync.Mutex
	runs  map[string]*fetch        // by path: what this run knows of it
	trees map[string]func() string // by suite: where it is whole
}

// fetch is one path in one run: fetched once, whoever asks for it, and however often.
type fetch struct {
	done   chan struct{}
	status int // what to say, 200 when the file is in the directory
}

// upstream is the mirror and how to get there.
type upstream struct {
	url   *url.URL
	proxy *url.URL // nil: as the environment says
}

// fetchFor bounds one request to the mirror; the largest file, an installer's image, has 150 MB.
const fetchFor = 10 * time.Minute

func newProxy(dir string) *proxy {
	p := &proxy{dir: dir, base: sync.OnceValues(configured), runs: map[string]*fetch{}, trees: map[string]func() string{}}
	transport := &http.Transport{
		Proxy: p.via, DisableCompression: true, MaxIdleConnsPerHost: 8, ResponseHeaderTimeout: time.Minute,
		DialContext: (&net.Dialer{Timeout: 20 * time.Second}).DialContext,
	}
	p.client = &http.Client{Transport: transport}
	return p
}

func (p *proxy) via(r *http.Request) (*url.URL, error) {
	if up, err := p.base(); err == nil && up.proxy != nil {
		return up.proxy, nil
	}
	return http.ProxyFromEnvironment(r)
}

// ServeHTTP answers GET and HEAD of what lies below dists and pool, wherever in the path these stand.
func (p *proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name, ok := file(r.URL.Path)
	switch {
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		http.Error(w, "only GET and HEAD", http.StatusMethodNotAllowed)
		return
	case !ok:
		http.NotFound(w, r)
		return
	}
	name = p.tree(name)
	switch status := p.get(r.Context(), name); status {
	case http.StatusOK:
		// ServeFile would redirect index.html; ServeContent does what it is told.
		f, err := os.Open(filepath.Join(p.dir, filepath.FromSlash(name)))
		if err != nil {
			http.Error(w, "the cache cannot be read", http.StatusInternalServerError)
			return
		}
		defer f.Close()
		w.Header().Set("Content-Type", "application/octet-stream")
		http.ServeContent(w, r, "", time.Time{}, f)
	case http.StatusNotFound:
		http.NotFound(w, r)
	default:
		http.Error(w, "the mirror of this machine does not answer", status)
	}
}

// file gives the part of a path that begins with dists or pool; ok is false for whatever is no plain file there.
func file(p string) (name string, ok bool) {
	for _, top := range []string{"/dists/", "/pool/"} {
		if i := strings.Index(p, top); i >= 0 {
			name = p[i+1:]
			return name, fs.ValidPath(name) && path.Clean(name) == name && !strings.ContainsRune(name, 0)
		}
	}
	return "", false
}

// get sees to it that a file is in the directory and tells the status to answer with.
func (p *proxy) get(ctx context.Context, name string) int {
	p.mu.Lock()
	f, known := p.runs[name]
	if !known {
		f = &fetch{done: make(chan struct{})}
		p.runs[name] = f
	}
	p.mu.Unlock()
	if !known {
		// Not r.Context(): the next who asks should not suffer from this one's leaving.
		f.status = p.fill(name)
		if f.status != http.StatusOK && f.status != http.StatusNotFound {
			p.mu.Lock()
			delete(p.runs, name) // it may answer next time
			p.mu.Unlock()
		}
		close(f.done)
	}
	select {
	case <-f.done:
		return f.status
	case <-ctx.Done():
		return http.StatusGatewayTimeout
	}
}

// fixed reports whether a file of that name never changes.
func fixed(name string) bool {
	return strings.HasPrefix(name, "pool/") || strings.Contains(name, "/by-hash/")
}

// fill fetches a file unless an unchanging one is there. When the mirror fails, what an earlier run left must do.
func (p *proxy) fill(name string) int {
	local := filepath.Join(p.dir, filepath.FromSlash(name))
	info, err := os.Stat(local)
	have := err == nil && info.Mode().IsRegular()
	if have && fixed(name) {
		return http.StatusOK
	}
	status, err := p.download(name, local)
	if err != nil && have {
		return http.StatusOK
	}
	return status
}

// download puts a file of the mirror into the directory, whole or not at all. Its errors are not for people: they may
// name the mirror.
func (p *proxy) download(name, local string) (status int, err error) {
	const failed = http.StatusBadGateway
	up, err := p.base()
	if err != nil {
		return failed, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), fetchFor)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, up.url.JoinPath(name).String(), nil)
	if err != nil {
		return failed, err
	}
	resp, err := p.client.Do(req)
	if err != nil {
		return failed, err
	}
	defer resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusOK:
	case http.StatusNotFound, http.StatusGone:
		return http.StatusNotFound, nil
	default:
		return failed, fmt.Errorf("fetching: status %d", resp.StatusCode)
	}
	if err := store(local, resp.Body, resp.ContentLength); err != nil {
		return failed, err
	}
	return http.StatusOK, nil
}

// store writes a file of the given size, -1 meaning that nobody said, beside its place and moves it there: another run
// may do the same at the same time.
func store(local string, from io.Reader, size int64) (err error) {
	if err := os.MkdirAll(filepath.Dir(local), 0o755); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(local), ".fetching-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	n, err := io.Copy(f, from)
	if err == nil && size >= 0 && n != size {
		err = fmt.Errorf("fetching: %d of %d octets", n, size)
	}
	// Without the sync a power cut could leave an empty file under a name that is trusted for ever.
	if err := errors.Join(err, f.Chmod(0o644), f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), local)
}
