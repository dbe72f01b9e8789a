// SPDX-License-Identifier: Apache-2.0

package metabase

import (
	"context"
	"fmt"
	"slices"
	"time"

	"restante/metabase/acl"
	"restante/metabase/internal/tree"
	"restante/metabase/internal/unconfirmed"
	"restante/metabase/key"
)

// A request is a batch to be applied, with the options that only the store sets.
type request struct {
	batch   Batch
	reverts Rev      // the revision that this one takes back
	always  bool     // make a revision even if nothing changes
	named   []Path   // keys that the caller has named beside those of the batch
	kept    []string // what could not be taken back, for the history

	// prepare gives the ops as of the state that they will be applied to; nil:
	// those of the batch.
	prepare func(old *image, r *request) ([]Op, error)

	// ends gives what is unconfirmed after the request, which ends the wait of some
	// revision; nil: the request is a change like any other. prepare sets it.
	ends func(unconfirmed.List) unconfirmed.List
}

// large reports whether validating the request may take long: it names whole
// subtrees or many operations.
func (r *request) large() bool {
	const few = 100
	return r.prepare != nil || len(r.batch.Ops) > few ||
		slices.ContainsFunc(r.batch.Ops, func(op Op) bool { return op != nil && op.Scope().Deep })
}

// A plan is a request with the state that it makes and the rights that it needs.
type plan struct {
	edit   edit
	rights authorizer
	deltas []tree.KeyDelta
	next   *image

	rewrites bool // it writes a part that is not confirmed, perhaps with the same value

	// the states that the checks read
	change        Change
	before, after image
}

// empty reports whether the plan needs no revision.
func (p *plan) empty(r *request) bool {
	if r.always || p.rewrites || len(p.edit.touched) > 0 && len(p.deltas) > 0 {
		return false
	}
	return !slices.ContainsFunc(p.deltas, func(d tree.KeyDelta) bool { return !d.Quiet() })
}

// plan validates r against old and changes nothing. If a check refuses, plan
// returns the plan beside the error.
func (s *Store) plan(ctx context.Context, old *image, r *request) (*plan, error) {
	b := &r.batch
	if b.IfRev != nil && *b.IfRev != old.rev {
		return nil, &Error{Op: "apply", Kind: Conflict, Err: fmt.Errorf("the store is at revision %d, not at %d", old.rev, *b.IfRev)}
	}
	if r.prepare != nil {
		ops, err := r.prepare(old, r)
		if err != nil {
			return nil, err
		}
		b.Ops = ops
	}
	now := s.now()
	p := &plan{before: *old}
	p.before.vol = s.cur.Load().vol
	e := &p.edit
	*e = edit{old: &p.before, root: old.root, rev: old.rev + 1, now: now.UnixNano(), acts: s.opts.Acts, timed: b.Confirm > 0}
	rights := &p.rights
	rights.begin(Snapshot{&p.before}, b, s.opts.OnAsk, func(p Path) { e.bad(p, 0, NotFound) })
	for _, op := range b.Ops {
		switch {
		case op == nil:
			e.bad("", 0, key.Errorf(Invalid, "an op of the batch is nil"))
		case rights.permits(op):
			op.apply(e)
		}
	}
	if e.span != "" {
		p.before.trail, p.after.trail = e.trails()
		p.deltas = tree.DiffAt(p.before.trail, p.after.trail)
	}
	rights.requireDeltas(p.deltas)
	p.next = &image{root: e.root, rev: e.rev, time: now, vol: p.before.vol, access: old.access}
	problems := append(e.problems, s.pend(p, r, old)...)
	s.auditAs(ctx, b, rights.missing, rights.concealed)
	if len(rights.missing) > 0 {
		// The other problems may be about what the caller may not see.
		return nil, &Refused{Problems: distinct(rights.problems)}
	}
	p.seeChange(b)
	problems = append(problems, checkLocks(&p.after, p.deltas)...)
	problems = append(problems, checkLists(p.deltas)...)
	problems = append(problems, checkLimits(p.deltas)...)
	for _, check := range s.opts.Checks {
		problems = append(problems, check(p.change)...)
	}
	if len(problems) > 0 {
		return p, &Refused{Problems: problems}
	}
	return p, nil
}

// seeChange sets the change that the checks read.
func (p *plan) seeChange(b *Batch) {
	trail := p.after.trail
	p.after = *p.next
	p.after.trail = trail
	p.change = Change{Old: Snapshot{&p.before}, New: Snapshot{&p.after}, Batch: b, deltas: p.deltas}
	touched := make([]Path, 0, len(p.deltas)+len(p.edit.acting))
	for _, d := range p.deltas {
		touched = append(touched, d.Path)
	}
	for _, set := range p.edit.acting {
		p.after.vol = p.after.vol.With(set.Path, set.Property)
		touched = append(touched, set.Path)
	}
	p.change.Touched = touched
}

// checkLists refuses an access list that does not parse: it would grant nothing.
func checkLists(list []tree.KeyDelta) (out []Problem) {
	for _, d := range list {
		for _, p := range d.Props {
			if p.ID != AccessList || p.New == nil {
				continue
			}
			if _, err := acl.Parse(p.New.Value); err != nil {
				out = append(out, Problem{Path: d.Path, ID: AccessList, Property: "AccessList", Err: err})
			}
		}
	}
	return out
}

// distinct drops problems with the text of an earlier one.
func distinct(list []Problem) (out []Problem) {
	told := map[string]bool{}
	for _, p := range list {
		if text := p.Error(); !told[text] {
			told[text] = true
			out = append(out, p)
		}
	}
	return out
}

// deadline returns the time by which the batch must be confirmed, zero for none.
func (r *request) deadline(now time.Time) time.Time {
	if r.batch.Confirm <= 0 {
		return time.Time{}
	}
	return now.Add(r.batch.Confirm)
}
