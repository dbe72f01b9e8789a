// SPDX-License-Identifier: Apache-2.0

package metabase

import (
	"context"
	"fmt"
	"maps"
	"runtime"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"restante/internal/kv"
)

// The line is where batches wait for the disk. One at a time is at work: it
// takes who waits, checks each against what those before it make of the tree,
// commits for all of them at once, publishes the last image and answers. That
// is a caller itself where nobody else is at it, so that no goroutine need wake
// another one, else the line's own goroutine. Meanwhile others queue up behind.
type committer struct {
	workers
	kick       chan struct{} // capacity 1: somebody waits, and nobody else looks after it
	working    chan struct{} // capacity 1: holds something while somebody is at work
	publishing sync.Mutex    // guards changes of Store.cur

	// For who is at work alone.
	pending map[Rev]time.Time // what waits to be confirmed, as of the last batch that was checked
	shared  int               // how many shared a commit of late

	mu      sync.Mutex // guards what follows
	waiting []*pending
	closed  bool
	broken  error             // the disk is no longer what memory says: nothing goes in
	durable map[Rev]time.Time // what waits to be confirmed, as it is on the disk
}

// A pending is a batch that waits for its commit. check fills in the fields after it.
type pending struct {
	op    string                 // for errors
	check func(tip *image) error // as of tip, by who is at work; an error is the answer
	large bool                   // to check it may take long: nobody who came before waits for that
	done  chan error             // capacity 1

	rev      Rev        // that the batch made, or stands at
	img      *image     // nil where the tree stays as it is
	ops      []kv.Op    // without the page of the history and the meta record
	entry    []byte     // for the page; nil: none
	deltas   []keyDelta // for the paths that are told
	volSets  []Set
	volUnset []Unset
	acting   []Set
	confirm  []Pending // what is to be confirmed from now on; no longer, without Until
}

// maxGroup bounds what shares one commit: small batches should not wait for a
// large one more than need be.
const maxGroup = 1 << 20

func (c *committer) start(s *Store) {
	c.pending, c.durable = map[Rev]time.Time{}, map[Rev]time.Time{}
	c.kick, c.working = make(chan struct{}, 1), make(chan struct{}, 1)
	c.workers.start(func() { s.serve() })
}

func (c *committer) stop() {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.workers.stop()
}

// join puts t at the end of the line.
func (c *committer) join(t *pending) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.closed:
		return &Error{Op: t.op, Kind: Closed}
	case c.broken != nil:
		return &Error{Op: t.op, Kind: Damaged, Err: c.broken}
	}
	t.done = make(chan error, 1)
	c.waiting = append(c.waiting, t)
	return nil
}

// next takes the head of the line, if there is one and it may share a commit
// with those before it, which have so many bytes; first says that there are
// none.
func (c *committer) next(first bool, bytes int) *pending {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.waiting) == 0 || !first && (c.waiting[0].large || bytes >= maxGroup) {
		return nil
	}
	t := c.waiting[0]
	if c.waiting = c.waiting[1:]; len(c.waiting) == 0 {
		c.waiting = nil
	}
	return t
}

// do has t checked and committed, and gives the answer.
func (s *Store) do(t *pending) error {
	if err := s.committer.join(t); err != nil {
		return err
	}
	select {
	case s.committer.working <- struct{}{}:
		s.commitNext()
		<-s.committer.working
	default:
	}
	if len(t.done) == 0 {
		knock(s.committer.kick)
	}
	return <-t.done
}

