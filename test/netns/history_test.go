package netns_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"bootd.internal/lab"
	"bootd.internal/lab/labtest"
)

// TestEventsDecideNothing lets a host live from its order to its first boot, once with the event log deleted before each
// step and once with it kept: every answer is the same.
func TestEventsDecideNothing(t *testing.T) {
	var kept, deleted string
	t.Run("kept", func(t *testing.T) { kept = life(t, func(string) {}) })
	t.Run("deleted", func(t *testing.T) {
		deleted = life(t, func(state string) {
			if found, err := filepath.Glob(filepath.Join(state, "events", "*.ndjson")); err != nil || len(found) == 0 {
				t.Errorf("no event log to delete: %v, %v", found, err)
			}
			if err := os.RemoveAll(filepath.Join(state, "events")); err != nil {
				t.Fatal(err)
			}
		})
	})
	if d := cmp.Diff(kept, deleted); d != "" {
		t.Errorf("without the event log bootd answers otherwise (-with +without):\n%s", d)
	}
	for _, want := range []string{"script 200\n#!ipxe", "kernel http://", "answers 200\n# Debian 13", "installed 200\nnoted", "first-boot 200\nnoted", "r1n01 was installed or tried to", "say --reinstall"} {
		if !strings.Contains(kept, want) {
			t.Errorf("%q is not in what was answered:\n%s", want, kept)
		}
	}
}

// tokens are what differs from one installation to the next.
var tokens = regexp.MustCompile(`/t/[0-9a-f]{32}/`)

// life gives what bootd answers in a host's life. It is restarted before each step, after between has seen to its state.
func life(t *testing.T, between func(state string)) string {
	t.Helper()
	r := labtest.NewRack(t, labtest.RackConfig{
		Inventory: `
defaults: {domain: rack.example.net, profile: debian13, disk: {serial: S6P}}
networks:
  rack1: {interface: eth1, prefix: "2001:db8:1::/64"}
profiles:
  debian13:
    kernel: linux
    initrd: [initrd.gz]
    script: ipxe/debian.ipxe
    answers: preseed/debian13.cfg
    vars: {mirror: "http://mirror.example.net/debian"}
hosts:
  r1n01: {mac: 52:54:00:aa:01:01, address: "::101"}
`,
		Files: map[string][]byte{"linux": []byte("kernel"), "initrd.gz": []byte("initrd")},
	})
	n := host(t, r)
	var said strings.Builder
	boots := 1
	step := func(name string, do func() string) string {
		t.Helper()
		if err := r.Daemon.Stop(); err != nil {
			t.Fatal(err)
		}
		between(r.Path("bootd.state"))
		boots++
		var err error
		r.Daemon, err = r.Server.StartDaemon(labtest.Context(t, time.Minute), lab.DaemonConfig{
			Name: fmt.Sprintf("bootd%d", boots), Binary: os.Getenv(labtest.BinaryEnv), Inventory: r.Path("inventory.yaml"), State: r.Path("bootd.state"),
		})
		if err != nil {
			t.Fatal(err)
		}
		text := do()
		fmt.Fprintf(&said, "%s %s\n", name, tokens.ReplaceAllString(text, "/t/TOKEN/"))
		return text
	}
	fetch := func(url string) string {
		return run(t, n, "curl", "-sS", "-g", "-m", "10", "-D", r.Path("head"), url)
	}
	get := func(name, url string) string {
		return step(name, func() string {
			body := fetch(url)
			head, err := os.ReadFile(r.Path("head"))
			if err != nil {
				t.Fatal(err)
			}
			return strings.Fields(string(head))[1] + "\n" + body
		})
	}
	order := func() string {
		out, err := r.Daemon.Run(labtest.Context(t, patience), "install", "--yes", "--json", "r1n01")
		if err != nil {
			return err.Error()
		}
		return regexp.MustCompile(`"until": "[^"]*"`).ReplaceAllString(string(out), "")
	}
	step("order", order)
	script := get("script", "http://[2001:db8:1::1]/boot.ipxe")
	answersURL, _, _ := strings.Cut(after(t, script, " url="), "?")
	answers := get("answers", answersURL)
	get("script again", "http://[2001:db8:1::1]/boot.ipxe")
	get("answers again", answersURL)
	callback := func(leaf string) string {
		found := regexp.MustCompile(`http://[^']*/` + leaf + `\b`).FindString(answers)
		if found == "" {
			t.Fatalf("no %s URL in\n%s", leaf, answers)
		}
		return found
	}
	get("installed", callback("installed"))
	get("installed again", callback("installed"))
	get("first-boot", callback("first-boot"))
	get("script at the end", "http://[2001:db8:1::1]/boot.ipxe")
	step("order again", order)
	return said.String()
}

func after(t *testing.T, text, mark string) string {
	t.Helper()
	_, rest, ok := strings.Cut(text, mark)
	if !ok {
		t.Fatalf("%q is not in\n%s", mark, text)
	}
	return rest
}
