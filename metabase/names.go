// SPDX-License-Identifier: Apache-2.0

package metabase

import (
	"restante/metabase/acl"
	"restante/metabase/internal/history"
	"restante/metabase/internal/problem"
	"restante/metabase/internal/watch"
	"restante/metabase/item"
	"restante/metabase/key"
)

// The names of keys and the kinds of errors are those of package key, the
// properties those of package item, the rights those of package acl. A Record is that
// of package history.
type (
	Path  = key.Path
	Kind  = key.Kind
	Error = key.Error

	ID       = item.ID
	Type     = item.Type
	Value    = item.Value
	Attr     = item.Attr
	UserType = item.UserType
	Property = item.Property
	Rev      = item.Rev

	Principal = acl.Principal
	Right     = acl.Right

	Record     = history.Record
	DiffLine   = history.DiffLine
	ChangeKind = history.ChangeKind
	Origin     = history.Origin

	Problem = problem.Problem
	Refused = problem.Refused

	Watch = watch.Watch
)

// Asterisks stand for a secret that is not shown.
const Asterisks = item.Asterisks

// Root is the path of the tree's root.
const Root = key.Root

// The kinds of errors.
const (
	NotFound = key.NotFound
	Invalid  = key.Invalid
	Conflict = key.Conflict
	Exists   = key.Exists
	Denied   = key.Denied
	InUse    = key.InUse
	Damaged  = key.Damaged
	Closed   = key.Closed
)

// The properties that the store acts on itself.
const (
	KeyType    = item.KeyType
	AccessList = item.AccessList
)

// The data types.
const (
	AnyType      = item.AnyType
	DWordType    = item.DWordType
	StringType   = item.StringType
	BinaryType   = item.BinaryType
	ExpandSZType = item.ExpandSZType
	MultiSZType  = item.MultiSZType
)

// The attributes.
const (
	Inherit          = item.Inherit
	Secure           = item.Secure
	Reference        = item.Reference
	Volatile         = item.Volatile
	IsInherited      = item.IsInherited
	InsertPath       = item.InsertPath
	LocalMachineOnly = item.LocalMachineOnly
	Locked           = item.Locked
)

// The user types.
const (
	UTServer = item.UTServer
	UTFile   = item.UTFile
	UTWAM    = item.UTWAM
	UTApp    = item.UTApp
)

// The rights.
const (
	Read        = acl.Read
	Write       = acl.Write
	WriteSecret = acl.WriteSecret
	Create      = acl.Create
	Delete      = acl.Delete
	Control     = acl.Control
	AllRights   = acl.AllRights
)

// The kinds of changes.
const (
	KeyAdded      = history.KeyAdded
	KeyRemoved    = history.KeyRemoved
	KeyMoved      = history.KeyMoved
	KeyRenamed    = history.KeyRenamed
	PropertySet   = history.PropertySet
	PropertyUnset = history.PropertyUnset
)

// ParsePath is that of package key.
func ParsePath(s string) (Path, error) { return key.ParsePath(s) }

// OneLine escapes the line breaks of a text that stands in a line, such as in an error.
func OneLine(s string) string { return key.OneLine(s) }

// IsStale is that of package key.
func IsStale(err error) bool { return key.IsStale(err) }

// DWord makes a 32-bit number.
func DWord(n uint32) Value { return item.DWord(n) }

// String makes a string.
func String(s string) Value { return item.String(s) }

// ExpandSZ makes a string that may hold %VARIABLES%.
func ExpandSZ(s string) Value { return item.ExpandSZ(s) }

// Binary makes a run of bytes, of which it takes a copy.
func Binary(b []byte) Value { return item.Binary(b) }

// MultiSZ makes a list of strings, of which it takes a copy.
func MultiSZ(s ...string) Value { return item.MultiSZ(s...) }
