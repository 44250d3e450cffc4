package mirror

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
)

// keyring is Debian's own (package debian-archive-keyring, part of every Debian system).
const keyring = "/usr/share/keyrings/debian-archive-keyring.gpg"

// Release is a Debian release for amd64 as a mirror has it: what apt knows of it, in a directory of its own. The
// machine's apt, its lists and its packages have no part in it, whatever release the machine runs.
type Release struct {
	url, dir string
}

// NewRelease reads the lists of a release (such as trixie) from a mirror into dir, which it makes. apt checks their
// signature by Debian's keyring.
func NewRelease(ctx context.Context, mirror, suite, dir string) (*Release, error) {
	r := &Release{url: mirror, dir: dir}
	for _, sub := range []string{"lists/partial", "cache/archives/partial"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
			return nil, fmt.Errorf("making a directory for apt: %w", err)
		}
	}
	sources := fmt.Sprintf("deb [signed-by=%s arch=amd64] %s %s main main/debian-installer\n", keyring, mirror, suite)
	config := fmt.Sprintf(`Dir::State "%[1]s"; Dir::State::lists "%[1]s/lists"; Dir::State::status "%[1]s/status"; Dir::Cache "%[1]s/cache";
Dir::Etc::SourceList "%[1]s/sources.list"; Dir::Etc::SourceParts "/dev/null"; Dir::Etc::Parts "/dev/null"; Dir::Etc::Main "/dev/null";
Dir::Etc::Preferences "/dev/null"; Dir::Etc::PreferencesParts "/dev/null"; Dir::Etc::TrustedParts "/dev/null";
APT::Architecture "amd64"; APT::Architectures "amd64"; APT::Sandbox::User "root"; Acquire::Languages "none";
Acquire::Check-Valid-Until "false"; Acquire::Retries "3"; Acquire::http::Proxy "DIRECT";
`, dir)
	err := errors.Join(
		os.WriteFile(filepath.Join(dir, "sources.list"), []byte(sources), 0o644),
		os.WriteFile(filepath.Join(dir, "apt.conf"), []byte(config), 0o644),
		os.WriteFile(filepath.Join(dir, "status"), nil, 0o644),
	)
	if err != nil {
		return nil, fmt.Errorf("configuring apt: %w", err)
	}
	_, err = r.run(ctx, dir, "apt-get", "-qq", "update")
	return r, err
}

func (r *Release) run(ctx context.Context, dir, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "APT_CONFIG="+filepath.Join(r.dir, "apt.conf"), "LC_ALL=C")
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("running %s %s: %w: %s", name, strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return string(out), nil
}

// Candidate gives the version of a package that Unpack would fetch.
func (r *Release) Candidate(ctx context.Context, name string) (string, error) {
	out, err := r.run(ctx, r.dir, "apt-cache", "show", "--no-all-versions", name)
	if err != nil {
		return "", err
	}
	version, ok := Field(out, "Version")
	if !ok {
		return "", fmt.Errorf("finding package %s: apt gives no version", name)
	}
	return version, nil
}

// Depends lists the names of a package's dependencies, of alternatives the first.
func (r *Release) Depends(ctx context.Context, name string) ([]string, error) {
	out, err := r.run(ctx, r.dir, "apt-cache", "show", "--no-all-versions", name)
	if err != nil {
		return nil, err
	}
	depends, _ := Field(out, "Depends")
	var names []string
	for d := range strings.SplitSeq(depends, ",") {
		if words := strings.Fields(d); len(words) > 0 {
			names = append(names, words[0])
		}
	}
	return names, nil
}

