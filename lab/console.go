package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"
	"sync"
	"time"
	"unicode"
)

// Fatal matches console lines after which a machine goes no further by itself:
// Debian's installer asks a question, the kernel gives up, firmware has nothing
// left to boot.
var Fatal = regexp.MustCompile(`^Prompt: |[Pp]ress enter to continue|Kernel panic|^iPXE> |No bootable device`)

// escapes matches the cursor movements and colours that firmware prints.
var escapes = regexp.MustCompile("\x1b(?:\\[[0-9;?=]*[a-zA-Z]|[()][A-Z0-9]|[=>])|[\x00-\x08\x0b\x0c\x0e-\x1a\x7f]")

// maxConsole bounds what is kept in memory of one console; the file has all.
const maxConsole = 1 << 20

// console keeps what a machine prints: raw in a file, line by line in memory.
type console struct {
	fatal *regexp.Regexp

	mu      sync.Mutex
	file    *os.File
	lines   []string // complete ones, without escapes
	size    int
	dropped int
	partial string
	stop    error         // why waiting has no point any more
	changed chan struct{} // closed and replaced at each change
}

func newConsole(path string, fatal *regexp.Regexp) (*console, error) {
	f, err := os.Create(path)
	if err != nil {
		return nil, fmt.Errorf("creating console log: %w", err)
	}
	return &console{fatal: fatal, file: f, changed: make(chan struct{})}, nil
}

// Write takes what the machine printed. It never fails: a full disk must not
// stop the machine.
func (c *console) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, _ = c.file.Write(p)
	text := c.partial + string(p)
	for {
		line, rest, ok := strings.Cut(text, "\n")
		if !ok {
			break
		}
		c.keep(clean(line))
		text = rest
	}
	c.partial = text
	if c.fatal != nil && c.stop == nil && c.fatal.MatchString(clean(text)) {
		c.stop = fmt.Errorf("the console says %q", clean(text))
	}
	c.wake()
	return len(p), nil
}

func (c *console) keep(line string) {
	c.lines = append(c.lines, line)
	c.size += len(line)
	if c.fatal != nil && c.stop == nil && c.fatal.MatchString(line) {
		c.stop = fmt.Errorf("the console says %q", line)
	}
	for c.size > maxConsole {
		c.size -= len(c.lines[0])
		c.lines = c.lines[1:]
		c.dropped++
	}
}

func (c *console) wake() {
	close(c.changed)
	c.changed = make(chan struct{})
}

// end makes every waiter give up with err, unless there was a reason already.
func (c *console) end(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stop == nil {
		c.stop = err
	}
	c.wake()
}

// clean removes escapes and what a carriage return overwrites.
func clean(line string) string {
	line = strings.TrimRight(line, "\r")
	if strings.ContainsFunc(line, unicode.IsControl) {
		line = escapes.ReplaceAllString(line, "")
	}
	if i := strings.LastIndexByte(line, '\r'); i >= 0 {
		line = line[i+1:]
	}
	return line
}

// wait returns the submatches of the first line, from the start of the
// console, that matches re. It fails when ctx ends, when the console shows a
// fatal line, and when nothing more will come.
func (c *console) wait(ctx context.Context, re *regexp.Regexp) ([]string, error) {
	next := 0
	for {
		c.mu.Lock()
		next = max(next, c.dropped)
		for ; next < c.dropped+len(c.lines); next++ {
			if m := re.FindStringSubmatch(c.lines[next-c.dropped]); m != nil {
				c.mu.Unlock()
				return m, nil
			}
		}
		m, stop, changed := re.FindStringSubmatch(clean(c.partial)), c.stop, c.changed
		c.mu.Unlock()
		if stop != nil {
			return nil, fmt.Errorf("waiting for /%s/ on the console: %w", re, stop)
		}
		select {
		case <-changed:
		case <-promptAfter(m):
			return m, nil
		case <-ctx.Done():
			return nil, fmt.Errorf("waiting for /%s/ on the console: %w (last line: %q)", re, context.Cause(ctx), c.last())
		}
	}
}

// match returns the submatches of the first line that matches re, nil if none
// does so far.
func (c *console) match(re *regexp.Regexp) []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, line := range c.lines {
		if m := re.FindStringSubmatch(line); m != nil {
			return m
		}
	}
	return nil
}

// promptAfter fires when a line without an end that matches has had time to go
// on: then it is a prompt. Without a match it never fires.
func promptAfter(match []string) <-chan time.Time {
	if match == nil {
		return nil
	}
	return time.After(250 * time.Millisecond)
}

// last returns the last line that is not blank.
func (c *console) last() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s := strings.TrimSpace(clean(c.partial)); s != "" {
		return s
	}
	for i := len(c.lines) - 1; i >= 0; i-- {
		if s := strings.TrimSpace(c.lines[i]); s != "" {
			return s
		}
	}
	return ""
}

func (c *console) close() error {
	c.end(errors.New("the machine was stopped"))
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.file.Close()
}

// WaitFor polls ok until it is true or ctx ends. It is for what announces
// itself to nobody, such as an address that the kernel has finished checking.
func WaitFor(ctx context.Context, what string, ok func() bool) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("waiting until %s: %w", what, context.Cause(ctx))
		}
	}
	return nil
}
