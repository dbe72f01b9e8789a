// SPDX-License-Identifier: Apache-2.0

// Package engine keeps the running sites in line with the tree.
//
// Whoever changes the configuration ends in a commit of the metabase; the
// engine is told that there is something newer, loads each site from the newest
// snapshot, and hands it over: what holds for the next caller holds a moment
// after the commit. One site's trouble never touches another: it becomes that
// site's state, which also stands in the tree as ServerState and Win32Error.
//
// It is the only package that sees all of the engine's rooms.
package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"time"

	"restante/engine/account"
	"restante/engine/delivery"
	"restante/engine/journal"
	"restante/engine/queue"
	"restante/engine/resolver"
	"restante/engine/settings"
	"restante/engine/site"
	"restante/internal/kv"
	"restante/metabase"
)

// A Tree is the part of metabase.Store that the engine uses.
type Tree interface {
	Snapshot() metabase.Snapshot
	Watch(p metabase.Path) *metabase.Watch
	SetVolatile(p metabase.Path, props ...metabase.Property) error
}

// Options is what an Engine works with. DataDir and IndexDB are required.
type Options struct {
	DataDir  string            // where relative paths of the tree begin
	IndexDB  kv.DB             // of all queues, each under a prefix of its own; closed by who opened it, after Run
	Log      *slog.Logger      // diagnostics; nil: none
	Journal  *slog.Logger      // of messages' lives; nil: none
	Resolver delivery.Resolver // nil: package resolver's
	Grace    time.Duration     // that callers have to finish when a site stops; 0: 20 s
	Again    time.Duration     // between tries of what the world refused; 0: 5 s
}

// ErrNoSite means that there is no such site, or that it could not be loaded.
var ErrNoSite = errors.New("there is no such site")

// ErrNotRunning means that Run is not, or no longer, running.
var ErrNotRunning = errors.New("the engine does not run")

// An Engine runs sites. Its methods may be called from anywhere.
type Engine struct {
	tree  Tree
	opts  Options
	auth  *account.Authenticator
	ports site.Ports

	asks  chan ask
	wake  chan struct{} // a site's state changed
	ready chan struct{}
	ended chan struct{} // Run is over

	mu    sync.Mutex // guards what follows
	sites map[int]*managedSite
}

// managedSite is a site that the tree has.
type managedSite struct {
	*site.Site       // nil where it never could be loaded
	why        error // of that
	rev        metabase.Rev
	folder     string // of its queue, as in the tree
	stranded   stranded
	cancel     context.CancelFunc
	ended      <-chan struct{}
	published  publishedState
}

type ask struct {
	number int
	answer chan<- *site.Site
}

// New makes an Engine over the tree. It starts nothing.
func New(tree Tree, opts Options) *Engine {
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	if opts.Resolver == nil {
		opts.Resolver = resolver.New(resolver.Options{})
	}
	return &Engine{
		tree: tree, opts: opts, auth: account.NewAuthenticator(account.Options{}),
		asks: make(chan ask), wake: make(chan struct{}, 1),
		ready: make(chan struct{}), ended: make(chan struct{}),
		sites: map[int]*managedSite{},
	}
}

// Ready is closed when every site that starts by itself has started, or has
// said why not.
func (e *Engine) Ready() <-chan struct{} { return e.ready }

// Run starts the sites that start by themselves and keeps all of them in line
// with the tree until ctx ends; then each stops, with its grace, and Run
// returns when everything that it started has. It may be called once.
func (e *Engine) Run(ctx context.Context) error {
	var running, starting sync.WaitGroup
	defer e.publishStates()
	defer running.Wait()
	defer close(e.ended)
	watch := e.tree.Watch(metabase.Root)
	defer watch.Close()
	r := &reconciler{engine: e, running: &running, starting: &starting, leaving: map[int]<-chan struct{}{}}
	r.reconcile(ctx)
	e.checkStranded()
	running.Go(func() { starting.Wait(); close(e.ready) })
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-watch.C():
			r.reconcile(ctx)
		case a := <-e.asks:
			r.reconcile(ctx) // whoever asks may just have made the site
			a.answer <- e.site(a.number)
		case <-e.wake:
		}
		e.checkStranded()
		e.publishStates()
	}
}

// reconciler is what only Run's own goroutine touches.
type reconciler struct {
	engine            *Engine
	running, starting *sync.WaitGroup
	reconciled        bool                    // once at least
	last              metabase.Rev            // at what
	leaving           map[int]<-chan struct{} // sites that are gone from the tree, until they have ended
}

// reconcile brings the sites in line with the newest snapshot.
func (r *reconciler) reconcile(ctx context.Context) {
	e, snap := r.engine, r.engine.tree.Snapshot()
	if r.reconciled && snap.Rev() == r.last {
		return // what is volatile changed
	}
	there := map[int]bool{}
	shared := e.layout().Shared(snap)
	for _, n := range settings.Numbers(snap) {
		there[n] = true
		r.reconcileSite(ctx, snap, n, shared[n])
	}
	e.mu.Lock()
	for n, m := range e.sites {
		if !there[n] {
			if m.cancel != nil {
				m.cancel() // its folder and its mail stay where they are
				r.leaving[n] = m.ended
			}
			delete(e.sites, n)
		}
	}
	e.mu.Unlock()
	r.last, r.reconciled = snap.Rev(), true
}