// Unpack fetches packages, whose sums apt checks, and unpacks their files, without any of their scripts, below dir.
func (r *Release) Unpack(ctx context.Context, dir string, names ...string) error {
	debs, err := os.MkdirTemp(r.dir, "debs-*")
	if err != nil {
		return fmt.Errorf("making a directory for packages: %w", err)
	}
	defer os.RemoveAll(debs)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("making a directory to unpack in: %w", err)
	}
	if _, err := r.run(ctx, debs, "apt-get", append([]string{"-qq", "download"}, names...)...); err != nil {
		return err
	}
	files, _ := filepath.Glob(filepath.Join(debs, "*.deb"))
	if len(files) != len(names) {
		return fmt.Errorf("fetching %v: got %d files", names, len(files))
	}
	for _, f := range files {
		if _, err := r.run(ctx, debs, "dpkg-deb", "-x", f, dir); err != nil {
			return err
		}
	}
	return nil
}

// InstallerPackages gives the stanzas of the release's udebs, what Debian's installer is made of, by name.
func (r *Release) InstallerPackages() (map[string]string, error) {
	files, _ := filepath.Glob(filepath.Join(r.dir, "lists", "*_main_debian-installer_binary-amd64_Packages"))
	if len(files) != 1 {
		return nil, fmt.Errorf("reading the list of udebs: %d files", len(files))
	}
	text, err := os.ReadFile(files[0])
	if err != nil {
		return nil, fmt.Errorf("reading the list of udebs: %w", err)
	}
	all := map[string]string{}
	for stanza := range strings.SplitSeq(strings.TrimSpace(string(text)), "\n\n") {
		if name, ok := Field(stanza, "Package"); ok {
			all[name] = stanza
		}
	}
	return all, nil
}

// Has asks the mirror whether it really has the file that a stanza names.
func (r *Release) Has(ctx context.Context, stanza string) (bool, error) {
	name, ok := Field(stanza, "Filename")
	if !ok {
		return false, errors.New("a package without a file name")
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodHead, r.url+"/"+name, nil)
	if err != nil {
		return false, fmt.Errorf("asking for %s: %w", name, err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return false, fmt.Errorf("asking for %s: %w", name, err)
	}
	if err := resp.Body.Close(); err != nil {
		return false, fmt.Errorf("asking for %s: %w", name, err)
	}
	if !slices.Contains([]int{http.StatusOK, http.StatusNotFound}, resp.StatusCode) {
		return false, fmt.Errorf("asking for %s: status %d", name, resp.StatusCode)
	}
	return resp.StatusCode == http.StatusOK, nil
}

// Field gives a one-line field of a stanza of a package list.
func Field(stanza, name string) (string, bool) {
	m := regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(name) + `: *(.*)$`).FindStringSubmatch(stanza)
	if m == nil {
		return "", false
	}
	return strings.TrimSpace(m[1]), true
}

// Root makes a directory that programs of the release can run in: Unpack, and the links that make bin, sbin and lib one
// with those below usr.
func (r *Release) Root(ctx context.Context, dir string, names ...string) error {
	for _, name := range []string{"bin", "sbin", "lib", "lib64"} {
		if err := os.MkdirAll(filepath.Join(dir, "usr", name), 0o755); err != nil {
			return fmt.Errorf("making a root: %w", err)
		}
		if err := os.Symlink("usr/"+name, filepath.Join(dir, name)); err != nil && !errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("making a root: %w", err)
		}
	}
	return r.Unpack(ctx, dir, names...)
}

// RunIn runs a program inside a root, whatever release the machine itself runs. It needs root's rights.
func RunIn(ctx context.Context, root, name string, args ...string) error {
	_, err := OutputIn(ctx, root, name, args...)
	return err
}

// OutputIn is RunIn for a program whose standard output is wanted.
func OutputIn(ctx context.Context, root, name string, args ...string) (string, error) {
	cmd := &exec.Cmd{
		Path: name, Args: append([]string{name}, args...), Dir: "/", Env: []string{"PATH=/usr/sbin:/usr/bin", "LC_ALL=C"},
		SysProcAttr: &syscall.SysProcAttr{Chroot: root},
	}
	var out, said strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &said
	if err := ctx.Err(); err != nil {
		return "", err
	}
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("running %s %s: %w: %s", name, strings.Join(args, " "), err, strings.TrimSpace(said.String()))
	}
	return out.String(), nil
}
