package api_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"

	"bootd.internal/bootd/api"
)

func TestLongPattern(t *testing.T) {
	f := start(t)
	_, err := f.client.Cancel(t.Context(), api.CancelRequest{Hosts: []string{strings.Repeat("*a", 200)}})
	wantError(t, err, 400, "a pattern of 400 octets: 256 are the most")
}

// TestManyFollowers: each event is handed to each follower, so there are not any number of them; who leaves makes room.
func TestManyFollowers(t *testing.T) {
	f := start(t)
	c := http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", f.socket)
	}}}
	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	follow := func(ctx context.Context) int {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://bootd/v1/events?follow=1", nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := c.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { resp.Body.Close() })
		return resp.StatusCode
	}
	var got []string
	for range 65 {
		got = append(got, fmt.Sprint(follow(ctx)))
	}
	if want := strings.Repeat("200 ", 64) + "503"; strings.Join(got, " ") != want {
		t.Errorf("answers %v", got)
	}
	leave()
	for follow(t.Context()) != http.StatusOK { // the server hears of it in its own time
		if t.Context().Err() != nil {
			t.Fatal("no place was given back")
		}
	}
}
