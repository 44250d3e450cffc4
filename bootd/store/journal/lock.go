package journal

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
)

const lockName = "lock"

// lock takes the directory for this process until the file is closed, and writes the process id into it. The kernel
// drops the lock when the process dies, so a crash leaves nothing to clean up.
func lock(root *os.Root) (*os.File, error) {
	f, err := root.OpenFile(lockName, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening the lock file: %w", err)
	}
	if err := take(f); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

func take(f *os.File) error {
	err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return fmt.Errorf("%w: process %s holds %s; stop it, or give this one another state directory",
			ErrLocked, holder(f), f.Name())
	}
	if err != nil {
		return fmt.Errorf("locking %s: %w", f.Name(), err)
	}
	if err := f.Truncate(0); err != nil {
		return fmt.Errorf("emptying %s: %w", f.Name(), err)
	}
	// A full disk must not keep the daemon from starting: the lock holds without its text.
	_, err = f.WriteAt(fmt.Appendf(nil, "%d\n", os.Getpid()), 0)
	if err != nil && !errors.Is(err, syscall.ENOSPC) {
		return fmt.Errorf("writing %s: %w", f.Name(), err)
	}
	return nil
}

// unlock lets the lock go, then closes its file. Closing alone is not enough: a child between fork and exec has a copy of
// the descriptor for a moment, and the lock lives as long as any copy.
func unlock(f *os.File) error {
	return errors.Join(syscall.Flock(int(f.Fd()), syscall.LOCK_UN), f.Close())
}

// holder reads the process id that the owner of the lock wrote.
func holder(f *os.File) string {
	b, err := io.ReadAll(io.LimitReader(f, 20))
	if pid := strings.TrimSpace(string(b)); err == nil && pid != "" {
		return pid
	}
	return "(id not known)"
}
