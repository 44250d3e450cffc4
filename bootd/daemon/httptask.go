package daemon

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"
)

// httpTask serves one bound listener until it is told to end.
type httpTask struct {
	name     string
	listener net.Listener
	server   *http.Server
	ready    chan struct{}
}

// newHTTPTask takes a listener that is bound already. Handlers that stream set their own write deadlines.
func newHTTPTask(name string, l net.Listener, h http.Handler) *httpTask {
	return &httpTask{name: name, listener: l, ready: make(chan struct{}), server: &http.Server{
		Handler: h, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: 30 * time.Second,
		IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10,
	}}
}

func (s *httpTask) String() string         { return s.name }
func (s *httpTask) Ready() <-chan struct{} { return s.ready }

// Run serves until ctx ends; requests that run get two seconds.
func (s *httpTask) Run(ctx context.Context) error {
	s.server.BaseContext = func(net.Listener) context.Context { return ctx }
	done := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(done)
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
		defer cancel()
		if s.server.Shutdown(grace) != nil {
			s.server.Close() // it is the deadline that passed: the rest is cut off
		}
	})
	close(s.ready)
	err := s.server.Serve(s.listener)
	if !stop() {
		<-done
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("serving %s: %w", s.name, err)
}
