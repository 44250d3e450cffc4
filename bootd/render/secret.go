package render

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Masked stands for a secret where people look.
const Masked = "********"

// WithSecrets gives a Set of the same templates that knows the values of secrets. No other part of bootd does: a snapshot
// holds their names only.
func (s *Set) WithSecrets(values map[string]string) *Set {
	t := New(s.fsys)
	t.secrets = maps.Clone(values)
	return t
}

// Mask gives a Set of the same templates that shows Masked for every secret, listed or not.
func (s *Set) Mask() *Set {
	t := New(s.fsys)
	t.masked = true
	return t
}

// reveal gives the data of one rendering its secrets, if the text may have any: answers travel under a token, boot
// scripts are given to whoever asks with the right MAC address.
func (s *Set) reveal(name string, d Data) (Data, error) {
	if d.Phone != nil && mayHoldSecrets(name) {
		d.secret = s.secret
		return d, nil
	}
	if d.Answers == "" || name != d.Answers {
		why := "a secret may stand in answers only: a boot script is served without a token"
		if d.Phone != nil {
			why = "a secret may stand in yealink/phone.cfg and yealink/phones/ only: the other files are given to whoever asks"
		}
		d.secret = func(string) (string, error) { return "", errors.New(why) }
		return d, nil
	}
	d.secret = s.secret
	for i, u := range d.Users {
		if u.Secret == "" {
			continue
		}
		v, err := d.secret(u.Secret)
		if err != nil {
			return d, fmt.Errorf("the password of user %s: %w", u.Name, err)
		}
		d.Users = slices.Clone(d.Users)
		d.Users[i].Password = v
	}
	return d, nil
}

func (s *Set) secret(name string) (string, error) {
	if s.masked {
		return Masked, nil
	}
	v, ok := s.secrets[name]
	if !ok {
		return "", fmt.Errorf("no secret is named %s: list it in the section secrets", name)
	}
	return v, nil
}

// SecretOf gives the value of a secret to what checks it.
func (s *Set) SecretOf(name string) (string, error) { return s.secret(name) }

// mask takes the values of secrets out of what a function or a lint says about them.
func (s *Set) mask(text string) string {
	for _, v := range s.secrets {
		quoted := strconv.Quote(v)
		for _, form := range []string{v, quoted[1 : len(quoted)-1]} {
			text = strings.ReplaceAll(text, form, Masked)
		}
	}
	return text
}

// Secret gives the value of a secret, in answers only.
func (d Data) Secret(name string) (string, error) {
	if d.secret == nil {
		return "", fmt.Errorf("no secret is named %s: list it in the section secrets", name)
	}
	return d.secret(name)
}
