package daemon

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"filippo.io/age"
	"filippo.io/age/armor"
	"github.com/google/go-cmp/cmp"

	"bootd.internal/bootd/decide/boot"
	"bootd.internal/bootd/explain"
	"bootd.internal/bootd/install"
	"bootd.internal/bootd/reason"
	"bootd.internal/bootd/store"
	"bootd.internal/bootd/timeline"
	"bootd.internal/bootd/timeline/history"
)

// sealed writes NAME.age and NAME.key beside each other.
func sealed(t *testing.T, text string, armoured bool, path string) {
	t.Helper()
	id, err := age.GenerateX25519Identity()
	must(t, err)
	var out bytes.Buffer
	if armoured {
		a := armor.NewWriter(&out)
		w, err := age.Encrypt(a, id.Recipient())
		must(t, err)
		_, err = w.Write([]byte(text))
		must(t, err)
		must(t, w.Close())
		must(t, a.Close())
	} else {
		w, err := age.Encrypt(&out, id.Recipient())
		must(t, err)
		_, err = w.Write([]byte(text))
		must(t, err)
		must(t, w.Close())
	}
	must(t, os.WriteFile(path+".age", out.Bytes(), 0o600))
	must(t, os.WriteFile(path+".key", []byte("# a comment\n"+id.String()+"\n"), 0o600))
}

func TestReadSecrets(t *testing.T) {
	dir := writeTree(t, map[string]string{
		"s/file": "from a file\n", "s/empty": "\n", "s/binary": "a\x01b", "s/plain": "hunter2", "s/not-age": "hunter2",
		"s/big": strings.Repeat("x", maxSecret+1),
	})
	sealed(t, "from age\n", false, filepath.Join(dir, "s/a"))
	sealed(t, "from armour", true, filepath.Join(dir, "s/b"))
	t.Setenv("BOOTD_TEST_SECRET", "from the environment")
	text := `networks:
  rack1: {interface: eth1, prefix: "2001:db8:1::/64"}
defaults: {users: {root: {password: {secret: plain}}}}
secrets:
  file: {file: s/file}
  env: {env: BOOTD_TEST_SECRET}
  age: {age: s/a.age, identity: s/a.key}
  armour: {age: s/b.age, identity: s/b.key}
  none: {file: s/none}
  empty: {file: s/empty}
  binary: {file: s/binary}
  big: {file: s/big}
  unset: {env: BOOTD_TEST_UNSET}
  plain: {file: s/plain}
  key: {age: s/a.age, identity: s/not-age}
  other: {age: s/a.age, identity: s/b.key}
  sealed: {age: s/not-age, identity: s/a.key}
`
	write(t, text, dir, "inventory.yaml")
	inv, err := Load(filepath.Join(dir, "inventory.yaml"))
	must(t, err)
	values, faults := readSecrets(inv)
	want := map[string]string{"file": "from a file", "env": "from the environment", "age": "from age", "armour": "from armour"}
	if d := cmp.Diff(want, values); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
	var got []string
	for _, f := range faults {
		got = append(got, strings.ReplaceAll(f.String(), dir, "DIR"))
	}
	wantFaults := []string{
		"DIR/inventory.yaml:9:16: secrets.none: reading: open DIR/s/none: no such file or directory: paths are relative to the inventory",
		"DIR/inventory.yaml:10:17: secrets.empty: is empty",
		"DIR/inventory.yaml:11:18: secrets.binary: is not text",
		"DIR/inventory.yaml:12:15: secrets.big: reading: DIR/s/big: too large: more than 65536 octets",
		"DIR/inventory.yaml:13:16: secrets.unset: BOOTD_TEST_UNSET is not set in the environment of bootd",
		"DIR/inventory.yaml:14:17: secrets.plain: is a user's password: is not a crypt(5) hash, and a plain password must not stand here: `bootd passwd` makes one",
		"DIR/inventory.yaml:15:14: secrets.key: the identity DIR/s/not-age is no key of age (age-keygen makes one)",
		"DIR/inventory.yaml:16:16: secrets.other: DIR/s/a.age is not encrypted for the key in DIR/s/b.key",
		"DIR/inventory.yaml:17:17: secrets.sealed: DIR/s/not-age is no file that age encrypted, or is damaged",
	}
	if d := cmp.Diff(wantFaults, got); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
}

