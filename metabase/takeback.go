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
// It makes one revision that lists what was kept, even if that is all. Where the
// checks refuse the tree without it, the error is a *Refused or, with part, those
// parts that the problems name are kept for good; all of them if that does not help.
func (s *Store) takeBack(ctx context.Context, rev Rev, part bool) error {
	var keeps keeping
	r := &request{reverts: rev, always: true}
	r.prepare = func(old *image, r *request) ([]Op, error) {
		u, waits := old.unconfirmed.Find(rev)
		if !waits {
			return nil, errConfirmed
		}
		if keeps.all {
			r.ends, r.kept = func(l unconfirmed.List) unconfirmed.List { return l.Confirm(u) }, lines(keeps.why)
			return nil, nil
		}
		w := old.withdraw(u, func(p Path, id ID) bool { return !keeps.parts[unconfirmed.NameOf(p, id)] })
		r.ends = func(unconfirmed.List) unconfirmed.List {
			if rest, ok := w.left.Find(rev); ok {
				return w.left.Confirm(rest)
			}
			return w.left
		}
		r.kept = lines(append(w.kept, keeps.why...))
		return w.ops, nil
	}
	for {
		r.batch = Batch{Origin: FromSystem, Comment: fmt.Sprintf("revision %d was not confirmed in time and is taken back", rev)}
		if keeps.all {
			r.batch.Comment = fmt.Sprintf("revision %d was not confirmed in time, but cannot be taken back", rev)
		}
		_, err := s.apply(ctx, r)
		var refused *Refused
		switch {
		case errors.Is(err, errConfirmed):
			return nil
		case part && !keeps.all && errors.As(err, &refused):
			u, waits := s.cur.Load().unconfirmed.Find(rev)
			if !waits {
				return nil
			}
			keeps.add(u, refused.Problems)
			continue
		case err != nil:
			return err
		}
		break
	}
	for _, line := range r.kept {
		if s.opts.Named != nil {
			line = s.opts.Named(line)
		}
		s.opts.Log.WarnContext(ctx, "a change that was not confirmed is kept", "rev", rev, "what", line)
	}
	return nil
}

// A keeping is what of a revision is kept because the checks refuse the tree without it.
type keeping struct {
	parts map[unconfirmed.PartName]bool
	all   bool
	why   []Problem
}

// add keeps the parts of u that the problems name, and the keys that these need. A
// problem of a whole key, or of a part that u did not write, means all of u at the
// key. Where that is nothing new, all of u is kept.
func (k *keeping) add(u *unconfirmed.Revision, problems []Problem) {
	if k.parts == nil {
		k.parts = map[unconfirmed.PartName]bool{}
	}
	before := len(k.parts)
	keep := func(p unconfirmed.Part) {
		k.parts[p.PartName()] = true
		for q := range p.Path.Parents() {
			if n := unconfirmed.NameOf(q, 0); u.Parts[n].Path != "" {
				k.parts[n] = true
			}
		}
	}
	for _, p := range problems {
		if one, ok := u.Parts[unconfirmed.NameOf(p.Path, p.ID)]; ok && p.ID != 0 && !k.parts[one.PartName()] {
			keep(one)
			continue
		}
		for _, q := range u.Parts {
			if q.Path.Equal(p.Path) || p.Other != "" && q.Path.Equal(p.Other) {
				keep(q)
			}
		}
	}
	if k.why = append(k.why, problems...); len(k.parts) == before {
		k.all = true
	}
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
		pending := s.timed()
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
