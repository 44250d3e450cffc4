package importer

import (
	"strings"
)

// keaClass is one client class: who belongs to it, and what it tells them to boot.
type keaClass struct {
	name string
	test []word
	url  string
	at   Place
}

// classes reads the client classes: each known boot client is asked which of them it belongs to, in their order, and what
// the first of these tells it to boot, as Kea does it.
func (k *kea) classes(m jmember, path string) {
	clients := boots()
	answers, results := make([]answer, len(clients)), make([]map[string]bool, len(clients))
	for i, p := range clients {
		answers[i].pretend, results[i] = p, map[string]bool{}
	}
	k.items(m, path, func(v *jvalue, path string) {
		c := keaClass{at: v.Place}
		plain := func(jmember) {}
		var options []func()
		k.each(v, path, map[string]entry{
			"name": func(m jmember) { c.name = m.value.text },
			"test": func(m jmember) { c.test = exprWords(m.value.text, m.Line) },
			"option-data": func(m jmember) {
				k.items(m, path, func(v *jvalue, path string) {
					if def, ok := findOption(k.defs, text(v, "name"), number(v, "code")); ok && def.code == optBootfileURL {
						c.url, c.at = text(v, "data"), v.Place
						return
					}
					options = append(options, func() {
						k.lost(v.Place, "%s: only what a class tells its members to boot is taken over, no other option", path)
					})
				})
			},
			"only-if-required": func(m jmember) {
				if m.value.text == "true" {
					k.lost(m.Place, "%s.only-if-required", path)
				}
			},
			"template-test": func(m jmember) { k.lost(m.Place, "%s.template-test", path) },
			"option-def":    plain,
		})
		for _, say := range options {
			say()
		}
		for i, p := range clients {
			in, err := k.member(c, results[i], p)
			if err != nil {
				k.lost(v.Place, "%s %s: %s", path, oneLine(c.name), err)
				return
			}
			results[i][c.name] = in
			if in && c.url != "" && answers[i].url == "" {
				answers[i].url, answers[i].at = c.url, c.at
			}
		}
	})
	k.boot(answers)
}

// member reports whether a client belongs to a class; known are the classes before it.
func (k *kea) member(c keaClass, known map[string]bool, p pretend) (bool, error) {
	if len(c.test) == 0 {
		return false, errUnread // it is assigned by reservations
	}
	e := expression{words: c.test, client: p, code: k.code, member: func(name string) (bool, error) {
		in, ok := known[name]
		vendor, builtin := strings.CutPrefix(name, "VENDOR_CLASS_")
		switch {
		case ok:
			return in, nil
		case name == "ALL":
			return true, nil
		case builtin:
			return vendor == p.vendor(), nil
		}
		return false, errUnread
	}}
	return e.holds()
}

func (k *kea) code(name string) (int, bool) {
	d, ok := findOption(k.defs, strings.TrimPrefix(name, "dhcp6."), 0)
	return d.code, ok
}

func text(v *jvalue, key string) string {
	if x := v.get(key); x != nil {
		return x.text
	}
	return ""
}

func number(v *jvalue, key string) int {
	n := 0
	for _, c := range text(v, key) {
		if c < '0' || c > '9' || n > 65535 {
			return 0
		}
		n = n*10 + int(c-'0')
	}
	return n
}

// exprWords splits the test of a class.
func exprWords(s string, line int) []word {
	var out []word
	for i := 0; i < len(s); {
		c := s[i]
		switch {
		case c == ' ' || c == '\t' || c == '\n' || c == '\r':
			i++
		case c == '\'' || c == '"':
			end := strings.IndexByte(s[i+1:], c)
			if end < 0 {
				end = len(s) - i - 1
			}
			out = append(out, word{text: s[i+1 : i+1+end], quoted: true, line: line})
			i += end + 2
		case strings.HasPrefix(s[i:], "==") || strings.HasPrefix(s[i:], "!="):
			out = append(out, word{text: s[i : i+2], line: line})
			i += 2
		case isWord(c):
			from := i
			for i++; i < len(s) && isWord(s[i]); i++ {
			}
			out = append(out, word{text: s[from:i], line: line})
		default:
			out = append(out, word{text: s[i : i+1], line: line})
			i++
		}
	}
	return out
}

func isWord(c byte) bool {
	return c|0x20 >= 'a' && c|0x20 <= 'z' || c >= '0' && c <= '9' || c == '_' || c == '-' || c == '.' || c == ':' || c == '*'
}
