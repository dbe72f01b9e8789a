// SPDX-License-Identifier: Apache-2.0

package ports

import (
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"slices"
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

// A port that the system picked, and that is configured then, stays open: who waits to be
// accepted is.
func TestPickedPortIsConfigured(t *testing.T) {
	any := netip.MustParseAddrPort("127.0.0.1:0")
	var p Set
	bind := func(site int, addrs ...netip.AddrPort) error {
		want := []Binding{}
		for _, a := range addrs {
			want = append(want, Binding{Addr: a})
		}
		return p.Rebind(t.Context(), site, want, func() {})
	}
	if err := errors.Join(bind(1, any), bind(2, any)); err != nil {
		t.Fatal(err)
	}
	defer p.Close(1)
	defer p.Close(2)
	picked := p.Addrs(1)[0]
	c, err := net.Dial("tcp", picked.String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := bind(2, any, picked); err == nil {
		t.Error("a port that site 1 uses went to site 2")
	}
	if err := bind(1, any, picked); err == nil {
		t.Error("one listener served two bindings")
	}
	if err := bind(1, picked, netip.AddrPortFrom(netip.IPv4Unspecified(), picked.Port())); err == nil {
		t.Error("all addresses, and one of them")
	}
	if err := bind(1, picked); err != nil {
		t.Fatal(err)
	}
	came := make(handler, 1)
	p.Serve(1, came, slog.New(slog.DiscardHandler))
	(<-came).Close()
	p.Declare(map[int][]Binding{1: {{Addr: any}}, 2: {{Addr: picked}}})
	if err := bind(2, picked); err != nil || !slices.Equal(p.Addrs(2), []netip.AddrPort{picked}) || p.Addrs(1)[0] == picked {
		t.Errorf("what site 1 gives up: %v, %v and %v", err, p.Addrs(1), p.Addrs(2))
	}
}
