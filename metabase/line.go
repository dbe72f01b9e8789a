// SPDX-License-Identifier: Apache-2.0

package metabase

import (
	"context"
	"maps"
	"sync"
	"time"

	"restante/internal/kv"
)

// The line is where batches wait for the disk. Each is checked by its own
// caller, under mu, against the tip: the newest image plus all that waits. Then
// somebody takes whoever waits, commits for all of them at once, publishes the
// last image and answers: the caller itself where nobody else is at it, so that
// no goroutine need wake another one, else the line's own goroutine. Meanwhile
// others queue up behind.
type line struct {
	crew
	kick       chan struct{} // capacity 1: somebody waits, and nobody else looks after it
	committing chan struct{} // capacity 1: holds something from the taking of a group to its answer
	publishing sync.Mutex    // guards changes of Store.cur

	mu      sync.Mutex // guards what follows
	tip     *image     // what will be durable when all that waits is
	waiting []*ticket
	closed  bool
	broken  error             // the disk is no longer what memory says: nothing goes in
	pending map[Rev]time.Time // what waits to be confirmed, as of the tip
	durable map[Rev]time.Time // the same, as it is on the disk
}

// A ticket is a batch in the line.
type ticket struct {
	rev      Rev        // that the batch made, or stands at
	img      *image     // nil where the tree stays as it is
	ops      []kv.Op    // without the page of the history and the meta record
	entry    []byte     // for the page; nil: none
	bytes    int        // in ops and entry
	deltas   []keyDelta // for the paths that are told
	volSets  []Set
	volUnset []Unset
	acting   []Set
	confirm  []Pending  // what is to be confirmed from now on; no longer, without Until
	done     chan error // capacity 1
}

// maxGroup bounds what shares one commit: small batches should not wait for a
// large one more than need be.
const maxGroup = 1 << 20

func (l *line) start(s *Store, img *image) {
	l.tip = img
	l.pending, l.durable = map[Rev]time.Time{}, map[Rev]time.Time{}
	l.kick, l.committing = make(chan struct{}, 1), make(chan struct{}, 1)
	l.crew.start(func() { s.commitAll() })
}

func (l *line) stop() {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	l.crew.stop()
}

// enter checks r against the tip and puts it into the line.
func (s *Store) enter(ctx context.Context, r *request) (*ticket, error) {
	if err := ctx.Err(); err != nil {
		return nil, &Error{Op: "apply", Err: context.Cause(ctx)}
	}
	s.line.mu.Lock()
	defer s.line.mu.Unlock()
	if s.line.closed {
		return nil, &Error{Op: "apply", Kind: Closed}
	}
	if s.line.broken != nil {
		return nil, &Error{Op: "apply", Kind: Damaged, Err: s.line.broken}
	}
	p, err := s.plan(ctx, s.line.tip, r)
	if err != nil {
		return nil, err
	}
	t := &ticket{rev: s.line.tip.rev, volSets: p.edit.volSets, volUnset: p.edit.volUnset, acting: p.edit.acting, done: make(chan error, 1)}
	if !p.empty(r) {
		t.img, t.rev, t.deltas = p.next, p.next.rev, p.deltas
		t.ops, t.entry = s.writes(p), s.record(p, r)
		s.line.tip = p.next
	}
	s.confirmations(t, r)
	t.bytes = len(t.entry)
	for _, op := range t.ops {
		t.bytes += len(op.Key) + len(op.Value)
	}
	s.line.join(t)
	return t, nil
}

// join puts t at the end of the line; the caller holds mu, and must wait for t
// when it has let go of it.
func (l *line) join(t *ticket) { l.waiting = append(l.waiting, t) }

// knock tells who listens at c, unless a note is waiting there already.
func knock(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// wait gives the answer to t, which has joined the line.
func (s *Store) wait(t *ticket) error {
	select {
	case s.line.committing <- struct{}{}:
		if group := s.line.take(); len(group) > 0 {
			s.commitGroup(group)
		}
		<-s.line.committing
	default:
	}
	if len(t.done) == 0 {
		knock(s.line.kick)
	}
	return <-t.done
}

// take gives the head of the line, at least one if there is any.
func (l *line) take() []*ticket {
	l.mu.Lock()
	defer l.mu.Unlock()
	n, size := 0, 0
	for n < len(l.waiting) && (n == 0 || size+l.waiting[n].bytes <= maxGroup) {
		size += l.waiting[n].bytes
		n++
	}
	group := l.waiting[:n:n]
	if l.waiting = l.waiting[n:]; len(l.waiting) == 0 {
		l.waiting = nil
	}
	return group
}

// commitAll runs until the line is stopped and empty.
func (s *Store) commitAll() {
	for {
		stopped := false
		select {
		case <-s.line.kick:
		case <-s.line.quit:
			stopped = true
		}
		s.commitWaiting()
		if stopped {
			return
		}
	}
}

func (s *Store) commitWaiting() {
	s.line.committing <- struct{}{}
	defer func() { <-s.line.committing }()
	for group := s.line.take(); len(group) > 0; group = s.line.take() {
		s.commitGroup(group)
	}
}

func (s *Store) commitGroup(group []*ticket) {
	var ops []kv.Op
	var entries [][]byte
	var last *image
	for _, t := range group {
		ops = append(ops, t.ops...)
		if t.img != nil {
			last, entries = t.img, append(entries, t.entry)
		}
	}
	var fresh page
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
			knock(s.keeper.due)
		}
		t.done <- nil
	}
	knock(s.keeper.bell)
}

// show makes the group's changes visible and tells the watches.
func (s *Store) show(group []*ticket, last *image) {
	var touched []Path
	_ = s.publish(func(img *image) error {
		if last != nil {
			img.root, img.rev, img.time = last.root, last.rev, last.time
		}
		for _, t := range group {
			s.living.take(t.deltas)
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
	s.line.settled(group)
	if len(touched) > 0 {
		s.watches.tell(touched)
	}
}

// settled notes what the group's commit changed of what waits to be confirmed.
func (l *line) settled(group []*ticket) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, t := range group {
		for _, p := range t.confirm {
			if p.Until.IsZero() {
				delete(l.durable, p.Rev)
			} else {
				l.durable[p.Rev] = p.Until
			}
		}
	}
}

// fail answers the group, and everybody who was checked against it, with err:
// the tree is what it was before the group.
func (s *Store) fail(group []*ticket, err error) {
	s.line.mu.Lock()
	if raw, _, got := s.db.Get([]byte{metaKey}); got == nil {
		// An error that came after the deed must not have a second one of the
		// same revision written over it.
		if m, got := decodeMeta(raw); got != nil || m.rev != s.cur.Load().rev {
			s.line.broken = because(Damaged, "the disk and memory are no longer of one revision: open the store again (%v)", err)
		}
	}
	group = append(group, s.line.waiting...)
	s.line.waiting = nil
	s.line.tip = s.cur.Load()
	s.line.pending = maps.Clone(s.line.durable)
	s.line.mu.Unlock()
	for _, t := range group {
		t.done <- err
	}
}
