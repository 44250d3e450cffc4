package dns

import (
	"crypto/hmac"
	"crypto/sha256"
	"sync"
	"time"

	"bootd.internal/bootd/egress"
	"bootd.internal/bootd/site"
)

const (
	// downAfter failures in a row make an upstream one that is asked last; it is tried beside another one after firstRest,
	// later after twice that, up to lastRest.
	downAfter = 3
	firstRest = time.Second
	lastRest  = time.Minute
	// hedgeLeast and hedgeMost bound how long an upstream is waited for before the next one is asked beside it; unknownRTT is
	// what a new one is given credit for.
	hedgeLeast = 50 * time.Millisecond
	hedgeMost  = time.Second
	// againLeast and againMost bound how long it is waited for before it is asked once more: a datagram may be lost.
	againLeast = 200 * time.Millisecond
	againMost  = 1600 * time.Millisecond
	unknownRTT = 100 * time.Millisecond
	// refusedCost is what an answer without use adds to the time that an upstream is believed to take.
	refusedCost = 200 * time.Millisecond
	// plainFor is how long it is remembered that an upstream knows no EDNS or changes the case of names.
	plainFor = 10 * time.Minute
	// doubtFor is how long a connection is waited for that tells whether a FORMERR is true, doubtfulFor how long it is believed
	// of a resolver that takes none.
	doubtFor    = time.Second
	doubtfulFor = time.Minute
)

// upstream is what is known of one resolver.
type upstream struct {
	site.Upstream
	// cookie is ours to it (RFC 7873 section 4.1).
	cookie [8]byte

	mu      sync.Mutex
	rtt     time.Duration // smoothed; 0: never asked
	fails   int
	rest    time.Time // it is down until then
	waiting int
	stream  *stream
	sockets *egress.Sockets
	ports   []*port   // all that are open
	idle    []*port   // those of them that may carry further questions
	expires time.Time // when the first of these has to go, or earlier
	closed  bool
	// theirs is its cookie to us.
	theirs []byte
	// noEDNS and noCase are until when.
	noEDNS, noCase time.Time
	// formErrs counts FORMERR to questions with EDNS, in a row.
	formErrs int
	// told: somebody was told that it is down.
	told bool
}

func newUpstream(u site.Upstream, secret []byte) *upstream {
	p := &upstream{Upstream: u}
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(u.String()))
	copy(p.cookie[:], mac.Sum(nil))
	return p
}

// standing is what decides who is asked first.
type standing struct {
	down bool
	// probe: it is down, and it is time to see whether it still is.
	probe bool
	rtt   time.Duration
}

func (p *upstream) standing(now time.Time) standing {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := standing{down: p.fails >= downAfter, rtt: p.rtt}
	if s.down && !now.Before(p.rest) {
		s.probe = true
	}
	return s
}

// hedge is how long to wait for it before another one is asked too.
func (p *upstream) hedge() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	rtt := p.rtt
	if rtt == 0 {
		rtt = unknownRTT
	}
	return min(max(3*rtt, hedgeLeast), hedgeMost)
}

// again is how long to wait after this many rounds until the next one: four times what its answers take, and twice as long each time.
func (p *upstream) again(round int) time.Duration {
	if p.Transport != "udp" {
		return againMost
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return min(max(4*p.rtt, againLeast)<<min(round-1, 10), againMost)
}

// enter counts a question against the limit.
func (p *upstream) enter(limit int) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.waiting >= limit {
		return false
	}
	p.waiting++
	return true
}

func (p *upstream) leave() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.waiting--
}

// answered notes an answer after this time; useless is one that says "I cannot". It reports true when it was down.
func (p *upstream) answered(took time.Duration, useless bool) (up bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fails = 0
	if useless {
		took += refusedCost
	}
	p.smooth(took)
	up = p.told
	p.told = false
	return up
}

// slow notes that another one answered first.
func (p *upstream) slow(after time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if after > p.rtt {
		p.smooth(after)
	}
}

func (p *upstream) smooth(took time.Duration) {
	if p.rtt == 0 {
		p.rtt = max(took, time.Microsecond)
		return
	}
	p.rtt = max((3*p.rtt+took)/4, time.Microsecond)
}

// failed notes that it did not answer. It reports true when it is down from now on.
func (p *upstream) failed(now time.Time, after time.Duration) (down bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fails++
	p.smooth(max(after, hedgeMost))
	if p.fails >= downAfter {
		p.rest = now.Add(min(firstRest<<min(p.fails-downAfter, 10), lastRest))
		down = !p.told
		p.told = true
	}
	return down
}

// passed forgets a little of a bad time, so that an upstream that was slow once is tried again.
func (p *upstream) passed() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rtt -= p.rtt / 128
}

// probing takes the right to try a resolver that is down; only one question at a time does.
func (p *upstream) probing(now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.fails < downAfter || now.Before(p.rest) {
		return false
	}
	p.rest = now.Add(firstRest)
	return true
}
