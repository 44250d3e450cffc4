package render

import (
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"strconv"
	"strings"
	"text/template"
)

// Error is why a template could not be rendered: which, where, what and for whom.
type Error struct {
	Template string
	// Line counts from 1; 0: the template as a whole.
	Line int
	// Key is the key path of the inventory that is not set, or empty.
	Key string
	// Host is whom it was rendered for, or empty.
	Host string
	// Msg says what is wrong where no Key is missing.
	Msg string
	// Err is what came from below, or nil.
	Err error
}

// Error is file:line: what is wrong, and for a missing key the remedy.
func (e *Error) Error() string { return e.text(e.Host) }

func (e *Error) text(hosts string) string {
	where := e.Template
	if e.Line > 0 {
		where += ":" + strconv.Itoa(e.Line)
	}
	whom := ""
	if hosts != "" {
		whom = " for " + hosts
	}
	if e.Key != "" {
		return fmt.Sprintf("%s: %s is not set%s (set it in defaults, the network, the profile or the host)", where, e.Key, whom)
	}
	return where + ": " + e.Msg + whom
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// missingKey is what the function missing returns.
type missingKey string

func (k missingKey) Error() string { return string(k) + " is not set" }

var (
	atTemplate = regexp.MustCompile(`^(?:template: )?(.+?):(\d+)(?::\d+)?(?:: |$)`)
	atExpr     = regexp.MustCompile(`executing "[^"]*" at <([^>]*)>: `)
	noEntry    = regexp.MustCompile(`map has no entry for key "([^"]*)"`)
)

// place reads "name:12:5" at the start of what text/template says.
func place(s string) (name string, line int) {
	m := atTemplate.FindStringSubmatch(s)
	if m == nil {
		return "", 0
	}
	line, _ = strconv.Atoi(m[2])
	return m[1], line
}

// located makes an *Error of whatever reading, parsing or executing a template gave.
func located(err error, name, host string) *Error {
	var own *Error
	if errors.As(err, &own) {
		e := *own
		e.Host = host
		return &e
	}
	e := &Error{Template: name, Host: host, Msg: err.Error(), Err: err}
	if errors.Is(err, fs.ErrNotExist) {
		e.Msg = "no such template"
		return e
	}
	text := err.Error()
	if file, line := place(text); file != "" {
		e.Template, e.Line = file, line
		text = strings.TrimPrefix(text, atTemplate.FindString(text))
	}
	e.Msg = atExpr.ReplaceAllString(text, "")
	var key missingKey
	var exec template.ExecError
	switch m := noEntry.FindStringSubmatch(text); {
	case errors.As(err, &key):
		e.Key = string(key)
	case m != nil:
		e.Key = m[1]
		if at := atExpr.FindStringSubmatch(text); at != nil && strings.HasPrefix(at[1], ".Vars.") ||
			at != nil && strings.HasPrefix(at[1], "$.Vars.") {
			e.Key = "vars." + m[1]
		}
	case errors.As(err, &exec):
		if i := strings.LastIndex(e.Msg, "error calling "); i >= 0 {
			if _, said, ok := strings.Cut(e.Msg[i:], ": "); ok {
				e.Msg = said
			}
		}
	}
	return e
}
