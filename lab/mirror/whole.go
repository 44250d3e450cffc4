package mirror

import (
	"context"
	"crypto/sha256"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
)

// aliases are the names besides its codename that a release may have on a mirror. Both are trees of equal content, as a
// rule one directory.
var aliases = [...]string{"stable", "oldstable"}

// indexes are those that must be what the release file says for an installation to work.
var indexes = [...]string{"main/debian-installer/binary-amd64/Packages.xz", "main/binary-amd64/Packages.xz", "main/binary-all/Packages.xz"}

// tree gives the path to ask the mirror for. It is name, unless name is below a release's codename whose tree is in the
// middle of an update, its release file naming indexes that the mirror does not have yet, while the same release under
// its alias is whole. Found out once per run.
func (p *proxy) tree(name string) string {
	parts := strings.SplitN(name, "/", 3)
	if parts[0] != "dists" || len(parts) < 3 {
		return name
	}
	p.mu.Lock()
	find, ok := p.trees[parts[1]]
	if !ok {
		find = sync.OnceValue(func() string { return p.wholeTree(parts[1]) })
		p.trees[parts[1]] = find
	}
	p.mu.Unlock()
	return "dists/" + find() + "/" + parts[2]
}

func (p *proxy) wholeTree(suite string) string {
	if p.whole(suite) {
		return suite
	}
	for _, alias := range aliases {
		if alias == suite {
			continue
		}
		release, err := p.read("dists/" + alias + "/InRelease")
		if err == nil && line(release, `^Codename: (.*)$`) == suite && p.whole(alias) {
			return alias
		}
	}
	return suite
}

// whole reports whether a tree's release file and indexes belong together.
func (p *proxy) whole(suite string) bool {
	release, err := p.read("dists/" + suite + "/InRelease")
	if err != nil {
		return false
	}
	for _, index := range indexes {
		sum := line(release, `^ ([0-9a-f]{64}) +[0-9]+ `+regexp.QuoteMeta(index)+`$`)
		if sum == "" {
			continue // this release has no such index
		}
		text, err := p.read("dists/" + suite + "/" + index)
		if err != nil || fmt.Sprintf("%x", sha256.Sum256(text)) != sum {
			return false
		}
	}
	return true
}

// read gets a file of the mirror by its very name.
func (p *proxy) read(name string) ([]byte, error) {
	if status := p.get(context.Background(), name); status != http.StatusOK {
		return nil, fmt.Errorf("reading %s: status %d", name, status)
	}
	return os.ReadFile(filepath.Join(p.dir, filepath.FromSlash(name)))
}

// line gives the first submatch of a pattern in a text of lines.
func line(text []byte, pattern string) string {
	m := regexp.MustCompile(`(?m)` + pattern).FindSubmatch(text)
	if m == nil {
		return ""
	}
	return string(m[1])
}
