// SPDX-License-Identifier: Apache-2.0

// Package mtasts finds the MTA-STS policies of domains (RFC 8461), and keeps them: once
// a policy is known, nobody who can change DNS answers on the way can undo it before its
// time. Policies survive restarts; where one cannot be stored, it holds until then.
package mtasts

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"restante/internal/kv"
)

// Bounds of what is kept, and of how often a policy is fetched.
const (
	maxPolicies = 10_000
	pruneEvery  = 100             // policies that are stored
	againAfter  = 5 * time.Minute // after a fetch that failed (RFC 8461 §3.3)
)

// A Cache has the policies that are known. Its methods may be called concurrently.
type Cache struct {
	DB  kv.DB        // of policies, and of nothing else
	Log *slog.Logger // nil: none

	fetcher fetcher
	get     func(ctx context.Context, domain string, by Network) (string, error) // nil: fetcher's

	mu     sync.Mutex // guards what follows
	known  map[string]*entry
	stored int // since the last look at how many there are
}

// An entry is what is known of a domain.
type entry struct {
	mu     sync.Mutex // guards what follows; held while it is looked up, so that one fetch does for all
	loaded bool
	kept   record
	policy Policy // of kept
	failed time.Time
}

// A record is a policy as stored.
type record struct {
	ID      string    `json:"id"`
	Fetched time.Time `json:"fetched"`
	Text    string    `json:"policy"`
}

// A Network is how a domain's policy is found.
type Network interface {
	LookupTXT(ctx context.Context, name string) ([]string, error)
	Addrs(ctx context.Context, host string) ([]string, error) // at which the host may be called
}

// Policy gives the policy of a domain that is in force; false: there is none. A policy
// that cannot be fetched is as none, but the one that was known holds for its time.
func (c *Cache) Policy(ctx context.Context, domain string, by Network) (Policy, bool) {
	e := c.entry(domain)
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.loaded {
		c.load(domain, e)
	}
	records, _ := by.LookupTXT(ctx, "_mta-sts."+domain) // an error is as no record
	id, now := recordID(records), time.Now()
	age := now.Sub(e.kept.Fetched)
	valid := e.kept.Text != "" && age < e.policy.MaxAge
	fresh := valid && id == e.kept.ID && age < e.policy.MaxAge/2
	if id == "" || fresh || now.Sub(e.failed) < againAfter {
		return e.policy, valid
	}
	get := c.get
	if get == nil {
		get = c.fetcher.fetch
	}
	text, err := get(ctx, domain, by)
	var p Policy
	if err == nil {
		p, err = parse(text)
	}
	if err != nil {
		if ctx.Err() == nil {
			e.failed = now
		}
		c.warn(ctx, "MTA-STS policy", domain, err)
		return e.policy, valid
	}
	e.kept, e.policy, e.failed = record{id, now, text}, p, time.Time{}
	c.save(ctx, domain, e.kept)
	return p, true
}

func (c *Cache) warn(ctx context.Context, what, domain string, err error) {
	if c.Log != nil && ctx.Err() == nil {
		c.Log.WarnContext(ctx, what, "domain", domain, "err", err)
	}
}

func (c *Cache) entry(domain string) *entry {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.known == nil {
		c.known = map[string]*entry{}
	}
	e := c.known[domain]
	if e == nil {
		if len(c.known) >= maxPolicies {
			for other := range c.known { // any will do: what it had is in the DB
				delete(c.known, other)
				break
			}
		}
		e = new(entry)
		c.known[domain] = e
	}
	return e
}

func (c *Cache) load(domain string, e *entry) {
	raw, there, err := c.DB.Get([]byte(domain))
	if err == nil && there {
		var r record
		if err = json.Unmarshal(raw, &r); err == nil {
			var p Policy
			if p, err = parse(r.Text); err == nil {
				e.kept, e.policy = r, p
			}
		}
	}
	if err != nil {
		c.warn(context.Background(), "stored MTA-STS policy", domain, err)
	}
	e.loaded = true
}

func (c *Cache) save(ctx context.Context, domain string, r record) {
	raw, _ := json.Marshal(r) // texts and a time
	ctx = context.WithoutCancel(ctx)
	if err := c.DB.Commit(ctx, kv.Put([]byte(domain), raw)); err != nil {
		c.warn(ctx, "store the MTA-STS policy", domain, err)
		return
	}
	c.mu.Lock()
	c.stored++
	look := c.stored >= pruneEvery
	if look {
		c.stored = 0
	}
	c.mu.Unlock()
	if look {
		if err := c.prune(ctx); err != nil {
			c.warn(ctx, "stored MTA-STS policies", "", err)
		}
	}
}

// prune removes the policies whose time is over and, of more than maxPolicies, those
// that were fetched first.
func (c *Cache) prune(ctx context.Context) error {
	type kept struct {
		domain  string
		fetched time.Time
	}
	var all []kept
	var ops []kv.Op
	for p, err := range c.DB.Scan(ctx, nil) {
		if err != nil {
			return err
		}
		var r record
		policy, err := Policy{}, json.Unmarshal(p.Value, &r)
		if err == nil {
			policy, err = parse(r.Text)
		}
		if err != nil || time.Since(r.Fetched) >= policy.MaxAge {
			ops = append(ops, kv.Del(slices.Clone(p.Key)))
			continue
		}
		all = append(all, kept{string(p.Key), r.Fetched})
	}
	slices.SortFunc(all, func(a, b kept) int { return a.fetched.Compare(b.fetched) })
	for _, k := range all[:max(0, len(all)-maxPolicies)] {
		ops = append(ops, kv.Del([]byte(k.domain)))
	}
	if len(ops) == 0 {
		return nil
	}
	return c.DB.Commit(ctx, ops...)
}

// errUnusable is why a policy that was fetched is none.
var errUnusable = errors.New("the answer is no policy")

func unusable(format string, args ...any) error {
	return fmt.Errorf("%w: %s", errUnusable, fmt.Sprintf(format, args...))
}
