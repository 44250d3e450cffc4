package importer

import (
	"net/url"
	"path"
	"slices"
	"strings"
)

// answer is what the original tells one client to boot.
type answer struct {
	pretend
	url string
	at  Place
}

// boot turns what clients are told to boot into loaders, and says what of it could not work. Each fault is said once.
func (d *draft) boot(answers []answer) {
	answers = slices.DeleteFunc(answers, func(a answer) bool { return a.url == "" })
	scripts := d.scripts(answers)
	said := map[string]bool{}
	once := func(k Kind, a answer, format string, args ...any) {
		if key := string(k) + format + a.at.String(); !said[key] {
			said[key] = true
			d.add(k, a.at, format, args...)
		}
	}
	unconditional := len(answers) == len(boots()) && !slices.ContainsFunc(answers, func(a answer) bool { return a.at != answers[0].at })
	given := map[string]answer{}
	for _, a := range answers {
		if slices.Contains(scripts, a.url) {
			continue
		}
		file, ok := filePath(a.url)
		switch {
		case !ok:
			once(Lost, a, "%s names no file that bootd could serve", a.url)
			continue
		case a.ipxe:
			once(Corrected, a, "iPXE shows the architecture of its firmware too and would get %s again, for ever; bootd looks at the user class first and gives it its script", a.url)
			continue
		case unconditional && a.loader != "x86_64":
			continue
		}
		scheme, _, _ := strings.Cut(a.url, ":")
		if !a.http && scheme != "tftp" {
			once(Corrected, a, "firmware's PXE loads by TFTP only and would refuse %s; bootd gives it tftp://, and http:// to HTTP boot", a.url)
		}
		if a.http && scheme == "tftp" {
			once(Corrected, a, "HTTP boot would refuse %s; bootd gives it http://, and tftp:// to PXE", a.url)
		}
		if first, ok := given[a.loader]; ok {
			if f, _ := filePath(first.url); f != file {
				once(Lost, a, "%s gets %s, but %s gets %s: bootd has one loader for %s", a.name, a.url, first.name, first.url, a.loader)
			}
			continue
		}
		given[a.loader] = a
		loaders := d.serve.under("loaders", a.at)
		d.put(loaders, &node{key: a.loader, value: quote(file), from: a.at, said: "put it below files/"})
	}
	if unconditional && len(given) > 0 {
		once(Review, answers[0], "every client was given it: taken for the loader of x86-64")
	}
}

// scripts are the files that iPXE gets and firmware does not, and those that no firmware can start.
func (d *draft) scripts(answers []answer) []string {
	var found []string
	for _, a := range answers {
		firmware := slices.ContainsFunc(answers, func(b answer) bool { return !b.ipxe && b.url == a.url })
		if slices.Contains(found, a.url) || firmware && !notALoader(a.url) || !firmware && !a.ipxe {
			continue
		}
		found = append(found, a.url)
		d.review(a.at, "%s is the script that iPXE was given: bootd makes a script for each machine out of its profile (see the end of the inventory)", a.url)
		d.hints = append(d.hints, profileHint(a))
	}
	return found
}

// notALoader: by its name, firmware could not start it.
func notALoader(u string) bool {
	switch path.Ext(u) {
	case ".ipxe", ".cfg", ".php", ".cgi", ".txt":
		return true
	}
	return false
}

func profileHint(a answer) string {
	return "iPXE was given " + a.url + " (" + a.at.String() + `).
To install machines the same way, put the installer's kernel and initrd below files/, list the machines below hosts
("bootd discovered" and "bootd adopt" do), and write, for Debian:
profiles:
  debian13: {kernel: debian13/linux, initrd: debian13/initrd.gz, script: ipxe/debian.ipxe, answers: preseed/debian13.cfg}
A script of your own goes to templates/ as it is: docs/templates.md.`
}

// filePath is the path of a boot file's URL, as the directory files has it.
func filePath(u string) (string, bool) {
	p, err := url.Parse(u)
	if err != nil || p.RawQuery != "" || p.Scheme != "tftp" && p.Scheme != "http" && p.Scheme != "https" {
		return "", false
	}
	file := strings.TrimLeft(p.Path, "/")
	return file, file != "" && path.Clean(file) == file && !strings.HasPrefix(file, "..")
}
