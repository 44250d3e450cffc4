package daemon

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"unicode/utf8"

	"filippo.io/age"
	"filippo.io/age/armor"

	"bootd.internal/bootd/inventory"
)

// maxSecret bounds a secret and the files around it, in octets.
const maxSecret = 64 << 10

// errNoVariable: the environment does not have it.
var errNoVariable = errors.New("is not set in the environment of bootd")

// readSecrets reads what the inventory refers to. Each one that cannot be read is a fault with its place; no fault
// repeats a value.
func readSecrets(inv *inventory.Inventory) (map[string]string, []Fault) {
	values := make(map[string]string, len(inv.Secrets))
	var faults []Fault
	for _, s := range inv.Secrets {
		text, at, err := readSecret(inv.File, s)
		if err == nil {
			err = secretFault(s, text)
		}
		if err != nil {
			faults = append(faults, Fault{
				File: inv.File, Line: at.Line, Column: at.Col, Path: "secrets." + s.Name, Text: err.Error(),
			})
			continue
		}
		values[s.Name] = text
	}
	return values, faults
}

// secretFault looks at a value without telling it.
func secretFault(s inventory.Secret, text string) error {
	switch fault := inventory.HashFault(text); {
	case text == "":
		return errors.New("is empty")
	case !utf8.ValidString(text) || strings.ContainsFunc(text, func(r rune) bool { return r < ' ' && r != '\n' && r != '\t' }):
		return errors.New("is not text")
	case s.Password && fault != "":
		return errors.New("is a user's password: " + fault)
	case s.Line && inventory.LineFault(text) != "":
		return errors.New("is a phone's password: it " + inventory.LineFault(text))
	}
	return nil
}

func readSecret(file string, s inventory.Secret) (string, inventory.Pos, error) {
	switch {
	case s.Env.Set():
		v, ok := os.LookupEnv(s.Env.V)
		if !ok {
			return "", s.Env.Pos, fmt.Errorf("%s %w", s.Env.V, errNoVariable)
		}
		return v, s.Env.Pos, nil
	case s.Age.Set():
		data, err := decrypt(beside(file, s.Age.V), beside(file, s.Identity.V))
		return trimmed(data), s.Age.Pos, err
	}
	data, err := readBounded(beside(file, s.File.V), maxSecret)
	if err != nil {
		return "", s.File.Pos, fmt.Errorf("reading: %w", why(err))
	}
	return trimmed(data), s.File.Pos, nil
}

// trimmed takes off the line break that editors put at the end.
func trimmed(data []byte) string {
	return strings.TrimSuffix(strings.TrimSuffix(string(data), "\n"), "\r")
}

// decrypt opens a file that age encrypted, in its binary or its armoured form, with the keys of an identity file.
func decrypt(name, identity string) ([]byte, error) {
	keys, err := readBounded(identity, maxSecret)
	if err != nil {
		return nil, fmt.Errorf("reading the identity: %w", why(err))
	}
	ids, err := age.ParseIdentities(bytes.NewReader(keys))
	if err != nil {
		return nil, fmt.Errorf("the identity %s is no key of age (age-keygen makes one)", identity) // the cause may hold the key
	}
	sealed, err := readBounded(name, 2*maxSecret)
	if err != nil {
		return nil, fmt.Errorf("reading: %w", why(err))
	}
	plain, err := age.Decrypt(dearmour(sealed), ids...)
	var other *age.NoIdentityMatchError
	switch {
	case errors.As(err, &other):
		return nil, fmt.Errorf("%s is not encrypted for the key in %s", name, identity)
	case err != nil: // the cause quotes the file, which may be the secret itself
		return nil, fmt.Errorf("%s is no file that age encrypted, or is damaged", name)
	}
	text, err := io.ReadAll(io.LimitReader(plain, maxSecret+1))
	if err != nil {
		return nil, fmt.Errorf("decrypting %s: %w", name, err)
	}
	if len(text) > maxSecret {
		return nil, fmt.Errorf("%s: %w: more than %d octets", name, errTooLarge, maxSecret)
	}
	return text, nil
}

func dearmour(sealed []byte) io.Reader {
	if bytes.HasPrefix(bytes.TrimSpace(sealed), []byte(armor.Header)) {
		return armor.NewReader(bytes.NewReader(sealed))
	}
	return bytes.NewReader(sealed)
}

// why says for a file that is not there what that means here.
func why(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: paths are relative to the inventory", err)
	}
	return err
}
