package dns

import (
	"context"
	"errors"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// TestStreamDrips: an upstream that sends its answer octet by octet, or nothing at all, holds a connection for no longer than one
// answer may take.
func TestStreamDrips(t *testing.T) {
	for name, tt := range map[string]struct {
		octets string
		each   time.Duration
		want   time.Duration
	}{
		"silent":            {"", 0, streamIdle},
		"half a length":     {"\x00", time.Second, streamIdle},
		"an octet a second": {"\x00\x40\x12\x34\x81\x80\x00\x01\x00\x00\x00\x00\x00\x00", time.Second, 2*time.Second + streamMessage},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				near, far := net.Pipe()
				s := newStream()
				began := time.Now()
				go s.run(t.Context(), func(context.Context) (net.Conn, error) { return near, nil })
				var dripping sync.WaitGroup
				dripping.Go(func() {
					for _, c := range []byte(tt.octets) {
						time.Sleep(tt.each)
						if _, err := far.Write([]byte{c}); err != nil {
							return
						}
					}
				})
				defer dripping.Wait()
				<-s.dead
				if took := time.Since(began); took != tt.want || !errors.Is(s.err, errStreamEnded) {
					t.Errorf("it ended after %v, want %v: %v", took, tt.want, s.err)
				}
			})
		})
	}
}
