package render

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"text/template"
)

// funcs is all that a template may call besides text/template's own. None sees the machine that bootd runs on.
func funcs(s *Set) template.FuncMap {
	return template.FuncMap{
		"include": s.include,
		"missing": func(key string) (string, error) { return "", missingKey(key) },
		"fail":    func(msg string) (string, error) { return "", errors.New(msg) },
		"join":    join,
		"split":   strings.Split,
		"lower":   strings.ToLower,
		"upper":   strings.ToUpper,
		"trim":    strings.TrimSpace,
		"has":     slices.Contains[[]string, string],
		"json":    short(toJSON),
		"shell":   short(shell),
		"debconf": debconf,
		"words":   words,
		"echo":    echo,
		"line":    short(line),
		"inc":     func(i int) int { return i + 1 },
		"script":  script,
		"urlhost": urlHost,
		"urlpath": urlPath,
		// Those of text/template, bounded: a text that is doubled in a loop takes all memory before it is written.
		"print":    shortAll(fmt.Sprint),
		"println":  shortAll(fmt.Sprintln),
		"printf":   printf,
		"html":     shortAll(template.HTMLEscaper),
		"js":       shortAll(template.JSEscaper),
		"urlquery": shortAll(template.URLQueryEscaper),
	}
}

// include renders another template to text, for functions that take it further. The name must stand in quotes: load has
// then parsed it and found that nothing includes itself.
func (s *Set) include(name string, data any) (string, error) {
	if _, ok := data.(Data); !ok && s.fill != nil { // a part of what the template was given: its fields are not those that hosts share
		s = s.fill.base
	}
	t, err := s.load(name, nil)
	if err != nil {
		return "", err
	}
	var out string
	if err := s.execute(t, data, func(b []byte) { out = string(b) }); err != nil {
		var host string
		if d, ok := data.(Data); ok {
			host = d.Host
		}
		return "", located(err, name, host)
	}
	return out, nil
}

func toJSON(v any) (string, error) {
	b, err := json.Marshal(v)
	return string(b), err
}

// text is how a template prints a value.
func text(v any) string {
	if s, ok := v.(string); ok {
		return s
	}
	return fmt.Sprint(v)
}

func control(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }

// shell quotes one value for sh.
func shell(v any) (string, error) {
	s := text(v)
	if strings.ContainsFunc(s, control) {
		return "", fmt.Errorf("%q holds a control character", s)
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'", nil
}

// debconf passes a value that can stand in a preseed file, where one line is one answer and a final backslash joins lines.
func debconf(v any) (string, error) {
	s := text(v)
	if strings.ContainsFunc(s, control) {
		return "", fmt.Errorf("%q holds a control character", s)
	}
	if strings.HasSuffix(s, `\`) {
		return "", fmt.Errorf("%q ends in a backslash, which joins lines of a preseed", s)
	}
	return s, nil
}

// words passes a value that is one word or several on a kernel command line or in an iPXE script.
func words(v any) (string, error) {
	s := text(v)
	if strings.ContainsFunc(s, control) {
		return "", fmt.Errorf("%q holds a control character", s)
	}
	if strings.Contains(s, "${") {
		return "", fmt.Errorf("%q holds ${, which iPXE would expand", s)
	}
	return s, nil
}

// echo makes any text one line that iPXE's echo prints as it stands: no settings, no operators, printable ASCII.
func echo(v any) string {
	s := strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return ' '
		case r < ' ' || r > '~':
			return '?'
		}
		return r
	}, text(v))
	return strings.NewReplacer("${", "$ {", "||", "| |", "&&", "& &").Replace(s)
}

// script puts a shell script into comment lines of a preseed file, where the installer's debconf does not look; the
// preseed's early_command takes it out again by its name.
func script(name, text string) (string, error) {
	var b strings.Builder
	b.Grow(len(text) + 2*strings.Count(text, "\n") + len(name) + 16)
	b.WriteString("#= " + name + "\n")
	for text != "" {
		line, rest, _ := strings.Cut(text, "\n")
		b.WriteString("#|")
		b.WriteString(line)
		b.WriteByte('\n')
		text = rest
	}
	b.WriteString("#=")
	return b.String(), nil
}

// plainURL reads an http URL such as a mirror's.
func plainURL(v any) (*url.URL, error) {
	s := text(v)
	u, err := url.Parse(s)
	switch {
	case err != nil || u.Host == "":
		return nil, fmt.Errorf("%q is not a URL such as http://mirror.example.net/debian", s)
	case u.Scheme == "https":
		return nil, fmt.Errorf("%q: Debian's installer speaks no https here, use http (packages are signed)", s)
	case u.Scheme != "http":
		return nil, fmt.Errorf("%q is not an http URL", s)
	}
	return u, nil
}

// urlHost gives host and port of a URL; an IPv6 address keeps its brackets.
func urlHost(v any) (string, error) {
	u, err := plainURL(v)
	if err != nil {
		return "", err
	}
	return debconf(u.Host)
}

// urlPath gives the path of a URL with a leading and no final slash.
func urlPath(v any) (string, error) {
	u, err := plainURL(v)
	if err != nil {
		return "", err
	}
	return debconf("/" + strings.Trim(u.Path, "/"))
}
