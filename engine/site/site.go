// SPDX-License-Identifier: Apache-2.0

package site

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"restante/engine/account"
	"restante/engine/delivery"
	"restante/engine/journal"
	"restante/engine/mail"
	"restante/engine/queue"
	"restante/engine/session"
	"restante/engine/site/bandwidth"
	"restante/engine/site/certs"
	"restante/engine/site/ports"
	"restante/engine/w3clog"
)

// A Share counts the callers of all sites; Take is false if there may be no
// more.
type Share interface {
	Take() bool
	Release()
}

// Deps is what a site works with; all fields but STS, Journal, Log, Callers, Changed
// and AutoStart are required.
type Deps struct {
	Resolver  delivery.Resolver
	STS       delivery.Policies                                   // nil: there are none
	Names     func(context.Context, netip.Addr) ([]string, error) // of a caller's address, by DNS; nil: none
	Auth      *account.Authenticator
	Rates     *session.Rates // shared by the sites of one engine; nil: none
	Ports     *ports.Set     // shared by the sites of one engine
	Journal   *journal.Journal
	Log       *slog.Logger  // diagnostics; nil: none
	Callers   Share         // nil: any number
	Changed   func()        // called after each change of Status but its counts; must not block
	Grace     time.Duration // for callers to finish when the site stops; 0: 20 s
	Again     time.Duration // until another attempt at what the system refused, doubled up to 15 times it; 0: 1 s
	AutoStart bool          // start with Run
	Computer  string        // name of this machine, for the log file
}

// A Site is one virtual server. Its methods may be called from anywhere. Do
// needs Run to be running.
type Site struct {
	number int
	deps   Deps
	log    *slog.Logger
	inbox

	lines     *w3clog.Log // the log file
	counters  counters
	releasing releasing
	bandwidth bandwidth.Limit
	sessions  sessionRegistry
	loading   *certs.Reloader // of a certificate that could not be read; used by the goroutine of Run alone
	folders   folderCheck     // used by the goroutine of Run alone

	unsettled queue.Unsettled // of the queue that was open last; used by the goroutine of Run alone

	// The configuration in force; the queue's callbacks read it without a lock.
	active atomic.Pointer[Config]

	mu sync.Mutex // guards what follows
	condition
}

// An inbox is how the goroutine of Run is spoken to.
type inbox struct {
	commands chan commandRequest
	wake     chan struct{}
	ended    chan struct{} // closed when Run has returned
}

type commandRequest struct {
	command Command
	done    chan<- error
}

// A condition is what changes while a site exists.
type condition struct {
	target   *Config    // what Apply brought last
	tried    *Config    // the last target that was brought into force, or could not be
	failed   *loadError // of a later revision than target's
	wantRun  bool       // it was started and has not been stopped since, but by Config.Blocked
	starting *Config    // what the start under way began with
	state    State
	cause    error      // why the site is stopped, or not as target asks for
	unstored error      // why the last message or outcome could not be stored
	mail     *mailQueue // nil before the first start
	run      *run       // nil while stopped
}

// A loadError is a revision whose settings do not load.
type loadError struct {
	rev uint64
	err error
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
		deps.Again = time.Second
	}
	s := &Site{
		number: number, deps: deps, log: deps.Log.With("site", number),
		inbox:     inbox{make(chan commandRequest), make(chan struct{}, 1), make(chan struct{})},
		condition: condition{target: cfg, state: Stopped, wantRun: deps.AutoStart},
	}
	s.active.Store(cfg)
	s.lines = w3clog.New(fmt.Sprintf("SMTPSVC%d", number), deps.Computer, func() *w3clog.Settings { return s.config().Log }, s.log, deps.Changed)
	s.notify()
	return s
}

func (s *Site) config() *Config { return s.active.Load() }

// Do executes a command and returns when that is done, or why it could not be.
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

// Apply makes next the target. What needs no listener, certificate, folder or
// start is in force when Apply returns. The rest is brought into force by Run;
// until then, and if it cannot be, the site keeps that part of what it had. See
// Settled.
func (s *Site) Apply(next *Config) {
	s.mu.Lock()
	last, done := s.target, false
	s.target, s.failed = next, nil
	switch {
	case s.run == nil && s.state == Stopped:
		s.active.Store(next)
		done = !s.wantRun && next.Blocked == nil && s.cause == nil
	case s.run != nil && next.Blocked == nil:
		now := s.run.active.Load()
		s.activateLocked(next, now.certs, changedParts(now.cfg, next))
		done = s.cause == nil && sameResources(now.cfg, next)
	}
	if done && s.tried == last {
		s.tried = next
	}
	s.mu.Unlock()
	s.notify()
}

// SetError records why the settings of revision rev do not load. The site goes
// on as it is, and shows the error until the next Apply.
func (s *Site) SetError(rev uint64, err error) {
	s.mu.Lock()
	s.failed = &loadError{rev, err}
	s.mu.Unlock()
	s.deps.Changed()
}

