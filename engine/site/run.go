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

// activeConfig is what the next caller lives under.
type activeConfig struct {
	cfg   *Config
	certs *certReloader
	tls   *tls.Config
}

func newActiveConfig(cfg *Config, c *certReloader) *activeConfig {
	return &activeConfig{cfg, c, c.config()}
}

// A run is the time from a start to the stop after it.
type run struct {
	site   *Site
	mail   *mailQueue
	server *wire.Server
	active atomic.Pointer[activeConfig]

	ctx       context.Context // of the callers' commands and the queue's attempts; ends when the stop begins
	cancel    context.CancelFunc
	work      sync.WaitGroup // the queue's
	acceptors sync.WaitGroup // one for each listener
	conns     sync.WaitGroup // one for each caller; grows while acceptors run
	refusing  atomic.Int32   // callers that are being turned away
}

// start opens what a running site has. After an error it is stopped, and the
// error is its state.
func (s *Site) start(ctx context.Context) error {
	if state, _ := s.stateAndCause(); state.serving() {
		return nil
	}
	s.setState(Starting, nil)
	s.mu.Lock()
	cfg := s.target
	s.active.Store(cfg)
	s.mu.Unlock()
	p, err := s.ensureMailQueue(ctx, cfg)
	if err == nil {
		err = s.startRun(ctx, cfg, p)
	}
	if err != nil {
		s.setState(Stopped, err)
		return err
	}
	return nil
}

// ensureMailQueue gives the open queue, or opens it. When the folder is another one by
// now, the old one closes first.
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

func (s *Site) startRun(ctx context.Context, cfg *Config, p *mailQueue) error {
	c, certErr := s.certsOf(cfg) // without one the site runs, but offers no TLS
	fresh, err := s.listeners.rebind(ctx, cfg.Bindings)
	if err != nil {
		return err
	}
	r := &run{site: s, mail: p, server: wire.NewServer(s.log)}
	// The loop ends a run, not ctx: there is a time of grace between the two.
	r.ctx, r.cancel = context.WithCancel(context.WithoutCancel(ctx))
	r.active.Store(newActiveConfig(cfg, c))
	s.mu.Lock()
	s.run = r
	if s.target != cfg && sameResources(s.target, cfg) {
		s.activateLocked(s.target, c)
	}
	s.mu.Unlock()
	r.work.Go(func() { r.queue() })
	r.work.Go(func() { r.compact() })
	s.setState(Started, certErr)
	for _, l := range fresh {
		r.accept(l)
	}
	s.notify() // there may be something newer
	return nil
}

func (r *run) queue() {
	if err := r.mail.queue.Run(r.ctx); err != nil && r.ctx.Err() == nil {
		r.site.log.Error("the queue does not run", "err", err)
	}
}

func (r *run) compact() {
	if err := r.mail.Maintain(r.ctx); err != nil && r.ctx.Err() == nil {
		r.site.log.Error("the queue's folder is not compacted", "err", err)
	}
}

// stop ends a run: no new callers, those that are there have their grace.
func (s *Site) stop() {
	s.mu.Lock()
	r := s.run
	s.mu.Unlock()
	if r == nil {
		s.setState(Stopped, nil) // asked for: nothing is wrong any more
		return
	}
	s.listeners.close()
	s.setState(Stopping, nil)
	r.cancel()
	r.acceptors.Wait()
	cut := time.AfterFunc(s.deps.Grace, func() { _ = r.server.Close() })
	r.conns.Wait()
	cut.Stop()
	_ = r.server.Close() // nobody is there any more
	r.work.Wait()
	s.mu.Lock()
	s.run = nil
	s.active.Store(s.target)
	s.mu.Unlock()
	s.setState(Stopped, nil)
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

// serve has one caller from greeting to end under what is in force now.
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

// How many refused callers at once get a reply, and how long each has to read
// it. The connections of more are closed without one.
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
	_, _ = fmt.Fprintf(c, "%d %s %s %s\r\n", reply.Code, reply.Status(), cfg.Wire.Hostname, reply.Text)
}
