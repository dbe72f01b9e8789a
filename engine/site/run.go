// SPDX-License-Identifier: Apache-2.0

package site

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"restante/engine/mail"
	"restante/engine/pickup"
	"restante/engine/recipients/pushed"
	"restante/engine/session"
	"restante/engine/site/acme"
	"restante/engine/site/certs"
	"restante/engine/site/ports"
	"restante/engine/site/proxied"
	"restante/engine/wire"
)

// An activeConfig is what the next caller gets.
type activeConfig struct {
	cfg   *Config
	of    *Config // cfg, or the target that it is but for parts that the system refused
	certs *certs.Reloader
	tls   *tls.Config
}

// A run is the time from a start to the stop after it.
type run struct {
	site   *Site
	mail   *mailQueue
	server *wire.Server
	pickup *pickup.Picker
	active atomic.Pointer[activeConfig]
	orders *acme.Orderer
	recert chan struct{} // has one where the certificates may be others
	reshow chan struct{} // the same, for those that are shown to other hosts

	ctx      context.Context // of the sessions and the queue's attempts; ends when the stop begins
	cancel   context.CancelCauseFunc
	cut      chan struct{}  // closed when the grace time of the stop is over
	work     sync.WaitGroup // the queue's
	refusing atomic.Int32   // callers that are being sent a refusal

	mu       sync.Mutex // guards what follows
	stopping bool
	conns    sync.WaitGroup // one for each caller; grows until stopping
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
		s.deps.Ports.Close(s.number)
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
		cert, certErr := s.certsOf(ctx, cfg, nil) // without one the site runs, but offers no TLS
		rest := errors.Join(certErr, readShown(ctx, cfg, nil), s.checkFolders(cfg, cfg.Mail.Folder))
		if err == nil {
			err = s.rebind(ctx, cfg)
		}
		if err != nil {
			return errors.Join(err, rest)
		}
		if s.startRun(ctx, cfg, mail, cert, rest) {
			return nil
		}
	}
}

// ensureMailQueue gives the open queue, or opens it. A queue in another folder,
// or whose storage is broken, closes first.
func (s *Site) ensureMailQueue(ctx context.Context, cfg *Config) (*mailQueue, error) {
	s.mu.Lock()
	p := s.mail
	s.mu.Unlock()
	if p != nil && p.folder == cfg.Mail.Folder && p.Broken() == nil {
		return p, nil
	}
	s.closeMailQueue()
	p, err := s.openMailQueue(ctx, cfg)
	if err != nil {
		return nil, refused(QueueFolder, err)
	}
	s.mu.Lock()
	s.mail, s.unstored = p, nil
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
	s.unsettled = p.queue.Unsettled()
	if err := errors.Join(p.recordRev(context.Background(), s.Running()), p.Close()); err != nil {
		s.log.Error("close the queue", "err", err)
	}
}

