// SPDX-License-Identifier: Apache-2.0

package site

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"restante/engine/mail"
	"restante/engine/session"
	"restante/engine/wire"
)

// An activeConfig is what the next caller gets.
type activeConfig struct {
	cfg   *Config
	certs *certReloader
	tls   *tls.Config
}

// A run is the time from a start to the stop after it.
type run struct {
	site   *Site
	mail   *mailQueue
	server *wire.Server
	active atomic.Pointer[activeConfig]

	ctx       context.Context // of the sessions and the queue's attempts; ends when the stop begins
	cancel    context.CancelFunc
	work      sync.WaitGroup // the queue's
	acceptors sync.WaitGroup // one for each listener
	conns     sync.WaitGroup // one for each caller; grows while acceptors run
	refusing  atomic.Int32   // callers that hear a refusal now
}

// start brings the target into force at a stopped site. After an error the site
// is stopped, and the error is its cause.
func (s *Site) start(ctx context.Context) error {
	if state, cause := s.stateAndCause(); state.serving() {
		return nil
	} else if cause == nil { // an attempt that is repeated shows no new state
		s.mu.Lock()
		s.starting = s.target
		s.mu.Unlock()
		s.setState(Starting, nil)
	}
	err := s.startTarget(ctx)
	if err != nil {
		s.listeners.close()
		s.setState(Stopped, err)
	}
	return err
}

// startTarget opens what the target asks for. It begins again when Apply brings
// a target that asks for something else, so that no caller gets an older one.
func (s *Site) startTarget(ctx context.Context) error {
	for {
		s.mu.Lock()
		cfg := s.target
		s.active.Store(cfg)
		s.mu.Unlock()
		if cfg.Blocked != nil {
			return cfg.Blocked
		}
		mail, err := s.ensureMailQueue(ctx, cfg)
		if err != nil {
			return err
		}
		certs, certErr := s.certsOf(cfg) // without one the site runs, but offers no TLS
		if _, err := s.listeners.rebind(ctx, cfg.Bindings); err != nil {
			return err
		}
		if s.startRun(ctx, cfg, mail, certs, certErr) {
			return nil
		}
	}
}

// ensureMailQueue gives the open queue, or opens it. A queue in another folder
// closes first.
func (s *Site) ensureMailQueue(ctx context.Context, cfg *Config) (*mailQueue, error) {
	s.mu.Lock()
	p := s.mail
	s.mu.Unlock()
	if p != nil && p.folder == cfg.Mail.Folder {
		return p, nil
	}
	s.closeMailQueue()
	p, err := s.openMailQueue(ctx, cfg)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	s.mail = p
	s.mu.Unlock()
	return p, nil
}

func (s *Site) closeMailQueue() {
	s.mu.Lock()
	p := s.mail
	s.mail = nil
	s.mu.Unlock()
	if p == nil {
		return
	}
	if err := errors.Join(p.recordRev(context.Background(), s.Running()), p.Close()); err != nil {
		s.log.Error("close the queue", "err", err)
	}
}

// startRun begins to serve under the target, unless that no longer asks for the
// resources of cfg.
func (s *Site) startRun(ctx context.Context, cfg *Config, mail *mailQueue, certs *certReloader, certErr error) bool {
	r := &run{site: s, mail: mail, server: wire.NewServer(s.log)}
	// Run ends a run, not ctx: the callers' grace time is between the two.
	r.ctx, r.cancel = context.WithCancel(context.WithoutCancel(ctx))
	s.mu.Lock()
	if !sameResources(cfg, s.target) {
		s.mu.Unlock()
		r.cancel()
		return false
	}
	s.run = r
	s.activateLocked(s.target, certs)
	s.mu.Unlock()
	r.work.Go(r.runQueue)
	r.work.Go(r.compact)
	s.setState(Started, certErr)
	for _, l := range s.listeners.open {
		r.accept(l)
	}
	return true
}

func (r *run) runQueue() {
	if err := r.mail.queue.Run(r.ctx); err != nil && r.ctx.Err() == nil {
		r.site.log.Error("the queue does not run", "err", err)
	}
}

func (r *run) compact() {
	if err := r.mail.Maintain(r.ctx); err != nil && r.ctx.Err() == nil {
		r.site.log.Error("the queue's folder is not compacted", "err", err)
	}
}

