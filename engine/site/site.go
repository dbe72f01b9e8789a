// SPDX-License-Identifier: Apache-2.0

package site

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"restante/engine/account"
	"restante/engine/delivery"
	"restante/engine/journal"
	"restante/engine/mail"
	"restante/engine/queue"
)

// Deps is what a site works with; all fields but Journal, Log and Changed are
// required.
type Deps struct {
	Resolver delivery.Resolver
	Auth     *account.Authenticator
	Ports    *Ports // shared by the sites of one engine
	Journal  *journal.Journal
	Log      *slog.Logger  // diagnostics; nil: none
	Changed  func()        // called after each change of Status that an administrator should see; must not wait
	Grace    time.Duration // that callers have to finish when the site stops; 0: 20 s
	Again    time.Duration // between tries of what the world refused; 0: 5 s
}

// A Site is one virtual server. Its methods may be called from anywhere; but
// for Status, Apply and Callers they need Run to be running.
type Site struct {
	number   int
	deps     Deps
	log      *slog.Logger
	counters counters
	sessions sessionRegistry

	commands chan commandRequest
	wake     chan struct{}
	ended    chan struct{} // Run is over

	// What the next caller lives under; read without a lock by whoever routes.
	active atomic.Pointer[Config]

	mu        sync.Mutex // guards what follows
	target    *Config    // what Apply brought last
	failedRev uint64     // a later revision that could not be loaded, or 0
	failedErr error      // why
	state     State
	cause     error
	addrs     []netip.AddrPort
	mail      *mailQueue // nil before the first start
	run       *run       // nil while stopped
	listeners listeners  // the loop's alone; here because it outlives no run
}

type commandRequest struct {
	command Command
	done    chan<- error
}

// New makes a stopped site. It starts nothing.
func New(number int, cfg *Config, deps Deps) *Site {
	if deps.Log == nil {
		deps.Log = slog.New(slog.DiscardHandler)
	}
	if deps.Changed == nil {
		deps.Changed = func() {}
	}
	if deps.Grace == 0 {
		deps.Grace = 20 * time.Second
	}
	if deps.Again == 0 {
		deps.Again = 5 * time.Second
	}
	s := &Site{
		number: number, deps: deps, log: deps.Log.With("site", number),
		commands: make(chan commandRequest), wake: make(chan struct{}, 1), ended: make(chan struct{}),
		target: cfg, state: Stopped,
		listeners: listeners{site: number, ports: deps.Ports},
	}
	s.active.Store(cfg)
	return s
}

func (s *Site) config() *Config { return s.active.Load() }

// Do has the site obey a command and returns when it has, or could not.
func (s *Site) Do(ctx context.Context, c Command) error {
	done := make(chan error, 1)
	select {
	case s.commands <- commandRequest{c, done}:
	case <-s.ended:
		return ErrEnded
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Apply puts next in force for the next caller. What takes opening a listener
// or reading a certificate happens a moment later; until it has, and if it
// cannot be, the site runs on what it had.
func (s *Site) Apply(next *Config) {
	s.mu.Lock()
	s.target, s.failedRev, s.failedErr = next, 0, nil
	switch {
	case s.run == nil && s.state == Stopped:
		s.active.Store(next)
	case s.run != nil && sameResources(s.active.Load(), next):
		s.activateLocked(next, s.run.active.Load().certs)
	}
	s.mu.Unlock()
	s.notify()
}

// SetError says that there is a revision rev that nothing can be made of, because
// of why: the site goes on as it is, and shows it until the next Apply.
func (s *Site) SetError(rev uint64, why error) {
	s.mu.Lock()
	s.failedRev, s.failedErr = rev, why
	s.mu.Unlock()
	s.deps.Changed()
}

// notify wakes the loop.
func (s *Site) notify() {
	select {
	case s.wake <- struct{}{}:
	default: // it is about to look anyway
	}
}

// activateLocked puts cfg in force. The caller holds s.mu, and s.run is set.
func (s *Site) activateLocked(cfg *Config, c *certReloader) {
	s.run.active.Store(newActiveConfig(cfg, c))
	s.active.Store(cfg)
}

// Status is how the site is now.
func (s *Site) Status() Status {
	s.mu.Lock()
	st := Status{
		Number: s.number, Name: s.target.Name, State: s.state, Configured: s.target.Rev,
		Why: errors.Join(s.cause, s.failedErr), Listening: s.addrs,
	}
	if s.failedRev != 0 {
		st.Configured = s.failedRev
	}
	if s.run != nil {
		st.Running = s.active.Load().Rev
	}
	p := s.mail
	s.mu.Unlock()
	if p != nil {
		st.Queue = p.queue.Counts()
	}
	st.Connections, st.Counters = s.sessions.size(), s.counters.read()
	return st
}

// State is the state, and why the site is not as configured or nil: a part of
// Status that costs nothing.
func (s *Site) State() (State, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state, errors.Join(s.cause, s.failedErr)
}

// Running is the revision that the next caller lives under; of a stopped site,
// the one that it would start with.
func (s *Site) Running() uint64 { return s.active.Load().Rev }

func (s *Site) stateAndCause() (State, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state, s.cause
}

// Callers lists who is connected, in the order in which they came.
func (s *Site) Sessions() []Session { return s.sessions.list() }

// EndSession ends the caller with that ID; false if there is none.
func (s *Site) EndSession(id uint64) bool {
	return s.sessions.end(func(c uint64) bool { return c == id }) > 0
}

// EndSessions ends all callers and says how many there were.
func (s *Site) EndSessions() int { return s.sessions.end(func(uint64) bool { return true }) }

// Queue is the site's queue, also while it is stopped; nil before the first
// start, or when it could not be opened.
func (s *Site) Queue() *queue.Queue {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mail == nil {
		return nil
	}
	return s.mail.queue
}

// Mail says where the queue is that is open, and how many messages are in it; ""
// where none is.
func (s *Site) Mail() (folder string, messages int) {
	s.mu.Lock()
	p := s.mail
	s.mu.Unlock()
	if p == nil {
		return "", 0
	}
	return p.folder, p.queue.Counts().Messages
}

// Folder is where the queue is that is open; "" where none is.
func (s *Site) Folder() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mail == nil {
		return ""
	}
	return s.mail.folder
}

// Run obeys commands until ctx ends, then stops the site, and returns when all
// that it started has. The site is stopped at first. It may be called once.
func (s *Site) Run(ctx context.Context) error {
	defer close(s.ended)
	defer s.closeMailQueue()
	defer s.stop()
	again := time.NewTimer(s.deps.Again)
	defer again.Stop()
	check := recheck{under: s.config()}
	defer check.stop()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case o := <-s.commands:
			o.done <- s.execute(ctx, o.command)
		case <-s.wake:
			s.reconcile(ctx)
			check.schedule()
		case <-check.c:
			check.run(s.Queue(), s.config())
		case <-again.C:
			if _, why := s.stateAndCause(); why != nil {
				s.reconcile(ctx)
			}
		}
		again.Reset(s.deps.Again)
	}
}

