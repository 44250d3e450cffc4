// Package docker puts a prefix into the Docker daemon's daemon.json (dockerd(8), "Daemon configuration file"), as a person would
// with an editor: all else in the file stays as it is, octet for octet.
//
// The package never opens a file and never speaks to Docker.
package docker

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"
)

// member is one key of the file with where its value stands.
type member struct {
	key        string
	start, end int
	value      json.RawMessage
}

// Merge gives the file with ipv6 set to true and fixed-cidr-v6 to p: values that are there are replaced where they stand, others
// come after the last key, indented as the first one is. An empty file is one without keys. Errors say the line.
func Merge(data []byte, p netip.Prefix) ([]byte, error) {
	if len(bytes.TrimSpace(data)) == 0 {
		return []byte("{\n  \"ipv6\": true,\n  \"fixed-cidr-v6\": \"" + p.String() + "\"\n}\n"), nil
	}
	out, err := data, error(nil)
	for _, set := range []struct{ key, value string }{{"fixed-cidr-v6", `"` + p.String() + `"`}, {"ipv6", "true"}} {
		if out, err = put(out, set.key, set.value); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// put sets one key.
func put(data []byte, key, value string) ([]byte, error) {
	members, err := parse(data)
	if err != nil {
		return nil, err
	}
	splice := func(from, to int, text string) []byte {
		return append(append(bytes.Clone(data[:from]), text...), data[to:]...)
	}
	for _, m := range members {
		if m.key == key {
			if same(m.value, value) {
				return data, nil
			}
			return splice(m.start, m.end, value), nil
		}
	}
	open := bytes.IndexByte(data, '{') + 1
	if len(members) == 0 {
		end := open + bytes.IndexByte(data[open:], '}')
		return splice(open, end, "\n  \""+key+"\": "+value+"\n"), nil
	}
	space := data[open : open+bytes.IndexByte(data[open:], '"')]
	if len(space) == 0 {
		space = []byte(" ")
	}
	last := members[len(members)-1].end
	return splice(last, last, ","+string(space)+`"`+key+`": `+value), nil
}

// same reports whether a value of the file says what is wanted, however it is written.
func same(raw json.RawMessage, value string) bool {
	var a, b any
	return json.Unmarshal(raw, &a) == nil && json.Unmarshal([]byte(value), &b) == nil && a == b
}

// parse finds the keys of the one object that the file is.
func parse(data []byte) ([]member, error) {
	d := json.NewDecoder(bytes.NewReader(data))
	t, err := d.Token()
	if err != nil {
		return nil, fault(data, int(d.InputOffset()), err)
	}
	if t != json.Delim('{') {
		return nil, at(data, int(d.InputOffset()), "is not an object: { ... } is wanted")
	}
	var out []member
	seen := map[string]bool{}
	for d.More() {
		t, err := d.Token()
		key, ok := t.(string)
		if err != nil || !ok {
			return nil, fault(data, int(d.InputOffset()), err)
		}
		if seen[key] {
			return nil, at(data, int(d.InputOffset()), fmt.Sprintf("the key %q is there twice", key))
		}
		seen[key] = true
		m := member{key: key}
		if err := d.Decode(&m.value); err != nil {
			return nil, fault(data, int(d.InputOffset()), err)
		}
		m.end = int(d.InputOffset())
		m.start = m.end - len(m.value)
		out = append(out, m)
	}
	if _, err := d.Token(); err != nil {
		return nil, fault(data, int(d.InputOffset()), err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, at(data, int(d.InputOffset()), "something stands behind the last }")
	}
	return out, nil
}

func fault(data []byte, offset int, err error) error {
	var syntax *json.SyntaxError
	switch {
	case errors.As(err, &syntax):
		// A Decoder leaves the blanks between tokens out of its count; the whole, read at once, says where the octet stands.
		var whole json.RawMessage
		errors.As(json.Unmarshal(data, &whole), &syntax)
		return at(data, int(syntax.Offset)-1, err.Error())
	case err == nil || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
		return at(data, len(data), "it ends too early")
	}
	return at(data, offset, err.Error())
}

// at is an error with its line, counted from 1.
func at(data []byte, offset int, text string) error {
	offset = max(0, min(offset, len(data)))
	return fmt.Errorf("line %d: %s", 1+bytes.Count(data[:offset], []byte("\n")), strings.TrimPrefix(text, "json: "))
}
