// SPDX-License-Identifier: Apache-2.0

package site

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// A target is where the callers of a listener go.
type target struct {
	run     *run
	binding Binding
}

// A listener accepts at one address. Its target changes while it is open: it
// may even go to another site.
type listener struct {
	net.Listener
	addr    netip.AddrPort // as configured
	binding Binding        // the last one that it was opened or kept for
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
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", b.Addr, reason(err))
	}
	return newListener(nl, b), nil
}

func newListener(nl net.Listener, b Binding) *listener {
	return &listener{Listener: nl, addr: b.Addr, binding: b, shut: make(chan struct{})}
}

// reason leaves out the address, which is said already.
func reason(err error) error {
	if op := (*net.OpError)(nil); errors.As(err, &op) {
		return op.Err
	}
	return err
}

// port is the one it listens on, also where the system picked it.
func (l *listener) port() uint16 { return l.local().Port() }

// local is the address that it listens on.
func (l *listener) local() netip.AddrPort {
	if a, ok := l.Addr().(*net.TCPAddr); ok {
		p := a.AddrPort()
		return netip.AddrPortFrom(p.Addr().Unmap(), p.Port())
	}
	return l.addr
}

// serve has the callers served by r from now on.
func (l *listener) serve(r *run) {
	l.target.Store(&target{r, l.binding})
	if l.ended == nil {
		l.ended = make(chan struct{})
		go l.accept(r.site.log) // close ends it and waits
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
			log.Error("accept", "addr", l.addr, "err", err)
			select {
			case <-l.shut:
			case <-time.After(wait):
			}
			wait = min(2*wait, time.Second)
			continue
		}
		wait = 5 * time.Millisecond
		to := l.target.Load()
		to.run.take(c, to.binding)
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
		again.serve(to.run)
	}
	return again, nil
}

// A portHolder is a site as Ports knows it.
type portHolder struct {
	want []Binding
	open []*listener // in the order of the bindings that they were opened for
	run  *run        // nil until it serves
	err  error       // why open is not what it wants
	wake func()      // called when another site's change has changed open or err
}

func (h *portHolder) find(addr netip.AddrPort) *listener {
	for _, l := range h.open {
		if l.addr == addr && !l.closed() {
			return l
		}
	}
	return nil
}

func (h *portHolder) wants(addr netip.AddrPort) bool {
	for _, b := range h.want {
		if b.Addr == addr {
			return true
		}
	}
	return false
}

// Ports has the listeners of the sites of one engine. It changes them over all
// sites at once: an address that one site gives up and another one asks for
// goes from the first to the second with its listener. The zero Ports is ready.
type Ports struct {
	mu    sync.Mutex // guards what follows
	sites map[int]*portHolder
}

// Declare says what the sites are about to ask for; those that it does not name
// stay. It opens and closes nothing: with the first site that asks, all change.
func (p *Ports) Declare(want map[int][]Binding) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for n, list := range want {
		if h := p.sites[n]; h != nil {
			h.want = list
		}
	}
}

// rebind gives site n the listeners of want, and the other sites what they want
// and do not have yet. After an error, site n has what it had.
func (p *Ports) rebind(ctx context.Context, n int, want []Binding, wake func()) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	h := p.sites[n]
	if h == nil {
		h = &portHolder{}
		if p.sites == nil {
			p.sites = map[int]*portHolder{}
		}
		p.sites[n] = h
	}
	h.want, h.wake = want, wake
	newPortPlan(p.sites).carryOut(ctx, n)
	return h.err
}

// serve has the callers of site n served by r.
func (p *Ports) serve(n int, r *run) {
	p.mu.Lock()
	defer p.mu.Unlock()
	h := p.sites[n]
	h.run = r
	for _, l := range h.open {
		l.serve(r)
	}
}

// close closes the listeners of site n, which then asks for none.
func (p *Ports) close(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if h := p.sites[n]; h != nil {
		for _, l := range h.open {
			l.close()
		}
		delete(p.sites, n)
	}
}

// addrs are where callers of site n can come in, with the ports that the system
// picked.
func (p *Ports) addrs(n int) []netip.AddrPort {
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
