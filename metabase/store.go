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
	"restante/metabase/acl"
	"restante/metabase/internal/history"
	"restante/metabase/internal/pages"
	"restante/metabase/internal/tree"
	"restante/metabase/internal/watch"
)

// Options adjusts Open. The zero value has no checks but the tree's own rules.
type Options struct {
	Checks []Check                        // all are called for each batch
	Acts   map[ID]Act                     // properties that act after the commit and are not stored
	Admins []Principal                    // principals with all rights; nil: root and the owner of the process
	Keep   func(Snapshot) Retention       // how much history to keep; nil: 10,000 revisions
	Audit  func(context.Context, Refusal) // called for each refused right; may be nil
	OnAsk  func(Path, Right)              // called for each right that a batch requires; may be nil
	Log    *slog.Logger                   // errors in the background; nil: none are logged
	Named  func(line string) string       // a line for Log in which a property is a number, with its name; nil: as it is
	Now    func() time.Time               // nil: time.Now
}

// A Check returns the problems of a change before it is committed. It must not
// wait for the store, and must be quick: other writers wait for it. It may be
// called from several goroutines at once.
type Check func(c Change) []Problem

// An Act does what a set of a property asks for, such as ServerCommand: the
// property is not stored. It is called after the batch is on stable storage,
// in the order of the ops, and its error reaches the caller of Apply, beside
// the revision.
type Act func(ctx context.Context, p Path, v Value) error

// A Change is the difference that a batch makes to the tree.
type Change struct {
	Old, New Snapshot // New has volatile and acting properties, too
	Touched  []Path   // keys whose own data, name or existence differ, parents first
	Batch    *Batch

	deltas []tree.KeyDelta
}

// A PropertyChange is how one stored property differs. Old or New is nil where there is
// none; what they point to must not be changed.
type PropertyChange struct {
	Path     Path
	ID       ID
	Old, New *Property
}

// PropertyChanges yields each stored property that differs.
func (c Change) PropertyChanges() iter.Seq[PropertyChange] {
	return func(yield func(PropertyChange) bool) {
		for _, d := range c.deltas {
			for _, p := range d.Props {
				if !p.Quiet() && !yield(PropertyChange{d.Path, p.ID, p.Old, p.New}) {
					return
				}
			}
		}
	}
}

// Diff lists what differs, without secure values.
func (c Change) Diff() []DiffLine { return compare(c.Old, c.New) }

// A Store keeps the tree: the newest image in memory, and its durable copy
// with the history in an ordered map. All methods are safe for concurrent use.
type Store struct {
	db     kv.DB
	key    seal.Key
	opts   Options
	proof  []byte // of the machine key, as in the meta record
	access access
	now    func() time.Time

	cur       atomic.Pointer[image] // the durable state, with the volatile properties
	pages     pages.Log             // the history; as of cur or later
	live      history.Live          // as of cur
	watches   watch.Set
	committer committer
	janitor   janitor
}

// Open loads the tree from db, which the caller closes after the store. An empty
// db is a tree of one key, the root, at revision 0. A revision whose time to be
// confirmed has passed is taken back before Open returns. The error is Invalid if
// key is not the one that db was made with, and Damaged if a record cannot be
// decoded.
//
// Several processes may open stores over one map, each with a db of its own. A
// commit then depends on the revision that it was validated at; see Apply.
func Open(ctx context.Context, db kv.DB, key seal.Key, opts Options) (*Store, error) {
	if key.IsZero() {
		return nil, &Error{Op: "open", Kind: Invalid, Err: errors.New("no machine key was given")}
	}
	s := &Store{db: db, key: key, opts: opts, now: opts.Now}
	if s.now == nil {
		s.now = time.Now
	}
	if s.opts.Admins == nil {
		s.opts.Admins = acl.Owners()
	}
	s.access.admins = s.opts.Admins
	s.pages.DB, s.pages.Key = db, key
	if s.opts.Log == nil {
		s.opts.Log = slog.New(slog.DiscardHandler)
	}
	img, err := s.load(ctx)
	if err != nil {
		return nil, &Error{Op: "open", Err: err}
	}
	s.cur.Store(img)
	if img.unconfirmed, err = s.loadUnconfirmed(ctx); err != nil {
		return nil, &Error{Op: "open", Err: err}
	}
	s.committer.start(s)
	if err := s.janitor.start(ctx, s); err != nil {
		s.committer.stop()
		return nil, &Error{Op: "open", Err: err}
	}
	return s, nil
}

