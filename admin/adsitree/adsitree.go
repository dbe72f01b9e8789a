// SPDX-License-Identifier: Apache-2.0

// Package adsitree connects the objects of package adsi to the administration
// API. Each read and each batch is one call, so that a script has the rights,
// the checks and the history of any other caller, wherever it runs.
package adsitree

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"slices"
	"sync"
	"time"

	"restante/admin/api"
	"restante/metabase"

	adsi "restante/adsi-compat"
)

// A Tree is an adsi.Tree over the calls that a conn carries.
type Tree struct {
	conn api.Conn

	dryRun bool
	tried  []api.Line // by a dry run so far
	open   *transaction

	mu    sync.Mutex // guards what follows: a script that is left behind may still be applying a batch
	terms api.Terms
	made  Made
}

// Made is what a Tree has changed so far.
type Made struct {
	Revisions []metabase.Rev    `json:"revisions"`
	Changes   int               `json:"changes"`           // in all of them, as far as the caller may read them
	Until     time.Time         `json:"until,omitzero"`    // the deadline of the last one's confirmation
	Pending   []api.Unconfirmed `json:"pending,omitempty"` // those to be confirmed
}

// New makes a Tree, which makes every change under the terms. With IfRev the first
// of them must find the tree at that revision, and each one as the last has left it.
func New(conn api.Conn, terms api.Terms) *Tree { return &Tree{conn: conn, terms: terms} }

// NewDryRun makes a Tree that changes nothing. It reads as if what was applied
// had been, but for acts.
func NewDryRun(conn api.Conn, terms api.Terms) *Tree {
	return &Tree{conn: conn, terms: terms, dryRun: true}
}

// Key implements adsi.Reader.
func (t *Tree) Key(ctx context.Context, p metabase.Path) (adsi.Key, error) {
	if t.open != nil {
		return t.keyWithin(ctx, p)
	}
	keys, err := t.read(ctx, api.ReadRequest{Path: string(p)})
	if err != nil {
		return adsi.Key{}, err
	}
	return keys[0], nil
}

// Children implements adsi.Reader.
func (t *Tree) Children(ctx context.Context, p metabase.Path) ([]adsi.Key, error) {
	keys, err := t.read(ctx, api.ReadRequest{Path: string(p), Children: true})
	if err != nil {
		return nil, err
	}
	down := keys[0].HandsDown()
	keys = keys[1:]
	for i := range keys {
		keys[i].Inherited = down
	}
	return keys, nil
}

// DataPaths implements adsi.Reader.
func (t *Tree) DataPaths(ctx context.Context, p metabase.Path, id metabase.ID) ([]metabase.Path, error) {
	var paths []metabase.Path
	for page, err := range api.MbRead.Open(ctx, t.conn, api.ReadRequest{Path: string(p), Storing: id, After: t.after()}) {
		if err != nil {
			return nil, err
		}
		if t.open != nil {
			t.open.sees(page.Rev)
		}
		for _, k := range page.Keys {
			paths = append(paths, k.Path)
		}
	}
	return paths, nil
}

// after is what was applied and is in no revision.
func (t *Tree) after() []api.Line {
	if t.open == nil {
		return t.tried
	}
	return slices.Concat(t.tried, t.open.lines)
}

// read gives the keys of an answer, at least one.
func (t *Tree) read(ctx context.Context, q api.ReadRequest) (keys []adsi.Key, err error) {
	return t.readAfter(ctx, q, t.after())
}

func (t *Tree) readAfter(ctx context.Context, q api.ReadRequest, after []api.Line) ([]adsi.Key, error) {
	var pages [][]adsi.Key // copied once: there may be a hundred thousand keys
	q.After, q.Packed = after, true
	for page, err := range api.MbRead.Open(ctx, t.conn, q) {
		if err != nil {
			return nil, err
		}
		if t.open != nil {
			t.open.sees(page.Rev)
		}
		keys, err := adsi.UnpackKeys(page.Packed, page.Rev)
		if err != nil {
			return nil, fmt.Errorf("%s: the answer: %w", q.Path, err)
		}
		pages = append(pages, keys)
	}
	keys := slices.Concat(pages...)
	if len(keys) == 0 {
		return nil, &api.Error{Kind: api.KindFailed, Text: q.Path + ": the answer is empty"}
	}
	return keys, nil
}

