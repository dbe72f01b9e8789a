// SPDX-License-Identifier: Apache-2.0

// Package admin is the administration API. An [API] has a handler for each call.
// It runs in the service behind the local socket, or in the process of a command
// when no service runs and the store is free. Either way the same checks hold: a
// call carries its caller, and every change of the tree is a batch in that name.
//
// The packages below register the handlers, by subject. This package has what
// all of them need: the tree and the running sites as small interfaces, rights
// and visibility, and paths as people write them. Handlers print nothing and
// prompt for nothing.
package admin

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"

	"restante/admin/api"
	"restante/metabase"
	"restante/metabase/schema"
)

type (
	handler       func(ctx context.Context, who api.Caller, request []byte) (any, error)
	streamHandler func(ctx context.Context, who api.Caller, request []byte) iter.Seq2[any, error]
)

// An API answers calls. Once the handlers are on it, its methods may be called
// from anywhere.
type API struct {
	Tree   Tree
	Schema *schema.Schema
	Engine Engine // nil when no service runs
	Env    Env

	// Audit is told of a right that the lists of today would give and those of
	// an earlier state do not; of all others the Tree tells. Nil: nobody is.
	Audit func(context.Context, metabase.Refusal)

	// Stopping reports whether the service has begun to stop: only calls that
	// change nothing are answered. Nil: it never does.
	Stopping func() bool

	calls   map[string]handler
	streams map[string]streamHandler
	parts   []func(*API)

	base metabase.Rev // of an API over a change: what the change would be made on
}

// Env says where an API stands.
type Env struct {
	Data    string // the data folder, absolute
	Version string
}

// New makes an API over a tree, without handlers. Engine is nil where no site
// can run; then the calls that need one are answered with ErrNoService.
func New(tree Tree, s *schema.Schema, e Engine, place Env) *API {
	return &API{
		Tree: tree, Schema: s, Engine: e, Env: place,
		calls: map[string]handler{}, streams: map[string]streamHandler{},
	}
}

// TraceState is nil where nothing is kept.
func (d *API) TraceState() *api.TraceState {
	t := d.Engine.Trace()
	if t == nil {
		return nil
	}
	s := t.Status()
	if s.Events == 0 && s.Lost == 0 && s.Err == nil {
		return nil
	}
	out := &api.TraceState{Events: s.Events, Bytes: s.Bytes, Since: s.Since, LeftOut: s.Lost, Damaged: s.Damaged}
	if s.Err != nil {
		out.Why = s.Err.Error()
	}
	return out
}

// AddPart notes a function that registers handlers, for AsIf.
func (d *API) AddPart(register func(*API)) { d.parts = append(d.parts, register) }

// AsIf is the API over the tree as c would leave it, for calls that only read.
func (d *API) AsIf(c metabase.Change) *API {
	out := New(changedTree{d.Tree, c.New}, d.Schema, d.Engine, d.Env)
	out.Audit, out.base = d.Audit, c.Old.Rev()
	for _, register := range d.parts {
		register(out)
	}
	return out
}

// IsTrial reports whether the tree is in a state that was never in force.
func (d *API) IsTrial() bool { return d.base != 0 }

// A changedTree is a Tree in a state that no revision has.
type changedTree struct {
	Tree
	state metabase.Snapshot
}

func (t changedTree) Snapshot() metabase.Snapshot { return t.state }

// Record knows no revision of the state: one of that number may be another's.
func (t changedTree) Record(ctx context.Context, rev metabase.Rev) (metabase.Record, error) {
	if rev >= t.state.Rev() {
		return metabase.Record{}, &metabase.Error{Op: "read", Kind: metabase.NotFound, Err: fmt.Errorf("revision %d is not made", rev)}
	}
	return t.Tree.Record(ctx, rev)
}

// Handle registers the handler of a call. With an error for which IsStored holds,
// do returns the whole answer, too.
func Handle[Q, A any](d *API, m api.Method[Q, A], do func(context.Context, api.Caller, Q) (A, error)) {
	d.calls[string(m)] = func(ctx context.Context, who api.Caller, request []byte) (any, error) {
		q, err := decode[Q](request)
		if err != nil {
			return nil, err
		}
		a, err := do(ctx, who, q)
		if IsStored(err) {
			err = api.WithAnswer(err, a)
		}
		return a, err
	}
}

// HandleStream registers the handler of a call whose answer is many parts.
func HandleStream[Q, A any](d *API, m api.Stream[Q, A], do func(context.Context, api.Caller, Q) iter.Seq2[A, error]) {
	d.streams[string(m)] = func(ctx context.Context, who api.Caller, request []byte) iter.Seq2[any, error] {
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
		return q, &api.Error{Kind: api.KindUsage, Text: fmt.Sprintf("the request does not read: %v", err)}
	}
	return q, nil
}

// Direct is a Conn to d within the process, for the given caller.
func (d *API) Direct(who api.Caller) api.Conn { return direct{d, who} }

type direct struct {
	api *API
	who api.Caller
}

func (c direct) Call(ctx context.Context, method string, request []byte) (json.RawMessage, error) {
	do, ok := c.api.calls[method]
	if !ok {
		return nil, unknownCall(method)
	}
	if c.api.refuses(method) {
		return nil, api.ErrStopping
	}
	who := c.who.For(ctx)
	if err := who.Check(); err != nil {
		return nil, err
	}
	a, err := do(ctx, who, request)
	if err != nil {
		return nil, api.AsError(err)
	}
	return json.Marshal(a)
}

func (c direct) Stream(ctx context.Context, method string, request []byte) iter.Seq2[json.RawMessage, error] {
	return func(yield func(json.RawMessage, error) bool) {
		do, ok := c.api.streams[method]
		if !ok {
			yield(nil, unknownCall(method))
			return
		}
		if c.api.refuses(method) {
			yield(nil, api.ErrStopping)
			return
		}
		who := c.who.For(ctx)
		if err := who.Check(); err != nil {
			yield(nil, err)
			return
		}
		for part, err := range do(ctx, who, request) {
			var raw json.RawMessage
			if err == nil {
				raw, err = json.Marshal(part)
			}
			if err != nil {
				yield(nil, api.AsError(err))
				return
			}
			if !yield(raw, nil) {
				return
			}
		}
	}
}

// refuses reports whether a call comes too late.
func (d *API) refuses(method string) bool {
	return d.Stopping != nil && d.Stopping() && !api.Reads(method)
}

func unknownCall(method string) error {
	return &api.Error{Kind: api.KindUsage, Text: fmt.Sprintf("the service knows no call %q: it is of another version", method)}
}