// Snapshot is the newest state that is durable.
func (s *Store) Snapshot() Snapshot { return Snapshot{s.cur.Load()} }

// Watch tells of changes that touch p. The key need not exist. A change that
// is seen by the Snapshot taken after Watch returned may still give a note.
func (s *Store) Watch(p Path) *Watch { return s.watches.Add(p) }

// Close waits for the commits under way; later ones are refused as Closed. The
// snapshots stay valid. Closing twice is harmless. A revision that is not
// confirmed stays so, and is taken back once the store is opened after its time.
func (s *Store) Close() error {
	s.janitor.stop()
	s.committer.stop()
	return nil
}

// Apply commits the batch and returns the revision that it made, once that is on
// stable storage. A batch that changes nothing makes no revision and returns the
// present one. All problems are returned in one *Refused; if the store is not at
// IfRev the error is Conflict. After an error nothing of the batch was applied,
// except for the error of an Act, and for kv.ErrUnknown, when the store itself
// does not know.
//
// Batches that wait at the same time are validated one after the other, each
// against the tree that those before it make, and share one commit; if that
// fails, all of them fail. If another process has committed meanwhile, they are
// validated again against its tree. When ctx is done, a batch that still waits is
// withdrawn; one that is being committed is waited for.
func (s *Store) Apply(ctx context.Context, b Batch) (Rev, error) {
	return s.apply(ctx, &request{batch: b})
}

func (s *Store) apply(ctx context.Context, r *request) (Rev, error) {
	rev, err := s.applyAll(ctx, r)
	return rev, s.redact(r, err)
}

// redact gives err as the author of r may see it.
func (s *Store) redact(r *request, err error) error {
	if err == nil {
		return nil
	}
	named := r.named
	if r.prepare == nil {
		named = r.batch.paths()
	}
	return s.Snapshot().View(r.batch.who()).Redact(err, named...)
}

func (s *Store) applyAll(ctx context.Context, r *request) (Rev, error) {
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

// Try validates the batch as Apply does and commits nothing. If the batch is
// refused by a check, Try returns the change beside the error.
func (s *Store) Try(ctx context.Context, b Batch) (Change, error) {
	return s.try(ctx, &request{batch: b})
}

func (s *Store) try(ctx context.Context, r *request) (Change, error) {
	p, err := s.plan(ctx, s.cur.Load(), r)
	if p == nil {
		return Change{}, s.redact(r, err)
	}
	return p.change, s.redact(r, err)
}

// SetVolatile sets properties of a key in memory only: it makes no revision and
// no history, and tells the watches. No batch sets or removes such properties. A zero Value drops the property.
func (s *Store) SetVolatile(p Path, props ...Property) error {
	bad := func(id ID, err error) error {
		return &Refused{Problems: []Problem{{Path: p, ID: id, Err: err}}}
	}
	props = slices.Clone(props) // the caller keeps its own
	for i, prop := range props {
		props[i].Attr |= Volatile
		if prop.Value.IsZero() {
			continue
		}
		if err := props[i].Check(); err != nil {
			return bad(prop.ID, err)
		}
	}
	err := s.publish(func(img *image) error {
		if img.root.Lookup(p) == nil {
			return bad(0, NotFound)
		}
		for _, prop := range props {
			if prop.Value.IsZero() {
				img.vol = img.vol.Without(p, prop.ID)
			} else {
				img.vol = img.vol.With(p, prop)
			}
		}
		return nil
	})
	if err == nil {
		s.watches.Tell([]Path{p})
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

// Allow returns nil if a caller with all principals of who has the right r at p,
// and otherwise an Error of kind Denied, which Options.Audit receives, too. It is
// for reads; Apply asks for the rights that a batch needs by itself.
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

func (s *Store) auditAs(ctx context.Context, b *Batch, lists ...[]Refusal) {
	for _, list := range lists {
		for i := range list {
			list[i].Actor, list[i].Origin = b.Actor, b.Origin
		}
		s.audit(ctx, list...)
	}
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

// workers owns goroutines that end when quit is closed.
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
