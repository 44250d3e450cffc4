package mini

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"bootd.internal/bootd/inventory"
	"bootd.internal/bootd/render"
	builtin "bootd.internal/templates"
)

// The templates render over the built-in ones, and what they render is what the installer's scripts take.
func TestTemplates(t *testing.T) {
	dir := t.TempDir()
	if err := WriteTemplates(dir); err != nil {
		t.Fatal(err)
	}
	set := render.New(render.Layer(os.DirFS(dir), builtin.FS()))
	data := render.Data{
		Host: "r1n01", FQDN: "r1n01.example.net", Domain: "example.net", Profile: "mini", Answers: "mini/answers.sh",
		Server: "[2001:db8:1::1]", Base: "http://[2001:db8:1::1]", Addr: "2001:db8:1::1", Port: 80,
		Kernel: "http://[2001:db8:1::1]/mini/linux", Initrd: []string{"http://[2001:db8:1::1]/mini/initrd.gz"},
		URL:     render.URL{Answers: "http://[2001:db8:1::1]/t/A/preseed.cfg", Installed: "http://[2001:db8:1::1]/t/I/installed", FirstBoot: "http://[2001:db8:1::1]/t/F/first-boot"},
		HasDisk: true, Disk: inventory.Disk{MinSize: 1 << 20}, Console: "ttyS0,115200n8",
	}
	script, err := set.Render("ipxe/mini.ipxe", data)
	if err != nil {
		t.Fatal(err)
	}
	const kernel = "kernel http://[2001:db8:1::1]/mini/linux initrd=initrd0 bootd.answers=http://[2001:db8:1::1]/t/A/preseed.cfg?uuid=${uuid} " +
		"mitigations=off loglevel=4 console=ttyS0,115200n8 || goto failed"
	if !strings.Contains(string(script), "\n"+kernel+"\n") {
		t.Errorf("the script has no line\n%s\nbut is\n%s", kernel, script)
	}
	answers, err := set.Render("mini/answers.sh", data)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "answers")
	if err := os.WriteFile(path, answers, 0o644); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("sh", "-c", `. "$1"; printf '%s\n' "$host" "$root" "$installed" "$first_boot" "$console" "$die"
for name in lib guard; do sed -n "/^#= $name\$/,/^#=\$/s/^#|//p" "$1" >"$2/$name"; sh -n "$2/$name" || echo broken; done
. "$2/lib"; . "$2/guard"; type guard say tell stop >/dev/null && echo whole`, "sh", path, dir).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	want := "r1n01\nhttp://[2001:db8:1::1]/mini/root.tar\nhttp://[2001:db8:1::1]/t/I/installed\nhttp://[2001:db8:1::1]/t/F/first-boot\nttyS0,115200n8\n\nwhole\n"
	if d := cmp.Diff(want, string(out)); d != "" {
		t.Errorf("what the installer reads (-want +got):\n%s", d)
	}
}

// Every script is one that a shell can parse.
func TestScripts(t *testing.T) {
	for _, name := range []string{"init.sh", "installer.sh", "installed.sh", "network.sh"} {
		text, err := sources.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command("sh", "-n")
		cmd.Stdin = strings.NewReader(string(text))
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: %v: %s", name, err, out)
		}
	}
}
