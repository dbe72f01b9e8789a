// SPDX-License-Identifier: Apache-2.0

package rpc

import (
	"errors"
	"log/slog"
	"net"
	"os"
	"sync"

	"restante/admin/api"

	"restante/metabase"
)

// How many connections strangers may have open: users of the machine that are
// neither root nor who runs the service. Every one takes a descriptor that the
// mail may need.
const (
	maxPerUser  = 32
	maxInAll    = 256
	maxRefusals = 8 // that are told so; others are closed without a word
)

// ErrTooMany answers a caller who has too many connections open.
var ErrTooMany error = &api.Error{Kind: api.KindFailed, Text: "too many connections to the service are open: close some and try again"}

// A guard listens, and knows of each connection whose it is. Those that are too
// many it closes at once.
type limiter struct {
	net.Listener
	log  *slog.Logger
	peer func(net.Conn) (uid int, err error)

	mu     sync.Mutex // guards what follows
	open   map[int]int
	all    int
	told   int
	warned map[int]bool // users that were too many, until they have closed all
}

func newLimiter(l net.Listener, log *slog.Logger, peer func(net.Conn) (int, error)) *limiter {
	return &limiter{Listener: l, log: log, peer: peer, open: map[int]int{}, warned: map[int]bool{}}
}

// A known is a connection with who is at its other end, or why it is refused.
type peerConn struct {
	net.Conn
	uid   int
	err   error
	close func()
}

// who looks up who is at the other end.
func (c *peerConn) who() ([]metabase.Principal, error) {
	if c.err != nil {
		return nil, c.err
	}
	return api.PrincipalsOf(c.uid), nil
}

// Close gives the connection's place back.
func (c *peerConn) Close() error {
	c.close()
	return c.Conn.Close()
}

// Accept gives the next connection that has a place.
func (g *limiter) Accept() (net.Conn, error) {
	for {
		c, err := g.Listener.Accept()
		if err != nil {
			return nil, err
		}
		k := &peerConn{Conn: c, close: func() {}}
		if k.uid, err = g.peer(c); err != nil {
			k.err = errUnknown
			return k, nil
		}
		if k.uid == 0 || k.uid == os.Getuid() || g.admit(k) {
			return k, nil
		}
		c.Close()
	}
}

// admit finds a place for a stranger: one to be answered at, or, when he has
// too many, one to be told so at.
func (g *limiter) admit(k *peerConn) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.open[k.uid] < maxPerUser && g.all < maxInAll {
		g.open[k.uid]++
		g.all++
		k.close = sync.OnceFunc(func() { g.leave(k.uid) })
		return true
	}
	if !g.warned[k.uid] {
		g.warned[k.uid] = true
		g.log.Warn("too many connections to the local socket", "uid", k.uid, "open", g.open[k.uid], "in_all", g.all)
	}
	if g.told == maxRefusals {
		return false
	}
	g.told++
	k.err = ErrTooMany
	k.close = sync.OnceFunc(func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.told--
	})
	return true
}

func (g *limiter) leave(uid int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.all--
	if g.open[uid]--; g.open[uid] == 0 {
		delete(g.open, uid)
		delete(g.warned, uid)
	}
}

var errUnknown error = &api.Error{Kind: api.KindRefused, Text: "the system does not say who asks"}

// peerOf asks the system who is at the other end of the local socket.
func peerOf(c net.Conn) (int, error) {
	u, ok := c.(*net.UnixConn)
	if !ok {
		return 0, errors.New("not a local socket")
	}
	return peerUID(u)
}
