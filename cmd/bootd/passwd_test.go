package main

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/go-crypt/crypt/algorithm/shacrypt"

	"bootd.internal/bootd/inventory"
)

func TestPasswd(t *testing.T) {
	for _, c := range []struct {
		name, typed, password string
		err                   error
	}{
		{"a line", "correct horse\n", "correct horse", nil},
		{"no line break", "correct horse", "correct horse", nil},
		{"blanks count", " a \r\n", " a ", nil},
		{"nothing", "\n", "", errPasswordEmpty},
		{"too long", strings.Repeat("a", maxPassword+1) + "\n", "", errPasswordBad},
		{"NUL", "a\x00b\n", "", errPasswordBad},
	} {
		t.Run(c.name, func(t *testing.T) {
			var out, errs bytes.Buffer
			a := app{stdin: strings.NewReader(c.typed), stdout: &out, stderr: &errs}
			err := passwdCommand(a, nil)(t.Context(), nil)
			if !errors.Is(err, c.err) {
				t.Fatalf("error %v, want %v", err, c.err)
			}
			if err != nil {
				if out.Len() > 0 {
					t.Errorf("printed %q", &out)
				}
				return
			}
			hash := strings.TrimSuffix(out.String(), "\n")
			if fault := inventory.HashFault(hash); fault != "" || !strings.HasPrefix(hash, "$6$") {
				t.Errorf("%s: %s", hash, fault)
			}
			digest, err := shacrypt.Decode(hash)
			if err != nil || !digest.Match(c.password) || digest.Match(c.password+"x") {
				t.Errorf("%s does not match %q: %v", hash, c.password, err)
			}
		})
	}
}