// Settled reports whether the site has brought its target into force or has an
// error that says why it cannot. A start that began before revision rev does
// not count: it ends with the newest target.
func (s *Site) Settled(rev uint64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.failed != nil:
		return true
	case s.state == Starting:
		return s.starting.Rev < rev
	case s.state == Stopping:
		return !s.wantRun || s.target.Blocked != nil
	case s.run == nil && !s.wantRun && s.cause == nil && s.target.Blocked == nil:
		return true
	}
	return s.tried == s.target
}

// InForce reports whether the next caller gets all of revision rev or a later
// one. A site that is stopped on purpose has no callers.
func (s *Site) InForce(rev uint64) bool {
	if !s.Settled(rev) {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.run == nil {
		return s.cause == nil || !s.wantRun
	}
	return s.state == Stopping || s.run.active.Load().of.Rev >= rev && len(partsOf(s.cause)) == 0
}

// notify wakes the goroutine of Run.
func (s *Site) notify() {
	select {
	case s.wake <- struct{}{}:
	default: // a wake-up is pending already
	}
}

// activateLocked puts next in force, but for those parts, with certificate c.
// The caller holds s.mu, and s.run is set.
func (s *Site) activateLocked(next *Config, c *certs.Reloader, kept []Part) {
	now := s.run.active.Load()
	cfg := next.keeping(kept, now.cfg)
	if now.of == next && now.certs == c && cfg.Rev == now.cfg.Rev && sameResources(cfg, now.cfg) {
		return // another attempt, with the same result
	}
	s.run.active.Store(&activeConfig{cfg, next, c, c.Config(cfg.Accepts)})
	s.run.lookAgain()
	s.active.Store(cfg)
	s.bandwidth.Set(cfg.Bandwidth)
	s.run.pickup.Wake()
	s.run.orders.Wake()
}

// Status is the site as it is now.
func (s *Site) Status() Status {
	s.mu.Lock()
	st := Status{
		Number: s.number, Name: s.target.Name, State: s.state, Configured: s.target.Rev,
		Bindings: []string{},
	}
	for _, b := range s.target.Bindings {
		st.Bindings = append(st.Bindings, b.String())
	}
	if s.run != nil {
		st.Running, st.Kept = s.active.Load().Rev, partsOf(s.cause)
		st.Certificates = s.run.active.Load().certs.List()
	}
	if s.failed != nil {
		st.Configured, st.Kept = s.failed.rev, nil // nothing of it is in force
	}
	why, m := s.whyLocked(), s.mail
	s.mu.Unlock()
	st.Why = st.explain(why)
	st.Listening = s.deps.Ports.Addrs(s.number)
	if st.QueueClosed = m == nil; m != nil {
		st.Counts, st.Silent = m.queue.Counts(), m.alerts.Silent()
	}
	st.Connections, st.Counters = s.sessions.size(), s.counters.read()
	return st
}

func (s *Site) whyLocked() error {
	err := s.cause
	if s.failed != nil {
		err = errors.Join(err, s.failed.err)
	}
	err = errors.Join(err, s.unstored)
	if s.run != nil {
		active := s.run.active.Load()
		err = errors.Join(err, active.certs.Err(), active.certs.Expired(), active.cfg.Shown.Err(), active.cfg.Shown.Expired(), s.run.pickup.Err(), s.run.orders.Err())
	}
	if trouble := s.config().Trouble; trouble != nil {
		err = errors.Join(err, trouble())
	}
	if slices.Contains(partsOf(s.cause), LogFolder) {
		return err // which says why
	}
	return errors.Join(err, s.lines.Err())
}

// State is the state, and why the site is not as configured or nil: a part of
// Status that costs nothing.
func (s *Site) State() (State, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state, s.whyLocked()
}

func (s *Site) stateAndCause() (State, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state, s.cause
}

// Running is the revision that the next caller gets; of a stopped site, the
// one that it would start with.
func (s *Site) Running() uint64 { return s.active.Load().Rev }

// Sessions lists the connections, in the order in which they came.
func (s *Site) Sessions() []Session { return s.sessions.list() }

// EndSession ends the session with that ID; false if there is none.
func (s *Site) EndSession(id mail.SessionID) bool {
	return s.sessions.end(func(c mail.SessionID) bool { return c == id }) > 0
}

// EndVoidSessions ends the sessions whose account is gone or has another
// password, and gives their number.
func (s *Site) EndVoidSessions() int { return s.sessions.endVoid(&s.config().Session) }

// EndSessions ends all sessions and gives their number.
func (s *Site) EndSessions() int { return s.sessions.end(func(mail.SessionID) bool { return true }) }

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

// Mail gives the folder of the open queue, and the number of messages in it; ""
// where none is open.
func (s *Site) Mail() (folder string, messages int) {
	s.mu.Lock()
	m := s.mail
	s.mu.Unlock()
	if m == nil {
		return "", 0
	}
	return m.folder, m.queue.Counts().Messages
}

// Folder is the folder of the open queue; "" where none is open.
func (s *Site) Folder() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mail == nil {
		return ""
	}
	return s.mail.folder
}

// Closed reports whether the site has no open listener and is about to open
// none.
func (s *Site) Closed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state == Stopping || s.state == Stopped
}
