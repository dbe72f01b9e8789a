// SPDX-License-Identifier: Apache-2.0

// Package ports has the listeners of the sites of one engine, and changes them over
// all sites at once. It knows nothing of SMTP: a Handler takes the connections.
package ports

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// A Handler takes the connections of a site.
type Handler interface {
	// Take returns at once: the listener accepts nothing meanwhile.
	Take(net.Conn, Binding)
}

// A Binding is an address to listen on. The unspecified IPv6 address listens
// on IPv4 as well.
type Binding struct {
	Addr netip.AddrPort
	ODMR bool // RFC 2645's port
	TLS  bool // from the first octet

	Backlog int // connections that may wait to be accepted, as far as the system lets them; 0: as many as it lets
}

// String is the binding as an administrator writes it, ADDR:PORT or :PORT.
func (b Binding) String() string {
	if a := b.Addr.Addr(); !a.IsValid() || a.IsUnspecified() {
		return fmt.Sprintf(":%d", b.Addr.Port())
	}
	return b.Addr.String()
}

// A target is where the callers of a listener go.
type target struct {
	handler Handler
	log     *slog.Logger
	binding Binding
}

// A listener accepts at one address. Its target changes while it is open: it
// may even go to another site.
type listener struct {
	net.Listener
	binding Binding // the last one that it was opened or kept for
	backlog int     // the last one that was set
	target  atomic.Pointer[target]

	ended chan struct{} // closed when the accept loop has ended; nil: none was begun
	shut  chan struct{} // closed by close
}

// listen opens one binding.
func listen(ctx context.Context, b Binding) (*listener, error) {
	network := "tcp"
	if b.Addr.Addr().Is4() {
		network = "tcp4" // 0.0.0.0 is not all of IPv6 as well
	}
	nl, err := new(net.ListenConfig).Listen(ctx, network, b.Addr.String())
	if op := (*net.OpError)(nil); errors.As(err, &op) {
		err = op.Err // without the address, which is said already
	}
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", b.Addr, err)
	}
	l := newListener(nl, b)
	l.setBacklog(b.Backlog)
	return l, nil
}

func newListener(nl net.Listener, b Binding) *listener {
	return &listener{Listener: nl, binding: b, shut: make(chan struct{})}
}

// local is the address that it listens on, with the port that the system picked.
func (l *listener) local() netip.AddrPort {
	if a, ok := l.Addr().(*net.TCPAddr); ok {
		p := a.AddrPort()
		return netip.AddrPortFrom(p.Addr().Unmap(), p.Port())
	}
	return netip.AddrPort{}
}

// serve has the callers served by h from now on.
func (l *listener) serve(h Handler, log *slog.Logger) {
	l.target.Store(&target{h, log, l.binding})
	if l.ended == nil {
		l.ended = make(chan struct{})
		go l.accept(log) // close ends it and waits
	}
}

// accept takes callers until the listener is closed.
func (l *listener) accept(log *slog.Logger) {
	defer close(l.ended)
	wait := 5 * time.Millisecond
	for {
		c, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			// Out of descriptors or the like: those that are there go on.
			log.Error("accept", "addr", l.Addr(), "err", err)
			select {
			case <-l.shut:
			case <-time.After(wait):
			}
			wait = min(2*wait, time.Second)
			continue
		}
		wait = 5 * time.Millisecond
		to := l.target.Load()
		to.handler.Take(c, to.binding)
	}
}

// close returns when no caller comes from the listener any more.
func (l *listener) close() {
	if l.closed() {
		return
	}
	close(l.shut)
	_ = l.Close() // it was only listening
	if l.ended != nil {
		<-l.ended
	}
}

func (l *listener) closed() bool {
	select {
	case <-l.shut:
		return true
	default:
		return false
	}
}

// reopen opens a closed listener again, for the target that it had.
func (l *listener) reopen(ctx context.Context) (*listener, error) {
	again, err := listen(ctx, l.binding)
	if err != nil {
		return nil, err
	}
	if to := l.target.Load(); to != nil {
		again.serve(to.handler, to.log)
	}
	return again, nil
}

// A holder is a site as a Set knows it.
type holder struct {
	want    []Binding
	open    []*listener  // in the order of the bindings that they were opened for
	handler Handler      // nil until it serves
	log     *slog.Logger // of handler
	err     error        // why open is not what it wants
	wake    func()       // called when another site's change has changed open or err
}

// find gives the open listener that was asked for as addr or, where the site gives it
// up, that got this port from the system. It is nil where there is none.
func (h *holder) find(addr netip.AddrPort) *listener {
	for _, l := range h.open {
		if l.binding.Addr == addr && !l.closed() {
			return l
		}
	}
	for _, l := range h.open {
		if l.local() == addr && !l.closed() && !h.wants(l.binding.Addr) {
			return l
		}
	}
	return nil
}

// needs says that the site's bindings keep l.
func (h *holder) needs(l *listener) bool {
	return h.wants(l.binding.Addr) || h.wants(l.local()) && h.find(l.local()) == l
}

func (h *holder) wants(addr netip.AddrPort) bool {
	return slices.ContainsFunc(h.want, func(b Binding) bool { return b.Addr == addr })
}

// A Set has the listeners of the sites of one engine. It changes them over all
// sites at once: an address that one site gives up and another one asks for
// goes from the first to the second with its listener. The zero Set is ready.
type Set struct {
	mu    sync.Mutex // guards what follows
	sites map[int]*holder
}

// Declare says what the sites are about to ask for; those that it does not name
// stay. It opens and closes nothing: with the first site that asks, all change.
func (p *Set) Declare(want map[int][]Binding) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for n, list := range want {
		if h := p.sites[n]; h != nil {
			h.want = list
		}
	}
}

// Rebind gives site n the listeners of want, and the other sites what they want
// and do not have yet. After an error, site n has what it had.
func (p *Set) Rebind(ctx context.Context, n int, want []Binding, wake func()) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	h := p.sites[n]
	if h == nil {
		h = &holder{}
		if p.sites == nil {
			p.sites = map[int]*holder{}
		}
		p.sites[n] = h
	}
	h.want, h.wake = want, wake
	newPlan(p.sites).carryOut(ctx, n)
	return h.err
}

// Serve has the callers of site n served by handler.
func (p *Set) Serve(n int, handler Handler, log *slog.Logger) {
	p.mu.Lock()
	defer p.mu.Unlock()
	h := p.sites[n]
	h.handler, h.log = handler, log
	for _, l := range h.open {
		l.serve(handler, log)
	}
}

// Close closes the listeners of site n, which then asks for none.
func (p *Set) Close(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if h := p.sites[n]; h != nil {
		for _, l := range h.open {
			l.close()
		}
		delete(p.sites, n)
	}
}

// Addrs are where callers of site n can come in, with the ports that the system
// picked.
func (p *Set) Addrs(n int) []netip.AddrPort {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := []netip.AddrPort{}
	if h := p.sites[n]; h != nil {
		for _, l := range h.open {
			out = append(out, l.local())
		}
	}
	return out
}
