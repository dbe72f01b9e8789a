// SPDX-License-Identifier: Apache-2.0

package metabase

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"restante/internal/kv"
	"restante/metabase/internal/stored"
	"restante/metabase/key"
)

// A Pending is a revision that is taken back unless it is confirmed in time.
type Pending struct {
	Rev   Rev
	Until time.Time
}

// Pending lists the revisions that are not confirmed, the newest first.
func (s *Store) Pending() []Pending {
	s.committer.mu.Lock()
	defer s.committer.mu.Unlock()
	return newestFirst(s.committer.durable)
}

func newestFirst(pending map[Rev]time.Time) []Pending {
	out := make([]Pending, 0, len(pending))
	for rev, until := range pending {
		out = append(out, Pending{rev, until})
	}
	slices.SortFunc(out, func(a, b Pending) int { return cmp.Compare(b.Rev, a.Rev) })
	return out
}

// Confirm keeps the changes of revision rev; 0 is the newest that is not
// confirmed. When it returns nil, that is on stable storage. The error is
// NotFound if the revision was confirmed or taken back already.
func (s *Store) Confirm(ctx context.Context, rev Rev) (Rev, error) {
	if err := ctx.Err(); err != nil {
		return 0, &Error{Op: "confirm", Err: context.Cause(ctx)}
	}
	p := &pending{op: "confirm"}
	p.validate = func(*image) error { return s.confirm(p, rev) }
	if err := s.do(ctx, p); err != nil {
		return 0, err
	}
	return p.rev, nil
}

// confirm makes t confirm rev, or the newest revision for 0.
func (s *Store) confirm(t *pending, rev Rev) error {
	if all := newestFirst(s.committer.unconfirmed); rev == 0 && len(all) > 0 {
		rev = all[0].Rev
	}
	if _, waits := s.committer.unconfirmed[rev]; !waits {
		err := errors.New("nothing waits to be confirmed")
		if rev != 0 {
			err = fmt.Errorf("revision %d does not wait to be confirmed", rev)
		}
		return &Error{Op: "confirm", Kind: NotFound, Err: err}
	}
	t.rev = rev
	s.committer.dropDeadline(t, rev)
	return nil
}

// dropDeadline makes t remove the deadline of rev. The commit depends on its record, as
// another process may remove it, too. None is stored yet if t's group writes it.
func (c *committer) dropDeadline(t *pending, rev Rev) {
	if until, ok := c.durable[rev]; ok {
		t.ops = append(t.ops, kv.Must(stored.RevKey(stored.ConfirmKeys, rev), encodeUntil(until)))
	}
	t.ops = append(t.ops, kv.Del(stored.RevKey(stored.ConfirmKeys, rev)))
	t.confirm = append(t.confirm, Pending{Rev: rev})
	delete(c.unconfirmed, rev)
}

func encodeUntil(t time.Time) []byte { return binary.AppendVarint(nil, t.UnixNano()) }

// confirmations adds to t the deadlines that its request sets and removes.
func (s *Store) confirmations(t *pending, r *request) {
	if until := r.deadline(s.now()); !until.IsZero() && t.img != nil {
		t.ops = append(t.ops, kv.Put(stored.RevKey(stored.ConfirmKeys, t.rev), encodeUntil(until)))
		t.confirm = append(t.confirm, Pending{t.rev, until})
		s.committer.unconfirmed[t.rev] = until
	}
	if _, waits := s.committer.unconfirmed[r.confirms]; waits {
		s.committer.dropDeadline(t, r.confirms)
	}
}

