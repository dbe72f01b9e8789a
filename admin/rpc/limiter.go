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

// Limits of open connections. Each connection takes a descriptor that mail may
// need. Root and the service's own user have slots of their own.
const (
	maxPerUser  = 32
	maxInAll    = 256 // of all other users
	maxRefusals = 8   // refused connections that get an answer; others are closed at once

	// shareOfFree is the part of the free slots that one user may have: however
	// many users take what they can, there is a slot left for the next.
	shareOfFree = 4
)

// ErrTooMany answers a user with too many open connections.
var ErrTooMany error = &api.Error{Kind: api.KindFailed, Text: "too many connections to the service are open: close some and try again"}

// A limiter is a listener that identifies the peer of each connection and limits
// the connections of each user.
type limiter struct {
	net.Listener
	log  *slog.Logger
	peer func(net.Conn) (uid int, err error)
	most int // connections of other users

	mu     sync.Mutex // guards what follows
	open   map[int]int
	all    int
	told   int
	warned map[int]bool // users over the limit, until they close all connections
}

// newLimiter limits other users to most connections; 0 for maxInAll.
func newLimiter(l net.Listener, most int, log *slog.Logger, peer func(net.Conn) (int, error)) *limiter {
	if most <= 0 || most > maxInAll {
		most = maxInAll
	}
	return &limiter{Listener: l, log: log, peer: peer, most: most, open: map[int]int{}, warned: map[int]bool{}}
}

// A peerConn is a connection with its user, or the reason of its refusal.
type peerConn struct {
	net.Conn
	uid   int
	err   error
	close func()
}

// who returns the principals of the peer.
func (c *peerConn) who() ([]metabase.Principal, error) {
	if c.err != nil {
		return nil, c.err
	}
	return api.PrincipalsOf(c.uid), nil
}

// Close also releases the connection's slot.
func (c *peerConn) Close() error {
	c.close()
	return c.Conn.Close()
}

// Accept returns the next connection within the limits.
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
		if g.admit(k) {
			return k, nil
		}
		c.Close()
	}
}

// admit takes a slot for the connection, or one for its refusal when its user
// has too many. It returns false if neither is free.
func (g *limiter) admit(k *peerConn) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.freeLocked(k.uid) {
		g.open[k.uid]++
		if !trusted(k.uid) {
			g.all++
		}
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

// freeLocked reports whether one more connection of a user is within its share.
func (g *limiter) freeLocked(uid int) bool {
	if trusted(uid) {
		return g.open[uid] < max(g.most/2, 1)
	}
	free := g.most - g.all
	return free > 0 && g.open[uid] < min(maxPerUser, free/shareOfFree+1)
}

func trusted(uid int) bool { return uid == 0 || uid == os.Getuid() }

func (g *limiter) leave(uid int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !trusted(uid) {
		g.all--
	}
	if g.open[uid]--; g.open[uid] == 0 {
		delete(g.open, uid)
		delete(g.warned, uid)
	}
}

var errUnknown error = &api.Error{Kind: api.KindRefused, Text: "the system does not identify the peer of the connection"}

// peerOf asks the system for the user at the other end of the socket.
func peerOf(c net.Conn) (int, error) {
	u, ok := c.(*net.UnixConn)
	if !ok {
		return 0, errors.New("not a local socket")
	}
	return peerUID(u)
}
