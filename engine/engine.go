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
	gate  *account.Gate
	ports site.Ports

	asks  chan ask
	knock chan struct{} // a site's state changed
	ready chan struct{}
	ended chan struct{} // Run is over

	mu    sync.Mutex // guards what follows
	sites map[int]*member
}

// member is a site that the tree has.
type member struct {
	*site.Site       // nil where it never could be loaded
	why        error // of that
	rev        metabase.Rev
	folder     string // of its queue, as in the tree
	minded     minded
	cancel     context.CancelFunc
	ended      <-chan struct{}
	shown      shown
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
		tree: tree, opts: opts, gate: account.NewGate(),
		asks: make(chan ask), knock: make(chan struct{}, 1),
		ready: make(chan struct{}), ended: make(chan struct{}),
		sites: map[int]*member{},
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
	defer e.show()
	defer running.Wait()
	defer close(e.ended)
	watch := e.tree.Watch(metabase.Root)
	defer watch.Close()
	f := &follower{engine: e, running: &running, starting: &starting, left: map[int]<-chan struct{}{}}
	f.follow(ctx)
	e.mind()
	running.Go(func() { starting.Wait(); close(e.ready) })
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-watch.C():
			f.follow(ctx)
		case a := <-e.asks:
			f.follow(ctx) // whoever asks may just have made the site
			a.answer <- e.site(a.number)
		case <-e.knock:
		}
		e.mind()
		e.show()
	}
}

// follower is what only Run's own goroutine touches.
type follower struct {
	engine            *Engine
	running, starting *sync.WaitGroup
	looked            bool                    // once at least
	last              metabase.Rev            // at what
	left              map[int]<-chan struct{} // sites that are gone from the tree, until they have ended
}

// follow brings the sites in line with the newest snapshot.
func (f *follower) follow(ctx context.Context) {
	e, snap := f.engine, f.engine.tree.Snapshot()
	if f.looked && snap.Rev() == f.last {
		return // what is volatile changed
	}
	there := map[int]bool{}
	shared := e.ground().Shared(snap)
	for _, n := range settings.Numbers(snap) {
		there[n] = true
		f.one(ctx, snap, n, shared[n])
	}
	e.mu.Lock()
	for n, m := range e.sites {
		if !there[n] {
			if m.cancel != nil {
				m.cancel() // its folder and its mail stay where they are
				f.left[n] = m.ended
			}
			delete(e.sites, n)
		}
	}
	e.mu.Unlock()
	f.last, f.looked = snap.Rev(), true
}

// one brings site n in line. Shared says whose queue folder it would work in,
// if it is not its own.
func (f *follower) one(ctx context.Context, snap metabase.Snapshot, n int, shared error) {
	e := f.engine
	set, err := settings.Load(snap, n)
	e.mu.Lock()
	m := e.sites[n]
	if m == nil {
		m = &member{}
		e.sites[n] = m
	}
	m.rev, m.why = snap.Rev(), err
	m.folder = settings.QueueFolder(snap, n)
	s := m.Site
	e.mu.Unlock()
	switch {
	case err != nil && s != nil:
		s.Keep(uint64(snap.Rev()), err)
	case err != nil:
		e.opts.Log.Error("site cannot be loaded", "site", n, "err", err)
	case s != nil:
		s.Apply(e.config(set))
		if why := barred(set, shared); why != nil {
			s.Keep(uint64(snap.Rev()), why)
		}
	default:
		f.begin(ctx, m, set, snap, barred(set, shared))
	}
}

// barred says why a site must not start.
func barred(set *settings.Site, shared error) error {
	if !set.Enabled {
		return errOldVersion
	}
	return shared
}

func (e *Engine) ground() settings.Ground { return settings.Ground{Data: e.opts.DataDir} }

// begin makes a site, and starts it if it starts by itself: with the service,
// or when it is new and has an address of its own.
func (f *follower) begin(ctx context.Context, m *member, set *settings.Site, snap metabase.Snapshot, barred error) {
	e, n := f.engine, set.Number
	s := site.New(n, e.config(set), site.Deps{
		Resolver: e.opts.Resolver, Gate: e.gate, Ports: &e.ports,
		Journal: journal.New(e.journal(n)), Log: e.opts.Log,
		Changed: e.look, Grace: e.opts.Grace, Again: e.opts.Again,
	})
	mine, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	e.mu.Lock()
	m.Site, m.cancel, m.ended = s, cancel, ended
	e.mu.Unlock()
	before := f.left[n]
	delete(f.left, n)
	f.running.Go(func() {
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
	case barred != nil:
		s.Keep(uint64(snap.Rev()), barred)
	case set.AutoStart && (!f.looked || settings.HasAddress(snap, n)):
		f.starting.Add(1)
		f.running.Go(func() {
			defer f.starting.Done()
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

// look wakes Run.
func (e *Engine) look() {
	select {
	case e.knock <- struct{}{}:
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
			if why := barred(set, e.ground().Shared(snap)[n]); why != nil {
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
func (e *Engine) Sessions(n int) ([]site.Caller, error) {
	s := e.site(n)
	if s == nil {
		return nil, fmt.Errorf("site %d: %w", n, ErrNoSite)
	}
	return s.Callers(), nil
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
		s.EndAll()
		return nil
	}
	if number, err := strconv.ParseUint(id, 10, 64); err != nil || !s.End(number) {
		return fmt.Errorf("site %d: session %s: %w", n, id, ErrNoSession)
	}
	return nil
}