// stop ends a run: it closes the listeners, and the callers have their grace
// time. Cause is nil when an administrator asked for it.
func (s *Site) stop(cause error) {
	s.mu.Lock()
	r := s.run
	s.mu.Unlock()
	if r == nil {
		s.setState(Stopped, cause)
		return
	}
	s.listeners.close()
	s.setState(Stopping, cause)
	r.cancel()
	r.acceptors.Wait()
	cut := time.AfterFunc(s.deps.Grace, func() { _ = r.server.Close() })
	r.conns.Wait()
	cut.Stop()
	_ = r.server.Close() // it has no connections any more
	r.work.Wait()
	s.mu.Lock()
	s.run = nil
	s.active.Store(s.target)
	s.mu.Unlock()
	s.setState(Stopped, cause)
}

// accept takes callers from l until it is closed.
func (r *run) accept(l *listener) {
	r.acceptors.Go(func() {
		wait := 5 * time.Millisecond
		for {
			c, err := l.Accept()
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err != nil {
				// Out of descriptors or the like: those that are there go on.
				r.site.log.Error("accept", "addr", l.addr, "err", err)
				if !r.backOff(wait) {
					return
				}
				wait = min(2*wait, time.Second)
				continue
			}
			wait = 5 * time.Millisecond
			r.conns.Go(func() { r.serve(c, *l.binding.Load()) })
		}
	})
}

// backOff waits, and says whether the run goes on.
func (r *run) backOff(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-r.ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// serve serves one caller to the end under the configuration in force now.
func (r *run) serve(c net.Conn, b Binding) {
	s := r.site
	now := r.active.Load()
	q := session.Question{Client: clientAddr(c), Paused: s.paused()}
	id, d := s.sessions.admit(func(connections int) session.Decision {
		q.Connections = connections
		return now.cfg.Session.Decide(session.AtConnect, session.AtConnect, q)
	})
	if !d.Accepted() {
		r.refuse(c, now.cfg, b, id, d.Reply)
		return
	}
	defer s.sessions.leave()
	if b.TLS && now.tls == nil {
		r.refuse(c, now.cfg, b, id, mail.Reply{Code: 454, Enhanced: "7.0", Text: "TLS not available: no certificate"})
		return
	}
	s.counters.connections.Add(1)
	cfg := now.cfg.Wire
	cfg.TLS, cfg.ImplicitTLS, cfg.ODMR = now.tls, b.TLS, b.ODMR
	r.server.Serve(r.ctx, c, cfg, func(who *wire.Caller) wire.Session { return r.session(id, who, now.cfg) })
}

// clientAddr is invalid for what is no TCP connection.
func clientAddr(c net.Conn) netip.Addr {
	if tcp, ok := c.RemoteAddr().(*net.TCPAddr); ok {
		return tcp.AddrPort().Addr().Unmap()
	}
	return netip.Addr{}
}

func (r *run) session(id uint64, who *wire.Caller, cfg *Config) wire.Session {
	s := r.site
	in := s.sessions.add(id, who)
	return &trackedSession{
		Session: session.New(&cfg.Session, who.Remote.Addr(), who, session.Deps{
			Intake:   intake{r.mail.queue, &s.counters},
			Releases: releases{r.mail.releases, &cfg.Release},
			Auth:     s.deps.Auth,
			Journal:  s.deps.Journal.Session(id),
			Log:      s.log,
		}),
		entry:   in,
		onClose: func() { s.sessions.remove(in) },
	}
}

func (s *Site) paused() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state == Paused
}

// maxRefusing callers at once hear why they are refused, each for at most
// refusalTimeout. The connections of others are closed without a reply.
const (
	maxRefusing    = 100
	refusalTimeout = 5 * time.Second
)

// refuse greets with a refusal (RFC 5321 §3.1, §3.8) and closes.
func (r *run) refuse(c net.Conn, cfg *Config, b Binding, id uint64, reply mail.Reply) {
	defer c.Close()
	r.site.counters.refused.Add(1)
	r.site.deps.Journal.Session(id).Refused(r.ctx, clientAddr(c), "connect", c.LocalAddr().String(), reply)
	if r.refusing.Add(1); b.TLS || r.refusing.Load() > maxRefusing {
		r.refusing.Add(-1)
		return
	}
	defer r.refusing.Add(-1)
	_ = c.SetDeadline(time.Now().Add(refusalTimeout))
	_, _ = fmt.Fprintf(c, "%s\r\n", cfg.Session.Greeting(reply))
}
