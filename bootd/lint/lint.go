// Package lint reads what templates rendered as the machines will: iPXE scripts and preseed files. It finds what would
// stop a boot or an unattended installation on an IPv6-only network before a machine does. Its sources are the parsers of
// the clients: iPXE's core/exec.c, core/uri.c and image/script.c, debconf-set-selections(1), and installations that stopped.
//
// The package never renders, never repeats a value of an answer (it may be a secret), and knows no host.
package lint

import "bytes"

// Fault is one thing that a client would stumble over.
type Fault struct {
	// Line counts from 1; 0: something is missing, so there is no line.
	Line int
	// Text says what is wrong and what to do.
	Text string
}

// Host looks at everything that one host is installed with: its script alone, its answers alone, and what the installer
// lacks when both are taken together. answers may be empty.
func Host(script, answers []byte) (ofScript, ofAnswers []Fault) {
	s := readScript(script)
	ofScript = s.faults
	if !Preseed(answers) {
		return ofScript, nil
	}
	a := readAnswers(answers)
	ofScript = append(ofScript, s.unattended()...)
	return ofScript, append(a.faults, a.missing(s.arguments)...)
}

// Script finds faults of an iPXE script.
func Script(text []byte) []Fault { return readScript(text).faults }

// Preseed reports whether a text is a preseed file: other installers' answers are not looked at.
func Preseed(text []byte) bool {
	return bytes.HasPrefix(text, []byte("d-i ")) || bytes.Contains(text, []byte("\nd-i ")) || bytes.Contains(text, []byte("\nd-i\t"))
}

// shorten keeps a word from a template readable in a fault.
func shorten(s string) string {
	const most = 60
	if len(s) <= most {
		return s
	}
	return s[:most] + "..."
}
