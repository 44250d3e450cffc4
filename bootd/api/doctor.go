package api

import (
	"context"
	"net/http"

	"bootd.internal/bootd/doctor"
)

func (s *server) doctor(w http.ResponseWriter, r *http.Request) error {
	if s.Doctor == nil {
		return &Error{Status: http.StatusNotFound, Message: "this daemon has no doctor"}
	}
	report, err := s.Doctor(r.Context())
	if err != nil {
		return err
	}
	reply(w, http.StatusOK, report)
	return nil
}

// Doctor asks what keeps machines from booting.
func (c *Client) Doctor(ctx context.Context) (r doctor.Report, err error) {
	return r, c.call(ctx, http.MethodGet, "/v1/doctor", nil, &r)
}
