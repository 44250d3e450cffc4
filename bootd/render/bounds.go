package render

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// Functions of templates make texts of MaxSize at most. None may take memory that its arguments do not have, so what could
// grow is looked at before.

var (
	errLongText = errors.New("makes a text of more than 1 MiB")
	errWidth    = errors.New("printf wants widths and precisions of at most three digits, and no *")
)

// wide matches verbs of printf that make much out of nothing.
var wide = regexp.MustCompile(`%[^a-zA-Z%]*([0-9]{4}|\*)`)

func bounded(s string, err error) (string, error) {
	if err == nil && len(s) > MaxSize {
		return "", errLongText
	}
	return s, err
}

// short bounds what a function makes of one value.
func short(fn func(any) (string, error)) func(any) (string, error) {
	return func(v any) (string, error) { return bounded(fn(v)) }
}

// shortAll bounds what a function makes of several values.
func shortAll(fn func(...any) string) func(...any) (string, error) {
	return func(args ...any) (string, error) {
		if size(args...) > MaxSize {
			return "", errLongText
		}
		return bounded(fn(args...), nil)
	}
}

// printf bounds the format too: with it, one value is written many times.
func printf(format string, args ...any) (string, error) {
	if wide.MatchString(strings.ReplaceAll(format, "%%", "")) {
		return "", errWidth
	}
	if (strings.Count(format, "%")+1)*(size(args...)+1000)+len(format) > 8*MaxSize {
		return "", errLongText
	}
	return bounded(fmt.Sprintf(format, args...), nil)
}

func join(sep string, list []string) (string, error) {
	n := len(sep) * len(list)
	for _, s := range list {
		n += len(s)
	}
	if n > MaxSize {
		return "", errLongText
	}
	return strings.Join(list, sep), nil
}

// size is how long the texts among values are.
func size(args ...any) int {
	n := 0
	for _, a := range args {
		switch a := a.(type) {
		case string:
			n += len(a)
		case []string:
			for _, s := range a {
				n += len(s) + 1
			}
		default:
			n += 64
		}
	}
	return n
}
