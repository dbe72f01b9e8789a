// SPDX-License-Identifier: Apache-2.0

package site

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"restante/engine/session"
	"restante/engine/wire"
)

// live is what the next caller lives under.
type live struct {
	cfg   *Config
	certs *certs
	tls   *tls.Config
}

func newLive(cfg *Config, c *certs) *live { return &live{cfg, c, c.config()} }

// A run is the time from a start to the stop after it.
type run struct {
	site   *Site
	post   *post
	server *wire.Server
	live   atomic.Pointer[live]

	ctx    context.Context // of the callers' commands and the queue's attempts; ends when the stop begins
	cancel context.CancelFunc
	work   sync.WaitGroup // the queue's
	doors  sync.WaitGroup // one for each listener
	conns  sync.WaitGroup // one for each caller; grows while doors are open
	away   atomic.Int32   // callers that are being turned away
}

// start opens what a running site has. After an error it is stopped, and the
// error is its state.
func (s *Site) start(ctx context.Context) error {
	if state, _ := s.peek(); state.up() {
		return nil
	}
	s.set(Starting, nil)
	s.mu.Lock()
	cfg := s.wanted
	s.current.Store(cfg)
	s.mu.Unlock()
	p, err := s.mailOf(ctx, cfg)
	if err == nil {
		err = s.begin(ctx, cfg, p)
	}
	if err != nil {
		s.set(Stopped, err)
		return err
	}
	return nil
}

// mailOf gives the open post, or opens it. When the folder is another one by
// now, the old one closes first.
func (s *Site) mailOf(ctx context.Context, cfg *Config) (*post, error) {
	s.mu.Lock()
	p := s.post
	s.mu.Unlock()
	if p != nil && p.folder == cfg.Mail.Folder {
		return p, nil
	}
	s.closePost()
	p, err := s.openPost(ctx, cfg)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	s.post = p
	s.mu.Unlock()
	return p, nil
}

func (s *Site) closePost() {
	s.mu.Lock()
	p := s.post
	s.post = nil
	s.mu.Unlock()
	if p == nil {
		return
	}
	if err := errors.Join(p.note(context.Background(), s.Running()), p.spool.Close()); err != nil {
		s.log.Error("close the queue", "err", err)
	}
}

func (s *Site) begin(ctx context.Context, cfg *Config, p *post) error {
	c, certErr := s.certsOf(cfg) // without one the site runs, but offers no TLS
	fresh, err := s.doors.change(ctx, cfg.Bindings)
	if err != nil {
		return err
	}
	r := &run{site: s, post: p, server: wire.NewServer(s.log)}
	// The loop ends a run, not ctx: there is a time of grace between the two.
	r.ctx, r.cancel = context.WithCancel(context.WithoutCancel(ctx))
	r.live.Store(newLive(cfg, c))
	s.mu.Lock()
	s.run = r
	if s.wanted != cfg && sameWorld(s.wanted, cfg) {
		s.swapLocked(s.wanted, c)
	}
	s.mu.Unlock()
	r.work.Go(func() { r.queue() })
	r.work.Go(func() { r.compact() })
	s.set(Started, certErr)
	for _, l := range fresh {
		r.accept(l)
	}
	s.look() // there may be something newer
	return nil
}

func (r *run) queue() {
	if err := r.post.queue.Run(r.ctx); err != nil && r.ctx.Err() == nil {
		r.site.log.Error("the queue does not run", "err", err)
	}
}

func (r *run) compact() {
	if err := r.post.spool.Run(r.ctx); err != nil && r.ctx.Err() == nil {
		r.site.log.Error("the queue's folder is not compacted", "err", err)
	}
}

