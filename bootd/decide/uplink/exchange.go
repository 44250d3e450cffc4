package uplink

import (
	"math/rand/v2"
	"time"
)

// Transmission parameters (RFC 8415 section 7.6).
const (
	solMaxDelay = time.Second
	solTimeout  = time.Second
	solMaxRT    = 3600 * time.Second
	reqTimeout  = time.Second
	reqMaxRT    = 30 * time.Second
	reqMaxRC    = 10
	cnfTimeout  = time.Second
	cnfMaxRT    = 4 * time.Second
	cnfMaxRD    = 10 * time.Second
	renTimeout  = 10 * time.Second
	renMaxRT    = 600 * time.Second
	rebTimeout  = 10 * time.Second
	rebMaxRT    = 600 * time.Second
	relTimeout  = time.Second
	relMaxRC    = 4
)

// A server's SOL_MAX_RT outside of these bounds is ignored (section 21.24).
const (
	leastSolMaxRT = 60 * time.Second
	mostSolMaxRT  = 86400 * time.Second
)

// exchange is one message that is sent until somebody answers (section 15).
type exchange struct {
	typ   Type
	xid   [3]byte
	began time.Time
	// sent counts transmissions, rt is the time to the next one.
	sent int
	rt   time.Duration
	// irt, mrt and mrc are the RFC's; 0: no bound. end is when MRD is over; zero: never.
	irt, mrt time.Duration
	mrc      int
	end      time.Time
}

func begin(typ Type, now time.Time, r *rand.Rand) exchange {
	x := exchange{typ: typ, began: now}
	n := r.Uint32()
	x.xid = [3]byte{byte(n), byte(n >> 8), byte(n >> 16)}
	switch typ {
	case Solicit:
		x.irt, x.mrt = solTimeout, solMaxRT
	case Request:
		x.irt, x.mrt, x.mrc = reqTimeout, reqMaxRT, reqMaxRC
	case Renew:
		x.irt, x.mrt = renTimeout, renMaxRT
	case Rebind:
		x.irt, x.mrt = rebTimeout, rebMaxRT
	case Release:
		x.irt, x.mrc = relTimeout, relMaxRC
	}
	return x
}

// next counts a transmission and gives the time to wait after it. RAND is from -0.1 to 0.1; of a first Solicit it is
// above 0, so that a server which answers after IRT is still heard (section 18.2.1).
func (x *exchange) next(now time.Time, r *rand.Rand) time.Duration {
	jitter := 0.2*r.Float64() - 0.1
	if x.typ == Solicit && x.sent == 0 {
		jitter = 0.1 * (1 - r.Float64())
	}
	part := func(d time.Duration) time.Duration { return time.Duration(jitter * float64(d)) }
	if x.sent == 0 {
		x.rt = x.irt + part(x.irt)
	} else {
		x.rt = 2*x.rt + part(x.rt)
	}
	if x.mrt > 0 && x.rt > x.mrt {
		x.rt = x.mrt + part(x.mrt)
	}
	x.sent++
	wait := x.rt
	if !x.end.IsZero() {
		wait = min(wait, max(x.end.Sub(now), 0))
	}
	return wait
}

// over: no more is to be sent.
func (x *exchange) over(now time.Time) bool {
	return x.mrc > 0 && x.sent >= x.mrc || !x.end.IsZero() && !now.Before(x.end)
}