// startRun begins to serve under the target, unless that no longer asks for the
// resources of cfg.
func (s *Site) startRun(ctx context.Context, cfg *Config, mail *mailQueue, cert *certs.Reloader, refusals error) bool {
	r := &run{site: s, mail: mail, server: wire.NewServer(s.log), recert: make(chan struct{}, 1), reshow: make(chan struct{}, 1), cut: make(chan struct{})}
	// Run ends a run, not ctx: the callers' grace time is between the two.
	r.ctx, r.cancel = context.WithCancelCause(context.WithoutCancel(ctx))
	r.pickup = pickup.New(s.pickupSettings, submissions{mail, s}, pickup.Options{Journal: s.deps.Journal, Log: s.log, Changed: s.deps.Changed})
	r.orders = acme.New(func() *acme.Settings { return s.config().Acme }, s.log, s.deps.Changed, r.lookAgain)
	s.mu.Lock()
	if !sameResources(cfg, s.target) {
		s.mu.Unlock()
		r.cancel(nil)
		return false
	}
	s.run = r
	active := *s.target
	if cert == nil {
		active.TLS = nil
	}
	if slices.Contains(partsOf(refusals), PickupFolder) {
		active.Pickup.Dir = ""
	}
	if slices.Contains(partsOf(refusals), RemoteCertificate) {
		active.Shown = nil
	}
	r.active.Store(&activeConfig{&active, s.target, cert, cert.Config(active.Accepts)})
	s.active.Store(&active)
	s.bandwidth.Set(active.Bandwidth)
	s.mu.Unlock()
	r.work.Go(r.runQueue)
	r.work.Go(r.compact)
	r.work.Go(func() { r.mail.calls.Run(r.ctx) })
	r.work.Go(func() { r.mail.alerts.Run(r.ctx) })
	r.work.Go(func() { r.pickup.Run(r.ctx) })
	watch := certs.Watch{Current: func() *certs.Reloader { return r.active.Load().certs }, Wake: r.recert, Changed: s.deps.Changed}
	r.work.Go(func() { watch.Run(r.ctx) })
	shown := certs.Watch{Current: func() *certs.Reloader { return r.active.Load().cfg.Shown }, Wake: r.reshow, Changed: s.deps.Changed}
	r.work.Go(func() { shown.Run(r.ctx) })
	r.work.Go(func() { r.orders.Run(r.ctx) })
	s.setState(Started, refusals)
	s.deps.Ports.Serve(s.number, r, s.log)
	return true
}

// lookAgain has the certificates read again.
func (r *run) lookAgain() {
	for _, wake := range []chan struct{}{r.recert, r.reshow} {
		select {
		case wake <- struct{}{}:
		default: // one is pending already
		}
	}
}

func (r *run) runQueue() {
	if err := r.mail.queue.Run(r.ctx); err != nil && r.ctx.Err() == nil {
		r.site.log.Error("the queue does not run", "err", err)
	}
}

func (r *run) compact() {
	defer r.site.notify() // it may have broken the storage
	if err := r.mail.Maintain(r.ctx); err != nil && r.ctx.Err() == nil {
		r.site.log.Error("the queue's folder is not compacted", "err", err)
	}
}

// stop ends a run: it closes the listeners, and the callers and the messages on their
// way out have their grace time. Cause is nil when an administrator asked for it.
func (s *Site) stop(cause error) {
	s.mu.Lock()
	r := s.run
	s.mu.Unlock()
	if r == nil {
		s.setState(Stopped, cause)
		return
	}
	s.deps.Ports.Close(s.number)
	s.setState(Stopping, cause)
	r.cancel(&mail.Stopping{Cut: r.cut})
	r.mu.Lock()
	r.stopping = true
	r.mu.Unlock()
	cut := time.AfterFunc(s.deps.Grace, func() {
		close(r.cut)
		_ = r.server.Close()
	})
	r.conns.Wait()
	_ = r.server.Close() // it has no connections any more
	r.work.Wait()
	r.mail.calls.Flush(context.WithoutCancel(r.ctx))
	cut.Stop()
	s.mu.Lock()
	s.run = nil
	s.active.Store(s.target)
	s.mu.Unlock()
	s.setState(Stopped, cause)
}