// stop ends a run: no new callers, those that are there have their grace.
func (s *Site) stop() {
	s.mu.Lock()
	r := s.run
	s.mu.Unlock()
	if r == nil {
		s.set(Stopped, nil) // asked for: nothing is wrong any more
		return
	}
	s.doors.close()
	s.set(Stopping, nil)
	r.cancel()
	r.doors.Wait()
	cut := time.AfterFunc(s.deps.Grace, func() { _ = r.server.Close() })
	r.conns.Wait()
	cut.Stop()
	_ = r.server.Close() // nobody is there any more
	r.work.Wait()
	s.mu.Lock()
	s.run = nil
	s.current.Store(s.wanted)
	s.mu.Unlock()
	s.set(Stopped, nil)
}

// accept takes callers from l until it is closed.
func (r *run) accept(l *listener) {
	r.doors.Go(func() {
		wait := 5 * time.Millisecond
		for {
			c, err := l.Accept()
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err != nil {
				// Out of descriptors or the like: those that are there go on.
				r.site.log.Error("accept", "addr", l.addr, "err", err)
				if !r.rest(wait) {
					return
				}
				wait = min(2*wait, time.Second)
				continue
			}
			wait = 5 * time.Millisecond
			r.conns.Go(func() { r.serve(c, *l.rules.Load()) })
		}
	})
}

// rest waits, and says whether the run goes on.
func (r *run) rest(d time.Duration) bool {
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
	now := r.live.Load()
	switch {
	case !now.cfg.admits(c.RemoteAddr()):
		r.turnAway(c, now.cfg, b, 554, "5.7.1", "you may not connect")
		return
	case s.paused():
		r.turnAway(c, now.cfg, b, 421, "4.3.2", "the service is paused, call again later")
		return
	case b.TLS && now.tls == nil:
		_ = c.Close() // no certificate: there is nothing that could be said
		return
	case !s.callers.admit(now.cfg.Callers):
		r.turnAway(c, now.cfg, b, 421, "4.3.2", "too many callers, call again later")
		return
	}
	defer s.callers.leave()
	s.counters.connections.Add(1)
	cfg := now.cfg.Wire
	cfg.TLS, cfg.ImplicitTLS, cfg.Verbs.ODMR = now.tls, b.TLS, b.ODMR
	cfg.Verbs.ATRN = cfg.Verbs.ATRN || b.ODMR
	r.server.Serve(r.ctx, c, cfg, func(who *wire.Caller) wire.Session { return r.session(who, now.cfg) })
}

func (c *Config) admits(from net.Addr) bool {
	tcp, ok := from.(*net.TCPAddr)
	return c.Admits == nil || ok && c.Admits(tcp.AddrPort().Addr().Unmap())
}

func (r *run) session(who *wire.Caller, cfg *Config) wire.Session {
	s := r.site
	in := s.callers.add(who)
	return &watched{
		Session: session.New(&cfg.Session, who.Remote.Addr(), who, session.Deps{
			Intake:   intake{r.post.queue, r.post.spool, &s.counters},
			Releases: releases{r.post.window, &cfg.Release},
			Gate:     s.deps.Gate,
			Journal:  s.deps.Journal,
			Log:      s.log,
		}),
		call: in,
		gone: func() { s.callers.remove(in) },
	}
}

func (s *Site) paused() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state == Paused
}

// How many callers at once get a word before they are turned away, and how long
// each has to hear it. More than that, and the line is just closed.
const (
	maxAway  = 100
	awayTime = 5 * time.Second
)

// turnAway greets with a refusal (RFC 5321 §3.1, §3.8) and closes.
func (r *run) turnAway(c net.Conn, cfg *Config, b Binding, code int, status, text string) {
	defer c.Close()
	r.site.counters.turnedAway.Add(1)
	if r.away.Add(1); b.TLS || r.away.Load() > maxAway {
		r.away.Add(-1)
		return
	}
	defer r.away.Add(-1)
	_ = c.SetDeadline(time.Now().Add(awayTime))
	_, _ = fmt.Fprintf(c, "%d %s %s %s\r\n", code, status, cfg.Wire.Hostname, text)
}
