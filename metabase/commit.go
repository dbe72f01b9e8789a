// SPDX-License-Identifier: Apache-2.0

package metabase

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"sync"

	"restante/internal/groupcommit"
	"restante/internal/kv"
	"restante/metabase/internal/stored"
	"restante/metabase/internal/tree"
	"restante/metabase/internal/unconfirmed"
	"restante/metabase/key"
)

// A committer is the only writer of the tree and its history. It validates each
// batch against the tree that the batches before it make, commits for all of them
// at once, publishes the last image and answers. Every commit depends on the
// record of the revision that the image stands at, so that another process with
// the same store cannot be overwritten.
type committer struct {
	workers
	queue      *groupcommit.Queue[*pending]
	publishing sync.Mutex // guards changes of Store.cur

	// Used by the goroutine at work only: the writer of queue, or a caller that
	// takes its place.
	meta []byte // the record of the revision, as stored
}

// A pending is a batch that waits for its commit. validate fills in work.
type pending struct {
	groupcommit.Request
	op       string                 // for errors
	validate func(tip *image) error // as of tip; an error is the answer
	large    bool                   // it may take long to validate, and joins no group
	work
}

// work is what a batch has to be committed.
type work struct {
	rev    Rev             // the revision that the batch made, or stands at
	img    *image          // nil if nothing changes
	ops    []kv.Op         // without the history page, the meta record and what is unconfirmed
	entry  []byte          // for the history page; nil: the tree does not change
	deltas []tree.KeyDelta // for the watches
	acting []Set
}

// maxGroup bounds what shares one commit: small batches should not wait for a
// large one more than need be.
const maxGroup = 1 << 20

func (c *committer) start(s *Store) {
	c.queue = groupcommit.New[*pending](Closed)
	alone := func(*pending) bool { return false } // commitNext takes the others
	c.workers.start(func() {
		for first := c.queue.NextBatch(alone); len(first) > 0; first = c.queue.NextBatch(alone) {
			s.commitNext(first)
		}
	})
	if changed := s.db.Changed(nil); changed != nil {
		c.workers.wg.Go(func() { s.followOthers(changed) })
	}
}

func (c *committer) stop() {
	if c.queue != nil {
		c.queue.Close()
	}
	c.workers.stop()
}

// do has p validated and committed, and returns the answer.
func (s *Store) do(ctx context.Context, p *pending) error {
	err := s.committer.queue.DoInline(ctx, p, s.commitNext)
	switch {
	case err == Closed:
		return &Error{Op: p.op, Kind: Closed}
	case ctx.Err() != nil && errors.Is(err, context.Cause(ctx)):
		return &Error{Op: p.op, Err: err}
	}
	return err
}

