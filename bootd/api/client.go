package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"syscall"
	"time"

	"bootd.internal/bootd/explain"
	"bootd.internal/bootd/heard"
	"bootd.internal/bootd/timeline"
)

// Client speaks to a running daemon.
type Client struct {
	socket string
	http   *http.Client
}

// NewClient makes a client of the daemon behind a unix socket. Nothing is opened yet.
func NewClient(socket string) *Client {
	return &Client{socket: socket, http: &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{Timeout: 3 * time.Second}).DialContext(ctx, "unix", socket)
		},
		ResponseHeaderTimeout: time.Minute,
	}}}
}

// ErrNotRunning says that no daemon answers.
var ErrNotRunning = errors.New("bootd is not running here")

// Status asks for everything.
func (c *Client) Status(ctx context.Context) (s Status, err error) {
	return s, c.call(ctx, http.MethodGet, "/v1/status", nil, &s)
}

// Explain asks who something is and what it gets.
func (c *Client) Explain(ctx context.Context, query string) (r explain.Report, err error) {
	return r, c.call(ctx, http.MethodGet, "/v1/explain?q="+url.QueryEscape(query), nil, &r)
}

// Leases lists the leases in force, with expired those that ended too.
func (c *Client) Leases(ctx context.Context, expired bool) (l []Lease, err error) {
	path := "/v1/leases"
	if expired {
		path += "?expired=1"
	}
	return l, c.call(ctx, http.MethodGet, path, nil, &l)
}

// Release ends a lease, or asks whose it is.
func (c *Client) Release(ctx context.Context, req ReleaseRequest) (r ReleaseResult, err error) {
	return r, c.call(ctx, http.MethodPost, "/v1/leases/release", req, &r)
}

// ReleaseDeclined ends the leases that were put aside because a client declined them, or lists them.
func (c *Client) ReleaseDeclined(ctx context.Context, req ReleaseDeclinedRequest) (r ReleaseDeclinedResult, err error) {
	return r, c.call(ctx, http.MethodPost, "/v1/leases/release-declined", req, &r)
}

// Discovered lists the machines that nobody listed.
func (c *Client) Discovered(ctx context.Context) (m []heard.Machine, err error) {
	return m, c.call(ctx, http.MethodGet, "/v1/discovered", nil, &m)
}

// Phones lists the phones.
func (c *Client) Phones(ctx context.Context) (p []Phone, err error) {
	return p, c.call(ctx, http.MethodGet, "/v1/phones", nil, &p)
}

// Authority gives the certificate of bootd's own authority.
func (c *Client) Authority(ctx context.Context) (a Authority, err error) {
	return a, c.call(ctx, http.MethodGet, "/v1/phones/ca", nil, &a)
}

// Render shows what a host would be served.
func (c *Client) Render(ctx context.Context, host, what string) (r Rendered, err error) {
	q := url.Values{"host": {host}, "what": {what}}
	return r, c.call(ctx, http.MethodGet, "/v1/render?"+q.Encode(), nil, &r)
}

// Install arms hosts, or asks which are meant.
func (c *Client) Install(ctx context.Context, req InstallRequest) (r InstallResult, err error) {
	return r, c.call(ctx, http.MethodPost, "/v1/install", req, &r)
}

// Cancel disarms hosts.
func (c *Client) Cancel(ctx context.Context, req CancelRequest) (r CancelResult, err error) {
	return r, c.call(ctx, http.MethodPost, "/v1/cancel", req, &r)
}

// Reload makes the daemon serve the inventory on disk.
func (c *Client) Reload(ctx context.Context) error {
	return c.call(ctx, http.MethodPost, "/v1/reload", struct{}{}, nil)
}

// Stop begins the daemon's end.
func (c *Client) Stop(ctx context.Context, req StopRequest) error {
	return c.call(ctx, http.MethodPost, "/v1/stop", req, nil)
}

// EventQuery selects events; zero values select all.
type EventQuery struct {
	Host string
	// Since is a time in RFC 3339 or how long ago, such as 10m.
	Since  string
	Follow bool
	Limit  int
}

// Events gives each event to take, until the stream ends, ctx ends or take says false.
func (c *Client) Events(ctx context.Context, q EventQuery, take func(timeline.Event) bool) error {
	v := url.Values{}
	if q.Host != "" {
		v.Set("host", q.Host)
	}
	if q.Since != "" {
		v.Set("since", q.Since)
	}
	if q.Limit > 0 {
		v.Set("limit", fmt.Sprint(q.Limit))
	}
	if q.Follow {
		v.Set("follow", "1")
	}
	resp, err := c.do(ctx, http.MethodGet, "/v1/events?"+v.Encode(), nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	for in := json.NewDecoder(resp.Body); ; {
		var e timeline.Event
		err := in.Decode(&e)
		switch {
		case errors.Is(err, io.EOF), ctx.Err() != nil:
			return nil
		case err != nil:
			return fmt.Errorf("reading events: %w", err)
		}
		if !take(e) {
			return nil
		}
	}
}

func (c *Client) call(ctx context.Context, method, path string, in, out any) error {
	var body []byte
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return fmt.Errorf("encoding the request: %w", err)
		}
		body = b
	}
	resp, err := c.do(ctx, method, path, body)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if out == nil {
		return nil
	}
	if err := json.NewDecoder(resp.Body).Decode(out); err != nil {
		return fmt.Errorf("reading the answer: %w", err)
	}
	return nil
}

// do sends one request; an answer that is no success becomes an *Error.
func (c *Client) do(ctx context.Context, method, path string, body []byte) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://bootd"+path, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("making the request: %w", err)
	}
	resp, err := c.http.Do(req)
	switch {
	case errors.Is(err, os.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return nil, fmt.Errorf("%w: nobody listens on %s (start it with bootd serve, or name its directory with --run or --state)", ErrNotRunning, c.socket)
	case errors.Is(err, os.ErrPermission):
		return nil, fmt.Errorf("reaching %s: permission denied: be root or a member of the socket's group", c.socket)
	case err != nil:
		return nil, fmt.Errorf("reaching bootd: %w", err)
	case resp.StatusCode == http.StatusOK:
		return resp, nil
	}
	defer resp.Body.Close()
	e := &Error{Status: resp.StatusCode}
	if json.NewDecoder(io.LimitReader(resp.Body, 1<<20)).Decode(e) != nil || e.Message == "" {
		e.Message = "bootd answered " + resp.Status
	}
	return nil, e
}
