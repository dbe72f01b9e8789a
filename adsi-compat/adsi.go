// SPDX-License-Identifier: Apache-2.0

// Package adsi shows the metabase as the objects that administration scripts
// of IIS know: GetObject binds a path such as IIS://LocalHost/SMTPSVC/1, Get
// and Put work on a property cache, and SetInfo writes what was changed as one
// batch, which is applied completely or not at all.
//
// A script sees the keys that its author may read, as of each call. An
// Object is used by one script at a time and holds no lock: another writer may
// change a value between its Get and its SetInfo. What SetInfo adds to a list,
// takes from it, or changes in a bit, it changes in what is there by then.
package adsi

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"restante/metabase"
	"restante/metabase/schema"
)

// A Tree is the metabase as scripts use it.
type Tree interface {
	Snapshot() metabase.Snapshot
	Apply(ctx context.Context, b metabase.Batch) (metabase.Rev, error)
	Allow(ctx context.Context, who []metabase.Principal, from metabase.Origin, p metabase.Path, r metabase.Right) error
}

// A Directory binds paths to objects for one script.
type Directory struct {
	tree   Tree
	schema *schema.Schema
	as     metabase.Batch
	who    []metabase.Principal
}

// New makes a Directory for the one in whose name as is: what he may not read
// is not shown, and each change carries who, from where and why from as. Its
// operations are not looked at.
func New(tree Tree, s *schema.Schema, as metabase.Batch) *Directory {
	as.Ops = nil
	who := append([]metabase.Principal{as.Actor}, as.Also...)
	return &Directory{tree: tree, schema: s, as: as, who: who}
}

// Codes that scripts compare with. They are those of ADSI and the metabase.
const (
	CodePathNotFound  = 0x80070003
	CodeAccessDenied  = 0x80070005
	CodeBadName       = 0x8007007B
	CodeAlreadyExists = 0x800700B7
	CodeInvalid       = 0x80070057
	CodeUnknownProp   = 0x80005006
	CodeNotSet        = 0x800CC801
	CodeFailed        = 0x80004005
)

// An Error is what a call on an object ended in: the code for the script, and
// the words for its author.
type Error struct {
	Code uint32
	Op   string // the method, such as SetInfo
	On   string // the object's ADsPath
	Err  error
}

func (e *Error) Error() string {
	return fmt.Sprintf("%s: %s: %v (0x%08X)", e.Op, e.On, e.Err, e.Code)
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// wrap gives err the code that belongs to its kind, and properties their names.
// An *Error stays as it is.
func (d *Directory) wrap(op, on string, err error) error {
	var known *Error
	if err == nil || errors.As(err, &known) {
		return err
	}
	var refused *metabase.Refused
	if errors.As(err, &refused) {
		err = d.named(refused)
	}
	code := uint32(CodeFailed)
	switch {
	case errors.Is(err, metabase.NotFound):
		code = CodePathNotFound
	case errors.Is(err, metabase.Exists):
		code = CodeAlreadyExists
	case errors.Is(err, metabase.Denied):
		code = CodeAccessDenied
	case errors.Is(err, metabase.Invalid):
		code = CodeInvalid
	}
	return &Error{Code: code, Op: op, On: on, Err: err}
}

// named gives problems the names of their properties: the tree knows numbers.
func (d *Directory) named(r *metabase.Refused) error {
	out := &metabase.Refused{Problems: slices.Clone(r.Problems)}
	for i, p := range out.Problems {
		if known, ok := d.schema.ByID(p.ID); ok && p.Property == "" {
			out.Problems[i].Property = known.Label()
		}
	}
	return out
}

// apply commits ops in the directory's name; with a rev, only on top of that.
func (d *Directory) apply(ctx context.Context, rev metabase.Rev, ops ...metabase.Op) error {
	if len(ops) == 0 {
		return nil
	}
	b := d.as
	b.IfRev, b.Ops = rev, ops
	_, err := d.tree.Apply(ctx, b)
	return err
}

// GetObject binds the key at an ADsPath: IIS://HOST/SERVICE/..., in any case,
// where HOST is LocalHost or this machine's name and the leading /LM is left
// out. IIS://HOST alone is the machine.
func (d *Directory) GetObject(ctx context.Context, adsPath string) (*Object, error) {
	path, err := parsePath(adsPath)
	if err != nil {
		return nil, &Error{Code: CodeBadName, Op: "GetObject", On: adsPath, Err: err}
	}
	return d.bind(ctx, path)
}

func (d *Directory) bind(ctx context.Context, path metabase.Path) (*Object, error) {
	v, err := d.look(ctx, path)
	if err != nil {
		return nil, d.wrap("GetObject", adsPath(path), err)
	}
	key, ok := v.key(path)
	if !ok {
		return nil, &Error{Code: CodePathNotFound, Op: "GetObject", On: adsPath(path), Err: metabase.NotFound}
	}
	return &Object{dir: d, path: key.Path, class: key.Class}, nil
}

func parsePath(adsPath string) (metabase.Path, error) {
	const scheme = "IIS://"
	if len(adsPath) < len(scheme) || !strings.EqualFold(adsPath[:len(scheme)], scheme) {
		return "", errors.New("the path must begin with IIS://")
	}
	host, rest, _ := strings.Cut(adsPath[len(scheme):], "/")
	if !isThisHost(host) {
		return "", fmt.Errorf("%q is not this machine: use LocalHost", host)
	}
	first, _, _ := strings.Cut(rest, "/")
	if strings.EqualFold(first, "Schema") {
		return metabase.ParsePath("/" + rest)
	}
	return metabase.ParsePath("/LM/" + rest)
}

func isThisHost(host string) bool {
	if strings.EqualFold(host, "LocalHost") || host == "." {
		return true
	}
	name, err := os.Hostname()
	return err == nil && host != "" && strings.EqualFold(host, name)
}

// adsPath writes a path as scripts know it.
func adsPath(p metabase.Path) string {
	rest := strings.TrimPrefix(string(p), "/")
	if first, after, _ := strings.Cut(rest, "/"); strings.EqualFold(first, "LM") {
		rest = after
	}
	return strings.TrimSuffix("IIS://LocalHost/"+rest, "/")
}