// Call implements api.Conn for what a script does beside its objects. Reads of the
// tree show what was applied and is in no revision, too.
func (t *Tree) Call(ctx context.Context, method string, request []byte) (json.RawMessage, error) {
	after := t.after()
	if len(after) > 0 && slices.Contains(replacing, method) {
		return nil, &api.Error{Kind: api.KindFailed, Text: "cannot be tried after other changes, as a dry run has not made them"}
	}
	if !slices.Contains(api.TreeReads, method) || len(after) == 0 && t.open == nil {
		return t.exchange(ctx, t.termsNow(), method, request)
	}
	a, _, err := api.AsIf.Call(ctx, t.conn, api.AsIfRequest{After: after, Method: method, Request: request})
	if err == nil && t.open != nil {
		t.open.sees(a.Rev)
	}
	return a.Answer, err
}

// replacing are the calls whose effect depends on the whole tree.
var replacing = []string{string(api.MbImport), string(api.MbRestore), string(api.MbRevert)}

func (t *Tree) termsNow() api.Terms {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.terms
}

// exchange makes a call under terms, and keeps account of the revisions that it makes.
func (t *Tree) exchange(ctx context.Context, terms api.Terms, method string, request []byte) (json.RawMessage, error) {
	var made []metabase.Rev
	raw, err := t.conn.Call(api.WithNotes(api.WithTerms(ctx, terms), func(n api.Noted) {
		if n.Rev == 0 {
			api.Forward(ctx, n)
			return
		}
		made = append(made, n.Rev)
		t.note(n)
	}), method, request)
	if len(made) > 0 {
		changes := t.changesOf(ctx, made, raw, err)
		t.mu.Lock()
		defer t.mu.Unlock()
		t.made.Changes += changes
	}
	if method == string(api.MbConfirm) && err == nil {
		t.confirmed(raw)
	}
	return raw, err
}

// note takes a revision into the account. A condition on the revision goes on from it.
func (t *Tree) note(n api.Noted) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.made.Revisions = append(t.made.Revisions, n.Rev)
	t.made.Until = n.Until
	if !n.Until.IsZero() {
		t.made.Pending = append(t.made.Pending, api.Unconfirmed{Rev: n.Rev, Until: n.Until})
	}
	if t.terms.IfRev != nil {
		t.terms.IfRev = &n.Rev
	}
}

// confirmed takes a revision that the script has confirmed off the account.
func (t *Tree) confirmed(answer json.RawMessage) {
	var a api.Applied
	if json.Unmarshal(answer, &a) != nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.made.Pending = slices.DeleteFunc(t.made.Pending, func(u api.Unconfirmed) bool { return u.Rev == a.Rev })
}

// changesOf counts the changes in revisions that a call has made: those of its answer
// or, as most answers have none, of the log. What the caller may not read is not counted.
func (t *Tree) changesOf(ctx context.Context, made []metabase.Rev, raw json.RawMessage, err error) (n int) {
	if stored := (*api.Error)(nil); errors.As(err, &stored) {
		raw = stored.Answer
	}
	var a struct{ Changes []json.RawMessage }
	if json.Unmarshal(raw, &a) == nil && len(a.Changes) > 0 {
		return len(a.Changes)
	}
	log, _, err := api.MbLog.Call(ctx, t.conn, api.LogRequest{Path: string(metabase.Root), Count: len(made) + 8}) // others' may follow
	if err != nil {
		return 0
	}
	for _, entry := range log {
		if slices.Contains(made, entry.Rev) {
			n += len(entry.Changes)
		}
	}
	return n
}

// Stream implements api.Conn.
func (t *Tree) Stream(ctx context.Context, method string, request []byte) iter.Seq2[json.RawMessage, error] {
	return t.conn.Stream(ctx, method, request)
}

// Apply implements adsi.Tree.
func (t *Tree) Apply(ctx context.Context, rev metabase.Rev, ops ...metabase.Op) error {
	var lines []api.Line
	for _, op := range ops {
		l, err := line(op)
		if err != nil {
			return err
		}
		lines = append(lines, l)
	}
	if t.open != nil {
		return t.collect(ctx, lines, ops)
	}
	return t.commit(ctx, rev, lines)
}

func (t *Tree) commit(ctx context.Context, rev metabase.Rev, lines []api.Line) error {
	_, err := t.commitLines(ctx, rev, lines)
	return err
}

