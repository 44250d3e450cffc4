package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"

	"github.com/go-crypt/crypt/algorithm/shacrypt"
	"golang.org/x/term"
)

const passwdText = `
Asks for a password twice, without showing it, and prints a crypt(5) hash of it (SHA-512, a new salt each time) for the key
password of a user, or for the file of a secret. Where standard input is no terminal, its first line is the password.`

// maxPassword bounds what is read, in octets; pam_unix takes no more.
const maxPassword = 512

var (
	errPasswordEmpty  = errors.New("the password is empty")
	errPasswordDiffer = errors.New("the two passwords differ, nothing was made")
	errPasswordBad    = fmt.Errorf("the password is longer than %d octets or holds a NUL, which no login takes", maxPassword)
)

func passwdCommand(a app, _ *flag.FlagSet) func(context.Context, []string) error {
	return func(context.Context, []string) error {
		password, err := a.password()
		if err != nil {
			return err
		}
		hash, err := hashPassword(password)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintln(a.stdout, hash)
		return err
	}
}

// hashPassword makes a hash that the C library of every Linux system checks.
func hashPassword(password []byte) (string, error) {
	switch {
	case len(password) == 0:
		return "", errPasswordEmpty
	case len(password) > maxPassword || bytes.IndexByte(password, 0) >= 0:
		return "", errPasswordBad
	}
	h, err := shacrypt.New(shacrypt.WithSHA512())
	if err != nil {
		return "", fmt.Errorf("preparing the hash: %w", err)
	}
	digest, err := h.Hash(string(password))
	if err != nil {
		return "", fmt.Errorf("hashing: %w", err)
	}
	return digest.Encode(), nil
}

// password asks on the terminal, or reads a line.
func (a app) password() ([]byte, error) {
	f, ok := a.stdin.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		line, err := bufio.NewReader(io.LimitReader(a.stdin, maxPassword+3)).ReadBytes('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("reading the password: %w", err)
		}
		return bytes.TrimRight(line, "\r\n"), nil
	}
	first, err := a.askHidden(f, "password: ")
	if err != nil || len(first) == 0 {
		return first, err
	}
	second, err := a.askHidden(f, "once more: ")
	if err == nil && !bytes.Equal(first, second) {
		err = errPasswordDiffer
	}
	return first, err
}

func (a app) askHidden(f *os.File, question string) ([]byte, error) {
	fmt.Fprint(a.stderr, question)
	answer, err := term.ReadPassword(int(f.Fd()))
	fmt.Fprintln(a.stderr)
	if err != nil {
		return nil, fmt.Errorf("reading the password: %w", err)
	}
	return answer, nil
}
