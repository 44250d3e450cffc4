package inventory

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"strings"

	"gopkg.in/yaml.v3"
)

var userFields = []field[User]{
	{name: "password", set: func(p *parser, u *User, v value) {
		if v.node.Kind == yaml.MappingNode {
			u.Secret, _ = p.reference(v)
			return
		}
		u.Password, _ = p.passwordHash(v)
	}},
	{name: "ssh_keys", set: func(p *parser, u *User, v value) { u.SSHKeys, _ = listOf((*parser).sshKey)(p, v) }},
	{name: "sudo", set: func(p *parser, u *User, v value) { u.Sudo, _ = p.boolean(v) }},
}

func (p *parser) users(v value) ([]User, bool) {
	var all []User
	before := len(p.faults)
	p.each(v, func(key *yaml.Node, child value) {
		u := User{Name: key.Value}
		faults := len(p.faults)
		if !userName(u.Name) {
			p.fault(Pos{key.Line, key.Column}, child.path, "a user's name is made of a-z, 0-9, - and _, begins with a letter and has 32 at most")
		}
		if child.node.Kind != yaml.MappingNode {
			p.bad(child, "wants {password: ..., ssh_keys: [...]}") // what stands there may be a password: it is not repeated
			return
		}
		walk(p, child, userFields, &u)
		if len(p.faults) == faults && u.Password == "" && u.Secret == "" && len(u.SSHKeys) == 0 {
			p.bad(child, "has neither password nor ssh_keys: nobody could log in")
		}
		all = append(all, u)
	})
	return all, len(p.faults) == before
}

func userName(s string) bool {
	if s == "" || len(s) > 32 || (s[0] < 'a' || s[0] > 'z') && s[0] != '_' {
		return false
	}
	for i := range len(s) {
		if c := s[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' {
			return false
		}
	}
	return true
}

// passwordHash reads a crypt(5) hash. What is none is a plain password: the fault does not repeat it.
func (p *parser) passwordHash(v value) (string, bool) {
	if v.node.Kind != yaml.ScalarNode || v.null() {
		p.bad(v, "wants a crypt(5) hash, as `bootd passwd` makes it, or {secret: NAME}")
		return "", false
	}
	if fault := HashFault(v.node.Value); fault != "" {
		p.bad(v, "%s", fault)
		return "", false
	}
	return v.node.Value, true
}

// HashFault says what is wrong with a crypt(5) hash, without repeating it; empty: nothing.
func HashFault(s string) string {
	parts := strings.Split(s, "$")
	legal := !strings.ContainsFunc(s, func(r rune) bool { return !chars("./$=,+-")(r) })
	if len(parts) < 4 || parts[0] != "" || !legal || len(s) > 400 {
		return "is not a crypt(5) hash, and a plain password must not stand here: `bootd passwd` makes one"
	}
	switch parts[1] {
	case "y", "gy", "7", "2b", "2y", "6", "5":
		return ""
	}
	return fmt.Sprintf("the hash method $%s$ is unknown or too weak: `bootd passwd` makes a good one", shorten(parts[1]))
}

// sshKey reads one line of an authorized_keys file (sshd(8)) without options: type, base64, comment.
func (p *parser) sshKey(v value) (string, bool) {
	s, ok := p.text(v)
	if !ok {
		return "", false
	}
	f := strings.Fields(s)
	if len(f) < 2 {
		p.bad(v, "is not an SSH public key: paste the line of a .pub file")
		return "", false
	}
	blob, err := base64.StdEncoding.DecodeString(f[1])
	if err != nil || len(blob) < 4 || strings.ContainsAny(s, `"'\$`+"`") {
		p.bad(v, "is not an SSH public key of type, base64 and comment: paste the line of a .pub file")
		return "", false
	}
	// RFC 4253 section 6.6: the blob begins with its type once more, which finds keys cut while pasting.
	n := binary.BigEndian.Uint32(blob)
	if uint64(n) >= uint64(len(blob)-4) || string(blob[4:4+n]) != f[0] {
		p.bad(v, "the SSH key is cut or not of type %s: paste the whole line of the .pub file", shorten(f[0]))
		return "", false
	}
	return s, true
}