// Take implements [ports.Handler]: it serves a caller in a goroutine of its own, unless the run is about to end
// or there are too many callers for the open files that the process may have.
func (r *run) Take(c net.Conn, b ports.Binding) {
	callers := r.site.deps.Callers
	if callers != nil && !callers.Take() {
		r.turnAway(c, b)
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.stopping {
		_ = c.Close()
		if callers != nil {
			callers.Release()
		}
		return
	}
	r.conns.Go(func() {
		if callers != nil {
			defer callers.Release()
		}
		r.serve(c, b)
	})
}

var errNoFiles = errors.New("callers have all open files that the process may have, but for its reserve: raise its limit (ulimit -n, LimitNOFILE)")

// turnAway refuses a caller within the accept loop: there are no more open files
// than that of one such caller.
func (r *run) turnAway(c net.Conn, b ports.Binding) {
	reply := mail.Reply{Code: 421, Enhanced: "3.2", Text: "Too many connections, try again later", Cause: errNoFiles}
	defer c.Close()
	r.site.counters.refused.Add(1)
	r.site.deps.Journal.Session(mail.NewSessionID(time.Now()), nil).Refused(r.ctx, clientAddr(c), mail.Envelope{}, "connect", c.LocalAddr().String(), reply)
	r.site.logRefusal(c, reply)
	if !b.TLS {
		_ = c.SetDeadline(time.Now().Add(refusalTimeout)) // the buffer of a new connection has room
		_, _ = fmt.Fprintf(c, "%s\r\n", r.active.Load().cfg.Session.Greeting(reply).String())
	}
}

// proxyTimeout is how long a trusted proxy has for its header.
const proxyTimeout = 10 * time.Second

// serve serves one connection to the end, which a trusted proxy may make that of one
// client after the other.
func (r *run) serve(c net.Conn, b ports.Binding) {
	cfg, w := r.active.Load().cfg, word{site: r.site}
	c = r.site.bandwidth.Conn(c)
	if from := clientAddr(c); among(cfg.Proxy, from) {
		behind, err := proxied.ReadHeader(c, proxyTimeout)
		if err != nil {
			err = fmt.Errorf("ProxyFrom has the address: %w", err)
			r.refuse(c, cfg, b, mail.NewSessionID(time.Now()), mail.Reply{Code: 421, Enhanced: "7.0", Text: "No PROXY header, closing connection", Cause: err})
			return
		}
		w.header, w.proxy, c = clientAddr(behind) != from, from, behind
	}
	w.caller = clientAddr(c)
	for {
		next := r.serveCaller(c, b, w)
		if next == nil {
			return
		}
		c, w.xclient, w.account = proxied.As(c, next.Addr), true, next.Account
	}
}

// A word is what proxies told of one caller. They are trusted by the configuration in
// force whenever that is asked.
type word struct {
	site    *Site
	header  bool       // a PROXY header named another address
	proxy   netip.Addr // that sent it
	xclient bool       // XCLIENT did
	caller  netip.Addr // that may say it
	account string     // that it signed in
}

// xclientCheck is the [wire.Config]'s.
func (w word) xclientCheck() wire.XclientCheck {
	cfg := w.site.config()
	if !among(cfg.Xclient, w.caller) {
		return nil
	}
	return func(to wire.Identity) mail.Reply { return vouch(cfg, to) }
}

// trusted is that of [session.Deps], nil where no proxy told anything.
func (w word) trusted() func() bool {
	if !w.header && !w.xclient {
		return nil
	}
	return func() bool {
		cfg := w.site.config()
		return (!w.header || among(cfg.Proxy, w.proxy)) && (!w.xclient || among(cfg.Xclient, w.caller))
	}
}

func among(list func(netip.Addr) bool, a netip.Addr) bool { return list != nil && list(a) }

// serveCaller serves one caller to its end under the configuration in force now.
// It may name another client by XCLIENT.
func (r *run) serveCaller(c net.Conn, b ports.Binding, w word) (next *wire.Identity) {
	s := r.site
	now := r.active.Load()
	q := session.Question{Client: clientAddr(c), Paused: s.paused()}
	q.Exceeds = now.cfg.Session.ConnectionRate(s.deps.Rates, q.Client)
	id := mail.NewSessionID(time.Now())
	d := s.sessions.admit(q.Client, b.Addr, func(connections, fromAddress, atEndpoint int) session.Decision {
		q.Connections, q.FromAddress, q.AtEndpoint = connections, fromAddress, atEndpoint
		return now.cfg.Session.Decide(r.ctx, session.AtConnect, session.AtConnect, q)
	})
	if !d.Accepted() {
		r.refuse(c, now.cfg, b, id, d.Reply)
		return nil
	}
	defer s.sessions.leave(q.Client, b.Addr)
	q.Host = session.NewHost(func() ([]string, error) { return s.names(r.ctx, q.Client) })
	if d := now.cfg.Session.Decide(r.ctx, session.AtConnect, session.AtConnect, q); d.Rule == session.ClientList {
		r.refuse(c, now.cfg, b, id, d.Reply)
		return nil
	}
	if b.TLS && now.tls == nil {
		r.refuse(c, now.cfg, b, id, mail.Reply{Code: 454, Enhanced: "7.0", Text: "TLS not available: no certificate"})
		return nil
	}
	s.counters.connections.Add(1)
	cfg := now.cfg.Wire
	cfg.TLS, cfg.ImplicitTLS, cfg.ODMR, cfg.Log = now.tls, b.TLS, b.ODMR, s.logExchange
	cfg.Xclient = w.xclientCheck
	return r.server.Serve(r.ctx, c, cfg, func(who *wire.Caller) wire.Session { return r.session(id, who, now.cfg, q.Host, w) })
}

// vouch refuses a client whose account there is not.
func vouch(cfg *Config, to wire.Identity) mail.Reply {
	if to.Account != "" {
		if _, ok := cfg.Session.SignIn.Account(to.Account); !ok {
			return mail.Reply{Code: 550, Enhanced: "7.1", Text: "There is no such account"}
		}
	}
	return mail.Reply{Code: 220}
}

// namesTimeout is how long a caller waits for the greeting where names of hosts
// decide.
const namesTimeout = 20 * time.Second

func (s *Site) names(ctx context.Context, client netip.Addr) ([]string, error) {
	if s.deps.Names == nil || !client.IsValid() {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, namesTimeout)
	defer cancel()
	return s.deps.Names(ctx, client)
}

// clientAddr is invalid for what is no TCP connection.
func clientAddr(c net.Conn) netip.Addr {
	if tcp, ok := c.RemoteAddr().(*net.TCPAddr); ok {
		return tcp.AddrPort().Addr().Unmap()
	}
	return netip.Addr{}
}

func (r *run) session(id mail.SessionID, who *wire.Caller, cfg *Config, host *session.Host, w word) wire.Session {
	s := r.site
	one := session.New(&cfg.Session, who.Remote.Addr(), who, session.Deps{
		Current:    func() *session.Policy { return &s.config().Session },
		Host:       host,
		Site:       s.number,
		ID:         id,
		Intake:     intake{queue: r.mail.queue, site: s},
		Releases:   releases{r.mail.releases, s, &pushed.Upload{}},
		CheckQuota: r.mail.queue.CheckQuota,
		Local:      who.Local,
		Remote:     who.Remote,
		Auth:       s.deps.Auth,
		Rates:      s.deps.Rates,
		Trusted:    w.trusted(),
		Journal:    s.deps.Journal.Session(id, who),
		Log:        s.log,
	})
	if w.account != "" {
		one.Vouched(r.ctx, w.account)
	}
	in := s.sessions.add(id, who, one)
	return &trackedSession{Session: one, entry: in, counters: &s.counters, onClose: func() { s.sessions.remove(in) }}
}

func (s *Site) paused() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state == Paused
}

// maxRefusing callers at once are told why they are refused, each for at most
// refusalTimeout. The connections of others are closed without a reply.
const (
	maxRefusing    = 100
	refusalTimeout = 5 * time.Second
)

// refuse greets with a refusal (RFC 5321 §3.1, §3.8) and closes.
func (r *run) refuse(c net.Conn, cfg *Config, b ports.Binding, id mail.SessionID, reply mail.Reply) {
	defer c.Close()
	r.site.counters.refused.Add(1)
	r.site.deps.Journal.Session(id, nil).Refused(r.ctx, clientAddr(c), mail.Envelope{}, "connect", c.LocalAddr().String(), reply)
	r.site.logRefusal(c, reply)
	if r.refusing.Add(1); b.TLS || r.refusing.Load() > maxRefusing {
		r.refusing.Add(-1)
		return
	}
	defer r.refusing.Add(-1)
	_ = c.SetDeadline(time.Now().Add(refusalTimeout))
	_, _ = fmt.Fprintf(c, "%s\r\n", cfg.Session.Greeting(reply).String())
}
