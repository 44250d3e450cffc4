package lab

import (
	"context"
	"errors"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestConsoleClean(t *testing.T) {
	cases := []struct{ name, in, want string }{
		{"plain", "login: ", "login: "},
		{"CRLF", "iPXE> \r", "iPXE> "},
		{"colours", "\x1b[0;1miPXE 1.0.0\x1b[0m -- Open", "iPXE 1.0.0 -- Open"},
		{"cursor and screen", "\x1b[2J\x1b[01;01H\x1b[=3hBdsDxe: loading", "BdsDxe: loading"},
		{"a progress line overwrites itself", "Configuring 10%\rConfiguring 99%", "Configuring 99%"},
		{"NUL and bell", "a\x00b\x07c", "abc"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, clean(c.in)); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func testConsole(t *testing.T) *console {
	t.Helper()
	c, err := newConsole(filepath.Join(t.TempDir(), "console"), Fatal)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

func say(t *testing.T, c *console, pieces ...string) {
	t.Helper()
	for _, p := range pieces {
		if _, err := c.Write([]byte(p)); err != nil {
			t.Fatal(err)
		}
	}
}

// TestConsoleWait: a line counts when it is whole, in however many pieces it
// came, and a prompt when nothing follows it.
func TestConsoleWait(t *testing.T) {
	c := testConsole(t)
	say(t, c, "HEL", "LO 1", "23\r\nnode1 lo", "gin: ")
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	for _, w := range []struct {
		re   string
		want []string
	}{{`HELLO (\d+)`, []string{"HELLO 123", "123"}}, {`login: $`, []string{"login: "}}} {
		got, err := c.wait(ctx, regexp.MustCompile(w.re))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(w.want, got); diff != "" {
			t.Errorf("%s: -want +got:\n%s", w.re, diff)
		}
	}
}

func TestConsoleFatal(t *testing.T) {
	never := regexp.MustCompile("never printed")
	for _, line := range []string{
		"Prompt: '?' for help, default=> ", "  Press enter to continue...", "[    1.2] Kernel panic - not syncing: x", "iPXE> ", "No bootable device.",
	} {
		t.Run(line, func(t *testing.T) {
			c := testConsole(t)
			say(t, c, "all is well\n", line)
			_, err := c.wait(t.Context(), never)
			if err == nil || !strings.Contains(err.Error(), "the console says ") {
				t.Errorf("waiting on: %v", err)
			}
		})
	}
	t.Run("the machine ended", func(t *testing.T) {
		c := testConsole(t)
		gone := errors.New("gone")
		c.end(gone)
		if _, err := c.wait(t.Context(), never); !errors.Is(err, gone) {
			t.Errorf("got %v, want %v", err, gone)
		}
	})
}

// TestConsoleBound: a machine that prints without end does not fill our memory,
// and a waiter still sees the newest lines.
func TestConsoleBound(t *testing.T) {
	c := testConsole(t)
	line := strings.Repeat("x", 1023) + "\n"
	for range maxConsole/len(line) + 10 {
		say(t, c, line)
	}
	say(t, c, "the end\n")
	if c.size > maxConsole {
		t.Errorf("%d octets are kept, at most %d may be", c.size, maxConsole)
	}
	if _, err := c.wait(t.Context(), regexp.MustCompile("^the end$")); err != nil {
		t.Error(err)
	}
}
