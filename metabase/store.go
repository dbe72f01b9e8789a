// SPDX-License-Identifier: Apache-2.0

package metabase

import (
	"context"
	"errors"
	"iter"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"restante/internal/kv"
	"restante/internal/seal"
)

// Options adjusts Open. The zero value keeps everything that can be kept and
// checks nothing but the tree's own rules.
type Options struct {
	Checks []Check                        // asked for each commit, all of them
	Acts   map[ID]Act                     // what acts after the commit and is not stored
	Admins []Principal                    // who may do everything; nil: root and the owner of the process
	Keep   func(Snapshot) Retention       // how much history to keep; nil: 10,000 revisions
	Audit  func(context.Context, Refusal) // told of each refused right; nil: nobody
	Log    *slog.Logger                   // what goes wrong in the background; nil: nowhere
	Now    func() time.Time               // nil: time.Now
}

// A Check looks at the next state before it is kept and lists what is wrong
// with it. It must not wait for the store, and must be quick: other writers
// wait for it. It may be called for several changes at once.
type Check func(c Change) []Problem

// An Act does what a set of a property asks for, such as ServerCommand: the
// property is not stored. It is called after the batch is on stable storage,
// in the order of the ops, and its error reaches the caller of Apply, beside
// the revision.
type Act func(ctx context.Context, p Path, v Value) error

// A Change is what a batch makes of the tree.
type Change struct {
	Old, New Snapshot // New also shows what is volatile or acts
	Touched  []Path   // keys whose own data, name or existence differ, parents first
	Batch    *Batch

	deltas []keyDelta
}

// A Turn is how one stored property differs. Old or New is nil where there is
// none; what they point to must not be changed.
type PropertyChange struct {
	Path     Path
	ID       ID
	Old, New *Property
}

// PropertyChanges yields each property that differs. What is volatile or acts is not
// among them.
func (c Change) PropertyChanges() iter.Seq[PropertyChange] {
	return func(yield func(PropertyChange) bool) {
		for _, d := range c.deltas {
			for _, p := range d.props {
				if !p.quiet() && !yield(PropertyChange{d.path, p.id, p.old, p.new}) {
					return
				}
			}
		}
	}
}

// Diff lists what differs, without secure values.
func (c Change) Diff() []DiffLine { return compare(c.Old, c.New) }

// A Store keeps the tree: the newest image in memory, and its durable copy
// with the history in an ordered map. All methods may be called from anywhere
// at any time.
type Store struct {
	db    kv.DB
	key   seal.Key
	opts  Options
	proof []byte // of the machine key, as in the meta record
	now   func() time.Time

	cur       atomic.Pointer[image] // what is durable, with what is volatile
	pages     pages                 // of the history; as of cur or later
	live      liveCounts            // as of cur
	watches   watches
	committer committer
	janitor   janitor
}

// Open loads the tree from db, which the store has for itself until Close and
// which its caller closes after that. An empty db is a tree of one key, the
// root, at revision 0. A batch whose time to be confirmed has passed is taken
// back before Open returns. The error is Invalid when key is not the one that
// db was made with, Damaged when a record does not read.
func Open(ctx context.Context, db kv.DB, key seal.Key, opts Options) (*Store, error) {
	if key.IsZero() {
		return nil, &Error{Op: "open", Kind: Invalid, Err: errors.New("no machine key was given")}
	}
	s := &Store{db: db, key: key, opts: opts, now: opts.Now}
	if s.now == nil {
		s.now = time.Now
	}
	if s.opts.Admins == nil {
		s.opts.Admins = ownAdministrators()
	}
	if s.opts.Log == nil {
		s.opts.Log = slog.New(slog.DiscardHandler)
	}
	img, err := s.load(ctx)
	if err != nil {
		return nil, &Error{Op: "open", Err: err}
	}
	s.cur.Store(img)
	s.committer.start(s)
	if err := s.janitor.start(ctx, s); err != nil {
		s.committer.stop()
		return nil, &Error{Op: "open", Err: err}
	}
	return s, nil
}

// Snapshot is the newest state that is durable.
func (s *Store) Snapshot() Snapshot { return Snapshot{s.cur.Load()} }

// Close waits for the commits under way; later ones are refused as Closed. The
// snapshots stay good. Closing twice is harmless. A batch that waits to be
// confirmed goes on waiting, and is taken back when the store is opened next.
func (s *Store) Close() error {
	s.janitor.stop()
	s.committer.stop()
	return nil
}

