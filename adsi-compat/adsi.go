// SPDX-License-Identifier: Apache-2.0

// Package adsi shows the metabase as the objects that administration scripts
// of IIS know: GetObject binds a path such as IIS://LocalHost/SMTPSVC/1, Get
// and Put work on a property cache, and SetInfo writes what was changed as one
// batch, which is applied completely or not at all.
//
// A script sees the keys that its author may read. An Object holds what it read
// of its key until GetInfo, or until its Directory changes anything; a volatile
// property is read at each call. An Object is used by one script at a time and
// holds no lock: another writer may change a value between its Get and its
// SetInfo. What SetInfo adds to a list, takes from it, or changes in a bit, it
// changes in what is there by then.
package adsi

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"restante/metabase"
	"restante/metabase/schema"
)

// A Tree is the metabase as one caller uses it.
type Tree interface {
	Reader

	// Apply commits ops as one batch, all of them or none; with a rev, only on
	// top of that one, and otherwise with the error metabase.Conflict.
	Apply(ctx context.Context, rev metabase.Rev, ops ...metabase.Op) error
}

// A Reader gives keys as the caller may see them. The error is metabase.Denied
// where the caller may not read p, whether p exists or not.
type Reader interface {
	Key(ctx context.Context, p metabase.Path) (Key, error)

	// Children gives the keys one level below p that the caller may read, in
	// order, all as of one revision.
	Children(ctx context.Context, p metabase.Path) ([]Key, error)

	// DataPaths gives the keys at and below p that store the property.
	DataPaths(ctx context.Context, p metabase.Path, id metabase.ID) ([]metabase.Path, error)
}

// ErrNoService is the error of a Tree for what only the running service can do.
var ErrNoService = errors.New("the service is needed and does not run")

// ErrStored is the error of a Tree for changes that are stored all the same, such as one
// that is not in force at every site.
var ErrStored = errors.New("the change is stored")

// A Directory binds paths to objects for one script.
type Directory struct {
	Strict bool // a property without a value is an error of Get

	tree   Tree
	schema *schema.Schema
	edits  int // batches so far: what was read before the last may be old

	open      bool     // within a transaction
	unwritten []func() // put back what each SetInfo of the transaction took from a cache
}

// New makes a Directory over a tree.
func New(tree Tree, s *schema.Schema) *Directory { return &Directory{tree: tree, schema: s} }

// Suggest is `; did you mean "x"?` with the nearest of names, or "".
func Suggest(typed string, names []string) string { return schema.Suggest(typed, names) }

// Codes that scripts compare with. They are those of ADSI and the metabase.
const (
	CodePathNotFound  = 0x80070003
	CodeAccessDenied  = 0x80070005
	CodeBadName       = 0x8007007B
	CodeAlreadyExists = 0x800700B7
	CodeInvalid       = 0x80070057
	CodeUnknownProp   = 0x80005006
	CodeNotSet        = 0x800CC801
	CodeNoService     = 0x80070426
	CodeNoHost        = 0x800706BA
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
	return fmt.Sprintf("%s: %s: %v (0x%08X)", e.Op, metabase.OneLine(e.On), e.Err, e.Code)
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
	case errors.Is(err, ErrNoService):
		code = CodeNoService
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

// Changed tells that the tree may have changed: what objects have read is old.
func (d *Directory) Changed() { d.edits++ }

// apply commits ops; with a rev, only on top of that.
func (d *Directory) apply(ctx context.Context, rev metabase.Rev, ops ...metabase.Op) error {
	if len(ops) == 0 {
		return nil
	}
	d.edits++
	return d.tree.Apply(ctx, rev, ops...)
}

// GetObject binds the key at an ADsPath: IIS://HOST/SERVICE/..., in any case,
// where HOST is LocalHost or a name or address of this machine and the leading
// /LM is left out. IIS://HOST alone is the machine.
func (d *Directory) GetObject(ctx context.Context, adsPath string) (*Object, error) {
	path, err := parsePath(ctx, adsPath)
	if errors.Is(err, errNoHost) {
		return nil, &Error{Code: CodeNoHost, Op: "GetObject", On: adsPath, Err: err}
	}
	if err != nil {
		return nil, &Error{Code: CodeBadName, Op: "GetObject", On: adsPath, Err: err}
	}
	return d.bind(ctx, path)
}

func (d *Directory) bind(ctx context.Context, path metabase.Path) (*Object, error) {
	key, err := d.tree.Key(ctx, path)
	if err != nil {
		return nil, d.wrap("GetObject", adsPath(path), err)
	}
	if !key.Exists {
		return nil, &Error{Code: CodePathNotFound, Op: "GetObject", On: adsPath(path), Err: metabase.NotFound}
	}
	return d.object(key), nil
}

// object makes the object of a key that was just read.
func (d *Directory) object(key Key) *Object {
	return &Object{dir: d, path: key.Path, class: key.Class, read: view{key, d.schema}, at: d.edits}
}

var errNoHost = errors.New("is not this machine, and no other one is reached from here: run it there, with LocalHost")

func parsePath(ctx context.Context, adsPath string) (metabase.Path, error) {
	const scheme = "IIS://"
	if len(adsPath) < len(scheme) || !strings.EqualFold(adsPath[:len(scheme)], scheme) {
		return "", errors.New("the path must begin with IIS://")
	}
	host, rest, _ := strings.Cut(adsPath[len(scheme):], "/")
	if host == "" {
		return "", errors.New("the path names no machine: IIS://LocalHost/SMTPSVC/1")
	}
	if !isThisHost(ctx, host) {
		return "", fmt.Errorf("%q %w", host, errNoHost)
	}
	first, _, _ := strings.Cut(rest, "/")
	if strings.EqualFold(first, "Schema") {
		return metabase.ParsePath("/" + rest)
	}
	return metabase.ParsePath("/LM/" + rest)
}

// isThisHost knows this machine by its names, with and without a domain, and by
// its addresses.
func isThisHost(ctx context.Context, host string) bool {
	if strings.EqualFold(host, "LocalHost") || host == "." {
		return true
	}
	if addr, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil {
		return isThisAddr(addr)
	}
	name, err := os.Hostname()
	if err != nil || name == "" {
		return false
	}
	short, _, _ := strings.Cut(name, ".")
	if strings.EqualFold(host, name) || strings.EqualFold(host, short) {
		return true
	}
	if first, _, _ := strings.Cut(host, "."); !strings.EqualFold(first, short) {
		return false // only our name is worth a question
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	return err == nil && slices.ContainsFunc(addrs, isThisAddr)
}

func isThisAddr(addr netip.Addr) bool {
	if addr.IsLoopback() {
		return true
	}
	addrs, err := net.InterfaceAddrs()
	return err == nil && slices.ContainsFunc(addrs, func(a net.Addr) bool {
		own, err := netip.ParsePrefix(a.String())
		return err == nil && own.Addr().Unmap() == addr.Unmap()
	})
}

// adsPath writes a path as scripts know it.
func adsPath(p metabase.Path) string {
	rest := strings.TrimPrefix(string(p), "/")
	if first, after, _ := strings.Cut(rest, "/"); strings.EqualFold(first, "LM") {
		rest = after
	}
	return strings.TrimSuffix("IIS://LocalHost/"+rest, "/")
}
