package advert

import (
	"math/rand/v2"
	"time"

	"bootd.internal/bootd/site"
)

// Router constants of RFC 4861 section 10.
const (
	MaxInitialRtrAdvertInterval = 16 * time.Second
	MaxInitialRtrAdvertisements = 3
	MinDelayBetweenRAs          = 3 * time.Second
	MaxRADelayTime              = 500 * time.Millisecond
)

// The ranges and defaults of MinRtrAdvInterval and MaxRtrAdvInterval (RFC 4861 section 6.2.1).
const (
	leastMinInterval   = 3 * time.Second
	leastMaxInterval   = 4 * time.Second
	defaultMaxInterval = 600 * time.Second
)

// MaxSolicitedDelay is how long an answer to a solicitation waits at most. RFC 4861 section 6.2.6 allows up to
// MaxRADelayTime; Debian's installer waits exactly that long (rdisc6 -w 500) and answers by unicast collide with
// nothing.
const MaxSolicitedDelay = 50 * time.Millisecond

// Limits are MinRtrAdvInterval and MaxRtrAdvInterval (RFC 4861 section 6.2.1), Min at least 3 s, Max at least 4 s.
type Limits struct {
	Min, Max time.Duration
}

// limits brings what a network says into the range that the RFC allows.
func limits(ra site.RA) Limits {
	l := Limits{Min: ra.MinInterval, Max: ra.MaxInterval}
	if l.Max <= 0 {
		l.Max = defaultMaxInterval
	}
	l.Max = max(l.Max, leastMaxInterval)
	if l.Min <= 0 {
		l.Min = l.Max / 3
	}
	l.Min = min(max(l.Min, leastMinInterval), l.Max)
	return l
}

// Delay is the time from one unsolicited advertisement to the next, when sent have gone out since the interface began
// to advertise: random between the limits, and short after the first ones (RFC 4861 section 6.2.4).
func Delay(sent int, r *rand.Rand, lim Limits) time.Duration {
	d := lim.Min
	if span := lim.Max - lim.Min; span > 0 {
		d += time.Duration(r.Int64N(int64(span) + 1))
	}
	if sent < MaxInitialRtrAdvertisements {
		d = min(d, MaxInitialRtrAdvertInterval)
	}
	return max(d, MinDelayBetweenRAs)
}

// SolicitedDelay is the random time that an answer to a solicitation waits (RFC 4861 section 6.2.6).
func SolicitedDelay(r *rand.Rand) time.Duration {
	return time.Duration(r.Int64N(int64(MaxSolicitedDelay)))
}
