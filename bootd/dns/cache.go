package dns

import (
	"container/list"
	"sync"
	"time"
)

const (
	// itemCost is what an entry costs beside its octets, about.
	itemCost = 400
	// firstRetry and lastRetry bound how long a failure is remembered: at least a second, at most five minutes, longer each
	// time (RFC 9520 section 3.2). staleRetry is that of names with an answer to fall back on (RFC 8767 section 5).
	firstRetry = time.Second
	lastRetry  = 30 * time.Second
	staleRetry = 30 * time.Second
	// popular is how often an answer must have been given before it is fetched anew in the last tenth of its life.
	popular = 4
)

// Bits of a key: what changes an answer beside its question.
const (
	keyDO = 1 << iota
	keyCD
)

// appendKey writes what makes two questions the same: the question in lower case, the bits, and the network's DNS64, if it
// has a say in the answer. The lengths inside the question keep the parts apart.
func appendKey(b, question []byte, do, cd bool, dns64 string) []byte {
	at := len(b)
	b = append(b, question...)
	lower(b[at:])
	bits := byte(0)
	if do {
		bits |= keyDO
	}
	if cd {
		bits |= keyCD
	}
	b = append(b, bits)
	return append(b, dns64...)
}

func keyOf(q *query, dns64 string) string {
	return string(appendKey(make([]byte, 0, len(q.question)+1+len(dns64)), q.question, q.do, q.cd, dns64))
}

// cache keeps answers of upstreams, the most recently asked for; local names never enter it.
type cache struct {
	mu     sync.Mutex
	items  map[string]*item
	order  *list.List // of *item, the newest first
	octets int
}

// item is what is known of one question.
type item struct {
	key string
	// answer is the last one; nil: there was none yet, only failures.
	answer *answer
	hits   int
	// fails counts failures in a row; no upstream is asked before retry.
	fails int
	retry time.Time
	// foreign is the edition of the inventory by which the name was found not to be one of ours.
	foreign uint64
	place   *list.Element
}

// known is what get finds.
type known struct {
	// answer may be past its life: then stale is set.
	answer *answer
	stale  bool
	// waiting: upstreams failed a moment ago and are not asked yet again.
	waiting bool
	// refresh: the answer is popular and its life nearly over.
	refresh bool
	// foreign is the edition by which the name is not local.
	foreign uint64
}

func newCache() *cache { return &cache{items: map[string]*item{}, order: list.New()} }

// get finds a question; only says so when nothing is known of it.
func (c *cache) get(k []byte, now time.Time, keepStale time.Duration) (known, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	it, ok := c.items[string(k)]
	if !ok {
		return known{}, false
	}
	found := known{answer: it.answer, waiting: now.Before(it.retry), foreign: it.foreign}
	if it.answer != nil {
		age := now.Sub(it.answer.made)
		switch {
		case age < it.answer.life:
			it.hits++
			found.waiting = false
			if it.hits >= popular && age >= it.answer.life*9/10 && !now.Before(it.retry) {
				found.refresh = true
			}
		case age < it.answer.life+keepStale:
			found.stale = true
		default:
			c.octets -= it.cost()
			it.answer, found.answer = nil, nil
			c.octets += it.cost()
		}
	}
	if found.answer == nil && !found.waiting && it.fails == 0 {
		c.drop(it)
		return known{}, false
	}
	c.order.MoveToFront(it.place)
	return found, true
}

// put keeps an answer. One that may not be kept still ends the memory of a failure and of what was before it.
func (c *cache) put(k string, a *answer, foreign uint64, limit int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if it, ok := c.items[k]; ok {
		c.drop(it)
	}
	if a.life <= 0 {
		return
	}
	c.add(&item{key: k, answer: a, foreign: foreign}, limit)
}

// fail remembers that no upstream answered; an answer that has run out stays.
func (c *cache) fail(k string, foreign uint64, now time.Time, limit int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	it, ok := c.items[k]
	if !ok {
		it = &item{key: k, foreign: foreign}
		c.add(it, limit)
	}
	it.retry = now.Add(min(firstRetry<<min(it.fails, 10), lastRetry))
	if it.answer != nil {
		it.retry = now.Add(staleRetry)
	}
	it.fails++
}

// confirm notes that the name is not local by this edition either.
func (c *cache) confirm(k string, foreign uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if it, ok := c.items[k]; ok {
		it.foreign = foreign
	}
}

// hit gives an answer that needs nothing but to be given: fresh, not to be fetched anew, and of a name that is not local by this
// edition.
func (c *cache) hit(k []byte, now time.Time, edition uint64) *answer {
	c.mu.Lock()
	defer c.mu.Unlock()
	it, ok := c.items[string(k)]
	if !ok || it.answer == nil || it.foreign != edition {
		return nil
	}
	age := now.Sub(it.answer.made)
	if age < 0 || age >= it.answer.life || age >= it.answer.life*9/10 && it.hits >= popular-1 {
		return nil
	}
	it.hits++
	c.order.MoveToFront(it.place)
	return it.answer
}

func (c *cache) add(it *item, limit int) {
	c.items[it.key] = it
	it.place = c.order.PushFront(it)
	c.octets += it.cost()
	for c.octets > limit && c.order.Len() > 0 {
		c.drop(c.order.Back().Value.(*item))
	}
}

func (c *cache) drop(it *item) {
	c.order.Remove(it.place)
	delete(c.items, it.key)
	c.octets -= it.cost()
}

func (it *item) cost() int {
	n := itemCost + 2*len(it.key)
	if it.answer != nil {
		n += len(it.answer.wire) + 8*len(it.answer.ttls)
	}
	return n
}