// takeBack reverts the changes of rev that no later revision has changed again.
// It makes one revision that lists the changes it kept, even if that is all.
func (s *Store) takeBack(ctx context.Context, rev Rev) error {
	r := &request{reverts: rev, confirms: rev, always: true, batch: Batch{
		Origin:  FromSystem,
		Comment: fmt.Sprintf("revision %d was not confirmed in time and is taken back", rev),
	}}
	h, err := s.entry(ctx, rev)
	if err != nil {
		return err
	}
	r.prepare = func(old *image, r *request) ([]Op, error) {
		if _, waits := s.committer.unconfirmed[rev]; !waits {
			return nil, errConfirmed
		}
		ops, conflicts := s.undoOps(ctx, old.root, h.deltas, Root)
		r.kept = lines(conflicts)
		return ops, nil
	}
	_, err = s.apply(ctx, r)
	var refused *Refused
	if errors.As(err, &refused) {
		// Later changes do not hold without it: keep everything, and say so.
		r.prepare = func(*image, *request) ([]Op, error) { return nil, nil }
		r.kept = lines(refused.Problems)
		r.batch.Comment = fmt.Sprintf("revision %d was not confirmed in time, but cannot be taken back", rev)
		_, err = s.apply(ctx, r)
	}
	if errors.Is(err, errConfirmed) {
		return nil
	}
	for _, line := range r.kept {
		s.opts.Log.WarnContext(ctx, "a change that was not confirmed is kept", "rev", rev, "what", line)
	}
	return err
}

var errConfirmed = errors.New("confirmed meanwhile")

func lines(problems []Problem) (out []string) {
	for _, p := range problems {
		line := p.Error()
		if p.Other != "" {
			line = string(p.Path) + ": " + string(p.Other) + strings.TrimPrefix(line, string(p.Path))
		}
		out = append(out, line)
	}
	return out
}

// A janitor reverts revisions that were not confirmed in time and drops history
// beyond its retention.
type janitor struct {
	workers
	wake     chan struct{} // capacity 1: a commit was made
	deadline chan struct{} // capacity 1: it set or removed a deadline
	oldest   Record        // the oldest revision that compact has looked at: Rev and Time
}

// start takes back the overdue revisions before it returns.
func (j *janitor) start(ctx context.Context, s *Store) error {
	j.wake, j.deadline = make(chan struct{}, 1), make(chan struct{}, 1)
	pending, err := s.loadConfirms(ctx)
	if err != nil {
		return err
	}
	s.committer.mu.Lock()
	s.committer.unconfirmed, s.committer.durable = pending, maps.Clone(pending)
	s.committer.mu.Unlock()
	if _, err := s.takeBackDue(ctx); err != nil {
		return err
	}
	j.workers.start(func() { s.runJanitor() })
	return nil
}

const (
	keepEvery = time.Hour             // history grows old without a commit, too
	keepAgain = 5 * time.Second       // after an error
	keepPause = 50 * time.Millisecond // to handle many commits at once
)

// runJanitor returns when the janitor is stopped, or has to write to a store that
// can only be read.
func (s *Store) runJanitor() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-s.janitor.quit:
			return
		case <-s.janitor.wake:
			select {
			case <-s.janitor.quit:
				return
			case <-time.After(keepPause):
			case <-s.janitor.deadline:
			case <-timer.C:
			}
		case <-s.janitor.deadline:
		case <-timer.C:
		}
		wait, err := s.takeBackDue(ctx)
		if err == nil {
			err = s.compact(ctx)
		}
		if errors.Is(err, kv.ErrReadOnly) {
			return
		}
		if err != nil && key.KindOf(err) != Closed {
			s.opts.Log.ErrorContext(ctx, "metabase: take back unconfirmed revisions and drop old history", "err", err)
			wait = keepAgain
		}
		timer.Reset(wait)
	}
}

// takeBackDue takes back the overdue revisions, the newest first, and returns the
// time until the next one may be.
func (s *Store) takeBackDue(ctx context.Context) (wait time.Duration, err error) {
	s.committer.mu.Lock()
	pending := newestFirst(s.committer.durable)
	s.committer.mu.Unlock()
	wait = keepEvery
	for _, p := range pending {
		left := p.Until.Sub(s.now())
		if left > 0 {
			wait = min(wait, left)
			continue
		}
		if err := s.takeBack(ctx, p.Rev); err != nil {
			return 0, fmt.Errorf("revision %d is to be taken back: %w", p.Rev, err)
		}
	}
	return wait, nil
}
