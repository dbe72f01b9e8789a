// SPDX-License-Identifier: Apache-2.0

package resolver

import (
	"sync"
	"time"

	"github.com/miekg/dns"
)

// Answers are kept for their TTL, within bounds: a long TTL must not hide a
// change, and many names must not fill the memory.
const (
	maxTTL     = time.Hour
	noneTTL    = time.Minute // "no such name" and "no such records", RFC 2308
	maxEntries = 4096
)

type cacheKey struct {
	servers, name string
	qtype         uint16
}

type cacheEntry struct {
	msg  *dns.Msg
	till time.Time
}

// A cache keeps answers; a nil cache keeps none.
type cache struct {
	mu      sync.Mutex // guards what follows
	entries map[cacheKey]cacheEntry
}

func newCache() *cache { return &cache{entries: map[cacheKey]cacheEntry{}} }

// get returns the answer to key, or nil. It must not be changed.
func (c *cache) get(key cacheKey, now time.Time) *dns.Msg {
	if c == nil {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.entries[key]
	if !ok {
		return nil
	}
	if !now.Before(e.till) {
		delete(c.entries, key)
		return nil
	}
	return e.msg
}

func (c *cache) put(key cacheKey, msg *dns.Msg, now time.Time) {
	if c == nil {
		return
	}
	till := now.Add(ttl(msg))
	if !now.Before(till) {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.entries) >= maxEntries {
		for k := range c.entries { // any will do: the map's order is random
			delete(c.entries, k)
			break
		}
	}
	c.entries[key] = cacheEntry{msg, till}
}

// ttl is how long msg may be kept: as long as its shortest record.
func ttl(msg *dns.Msg) time.Duration {
	keep := maxTTL
	if len(msg.Answer) == 0 || msg.Rcode != dns.RcodeSuccess {
		keep = noneTTL
	}
	for _, rrs := range [][]dns.RR{msg.Answer, msg.Ns} {
		for _, rr := range rrs {
			own := rr.Header().Ttl
			if soa, ok := rr.(*dns.SOA); ok {
				own = min(own, soa.Minttl)
			}
			keep = min(keep, time.Duration(own)*time.Second)
		}
	}
	return keep
}
