// SPDX-License-Identifier: Apache-2.0

// Package control answers what the command line asks. A Desk has a handler for
// each call; it stands in the service behind a local socket, or in the
// process of the command itself when no service runs and the store is free.
// Either way the same JSON goes in and comes out, and the same checks hold: a
// call carries who asks, and every change of the tree is a batch in that name.
//
// The package knows the tree by its paths, and the running sites by small
// interfaces of its own. It prints nothing and asks nobody.
package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"

	"restante/metabase"
	"restante/metabase/schema"
)

// A Caller is who asks. The socket's own word decides Who when the call comes
// over it; Origin and Comment are the caller's.
type Caller struct {
	Who     []metabase.Principal `json:"-"` // user first, then uid and groups
	Origin  metabase.Origin      `json:"origin,omitempty"`
	Comment string               `json:"comment,omitempty"`
}

// batch makes the batch of ops in the caller's name.
func (c Caller) batch(ops ...metabase.Op) metabase.Batch {
	b := metabase.Batch{Ops: ops, Origin: c.Origin, Comment: c.Comment}
	if len(c.Who) == 0 {
		c.Who = []metabase.Principal{"*"} // nobody: not the system
	}
	b.Actor, b.Also = c.Who[0], c.Who[1:]
	return b
}

// A Conn carries calls to a Desk: over the socket, or within the process.
type Conn interface {
	// Call sends the request and gives the answer as JSON.
	Call(ctx context.Context, method string, request []byte) (answer json.RawMessage, err error)

	// Stream is Call for an answer of many parts, which comes piece by piece
	// until it ends or ctx does.
	Stream(ctx context.Context, method string, request []byte) iter.Seq2[json.RawMessage, error]
}

// A Method names a call, with the types of its request and its answer.
type Method[Q, A any] string

// Call asks over c and gives the answer, also as the JSON that came.
func (m Method[Q, A]) Call(ctx context.Context, c Conn, q Q) (a A, raw json.RawMessage, err error) {
	request, err := json.Marshal(q)
	if err != nil {
		return a, nil, err
	}
	raw, err = c.Call(ctx, string(m), request)
	if err != nil {
		return a, nil, err
	}
	if err := json.Unmarshal(raw, &a); err != nil {
		return a, nil, fmt.Errorf("%s: the answer: %w", string(m), err)
	}
	return a, raw, nil
}

// A Flow names a call whose answer is many parts.
type Flow[Q, A any] string

// Open asks over c and yields the parts of the answer.
func (m Flow[Q, A]) Open(ctx context.Context, c Conn, q Q) iter.Seq2[A, error] {
	return func(yield func(A, error) bool) {
		var a A
		request, err := json.Marshal(q)
		if err != nil {
			yield(a, err)
			return
		}
		for raw, err := range c.Stream(ctx, string(m), request) {
			var a A
			if err == nil {
				err = json.Unmarshal(raw, &a)
			}
			if !yield(a, err) || err != nil {
				return
			}
		}
	}
}

type (
	handler func(ctx context.Context, who Caller, request []byte) (any, error)
	streams func(ctx context.Context, who Caller, request []byte) iter.Seq2[any, error]
)

// A Desk answers calls. Its methods may be called from anywhere.
type Desk struct {
	tree    Tree
	schema  *schema.Schema
	engine  Engine // nil when no service runs
	place   Place
	calls   map[string]handler
	flows   map[string]streams
	scripts Scripts
}

// Place says where a Desk stands.
type Place struct {
	Data    string // the data folder, absolute
	Version string
}

// New makes a Desk over a tree. Engine is nil where no site can run; then the
// calls that need one are answered with ErrNoService. Scripts is nil where no
// script can.
func New(tree Tree, s *schema.Schema, e Engine, scripts Scripts, place Place) *Desk {
	d := &Desk{tree: tree, schema: s, engine: e, scripts: scripts, place: place}
	d.calls, d.flows = map[string]handler{}, map[string]streams{}
	d.treeCalls()
	d.houseCalls()
	d.queueCalls()
	return d
}

// on registers the handler of a call.
func on[Q, A any](d *Desk, m Method[Q, A], do func(context.Context, Caller, Q) (A, error)) {
	d.calls[string(m)] = func(ctx context.Context, who Caller, request []byte) (any, error) {
		q, err := decode[Q](request)
		if err != nil {
			return nil, err
		}
		return do(ctx, who, q)
	}
}

// onFlow registers the handler of a call whose answer is many parts.
func onFlow[Q, A any](d *Desk, m Flow[Q, A], do func(context.Context, Caller, Q) iter.Seq2[A, error]) {
	d.flows[string(m)] = func(ctx context.Context, who Caller, request []byte) iter.Seq2[any, error] {
		return func(yield func(any, error) bool) {
			q, err := decode[Q](request)
			if err != nil {
				yield(nil, err)
				return
			}
			for a, err := range do(ctx, who, q) {
				if !yield(a, err) {
					return
				}
			}
		}
	}
}

func decode[Q any](request []byte) (q Q, err error) {
	if err := json.Unmarshal(request, &q); err != nil {
		return q, &Error{Kind: KindUsage, Text: fmt.Sprintf("the request does not read: %v", err)}
	}
	return q, nil
}

// Direct is a Conn to d within the process, for the given caller.
func (d *Desk) Direct(who Caller) Conn { return direct{d, who} }

type direct struct {
	desk *Desk
	who  Caller
}

func (c direct) Call(ctx context.Context, method string, request []byte) (json.RawMessage, error) {
	do, ok := c.desk.calls[method]
	if !ok {
		return nil, unknownCall(method)
	}
	a, err := do(ctx, c.who, request)
	if err != nil {
		return nil, AsError(err)
	}
	return json.Marshal(a)
}

func (c direct) Stream(ctx context.Context, method string, request []byte) iter.Seq2[json.RawMessage, error] {
	return func(yield func(json.RawMessage, error) bool) {
		do, ok := c.desk.flows[method]
		if !ok {
			yield(nil, unknownCall(method))
			return
		}
		for part, err := range do(ctx, c.who, request) {
			var raw json.RawMessage
			if err == nil {
				raw, err = json.Marshal(part)
			}
			if err != nil {
				yield(nil, AsError(err))
				return
			}
			if !yield(raw, nil) {
				return
			}
		}
	}
}

func unknownCall(method string) error {
	return &Error{Kind: KindUsage, Text: fmt.Sprintf("the service knows no call %q: it is of another version", method)}
}

// allow asks whether the caller has the right at p.
func (d *Desk) allow(ctx context.Context, who Caller, p metabase.Path, r metabase.Right) error {
	principals := who.Who
	if len(principals) == 0 {
		return &metabase.Error{Path: p, Kind: metabase.Denied, Err: errors.New("nobody asks")}
	}
	return d.tree.Allow(ctx, principals, who.Origin, p, r)
}

// atOnce applies the batch that plan makes of the present state, and makes it
// anew when somebody else was quicker.
func (d *Desk) atOnce(ctx context.Context, who Caller, plan func(metabase.Snapshot) ([]metabase.Op, error)) (metabase.Rev, error) {
	for {
		snap := d.tree.Snapshot()
		ops, err := plan(snap)
		if err != nil {
			return 0, err
		}
		b := who.batch(ops...)
		b.IfRev = snap.Rev()
		rev, err := d.tree.Apply(ctx, b)
		if !errors.Is(err, metabase.Conflict) || ctx.Err() != nil {
			return rev, err
		}
	}
}