// notify wakes the reader of c, unless it has a note already.
func notify(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// commitNext commits for the head of the queue.
func (s *Store) commitNext(first []*pending) {
	group := s.collect(first[0])
	for len(group) > 0 {
		err := s.commitGroup(group)
		if !errors.Is(err, kv.ErrMoved) {
			s.fail(group, err)
			return
		}
		if err := s.catchUp(context.Background()); err != nil {
			s.fail(group, err)
			return
		}
		again := group
		group = nil
		for _, p := range again {
			group = s.add(group, p)
		}
	}
}

// collect validates first and the batches behind it, those that arrive meanwhile
// included, and returns those that are to be committed.
func (s *Store) collect(first *pending) (group []*pending) {
	size := 0
	fits := func(p *pending) bool { return len(group) == 0 || !p.large && size < maxGroup }
	for p, ok := first, true; ok; p, ok = s.committer.queue.Next(fits) {
		if group = s.add(group, p); len(group) > 0 && group[len(group)-1] == p {
			size += p.size()
		}
	}
	return group
}

// add validates p against the tree that group makes and appends it, or answers
// it with what is wrong.
func (s *Store) add(group []*pending, p *pending) []*pending {
	tip := s.cur.Load()
	for _, before := range slices.Backward(group) {
		if before.img != nil {
			tip = before.img
			break
		}
	}
	p.work = work{}
	if err := s.validateSafe(p, tip); err != nil {
		groupcommit.Answer([]*pending{p}, err)
		return group
	}
	return append(group, p)
}

// validateSafe turns a panic of a check into the error of its batch: the other
// callers would wait for ever for the goroutine at work.
func (s *Store) validateSafe(p *pending, tip *image) (err error) {
	defer func() {
		if v := recover(); v != nil {
			s.opts.Log.Error("metabase: panic in a check", "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
			err = &Error{Op: p.op, Err: fmt.Errorf("panic: %v", v)}
		}
	}()
	return p.validate(tip)
}

func (p *pending) size() int {
	n := len(p.entry)
	for _, op := range p.ops {
		n += len(op.Key) + len(op.Value)
	}
	return n
}

// validate checks r against the tip, for p.
func (s *Store) validate(ctx context.Context, p *pending, r *request, tip *image) error {
	plan, err := s.plan(ctx, tip, r)
	if err != nil {
		return err
	}
	p.rev, p.acting = tip.rev, plan.edit.acting
	switch {
	case !plan.empty(r):
		p.img, p.rev, p.deltas = plan.next, plan.next.rev, plan.deltas
		p.ops, p.entry = s.writes(plan), s.record(plan, r)
	case r.ends != nil:
		p.img = tip.with(plan.next.unconfirmed)
	}
	return nil
}

// commitGroup commits for group and, when that is durable, publishes and answers.
// The error is that of the commit.
func (s *Store) commitGroup(group []*pending) error {
	var ops []kv.Op
	var entries [][]byte
	var last *image
	for _, p := range group {
		ops = append(ops, p.ops...)
		if p.img != nil {
			last = p.img
		}
		if p.entry != nil {
			entries = append(entries, p.entry)
		}
	}
	pending := last != nil && !slices.Equal(s.cur.Load().unconfirmed, last.unconfirmed)
	if pending {
		ops = append(ops, unconfirmed.Replacing(s.cur.Load().unconfirmed, last.unconfirmed, s.key)...)
	}
	var page stored.Page
	proof := ops // what is in the store once the commit has happened
	next := s.committer.meta
	if len(entries) > 0 {
		var write []kv.Op
		page, write = stored.NewPage(last.rev-Rev(len(entries)-1), entries)
		proof = write[:1]
		next = stored.Meta{Rev: last.rev, Time: last.time, Proof: s.proof}.Encode()
		ops = append(append(ops, write...), kv.Put([]byte{stored.MetaKey}, next))
	}
	if len(ops) > 0 {
		if err := s.commit(append(ops, kv.Must([]byte{stored.MetaKey}, s.committer.meta)), proof); err != nil {
			return err
		}
	}
	// From here on the group is durable.
	s.committer.meta = next
	if len(entries) > 0 {
		s.pages.Add([]stored.Page{page}, last.rev)
	}
	s.publishGroup(group, last)
	if pending {
		notify(s.janitor.deadline)
	}
	groupcommit.Answer(group, nil)
	notify(s.janitor.wake)
	return nil
}

// retries bounds how often a commit is made again whose answer was lost.
const retries = 3

// commit makes ops. If the answer is lost it makes them again: the condition on
// the revision lets them happen once. They have happened before if proof, some
// of them, is in the store.
func (s *Store) commit(ops, proof []kv.Op) error {
	var lost error
	for range 1 + retries {
		// The callers' contexts have no say: they cannot know how far it is.
		err := s.db.Commit(context.Background(), ops...)
		switch {
		case err == nil, lost == nil && !errors.Is(err, kv.ErrUnknown):
			return err
		case errors.Is(err, kv.ErrMoved):
			if done, lookup := s.stored(proof); lookup != nil || done {
				return lookup
			}
			return err
		case lost == nil:
			lost = err
		}
	}
	return lost
}

// stored reports whether the store is as ops make it.
func (s *Store) stored(ops []kv.Op) (bool, error) {
	for _, op := range ops {
		if op.Kind == kv.OpMust {
			continue
		}
		value, ok, err := s.db.Get(op.Key)
		if err != nil || ok != (op.Kind == kv.OpPut) || !bytes.Equal(value, op.Value) {
			return false, err
		}
	}
	return true, nil
}

// publishGroup makes the group's changes visible and tells the watches.
func (s *Store) publishGroup(group []*pending, last *image) {
	var touched []Path
	_ = s.publish(func(img *image) error {
		if last != nil {
			img.root, img.rev, img.time, img.unconfirmed = last.root, last.rev, last.time, last.unconfirmed
		}
		for _, p := range group {
			s.live.Take(p.deltas)
			for _, d := range p.deltas {
				touched = append(touched, d.Path)
				if d.Removed && img.vol != nil {
					img.vol = img.vol.Without(d.Path, 0)
				}
			}
		}
		return nil
	})
	if len(touched) > 0 {
		s.watches.Tell(touched)
	}
}

// fail answers the group with err: the tree is what it was before.
func (s *Store) fail(group []*pending, err error) {
	if err == nil {
		return // commitGroup has answered
	}
	groupcommit.Answer(group, &Error{Op: "commit", Kind: key.KindOf(err), Err: err})
}
