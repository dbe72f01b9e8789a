// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/emersion/go-smtp"

	"restante/engine/mail"
)

const (
	defaultIdle  = 5 * time.Minute // RFC 5321 §4.5.3.2.7
	maxLine      = 2048            // of a command: four times the least of RFC 5321 §4.5.3.1.4, for the extensions
	maxHandshake = time.Minute
)

// A Server holds conversations with clients. It does not listen: its user
// accepts connections and calls Serve for each. Its methods may be called from anywhere.
type Server struct {
	log  *slog.Logger
	bufs sync.Pool // of *[largeBuffer]byte, for bodies

	mu     sync.Mutex // guards what follows
	conns  map[*conn]struct{}
	closed bool
}

// NewServer gives a server that logs faults of its own to log: panics, and
// replies of a Session that cannot be sent.
func NewServer(log *slog.Logger) *Server {
	s := &Server{log: log, conns: map[*conn]struct{}{}}
	s.bufs.New = func() any { return new([largeBuffer]byte) }
	return s
}

// Serve holds one conversation, closes nc, and returns when everything that it
// started has returned. Open is called once, before the
// greeting and the handshake of ImplicitTLS. When ctx ends, a caller that waits for a command gets 421; one
// inside a body or a reversed session goes on to its end, and the contexts
// that the Session gets live as long. That of a reversed session ends with a cause of
// [mail.Stopping], so that it stops between two messages.
//
// After XCLIENT it gives the client that was named, and nc is open: it is to be served
// anew as that client's.
func (s *Server) Serve(ctx context.Context, nc net.Conn, cfg Config, open func(*Caller) Session) (next *Identity) {
	defer func() {
		if next == nil {
			nc.Close()
		}
	}()
	life, cut := context.WithCancel(context.WithoutCancel(ctx))
	defer cut()
	c := s.newConn(life, nc, cfg)
	c.stops = ctx
	if !s.add(c, cut) {
		return nil
	}
	defer s.remove(c)
	defer context.AfterFunc(ctx, c.drain)()

	if c.protect("open", func() { c.sess = open(c.caller) }); c.sess == nil {
		return nil
	}
	defer c.protect("close", func() { c.sess.Close() })
	if !cfg.ImplicitTLS || c.handshake() {
		c.run()
	}
	c.in.release()
	if c.became == nil {
		c.sock.Close()
	}
	return c.became
}

// Close cuts all connections and lets none begin. It does not wait for the
// calls of Serve, which return soon after. A second Close does nothing.
func (s *Server) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for c := range s.conns {
		c.cancel()
		c.raw.Close()
	}
	return nil
}

func (s *Server) add(c *conn, cut context.CancelFunc) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	c.cancel = cut
	if !s.closed {
		s.conns[c] = struct{}{}
	}
	return !s.closed
}

func (s *Server) remove(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
}

func (s *Server) newConn(ctx context.Context, nc net.Conn, cfg Config) *conn {
	if cfg.IdleTimeout <= 0 {
		cfg.IdleTimeout = defaultIdle
	}
	c := &conn{ctx: ctx, cfg: cfg}
	c.raw, c.sock, c.in.pool = nc, nc, &s.bufs
	c.waitAfter(Connect)
	c.bareLF, c.minRate = cfg.AcceptBareLF, cfg.Limits.BodyRate
	c.progress()
	c.caller = &Caller{
		Remote:     addrPort(nc.RemoteAddr()),
		Local:      addrPort(nc.LocalAddr()),
		Started:    time.Now(),
		disconnect: c.disconnectWith,
	}
	c.log = s.log.With("remote", c.caller.Remote)
	return c
}

// addrPort is invalid for what is no TCP address, such as a pipe's.
func addrPort(a net.Addr) netip.AddrPort {
	if t, ok := a.(*net.TCPAddr); ok {
		ap := t.AddrPort()
		return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
	}
	return netip.AddrPort{}
}

func (c *conn) tlsConfig() *tls.Config {
	if c.cfg.ClientCAs == nil {
		return c.cfg.TLS
	}
	set := c.cfg.TLS.Clone()
	set.ClientAuth = tls.RequestClientCert
	set.ClientCAs, _ = c.cfg.ClientCAs() // without them, the caller chooses by itself
	set.SessionTicketsDisabled = true    // the keys would be those of this connection alone
	return set
}

// run gives the caller to go-smtp, one inner connection after the other.
func (c *conn) run() {
	srv := smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) {
		return adapter{c}, nil
	}))
	srv.MaxLineLength = 0
	srv.ErrorLog = slog.NewLogLogger(c.log.Handler(), slog.LevelError)
	c.setReply(mail.Reply{Code: 220, Text: c.greeting()}, noStatus)
	_ = srv.Serve(&innerListener{c: c}) // it ends by our own net.ErrClosed
	_ = srv.Shutdown(context.WithoutCancel(c.ctx))
}

func (c *conn) greeting() string {
	text := c.cfg.Greeting
	if text == "" {
		text = "ESMTP ready"
	}
	return c.cfg.Hostname + " " + text
}

// innerListener is the listener that go-smtp accepts from: it yields the caller's
// connection, and once more after each STARTTLS, so that nothing that go-smtp
// knew from before survives. XCLIENT can come the same way.
type innerListener struct {
	c       *conn
	current *innerConn
}

func (l *innerListener) Accept() (net.Conn, error) {
	if l.current != nil {
		<-l.current.done
		if !l.c.restart {
			return nil, net.ErrClosed
		}
		l.c.restart = false
	}
	l.current = &innerConn{c: l.c, done: make(chan struct{})}
	l.c.inner = l.current
	return l.current, nil
}

func (l *innerListener) Close() error   { return nil }
func (l *innerListener) Addr() net.Addr { return l.c.raw.LocalAddr() }
