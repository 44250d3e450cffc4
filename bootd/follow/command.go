package follow

import (
	"context"
	"fmt"
	"os"
	"os/exec"

	"bootd.internal/bootd/command"
	"bootd.internal/bootd/site"
)

// found reports a program that is not there before anything is changed for it.
func found(name string) error {
	if _, err := exec.LookPath(name); err != nil {
		return fmt.Errorf("finding the command: %w: is the program installed?", err)
	}
	return nil
}

// execute runs a follower's command; one without has nothing to be told. What changed stands in its environment: the prefix that is,
// and the one before; empty: none.
func execute(ctx context.Context, f site.Follower, old, prefix string) error {
	if len(f.Command) == 0 {
		return nil
	}
	env := []string{"PATH=" + os.Getenv("PATH"), "BOOTD_NAME=" + f.Name, "BOOTD_PREFIX=" + prefix, "BOOTD_OLD_PREFIX=" + old}
	if err := command.Run(ctx, f.Command, env, f.Timeout); err != nil {
		return fmt.Errorf("running %s: %w", f.Command[0], err)
	}
	return nil
}
