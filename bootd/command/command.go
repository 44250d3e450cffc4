// Package command runs programs that the inventory names: without a shell, in a process group of their own that is killed whole when
// its time is over, with a bound on what is kept of their output.
//
// The package never puts anything into a program's arguments that a person did not write.
package command

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// kept is how many octets of the output of a program that failed are told.
const kept = 300

// Run runs a program to its end, with env as its whole environment. Errors: it is not there, it failed (with the end of what it
// printed), it took longer than limit or ctx ended: it was killed then, and all that it had started.
func Run(ctx context.Context, argv, env []string, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	out := &tail{}
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Env, cmd.Dir = env, "/"
	cmd.Stdout, cmd.Stderr = out, out // one of both: os/exec copies them with one goroutine
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second // a child that it left behind holds its output open
	err := cmd.Run()
	switch {
	case err == nil || errors.Is(err, exec.ErrWaitDelay):
		return nil
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return fmt.Errorf("it hung, and was killed after %s", limit)
	}
	text := strings.TrimSpace(strings.ToValidUTF8(string(out.last), "?"))
	if text != "" {
		text = ": " + strconv.Quote(text)
	}
	return fmt.Errorf("%w%s", err, text)
}

// tail keeps the end of what is written.
type tail struct{ last []byte }

// Write implements io.Writer.
func (t *tail) Write(p []byte) (int, error) {
	t.last = append(t.last, p...)
	if over := len(t.last) - kept; over > 0 {
		t.last = bytes.Clone(t.last[over:])
	}
	return len(p), nil
}
