// SPDX-License-Identifier: Apache-2.0

package metabase

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"restante/internal/kv"
	"restante/metabase/internal/unconfirmed"
	"restante/metabase/key"
)

// takeBack takes back what revision rev changed and no later one has changed again.
// It makes one revision, which names the parts that stay, even if all of them do. If
// the checks refuse the tree without the changes, takeBack returns a *Refused or, with
// give, confirms the revision.
func (s *Store) takeBack(ctx context.Context, rev Rev, give bool) error {
	r := &request{reverts: rev, always: true, batch: Batch{
		Origin:  FromSystem,
		Comment: fmt.Sprintf("revision %d was not confirmed in time and is taken back", rev),
	}}
	r.prepare = func(old *image, r *request) ([]Op, error) {
		u, waits := old.unconfirmed.Find(rev)
		if !waits {
			return nil, errConfirmed
		}
		w := old.withdraw(u, Root)
		r.ends, r.kept = w.ends, lines(w.kept)
		return w.ops, nil
	}
	_, err := s.apply(ctx, r)
	var refused *Refused
	if give && errors.As(err, &refused) {
		r.prepare = func(old *image, r *request) ([]Op, error) {
			u, waits := old.unconfirmed.Find(rev)
			if !waits {
				return nil, errConfirmed
			}
			r.ends = func(l unconfirmed.List) unconfirmed.List { return l.Confirm(u) }
			return nil, nil
		}
		r.kept = lines(refused.Problems)
		r.batch.Comment = fmt.Sprintf("revision %d was not confirmed in time, but cannot be taken back", rev)
		_, err = s.apply(ctx, r)
	}
	if errors.Is(err, errConfirmed) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, line := range r.kept {
		s.opts.Log.WarnContext(ctx, "a change that was not confirmed is kept", "rev", rev, "what", line)
	}
	return nil
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
// time until the next one may be. One that the checks refuse to take back waits for
// those that are not due, as they may be what needs it.
func (s *Store) takeBackDue(ctx context.Context) (wait time.Duration, err error) {
	for {
		var due []Rev
		wait = keepEvery
		pending := s.Pending()
		for _, p := range pending {
			if left := p.Until.Sub(s.now()); left > 0 {
				wait = min(wait, left)
			} else {
				due = append(due, p.Rev)
			}
		}
		rest := len(pending) > len(due)
		if done, err := s.takeBackAll(ctx, due, false); err != nil || done == 0 && rest {
			return wait, err
		} else if done > 0 {
			continue // the others may hold now
		}
		if len(due) == 0 {
			return wait, nil
		}
		if _, err := s.takeBackAll(ctx, due[:1], true); err != nil {
			return 0, err
		}
	}
}

// takeBackAll returns how many of the revisions it has taken back or kept for good.
func (s *Store) takeBackAll(ctx context.Context, list []Rev, give bool) (done int, err error) {
	for _, rev := range list {
		err := s.takeBack(ctx, rev, give)
		var refused *Refused
		if errors.As(err, &refused) {
			continue
		}
		if err != nil {
			return done, fmt.Errorf("revision %d is to be taken back: %w", rev, err)
		}
		done++
	}
	return done, nil
}
