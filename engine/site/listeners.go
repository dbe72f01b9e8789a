// SPDX-License-Identifier: Apache-2.0

package site

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
)

// ErrTaken means that another site of the engine has the address.
var ErrTaken = errors.New("the address is taken")

// Ports keeps two sites of one engine off the same address: it knows who has
// it, which the system's own refusal does not say. The zero Ports is ready.
type Ports struct {
	mu    sync.Mutex // guards what follows
	taken map[netip.AddrPort]int
}

// claim books addr for the site with number n.
func (p *Ports) claim(addr netip.AddrPort, n int) error {
	if addr.Port() == 0 {
		return nil // the system picks one that is free
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if by, ok := p.taken[addr]; ok && by != n {
		return fmt.Errorf("listen on %s: %w: site %d has it", addr, ErrTaken, by)
	}
	if p.taken == nil {
		p.taken = map[netip.AddrPort]int{}
	}
	p.taken[addr] = n
	return nil
}

func (p *Ports) free(addr netip.AddrPort, n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.taken[addr] == n {
		delete(p.taken, addr)
	}
}

// A listener accepts at one address. What its callers find there can change
// while it is open.
type listener struct {
	net.Listener
	addr    netip.AddrPort // as configured
	binding atomic.Pointer[Binding]
	closed  bool // so that another listener can have its port
}

// port is the one it listens on, also where the system picked it.
func (l *listener) port() uint16 {
	if a, ok := l.Addr().(*net.TCPAddr); ok {
		return a.AddrPort().Port()
	}
	return l.addr.Port()
}

// listeners are the open listeners of one site, in the order of its bindings. Only
// the site's own loop touches them.
type listeners struct {
	site  int
	ports *Ports
	open  []*listener
}

// listen opens one binding.
func (ls *listeners) listen(ctx context.Context, b Binding) (*listener, error) {
	if err := ls.ports.claim(b.Addr, ls.site); err != nil {
		return nil, err
	}
	network := "tcp"
	if b.Addr.Addr().Is4() {
		network = "tcp4" // 0.0.0.0 is not all of IPv6 as well
	}
	nl, err := new(net.ListenConfig).Listen(ctx, network, b.Addr.String())
	if err != nil {
		ls.ports.free(b.Addr, ls.site)
		return nil, fmt.Errorf("listen on %s: %w", b.Addr, reason(err))
	}
	l := &listener{Listener: nl, addr: b.Addr}
	l.binding.Store(&b)
	return l, nil
}

// reason leaves out the address, which is said already.
func reason(err error) error {
	if op := (*net.OpError)(nil); errors.As(err, &op) {
		return op.Err
	}
	return err
}

func (ls *listeners) closeOne(l *listener) {
	if !l.closed {
		l.closed = true
		_ = l.Close() // it was only listening
		ls.ports.free(l.addr, ls.site)
	}
}

// rebind makes the open listeners those of want. New ones open first; when all
// of them are open, those that want does not have close. It gives the new ones,
// on which no accept loop runs yet. After an error the open listeners are as
// before; one that had to close for another is opened again, and is among those
// given.
func (ls *listeners) rebind(ctx context.Context, want []Binding) (fresh []*listener, err error) {
	rest := slices.Clone(ls.open)
	next := make([]*listener, len(want))
	for i, b := range want {
		if at := slices.IndexFunc(rest, func(l *listener) bool { return l.addr == b.Addr }); at >= 0 {
			next[i] = rest[at]
			rest = slices.Delete(rest, at, at+1)
		}
	}
	for i, b := range want {
		if next[i] != nil {
			continue
		}
		l, err := ls.listenReplacing(ctx, b, rest)
		if err != nil {
			for _, l := range fresh {
				ls.closeOne(l)
			}
			return ls.reopen(ctx), err
		}
		next[i], fresh = l, append(fresh, l)
	}
	for i, b := range want {
		next[i].binding.Store(&b)
	}
	for _, l := range rest {
		ls.closeOne(l)
	}
	ls.open = next
	return fresh, nil
}

// listenReplacing opens b. Where one of our own that is to go is in the way (all
// addresses against one of them), that one has to close first.
func (ls *listeners) listenReplacing(ctx context.Context, b Binding, rest []*listener) (*listener, error) {
	l, err := ls.listen(ctx, b)
	if err == nil || b.Addr.Port() == 0 {
		return l, err
	}
	made := false
	for _, old := range rest {
		if old.port() == b.Addr.Port() && !old.closed {
			ls.closeOne(old)
			made = true
		}
	}
	if !made {
		return nil, err
	}
	return ls.listen(ctx, b)
}

// reopen opens the listeners that closed for one that could not open.
func (ls *listeners) reopen(ctx context.Context) (fresh []*listener) {
	for i, l := range ls.open {
		if !l.closed {
			continue
		}
		if again, err := ls.listen(ctx, *l.binding.Load()); err == nil {
			ls.open[i] = again
			fresh = append(fresh, again)
		}
	}
	return fresh
}

// close shuts everything.
func (ls *listeners) close() {
	for _, l := range ls.open {
		ls.closeOne(l)
	}
	ls.open = nil
}

// addrs are where callers can come in, with the ports that the system picked.
func (ls *listeners) addrs() []netip.AddrPort {
	out := make([]netip.AddrPort, 0, len(ls.open))
	for _, l := range ls.open {
		if a, ok := l.Addr().(*net.TCPAddr); ok {
			p := a.AddrPort()
			out = append(out, netip.AddrPortFrom(p.Addr().Unmap(), p.Port()))
		}
	}
	return out
}
