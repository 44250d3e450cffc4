package dns

import (
	"container/list"
	"sync"
	"time"
)

// key is what makes two questions the same: the question in lower case, and the bits that change the answer.
type key struct {
	question string
	do, cd   bool
}

func keyOf(q *query) key {
	return key{string(lower(append([]byte(nil), q.question...))), q.do, q.cd}
}

// cache keeps answers of upstreams, the most recently asked for; local names never enter it.
type cache struct {
	maxItems, maxOctets int

	mu     sync.Mutex
	items  map[key]*list.Element
	order  *list.List // of *item, the newest first
	octets int
}

type item struct {
	key    key
	answer *answer
}

// itemCost is what an entry costs beside its octets, about.
const itemCost = 300

func newCache(maxItems, maxOctets int) *cache {
	return &cache{maxItems: maxItems, maxOctets: maxOctets, items: map[key]*list.Element{}, order: list.New()}
}

func (c *cache) get(k key, now time.Time) *answer {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.items[k]
	if !ok {
		return nil
	}
	a := e.Value.(*item).answer
	if now.Sub(a.made) >= a.life {
		c.drop(e)
		return nil
	}
	c.order.MoveToFront(e)
	return a
}

func (c *cache) put(k key, a *answer) {
	if a.life <= 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if e, ok := c.items[k]; ok {
		c.drop(e)
	}
	it := &item{k, a}
	c.items[k] = c.order.PushFront(it)
	c.octets += it.cost()
	for len(c.items) > c.maxItems || c.octets > c.maxOctets {
		c.drop(c.order.Back())
	}
}

func (c *cache) drop(e *list.Element) {
	it := c.order.Remove(e).(*item)
	delete(c.items, it.key)
	c.octets -= it.cost()
}

func (it *item) cost() int {
	return len(it.answer.wire) + 8*len(it.answer.ttls) + len(it.key.question) + itemCost
}
