// SPDX-License-Identifier: Apache-2.0

package ports

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
)

// ErrTaken means that another site of the engine has the address.
var ErrTaken = errors.New("the address is taken")

// A place is an address of a site.
type place struct {
	site int
	addr netip.AddrPort
}

// A plan decides who gets which listener. A site gets all that it wants or
// keeps what it has. New listeners open first. An address that a site gives up
// can go to another one only if the first gets what it wants instead.
type plan struct {
	sites   map[int]*holder
	failed  map[int]error
	fresh   map[place]*listener
	blocked []blockedPlace // of the last survey
}

// A blockedPlace can be opened only when listeners that are to go have closed,
// such as that of all addresses in the way of one of them.
type blockedPlace struct {
	site      int
	binding   Binding
	obstacles []obstacle
}

type obstacle struct {
	holder *holder
	at     int // in holder.open
}

func newPlan(sites map[int]*holder) *plan {
	return &plan{sites: sites, failed: map[int]error{}, fresh: map[place]*listener{}}
}

// carryOut brings the listeners of all sites in line, as far as the system
// allows. It wakes the sites that it changes, but for n.
func (p *plan) carryOut(ctx context.Context, n int) {
	for {
		failing, err := p.survey(ctx)
		if err == nil {
			failing, err = p.clear(ctx)
		}
		if err == nil {
			break
		}
		p.failed[failing] = err
		for at, l := range p.fresh {
			if at.site == failing {
				l.close()
				delete(p.fresh, at)
			}
		}
	}
	given := map[*listener]bool{}
	next := map[int][]*listener{}
	for k, h := range p.sites {
		if p.failed[k] == nil {
			next[k] = p.gather(k, h)
			for _, l := range next[k] {
				given[l] = true
			}
		}
	}
	for k, h := range p.sites {
		changed := fmt.Sprint(h.err) != fmt.Sprint(p.failed[k])
		if h.err = p.failed[k]; h.err != nil {
			changed = h.restore(ctx) || changed
		} else {
			changed = h.settle(next[k], given) || changed
		}
		if changed && k != n {
			h.wake()
		}
	}
}

// survey opens what is free, and finds what is blocked. It names the first site
// that cannot have all that it wants.
func (p *plan) survey(ctx context.Context) (failing int, err error) {
	p.blocked = nil
	promised := map[netip.AddrPort]int{}
	for _, n := range slices.Sorted(maps.Keys(p.sites)) {
		if p.failed[n] != nil {
			continue
		}
		for _, b := range p.sites[n].want {
			if p.sites[n].find(b.Addr) != nil || p.fresh[place{n, b.Addr}] != nil {
				continue
			}
			if err := p.provide(ctx, n, b, promised); err != nil {
				return n, err
			}
		}
	}
	return 0, nil
}

// provide finds a listener of b for site n: one of another site, or a new one.
func (p *plan) provide(ctx context.Context, n int, b Binding, promised map[netip.AddrPort]int) error {
	if b.Addr.Port() != 0 {
		by, leaves := p.holder(b.Addr, n)
		if by == 0 {
			by = promised[b.Addr]
		}
		if by != 0 && (!leaves || promised[b.Addr] != 0) {
			return fmt.Errorf("listen on %s: %w: site %d has it", b.Addr, ErrTaken, by)
		}
		promised[b.Addr] = n
		if by != 0 {
			return nil
		}
	}
	l, err := listen(ctx, b)
	if err == nil {
		p.fresh[place{n, b.Addr}] = l
		return nil
	}
	if o := p.obstacles(b); len(o) > 0 {
		p.blocked = append(p.blocked, blockedPlace{n, b, o})
		return nil
	}
	return err
}

// holder gives the site other than n that has addr, 0 for none, and whether it
// gives it up.
func (p *plan) holder(addr netip.AddrPort, n int) (by int, leaves bool) {
	for k, h := range p.sites {
		if k == n {
			continue
		}
		if p.fresh[place{k, addr}] != nil {
			return k, false
		}
		if h.find(addr) != nil {
			return k, p.failed[k] == nil && !h.wants(addr)
		}
	}
	return 0, false
}

// obstacles lists the listeners on the port of b that are to go.
func (p *plan) obstacles(b Binding) (out []obstacle) {
	if b.Addr.Port() == 0 {
		return nil
	}
	for k, h := range p.sites {
		for i, l := range h.open {
			if p.failed[k] == nil && l.local().Port() == b.Addr.Port() && !h.needs(l) && !l.closed() {
				out = append(out, obstacle{h, i})
			}
		}
	}
	return out
}

// clear closes what blocks a new listener and opens that. After an error, what
// it closed for it is open again.
func (p *plan) clear(ctx context.Context) (failing int, err error) {
	for _, b := range p.blocked {
		for _, o := range b.obstacles {
			o.holder.open[o.at].close()
		}
		l, err := listen(ctx, b.binding)
		if err != nil {
			for _, o := range b.obstacles {
				o.holder.restore(ctx)
			}
			return b.site, err
		}
		p.fresh[place{b.site, b.binding.Addr}] = l
	}
	return 0, nil
}

// gather collects what site n wants: what it has, what is new, and what others
// give up.
func (p *plan) gather(n int, h *holder) []*listener {
	next := make([]*listener, len(h.want))
	for i, b := range h.want {
		next[i] = h.find(b.Addr)
		if next[i] == nil {
			next[i] = p.fresh[place{n, b.Addr}]
		}
		if next[i] == nil {
			by, _ := p.holder(b.Addr, n)
			next[i] = p.sites[by].find(b.Addr)
		}
	}
	return next
}

// settle makes next the listeners of the site, and reports whether that changes
// anything. It closes those of the old ones that nobody was given.
func (h *holder) settle(next []*listener, given map[*listener]bool) bool {
	changed := !slices.Equal(h.open, next)
	for _, l := range h.open {
		if !given[l] {
			l.close()
		}
	}
	h.open = next
	for i, l := range next {
		l.binding = h.want[i]
		l.setBacklog(l.binding.Backlog)
		if h.handler != nil {
			l.serve(h.handler, h.log)
		}
	}
	return changed
}

// restore opens what was closed in vain, and reports whether there was any. What
// cannot be opened again is dropped.
func (h *holder) restore(ctx context.Context) (changed bool) {
	kept := h.open[:0:0]
	for _, l := range h.open {
		if l.closed() {
			changed = true
			if l, _ = l.reopen(ctx); l == nil {
				continue
			}
		}
		kept = append(kept, l)
	}
	h.open = kept
	return changed
}