// reconcileSite brings site n in line. Shared says whose queue folder it would work in,
// if it is not its own.
func (r *reconciler) reconcileSite(ctx context.Context, snap metabase.Snapshot, n int, shared error) {
	e := r.engine
	set, err := settings.Load(snap, n)
	e.mu.Lock()
	m := e.sites[n]
	if m == nil {
		m = &managedSite{}
		e.sites[n] = m
	}
	m.rev, m.why = snap.Rev(), err
	m.folder = settings.QueueFolder(snap, n)
	s := m.Site
	e.mu.Unlock()
	switch {
	case err != nil && s != nil:
		s.SetError(uint64(snap.Rev()), err)
	case err != nil:
		e.opts.Log.Error("site cannot be loaded", "site", n, "err", err)
	case s != nil:
		s.Apply(e.config(set))
		if why := startBlocked(set, shared); why != nil {
			s.SetError(uint64(snap.Rev()), why)
		}
	default:
		r.startSite(ctx, m, set, snap, startBlocked(set, shared))
	}
}

// startBlocked says why a site must not start.
func startBlocked(set *settings.Site, shared error) error {
	if !set.Enabled {
		return errOldVersion
	}
	return shared
}

func (e *Engine) layout() settings.Layout { return settings.Layout{Data: e.opts.DataDir} }

// startSite makes a site, and starts it if it starts by itself: with the service,
// or when it is new and has an address of its own.
func (r *reconciler) startSite(ctx context.Context, m *managedSite, set *settings.Site, snap metabase.Snapshot, blocked error) {
	e, n := r.engine, set.Number
	s := site.New(n, e.config(set), site.Deps{
		Resolver: e.opts.Resolver, Auth: e.auth, Ports: &e.ports,
		Journal: journal.New(e.journal(n)), Log: e.opts.Log,
		Changed: e.notify, Grace: e.opts.Grace, Again: e.opts.Again,
	})
	mine, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	e.mu.Lock()
	m.Site, m.cancel, m.ended = s, cancel, ended
	e.mu.Unlock()
	before := r.leaving[n]
	delete(r.leaving, n)
	r.running.Go(func() {
		defer close(ended)
		defer cancel()
		if before != nil {
			<-before // one that had this number, and has its queue
		}
		if err := s.Run(mine); mine.Err() == nil {
			e.opts.Log.Error("site ended", "site", n, "err", err)
		}
	})
	switch {
	case blocked != nil:
		s.SetError(uint64(snap.Rev()), blocked)
	case set.ServerAutoStart && (!r.reconciled || settings.HasAddress(snap, n)):
		r.starting.Add(1)
		r.running.Go(func() {
			defer r.starting.Done()
			_ = s.Do(mine, site.Start) // its state says why not
		})
	}
}

var errOldVersion = fmt.Errorf("SmtpServiceVersion is less than 2: only site %d starts", settings.DefaultSite)

func (e *Engine) journal(n int) *slog.Logger {
	if e.opts.Journal == nil {
		return nil
	}
	return e.opts.Journal.With("site", n)
}

// notify wakes Run.
func (e *Engine) notify() {
	select {
	case e.wake <- struct{}{}:
	default: // it is about to look anyway
	}
}

func (e *Engine) site(n int) *site.Site {
	e.mu.Lock()
	defer e.mu.Unlock()
	if m := e.sites[n]; m != nil {
		return m.Site
	}
	return nil
}

// Command has site n start, stop, pause or continue, by the numbers of
// ServerCommand, and returns when it has, or with the reason why it could not.
// A site that a commit has just made is there already.
func (e *Engine) Command(ctx context.Context, n int, command uint32) error {
	answer := make(chan *site.Site, 1)
	select {
	case e.asks <- ask{n, answer}:
	case <-e.ended:
		return ErrNotRunning
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	s := <-answer
	if s == nil {
		return fmt.Errorf("site %d: %w", n, ErrNoSite)
	}
	c := site.Command(command)
	if c == site.Start {
		snap := e.tree.Snapshot()
		if set, err := settings.Load(snap, n); err == nil {
			if why := startBlocked(set, e.layout().Shared(snap)[n]); why != nil {
				return fmt.Errorf("site %d: start: %w", n, why)
			}
		}
	}
	if err := s.Do(ctx, c); err != nil {
		return fmt.Errorf("site %d: %w", n, err)
	}
	return nil
}

// Act is Command for the metabase: it is called for each set of ServerCommand.
func (e *Engine) Act(ctx context.Context, p metabase.Path, v metabase.Value) error {
	n, err := strconv.Atoi(p.Base())
	if err != nil || !p.Equal(settings.SitePath(n)) {
		return fmt.Errorf("%s: ServerCommand is for a site", p)
	}
	return e.Command(ctx, n, v.DWord())
}

// Queue is the queue of site n, also while the site is stopped; false where
// there is none, or before its first start.
func (e *Engine) Queue(n int) (*queue.Queue, bool) {
	s := e.site(n)
	if s == nil {
		return nil, false
	}
	q := s.Queue()
	return q, q != nil
}

// Sessions lists who is connected to site n.
func (e *Engine) Sessions(n int) ([]site.Session, error) {
	s := e.site(n)
	if s == nil {
		return nil, fmt.Errorf("site %d: %w", n, ErrNoSite)
	}
	return s.Sessions(), nil
}

// ErrNoSession means that nobody is connected under that ID.
var ErrNoSession = errors.New("there is no such session")

// EndSession ends one caller's session; with id "" those of all.
func (e *Engine) EndSession(n int, id string) error {
	s := e.site(n)
	if s == nil {
		return fmt.Errorf("site %d: %w", n, ErrNoSite)
	}
	if id == "" {
		s.EndSessions()
		return nil
	}
	if number, err := strconv.ParseUint(id, 10, 64); err != nil || !s.EndSession(number) {
		return fmt.Errorf("site %d: session %s: %w", n, id, ErrNoSession)
	}
	return nil
}