// commitLines applies lines as one batch; with a rev, only on top of that.
func (t *Tree) commitLines(ctx context.Context, rev metabase.Rev, lines []api.Line) (api.Applied, error) {
	q, terms := api.ApplyRequest{Lines: lines}, t.termsNow()
	strict := terms.IfRev != nil
	if !strict && rev != 0 && !t.dryRun {
		terms.IfRev = &rev
	}
	if t.dryRun {
		// The lines before are in no revision, but the batch is checked with them.
		q.Lines = append(t.tried[:len(t.tried):len(t.tried)], q.Lines...)
		q.DryRun = true
	}
	a, _, err := api.MbApply.Call(ctx, underTerms{t, terms}, q)
	if err == nil && t.dryRun {
		t.tried = q.Lines
	}
	if strict && errors.Is(err, metabase.Conflict) {
		err = &api.Error{Kind: api.KindRefused, Text: err.Error()} // no conflict that reading again would mend
	}
	return a, marked(err)
}

// underTerms is a Conn to t's calls, under terms of their own.
type underTerms struct {
	*Tree
	terms api.Terms
}

func (u underTerms) Call(ctx context.Context, method string, request []byte) (json.RawMessage, error) {
	return u.exchange(ctx, u.terms, method, request)
}

// noService is an error that is also adsi.ErrNoService.
type noService struct{ error }

func (e noService) Unwrap() error        { return e.error }
func (e noService) Is(target error) bool { return target == adsi.ErrNoService }

// stored is an error that is also adsi.ErrStored.
type stored struct{ error }

func (e stored) Unwrap() error        { return e.error }
func (e stored) Is(target error) bool { return target == adsi.ErrStored }

func marked(err error) error {
	e := (*api.Error)(nil)
	switch {
	case !errors.As(err, &e):
	case e.Kind == api.KindNoService:
		return noService{err}
	case e.Answer != nil:
		return stored{err}
	}
	return err
}

// Made tells what was changed so far.
func (t *Tree) Made() Made {
	t.mu.Lock()
	defer t.mu.Unlock()
	made := t.made
	made.Revisions, made.Pending = slices.Clone(made.Revisions), slices.Clone(made.Pending)
	return made
}

// Difference tells what a dry run would have changed, all in one.
func (t *Tree) Difference(ctx context.Context) (api.Applied, error) {
	a, _, err := api.MbApply.Call(ctx, t.conn, api.ApplyRequest{Lines: t.tried, DryRun: true})
	return a, err
}

// line is an operation of a script as a line of a batch.
func line(op metabase.Op) (api.Line, error) {
	words := func(w ...string) (api.Line, error) { return api.Line{Words: w}, nil }
	switch op := op.(type) {
	case metabase.AddKey:
		return api.Line{Words: []string{"add", "--", string(op.Path), op.Class}, AsIIS: true}, nil
	case metabase.Amend:
		l, err := line(metabase.Set(op))
		l.Amends = true
		return l, err
	case metabase.Set:
		if err := op.Property.Check(); err != nil { // JSON would replace octets that are not UTF-8
			return api.Line{}, &metabase.Refused{Problems: []metabase.Problem{{Path: op.Path, ID: op.Property.ID, Err: err}}}
		}
		p := api.PropertyOf(op.Property)
		return api.Line{Words: []string{"set", "--", string(op.Path)}, Property: &p, AsIIS: true}, nil
	case metabase.Unset:
		return words("unset", "--", string(op.Path), fmt.Sprint(uint32(op.ID)))
	case metabase.Remove:
		return words("rm", "--recursive", "--", string(op.Path))
	case metabase.Copy:
		return words("cp", "--", string(op.From), string(op.To))
	case metabase.Move:
		return words("mv", "--", string(op.From), string(op.To))
	}
	return api.Line{}, fmt.Errorf("objects make no %T", op)
}

// ApplyLines applies lines of a batch as Apply does.
func (t *Tree) ApplyLines(ctx context.Context, lines []api.Line) (api.Applied, error) {
	if t.open != nil {
		t.open.forget(metabase.Root)
		t.open.lines = append(t.open.lines, lines...)
		return api.Applied{}, nil
	}
	return t.commitLines(ctx, 0, lines)
}

// DryRun reports whether nothing is changed.
func (t *Tree) DryRun() bool { return t.dryRun }

// OwnChange says why a change that is no batch may not be made now. Within a
// transaction it would be made at once, and stay when the transaction fails.
func (t *Tree) OwnChange() error {
	if t.open != nil {
		return errors.New("is a change of its own: it cannot be in a transaction")
	}
	return nil
}