func (s *Site) execute(ctx context.Context, c Command) error {
	state, why := s.stateAndCause()
	switch c {
	case Start:
		if state == Paused {
			s.setState(Started, why)
			return nil
		}
		return s.start(ctx)
	case Stop:
		s.stop()
		return nil
	case Open:
		if state.serving() {
			return nil
		}
		_, err := s.ensureMailQueue(ctx, s.config())
		return err
	case Pause, Continue:
		if !state.serving() {
			return fmt.Errorf("%s: %w", c, ErrStopped)
		}
		to := Paused
		if c == Continue {
			to = Started
		}
		s.setState(to, why)
		return nil
	}
	return fmt.Errorf("there is no %s", c)
}

// setState shows a state, and tells whoever wants to know.
func (s *Site) setState(to State, why error) {
	s.mu.Lock()
	changed := s.state != to || fmt.Sprint(s.cause) != fmt.Sprint(why)
	s.state, s.cause, s.addrs = to, why, s.listeners.addrs()
	s.mu.Unlock()
	if !changed {
		return
	}
	if why != nil {
		s.log.Warn("site is "+to.String(), "why", why)
	} else {
		s.log.Info("site is " + to.String())
	}
	s.deps.Changed()
}

// rerouted says that mail for d goes another way under now than under was.
func rerouted(was, now *Config, d mail.Domain) bool {
	return now != was && !now.Mail.Routes.Route(d).Same(was.Mail.Routes.Route(d))
}

// recheck has a queue look at its destinations anew after the settings have
// changed. In a large queue that takes its time, during which nobody else gets
// at it; so however fast changes come, it is done for a tenth of the time only.
type recheck struct {
	c        <-chan time.Time
	timer    *time.Timer // set while c is
	earliest time.Time   // of the next one
	under    *Config     // that the last one was done under
}

func (r *recheck) schedule() {
	if r.c == nil {
		r.timer = time.NewTimer(time.Until(r.earliest))
		r.c = r.timer.C
	}
}

func (r *recheck) run(q *queue.Queue, cfg *Config) {
	r.c = nil
	was := r.under
	r.under = cfg
	if q == nil {
		return
	}
	begun := time.Now()
	if cfg != was {
		q.Reroute(func(d mail.Domain) bool { return rerouted(was, cfg, d) })
	}
	q.Recheck()
	end := time.Now()
	r.earliest = end.Add(9 * end.Sub(begun))
}

func (r *recheck) stop() {
	if r.c != nil {
		r.timer.Stop()
	}
}

// reconcile brings a running site in line with what is wanted.
func (s *Site) reconcile(ctx context.Context) {
	s.mu.Lock()
	next, r := s.target, s.run
	s.mu.Unlock()
	if r == nil {
		return
	}
	err := s.applyConfig(ctx, r, next)
	state, _ := s.stateAndCause()
	s.setState(state, err)
	s.deps.Changed() // the revision, if nothing else
}

// applyConfig goes to next, or says why it cannot. A part of what next asks for may
// be in force even so: see the error.
func (s *Site) applyConfig(ctx context.Context, r *run, next *Config) error {
	now := s.active.Load()
	c, err := r.active.Load().certs, error(nil)
	if next.TLS != now.TLS || c == nil {
		loaded, certErr := s.certsOf(next)
		if certErr != nil && c != nil {
			return certErr // better the certificate that there is
		}
		c, err = loaded, certErr
	}
	if next.Mail.Folder != now.Mail.Folder {
		return fmt.Errorf("the queue's folder is %s until the site stops and starts", now.Mail.Folder)
	}
	fresh, bindErr := s.listeners.rebind(ctx, next.Bindings)
	if bindErr == nil {
		s.mu.Lock()
		// Apply may have put something newer in force meanwhile, and has then
		// knocked: another round brings the listeners in line with it.
		if s.active.Load() == now {
			s.activateLocked(next, c)
		}
		s.mu.Unlock()
	}
	for _, l := range fresh {
		r.accept(l)
	}
	return errors.Join(bindErr, err)
}

func (s *Site) certsOf(cfg *Config) (*certReloader, error) {
	if cfg.TLS == (TLSFiles{}) {
		return nil, nil
	}
	return loadCerts(cfg.TLS, s.log)
}
