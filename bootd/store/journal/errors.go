package journal

import (
	"errors"
	"fmt"
)

// ErrLocked says that another process works on the state directory.
var ErrLocked = errors.New("state directory is in use")

// errStopped says that Close did not wait for a compaction to end.
var errStopped = errors.New("compaction stopped: the store closes")

// DamageError says that a file holds something else than was written to it and synced. Open stops at it, because
// going on would forget promises without a word.
type DamageError struct {
	File   string
	Offset int64 // octets from the start of File
	Reason string
	Remedy string
}

// Error names file and offset, says what is wrong, and what to do.
func (e *DamageError) Error() string {
	return fmt.Sprintf("%s is damaged at offset %d: %s; %s", e.File, e.Offset, e.Reason, e.Remedy)
}