// knock tells who listens at c, unless a note is waiting there already.
func knock(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// serve works until the line is stopped and empty.
func (s *Store) serve() {
	for {
		stopped := false
		select {
		case <-s.committer.kick:
		case <-s.committer.quit:
			stopped = true
		}
		s.committer.working <- struct{}{}
		for s.commitNext() {
		}
		<-s.committer.working
		if stopped {
			return
		}
	}
}

// work commits for the head of the line, and says whether there was any.
func (s *Store) commitNext() bool {
	group, some := s.collect()
	if len(group) > 0 {
		s.commitGroup(group)
	}
	return some
}

// gather takes and checks all who wait, and those who come meanwhile; some says
// that anybody did. Who was just answered often has another batch at once: in
// a crowd, each is given a moment to come, so that it does not part in two that
// wait for each other.
func (s *Store) collect() (group []*pending, some bool) {
	tip, bytes, crowd := s.cur.Load(), 0, s.committer.shared > 1
	for rested := false; ; {
		t := s.committer.next(len(group) == 0, bytes)
		if t == nil && crowd && some && !rested {
			runtime.Gosched()
			rested = true
			continue
		}
		if t == nil {
			s.committer.shared = max(len(group), s.committer.shared/2)
			return group, some
		}
		rested, some = false, true
		if err := s.validateSafe(t, tip); err != nil {
			t.done <- err
			continue
		}
		if t.img != nil {
			tip = t.img
		}
		group = append(group, t)
		bytes += t.size()
		crowd = crowd || len(group) > 1
	}
}

// examine has t checked. A check that panics is that batch's trouble: the others
// must not wait for ever for who was at work.
func (s *Store) validateSafe(t *pending, tip *image) (err error) {
	defer func() {
		if v := recover(); v != nil {
			s.opts.Log.Error("metabase: panic in a check", "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
			err = &Error{Op: t.op, Err: fmt.Errorf("panic: %v", v)}
		}
	}()
	return t.check(tip)
}

func (t *pending) size() int {
	n := len(t.entry)
	for _, op := range t.ops {
		n += len(op.Key) + len(op.Value)
	}
	return n
}

// enter checks r against the tip, for t.
func (s *Store) validate(ctx context.Context, t *pending, r *request, tip *image) error {
	p, err := s.plan(ctx, tip, r)
	if err != nil {
		return err
	}
	t.rev, t.volSets, t.volUnset, t.acting = tip.rev, p.edit.volSets, p.edit.volUnset, p.edit.acting
	if !p.empty(r) {
		t.img, t.rev, t.deltas = p.next, p.next.rev, p.deltas
		t.ops, t.entry = s.writes(p), s.record(p, r)
	}
	s.confirmations(t, r)
	return nil
}

func (s *Store) commitGroup(group []*pending) {
	var ops []kv.Op
	var entries [][]byte
	var last *image
	for _, t := range group {
		ops = append(ops, t.ops...)
		if t.img != nil {
			last, entries = t.img, append(entries, t.entry)
		}
	}
	var fresh historyPage
	if last != nil {
		var write []kv.Op
		fresh, write = newPage(last.rev-Rev(len(entries)-1), entries)
		m := meta{last.rev, last.time, s.proof}
		ops = append(append(ops, write...), kv.Put([]byte{metaKey}, m.encode()))
	}
	if len(ops) > 0 {
		// The callers' contexts have no say: they can't know how far it is.
		if err := s.db.Commit(context.Background(), ops...); err != nil {
			s.fail(group, err)
			return
		}
	}
	// From here on the group is durable.
	if last != nil {
		s.pages.add(fresh, len(entries))
	}
	s.show(group, last)
	for _, t := range group {
		if len(t.confirm) > 0 {
			knock(s.janitor.deadline)
		}
		t.done <- nil
	}
	knock(s.janitor.wake)
}

// show makes the group's changes visible and tells the watches.
func (s *Store) show(group []*pending, last *image) {
	var touched []Path
	_ = s.publish(func(img *image) error {
		if last != nil {
			img.root, img.rev, img.time = last.root, last.rev, last.time
		}
		for _, t := range group {
			s.live.take(t.deltas)
			for _, d := range t.deltas {
				touched = append(touched, d.path)
				if d.removed && img.vol != nil {
					img.vol = img.vol.without(d.path, 0)
				}
			}
			for _, set := range t.volSets {
				touched = append(touched, set.Path)
				img.vol = img.vol.with(set.Path, set.Property)
			}
			for _, unset := range t.volUnset {
				touched = append(touched, unset.Path)
				img.vol = img.vol.without(unset.Path, unset.ID)
			}
		}
		return nil
	})
	s.committer.settled(group)
	if len(touched) > 0 {
		s.watches.tell(touched)
	}
}

// settled notes what the group's commit changed of what waits to be confirmed.
func (c *committer) settled(group []*pending) {
	if !slices.ContainsFunc(group, func(t *pending) bool { return len(t.confirm) > 0 }) {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, t := range group {
		for _, p := range t.confirm {
			if p.Until.IsZero() {
				delete(c.durable, p.Rev)
			} else {
				c.durable[p.Rev] = p.Until
			}
		}
	}
}

// fail answers the group with err: the tree is what it was before.
func (s *Store) fail(group []*pending, err error) {
	s.committer.mu.Lock()
	if raw, _, got := s.db.Get([]byte{metaKey}); got == nil {
		// An error that came after the deed must not have a second one of the
		// same revision written over it.
		if m, got := decodeMeta(raw); got != nil || m.rev != s.cur.Load().rev {
			s.committer.broken = because(Damaged, "the disk and memory are no longer of one revision: open the store again (%v)", err)
			group = append(group, s.committer.waiting...)
			s.committer.waiting = nil
		}
	}
	s.committer.pending = maps.Clone(s.committer.durable)
	s.committer.mu.Unlock()
	err = &Error{Op: "commit", Kind: kindOf(err), Err: err}
	for _, t := range group {
		t.done <- err
	}
}
