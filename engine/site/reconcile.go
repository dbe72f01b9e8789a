// SPDX-License-Identifier: Apache-2.0

package site

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"restante/engine/mail"
	"restante/engine/queue"
	"restante/engine/site/certs"
)

// Run executes commands and brings each target into force until ctx ends. Then
// it stops the site, and returns when all that it started has. It may be called
// once.
func (s *Site) Run(ctx context.Context) error {
	defer close(s.ended)
	defer s.runLog()()
	defer s.closeMailQueue()
	defer s.stop(nil)
	again := retry{first: s.deps.Again}
	defer again.stop()
	check := recheck{under: s.config()}
	defer check.stop()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case c := <-s.commands:
			again.reset()
			c.done <- s.execute(ctx, c.command)
		case <-s.wake:
			again.reset()
			s.reopenIfBroken(ctx)
			s.reconcile(ctx)
			check.schedule()
		case <-check.c:
			check.run(s.Queue(), s.config())
		case <-again.c:
			again.c = nil
			s.reconcile(ctx)
		}
		if _, cause := s.stateAndCause(); cause != nil {
			again.schedule()
		}
	}
}

// A retry times the attempts at what the system refused. The wait between them
// grows.
type retry struct {
	c     <-chan time.Time // nil: none is due
	timer *time.Timer
	first time.Duration
	wait  time.Duration
}

func (r *retry) schedule() {
	if r.c != nil {
		return
	}
	r.wait = min(max(2*r.wait, r.first), 15*r.first)
	r.timer = time.NewTimer(r.wait)
	r.c = r.timer.C
}

// reset has the waits begin anew.
func (r *retry) reset() {
	r.stop()
	r.c, r.wait = nil, 0
}

func (r *retry) stop() {
	if r.c != nil {
		r.timer.Stop()
	}
}

func (s *Site) execute(ctx context.Context, c Command) error {
	state, cause := s.stateAndCause()
	switch c {
	case Start:
		if state == Paused {
			s.setState(Started, cause)
			return nil
		}
		return s.startByCommand(ctx)
	case Stop:
		s.setWantRun(false)
		s.stop(nil)
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
		s.setState(to, cause)
		return nil
	}
	return fmt.Errorf("there is no %s", c)
}

func (s *Site) startByCommand(ctx context.Context) error {
	s.mu.Lock()
	blocked := s.target.Blocked
	s.mu.Unlock()
	if blocked != nil {
		return fmt.Errorf("start: %w", blocked)
	}
	s.setWantRun(true) // also if it fails: then it is tried again
	return s.start(ctx)
}

func (s *Site) setWantRun(want bool) {
	s.mu.Lock()
	s.wantRun = want
	s.mu.Unlock()
}

// setState records and logs a state, and reports it if it is another one.
func (s *Site) setState(to State, cause error) {
	s.mu.Lock()
	changed := s.state != to || fmt.Sprint(s.cause) != fmt.Sprint(cause)
	s.state, s.cause = to, cause
	if s.run != nil {
		s.run.pickup.Wake() // a site that is paused takes no files
	}
	s.mu.Unlock()
	if !changed {
		return
	}
	if cause != nil {
		s.log.Warn("site is "+to.String(), "why", cause)
	} else {
		s.log.Info("site is " + to.String())
	}
	s.deps.Changed()
}

// reconcile brings the target into force, or records why it cannot.
func (s *Site) reconcile(ctx context.Context) {
	s.mu.Lock()
	next, r, tried := s.target, s.run, s.tried
	state, cause, want := s.state, s.cause, s.wantRun
	s.mu.Unlock()
	if tried == next && cause == nil {
		return
	}
	switch {
	case r != nil && next.Blocked != nil:
		s.stop(next.Blocked)
	case r != nil:
		s.setState(state, s.applyConfig(ctx, r, next))
	case next.Blocked != nil:
		s.setState(Stopped, next.Blocked)
	case want:
		_ = s.start(ctx) // its state says why not
	case tried != nil && tried.Blocked != nil:
		s.setState(Stopped, nil)
	}
	s.mu.Lock()
	s.tried = next
	s.mu.Unlock()
	s.deps.Changed()
}

// applyConfig puts next in force at a running site. The site keeps what it had of
// each part that the system refuses, which the error says.
func (s *Site) applyConfig(ctx context.Context, r *run, next *Config) error {
	cert, certErr := s.certsOf(ctx, next, r.active.Load().certs)
	bindErr := s.rebind(ctx, next)
	err := errors.Join(certErr, readShown(ctx, next, r.active.Load().cfg.Shown), bindErr, s.checkFolders(next, r.mail.folder))
	s.mu.Lock()
	// If Apply brought another target meanwhile, the next round is about that.
	if s.target == next {
		s.activateLocked(next, cert, partsOf(err))
	}
	s.mu.Unlock()
	if at := r.mail.folder; next.Mail.Folder != at {
		err = errors.Join(err, fmt.Errorf("the queue's folder is %s until the site stops and starts", at))
	}
	return err
}

func (s *Site) rebind(ctx context.Context, cfg *Config) error {
	return refused(Bindings, s.deps.Ports.Rebind(ctx, s.number, cfg.Bindings, s.notify))
}

// certsOf gives the certificate of cfg, or now with the reason why it has to stay.
func (s *Site) certsOf(ctx context.Context, cfg *Config, now *certs.Reloader) (*certs.Reloader, error) {
	switch {
	case len(cfg.TLS) == 0:
		return nil, nil
	case slices.Equal(now.Files(), cfg.TLS):
		return now, nil
	case !slices.Equal(s.loading.Files(), cfg.TLS):
		s.loading = certs.New(cfg.TLS, s.log)
	}
	c := s.loading
	if err := c.Refresh(ctx); err != nil {
		return now, refused(Certificate, err)
	}
	s.loading = nil
	return c, nil
}

// readShown reads the certificate that hosts are shown which ask for one. Where the system
// refuses it, they are shown what they were shown before.
func readShown(ctx context.Context, cfg *Config, now *certs.Reloader) error {
	if cfg.Shown == nil || cfg.Shown == now {
		return nil
	}
	err := cfg.Shown.Refresh(ctx)
	if err == nil {
		return nil
	}
	cfg.Shown.UseUntilRead(now)
	return refused(RemoteCertificate, fmt.Errorf("%s: %w", RemoteCertificate, err))
}

// rerouted reports whether mail for d has another route under now than under was.
func rerouted(was, now *Config, d mail.Domain) bool {
	return now != was && !now.Mail.Routes.Route(d).Same(was.Mail.Routes.Route(d))
}

// A recheck has a queue examine its destinations after the settings changed. That
// locks a large queue for long, so it takes a tenth of the time at most, however
// fast changes come.
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