// TestSecretsGoNowhereButIntoAnswers installs a host with secrets of every kind, breaks what can be broken, and then looks
// for their values in everything that people and programs can see.
func TestSecretsGoNowhereButIntoAnswers(t *testing.T) {
	const hash, token = "$6$rounds=5000$thesecretsalt$thesecrethash", "the-secret-token-with-\"quotes\""
	const text = `defaults: {domain: example.net, profile: own, users: {root: {password: {secret: root}}}}
secrets: {root: {file: s/root}, token: {file: s/token}}
networks:
  rack1: {interface: eth1, prefix: "2001:db8:1::/64"}
profiles:
  own: {kernel: linux, initrd: initrd, script: own.ipxe, answers: own.cfg}
hosts:
  r1n01: {mac: 52:54:00:aa:01:01, address: "::101"}
`
	const answers = "{{range .Users}}{{.Name}} {{.Password}}\n{{end}}{{.Secret \"token\"}}\n"
	dir := writeTree(t, map[string]string{
		"inventory.yaml": text, "s/root": hash + "\n", "s/token": token + "\n",
		"files/linux": "", "files/initrd": "", "files/ipxe.efi": "",
		"templates/own.ipxe": "#!ipxe\nkernel {{.Kernel}} answers={{.URL.Answers}}\nboot\n", "templates/own.cfg": answers,
	})
	r := runs(t, dir)
	defer r.close()
	var seen strings.Builder
	see := func(what string, v any) { fmt.Fprintf(&seen, "\n== %s\n%+v\n", what, v) }

	h, _ := r.world.Snapshot().Host("r1n01")
	must(t, r.store.Update(t.Context(), func(v store.View) []store.Op {
		ops, err := install.Order(v, boot.Subject(h), install.Wish{ID: "order"}, r.now())
		must(t, err)
		return ops
	}))
	got := ""
	for _, path := range []string{"/boot.ipxe", "", "/t/wrong/preseed.cfg"} {
		if path == "" {
			_, path, _ = strings.Cut(got, "answers=http://[2001:db8:1::1]")
			path, _, _ = strings.Cut(path, "\n")
		}
		d := r.fetch(t, path)
		got = string(d.Body)
		r.watch.Observe(timeline.Observation{Adapter: "http", Message: string(d.Kind), Outcome: d.Outcome, Events: d.Events})
		if d.Kind == boot.Answers && d.Reason == reason.Answered {
			if want := "root " + hash + "\n" + token + "\n"; got != want {
				t.Fatalf("answers %q, want %q", got, want)
			}
			continue
		}
		see("HTTP "+path, got)
	}

	// Every fault that could say what it read.
	for _, broken := range []string{
		"{{.Secret \"token\" | fail}}", "{{.Secret \"token\" | urlhost}}", "d-i x/y {{.Secret \"token\"}} z\n", "d-i {{.Secret \"token\"}}\n",
		"d-i passwd/root-password {{.Secret \"token\"}}\n", "{{range .Users}}{{.Password | urlpath}}{{end}}", "{{.Secret \"token\" | index .Users}}",
		"{{range .Users}}{{.Nothing}}{{end}}",
	} {
		write(t, broken, dir, "templates/own.cfg")
		err := r.Reload(t.Context())
		if err == nil {
			t.Errorf("%s was accepted", broken)
		}
		see("reload of "+broken, err)
		_, faults, err := Check(filepath.Join(dir, "inventory.yaml"), noon)
		see("check", []any{faults, err})
	}
	write(t, "{{.Secret \"token\"}}\nboto\n", dir, "templates/own.ipxe")
	see("secret in a script", r.Reload(t.Context()))
	write(t, "#!ipxe\nboot\n", dir, "templates/own.ipxe")
	write(t, answers, dir, "templates/own.cfg")
	must(t, r.Reload(t.Context()))

	snap := r.world.Snapshot()
	see("inventory", *snap.Inventory)
	see("host", *snap.Hosts[0])
	asJSON, err := json.Marshal(snap.Inventory)
	see("inventory as JSON", []any{string(asJSON), err})
	see("lint", lintHost(snap, r.templates(snap), "r1n01"))
	for _, what := range explain.Texts() {
		out, notes, err := explain.Render(snap, r.templates(snap).Mask(), "r1n01", what)
		see("render "+what, []any{string(out), notes, err})
	}
	r.store.Read(func(v store.View) {
		report, err := explain.Explain(explain.Source{Snapshot: snap, View: v, Now: noon}, "r1n01")
		see("explain", []any{report, err})
	})
	diff, err := Compare(filepath.Join(dir, "inventory.yaml"), filepath.Join(dir, "inventory.yaml"), true, noon)
	see("diff", []any{diff, err})
	see("health", r.Health())
	see("events", r.history.Events(history.Query{}))
	page := httptest.NewRecorder()
	r.metrics.ServeHTTP(page, httptest.NewRequest("GET", "/metrics", nil))
	see("metrics", page.Body.String())
	see("log", r.log.String())
	see("problems", r.problems())

	for _, part := range []string{hash, "thesecrethash", "thesecretsalt", token, "the-secret-token"} {
		if i := strings.Index(seen.String(), part); i >= 0 {
			all := seen.String()
			head := all[:i]
			t.Errorf("%s stands in %s: ...%s...", part, head[strings.LastIndex(head, "\n== "):][:60], all[max(0, i-200):min(len(all), i+60)])
		}
	}
	if !strings.Contains(seen.String(), "********") || seen.Len() < 5000 {
		t.Error("nothing was looked at")
	}
}
