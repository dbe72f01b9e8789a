// SPDX-License-Identifier: Apache-2.0

package ports

import (
	"log/slog"
	"net"
	"sync/atomic"
	"syscall"
	"testing"

	"restante/internal/deptest"
)

func TestLayers(t *testing.T) {
	deptest.Forbid(t, map[string]string{"restante/": "a listener accepts, whatever the connection is for"})
}

// A handler sends each connection to the test.
type handler chan net.Conn

func (h handler) Take(c net.Conn, _ Binding) { h <- c }

// shaky is a listener that has no descriptors left for a while.
type shaky struct {
	net.Listener
	errors atomic.Int32
}

func (l *shaky) Accept() (net.Conn, error) {
	if l.errors.Add(-1) >= 0 {
		return nil, &net.OpError{Op: "accept", Err: syscall.EMFILE}
	}
	return l.Listener.Accept()
}

func TestAcceptGoesOnAfterErrors(t *testing.T) {
	nl, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	sh := &shaky{Listener: nl}
	sh.errors.Store(3)
	l := newListener(sh, Binding{})
	came := make(handler)
	l.serve(came, slog.New(slog.DiscardHandler))
	c, err := net.Dial("tcp", nl.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	(<-came).Close()
	l.close()
}
