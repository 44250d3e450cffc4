package mirror

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// configured finds the mirror that this machine uses.
func configured() (upstream, error) {
	if s := os.Getenv(Env); s != "" {
		u, ok := usable(s)
		if !ok {
			return upstream{}, fmt.Errorf("%s is not an http or https URL", Env)
		}
		return upstream{url: u}, nil
	}
	files, _ := filepath.Glob("/etc/apt/sources.list.d/*.sources")
	lists, _ := filepath.Glob("/etc/apt/sources.list.d/*.list")
	for _, name := range slices.Concat(files, []string{"/etc/apt/sources.list"}, lists) {
		text, err := os.ReadFile(name)
		if err != nil {
			continue // sources.list is not everywhere
		}
		read := oneLine
		if strings.HasSuffix(name, ".sources") {
			read = deb822
		}
		if u := read(string(text)); u != nil {
			return upstream{url: u, proxy: aptProxy(u.Scheme)}, nil
		}
	}
	return upstream{}, errors.New("apt is configured without a Debian mirror that speaks http: set " + Env)
}

// usable parses the URL of a Debian mirror.
func usable(s string) (*url.URL, bool) {
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, false
	}
	return u, true
}

// debian reports whether a source is Debian's main archive: not security updates, not somebody else's packages.
func debian(uri string, suites, components []string) (*url.URL, bool) {
	u, ok := usable(uri)
	if !ok || !slices.Contains(components, "main") || strings.Contains(u.Path, "security") {
		return nil, false
	}
	return u, strings.HasSuffix(strings.TrimSuffix(u.Path, "/"), "/debian") &&
		!slices.ContainsFunc(suites, func(s string) bool { return strings.Contains(s, "security") })
}

// deb822 gives the first Debian mirror of a file of stanzas (sources.list(5), DEB822-STYLE FORMAT).
func deb822(text string) *url.URL {
	for stanza := range strings.SplitSeq(text, "\n\n") {
		fields := map[string][]string{}
		key := ""
		for line := range strings.Lines(stanza) {
			switch {
			case strings.HasPrefix(line, "#"):
			case strings.HasPrefix(line, " "), strings.HasPrefix(line, "\t"):
				fields[key] = append(fields[key], strings.Fields(line)...)
			default:
				name, value, _ := strings.Cut(line, ":")
				key = strings.ToLower(strings.TrimSpace(name))
				fields[key] = strings.Fields(value)
			}
		}
		if slices.Contains(fields["enabled"], "no") || !slices.Contains(fields["types"], "deb") {
			continue
		}
		for _, uri := range fields["uris"] {
			if u, ok := debian(uri, fields["suites"], fields["components"]); ok {
				return u
			}
		}
	}
	return nil
}

// oneLine gives the first Debian mirror of a file of lines (sources.list(5), ONE-LINE-STYLE FORMAT).
func oneLine(text string) *url.URL {
	for line := range strings.Lines(text) {
		rest, ok := strings.CutPrefix(strings.TrimSpace(line), "deb ")
		if !ok {
			continue
		}
		rest = strings.TrimSpace(rest)
		if strings.HasPrefix(rest, "[") {
			_, rest, _ = strings.Cut(rest, "]")
		}
		words := strings.Fields(rest)
		if len(words) < 3 {
			continue
		}
		if u, ok := debian(words[0], words[1:2], words[2:]); ok {
			return u
		}
	}
	return nil
}

// aptProxy is the proxy that apt uses, nil if none.
func aptProxy(scheme string) *url.URL {
	out, err := exec.Command("apt-config", "shell", "P", "Acquire::"+scheme+"::Proxy").Output()
	if err != nil {
		return nil
	}
	_, quoted, ok := strings.Cut(strings.TrimSpace(string(out)), "=")
	if !ok {
		return nil
	}
	u, ok := usable(strings.Trim(quoted, "'"))
	if !ok {
		return nil
	}
	return u
}