// Apply makes the batch true and returns the revision that it made, once that
// is on stable storage. A batch that changes nothing makes no revision and
// returns the present one. Every problem there is comes back in one *Refused;
// when the store is not at IfRev the error is Conflict. After an error nothing
// of the batch has happened, but for that of an Act: see there.
//
// Batches that wait at the same time are checked one after the other, each
// against what those before it made, and share one write to the disk; when
// that fails, all of them have failed. Ctx is looked at before the batch takes
// its place among them; from there Apply waits for the disk.
func (s *Store) Apply(ctx context.Context, b Batch) (Rev, error) {
	return s.apply(ctx, &request{batch: b})
}

func (s *Store) apply(ctx context.Context, r *request) (Rev, error) {
	if err := ctx.Err(); err != nil {
		return 0, &Error{Op: "apply", Err: context.Cause(ctx)}
	}
	p := &pending{op: "apply", large: r.large()}
	p.validate = func(tip *image) error { return s.validate(ctx, p, r, tip) }
	if err := s.do(ctx, p); err != nil {
		return 0, err
	}
	var failed []error
	for _, a := range p.acting {
		if err := s.opts.Acts[a.Property.ID](ctx, a.Path, a.Property.Value); err != nil {
			failed = append(failed, Problem{Path: a.Path, ID: a.Property.ID, Err: err})
		}
	}
	return p.rev, errors.Join(failed...)
}

// Try checks the batch as Apply would and keeps nothing of it. Where it would
// be refused, Try returns what it would have changed as well.
func (s *Store) Try(ctx context.Context, b Batch) (Change, error) {
	return s.try(ctx, &request{batch: b})
}

func (s *Store) try(ctx context.Context, r *request) (Change, error) {
	p, err := s.plan(ctx, s.cur.Load(), r)
	if p == nil {
		return Change{}, err
	}
	return p.change, err
}

// SetVolatile puts properties of a key into memory only: there is no revision
// and no history, watches are told. With a zero Value the property is dropped.
func (s *Store) SetVolatile(p Path, props ...Property) error {
	bad := func(id ID, err error) error {
		return &Refused{[]Problem{{Path: p, ID: id, Err: err}}}
	}
	props = slices.Clone(props) // the caller's stay as they are
	for i, prop := range props {
		props[i].Attr |= Volatile
		if prop.Value.IsZero() {
			continue
		}
		if err := props[i].check(); err != nil {
			return bad(prop.ID, err)
		}
	}
	err := s.publish(func(img *image) error {
		if img.root.lookup(p) == nil {
			return bad(0, NotFound)
		}
		for _, prop := range props {
			if prop.Value.IsZero() {
				img.vol = img.vol.without(p, prop.ID)
			} else {
				img.vol = img.vol.with(p, prop)
			}
		}
		return nil
	})
	if err == nil {
		s.watches.tell([]Path{p})
	}
	return err
}

// publish replaces the newest image by a copy that f has changed, unless f
// returns an error.
func (s *Store) publish(f func(*image) error) error {
	s.committer.publishing.Lock()
	defer s.committer.publishing.Unlock()
	next := *s.cur.Load()
	if err := f(&next); err != nil {
		return err
	}
	s.cur.Store(&next)
	return nil
}

// Allow says whether somebody who is all of who has the right at p: nil, or an
// Error of kind Denied, of which Options.Audit is told. It is for whoever
// answers questions; Apply asks by itself.
func (s *Store) Allow(ctx context.Context, who []Principal, from Origin, p Path, r Right) error {
	if s.Snapshot().Allows(who, p, r) {
		return nil
	}
	var actor Principal
	if len(who) > 0 {
		actor = who[0]
	}
	s.audit(ctx, Refusal{Actor: actor, Origin: from, Path: p, Need: r})
	return &Error{Op: r.String(), Path: p, Kind: Denied}
}

func (s *Store) audit(ctx context.Context, list ...Refusal) {
	if s.opts.Audit == nil {
		return
	}
	for _, r := range list {
		r.Time = s.now()
		s.opts.Audit(ctx, r)
	}
}

// A wait group and a way to end what it waits for: who has one owns goroutines.
type workers struct {
	once sync.Once
	quit chan struct{}
	wg   sync.WaitGroup
}

func (w *workers) start(run ...func()) {
	w.quit = make(chan struct{})
	for _, f := range run {
		w.wg.Go(f)
	}
}

func (w *workers) stop() {
	if w.quit == nil {
		return
	}
	w.once.Do(func() { close(w.quit) })
	w.wg.Wait()
}
