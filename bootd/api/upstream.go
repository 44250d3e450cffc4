package api

import (
	"context"
	"errors"
	"net/http"

	"bootd.internal/bootd/upstream"
)

// UpstreamRequest is the body of POST /v1/upstream.
type UpstreamRequest struct {
	// Name of the upstream; empty: all.
	Name string `json:"name,omitempty"`
	// Order is renew or release.
	Order string `json:"order"`
}

func (s *server) upstream(w http.ResponseWriter, r *http.Request) error {
	var req UpstreamRequest
	if err := decode(r, &req); err != nil {
		return err
	}
	if s.Upstreams == nil || len(s.Upstreams.Status()) == 0 {
		return &Error{Status: http.StatusNotFound, Message: "the inventory lists no upstream"}
	}
	var err error
	switch req.Order {
	case "renew":
		err = s.Upstreams.Renew(r.Context(), req.Name)
	case "release":
		err = s.Upstreams.Release(r.Context(), req.Name)
	default:
		return &Error{Status: http.StatusBadRequest, Message: "order is renew or release"}
	}
	switch {
	case errors.Is(err, upstream.ErrUnknown):
		return &Error{Status: http.StatusNotFound, Message: err.Error()}
	case err != nil:
		return &Error{Status: http.StatusConflict, Message: err.Error()}
	}
	s.Log.Info("upstream", "order", req.Order, "name", req.Name, "by", caller(r.Context(), ""))
	reply(w, http.StatusOK, struct{}{})
	return nil
}

// Upstream orders a renewal or a release.
func (c *Client) Upstream(ctx context.Context, req UpstreamRequest) error {
	return c.call(ctx, http.MethodPost, "/v1/upstream", req, nil)
}
