// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"restante/engine/site"
	"restante/metabase"
)

// A request asks Run to reconcile with the newest snapshot, and with await to
// answer only when rev is in force.
type request struct {
	ctx   context.Context
	await bool
	rev   metabase.Rev
	done  chan struct{} // closed as the answer
}

// errPatience is the cause of a wait that took too long.
var errPatience = errors.New("a site is not settled in time")

// errNoAnswer is the cause of a command that took too long. The site may still
// carry it out.
var errNoAnswer = errors.New("the site has not carried out the command in time; status tells when it has")

// Await returns when revision rev is in force at every site: the next caller of
// each gets it, and the states in the tree are those after it. It gives the
// sites where rev is not in force, each with the reason. A site that takes
// longer than Options.Patience counts among them, and no later Await waits for
// it again until it has settled.
//
// An engine that has ended has no sites, so every revision is in force.
func (e *Engine) Await(ctx context.Context, rev metabase.Rev) ([]site.Status, error) {
	bounded, cancel := context.WithTimeoutCause(ctx, e.opts.Patience, errPatience)
	defer cancel()
	err := e.request(&request{ctx: bounded, await: true, rev: rev})
	switch {
	case errors.Is(err, errPatience):
		e.markOverdue(rev)
	case errors.Is(err, ErrNotRunning):
		return nil, nil
	case err != nil:
		return nil, err
	}
	return e.notInForce(rev), nil
}

// request has Run answer q.
func (e *Engine) request(q *request) error {
	q.done = make(chan struct{})
	select {
	case e.requests <- q:
	case <-e.ended:
		return ErrNotRunning
	case <-q.ctx.Done():
		return context.Cause(q.ctx)
	}
	select {
	case <-q.done:
		return nil
	case <-e.ended:
		return ErrNotRunning
	case <-q.ctx.Done():
		return context.Cause(q.ctx)
	}
}

// accept takes q and every other request that is waiting: one pass serves all.
func (r *reconciler) accept(q *request) {
	for {
		r.pending = append(r.pending, q)
		select {
		case q = <-r.engine.requests:
		default:
			return
		}
	}
}

// settledRequests takes the requests that can be answered off the pending ones.
// The reconciler has reached each revision that was committed before its request.
func (r *reconciler) settledRequests() (out []*request) {
	r.pending = slices.DeleteFunc(r.pending, func(q *request) bool {
		if q.await && !r.engine.settled(q.rev) {
			return q.ctx.Err() != nil // its caller has left
		}
		out = append(out, q)
		return true
	})
	return out
}

// settled reports whether no site needs more time for revision rev.
func (e *Engine) settled(rev metabase.Rev) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	all := true
	for _, m := range e.sites {
		if m.overdue && m.Site != nil && m.Settled(uint64(m.rev)) {
			m.overdue = false
		}
		all = all && m.settled(rev)
	}
	for _, m := range e.leaving {
		all = all && (m.overdue || m.Closed())
	}
	return all
}

// markOverdue marks the sites that revision rev still waits for.
func (e *Engine) markOverdue(rev metabase.Rev) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for n, m := range e.sites {
		if !m.settled(rev) {
			m.overdue = true
			e.opts.Log.Warn("site is not settled in time", "site", n, "revision", rev, "waited", e.opts.Patience)
		}
	}
	for _, m := range e.leaving {
		m.overdue = m.overdue || !m.Closed()
	}
}

// notInForce lists the sites where revision rev is not in force.
func (e *Engine) notInForce(rev metabase.Rev) []site.Status {
	e.mu.Lock()
	defer e.mu.Unlock()
	var out []site.Status
	for n, m := range e.sites {
		if m.Site != nil && (m.InForce(uint64(rev)) || m.disabled && m.Settled(uint64(rev))) {
			continue
		}
		st := m.status(n)
		if st.Why == "" {
			st.Why = fmt.Sprintf("configured %d, running %d, because the site is %s and needs longer than %s",
				st.Configured, st.Running, st.State, e.opts.Patience)
		}
		out = append(out, st)
	}
	slices.SortFunc(out, func(a, b site.Status) int { return a.Number - b.Number })
	return out
}
