// SPDX-License-Identifier: Apache-2.0

package site

import (
	"context"
	"errors"
	"fmt"
	"time"

	"restante/engine/mail"
	"restante/engine/queue"
)

// Run executes commands and brings each target into force until ctx ends. Then
// it stops the site, and returns when all that it started has. It may be called
// once.
func (s *Site) Run(ctx context.Context) error {
	defer close(s.ended)
	defer s.closeMailQueue()
	defer s.stop(nil)
	again := time.NewTimer(s.deps.Again)
	defer again.Stop()
	check := recheck{under: s.config()}
	defer check.stop()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case c := <-s.commands:
			c.done <- s.execute(ctx, c.command)
		case <-s.wake:
			s.reconcile(ctx)
			check.schedule()
		case <-check.c:
			check.run(s.Queue(), s.config())
		case <-again.C:
			s.reconcile(ctx)
		}
		again.Reset(s.deps.Again)
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
	err := s.start(ctx)
	if err == nil {
		s.setWantRun(true)
	}
	return err
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
	s.state, s.cause, s.addrs = to, cause, s.listeners.addrs()
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

// applyConfig puts next in force at a running site. After an error the site
// runs on what it had, with two exceptions: another folder for the queue, and a
// certificate that is missing since the start, keep nothing else back.
func (s *Site) applyConfig(ctx context.Context, r *run, next *Config) error {
	now := s.active.Load()
	certs, certErr := r.active.Load().certs, error(nil)
	if next.TLS != now.TLS || certs == nil {
		loaded, err := s.certsOf(next)
		if err != nil && next.TLS != now.TLS {
			return err
		}
		certs, certErr = loaded, err
	}
	opened, bindErr := s.listeners.rebind(ctx, next.Bindings)
	if bindErr == nil {
		s.mu.Lock()
		// Apply may have put a newer one in force meanwhile. It has notified Run,
		// and the next round brings the listeners in line with it.
		if s.active.Load() == now {
			s.activateLocked(next, certs)
		}
		s.mu.Unlock()
	}
	for _, l := range opened {
		r.accept(l)
	}
	if at := r.mail.folder; next.Mail.Folder != at {
		return errors.Join(bindErr, certErr, fmt.Errorf("the queue's folder is %s until the site stops and starts", at))
	}
	return errors.Join(bindErr, certErr)
}

func (s *Site) certsOf(cfg *Config) (*certReloader, error) {
	if cfg.TLS == (TLSFiles{}) {
		return nil, nil
	}
	return loadCerts(cfg.TLS, s.log)
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
