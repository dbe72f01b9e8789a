// SPDX-License-Identifier: Apache-2.0

package api

import (
	"encoding/json"
	"errors"
	"slices"

	"restante/metabase"
)

// MbRead reads keys with typed values, for programs. All pages are of one
// revision.
const MbRead Stream[ReadRequest, KeyPage] = "mb/read"

// A ReadRequest asks for one key with what it inherits, which need not exist.
type ReadRequest struct {
	Path     string      `json:"path"`
	Children bool        `json:"children,omitempty"` // then for the keys one level below it
	Storing  metabase.ID `json:"storing,omitempty"`  // only for the paths at and below it that store this
	After    []Line      `json:"after,omitempty"`    // as if these had been applied
	Packed   bool        `json:"packed,omitempty"`   // the answer is for a program of ours: it takes less time
}

// AsIf makes one of TreeReads, as if lines of a batch had been applied.
const AsIf Method[AsIfRequest, AsIfAnswer] = "as-if"

// TreeReads are the calls whose answer depends on the tree, and that change nothing.
var TreeReads = []string{
	string(MbGet), string(MbShow), string(MbList), string(MbFind), string(MbExport),
	string(SiteList), string(SiteShow), string(DomainList), string(DomainShow), string(TurnList),
	string(AccountList), string(Explain),
}

// Calls that change nothing, beside TreeReads, and those that the service alone answers.
var (
	otherReads = []string{
		string(MbSchema), string(MbRead), string(AsIf), string(MbLog), string(MbDiff), string(MbBackups), string(MbVerify), string(Complete),
		string(Status), string(MbWatch), string(Sessions), string(QueueList), string(QueueMessages), string(QueueShow), string(QueueTrace), string(QueueFollow), string(QueueCatalogue), string(TurnHistory),
		string(ExplainMessage),
	}
	serviceCalls = []string{
		string(Status), string(MbWatch), string(SiteCommand), string(SiteDelete), string(Sessions), string(EndSession),
		string(QueueList), string(QueueMessages), string(QueueShow), string(QueueFollow), string(QueueCatalogue), string(TurnHistory), string(QueueAct),
		string(QueueRelease), string(QueueExport), string(QueueImport),
	}
)

// Reads reports whether a call changes nothing.
func Reads(method string) bool {
	return slices.Contains(TreeReads, method) || slices.Contains(otherReads, method)
}

// NeedsService reports whether a call is answered with ErrNoService while no service
// runs.
func NeedsService(method string) bool { return slices.Contains(serviceCalls, method) }

// An AsIfRequest carries the request of the call.
type AsIfRequest struct {
	After   []Line          `json:"after"`
	Method  string          `json:"method"`
	Request json.RawMessage `json:"request"`
}

// An AsIfAnswer carries the answer of the call.
type AsIfAnswer struct {
	Rev    metabase.Rev    `json:"rev"` // that the lines would be applied to
	Answer json.RawMessage `json:"answer"`
}

// A KeyPage is a part of the answer.
type KeyPage struct {
	Rev    metabase.Rev `json:"rev"` // that was read, or that After would be applied to
	Keys   []KeyData    `json:"keys"`
	Packed []byte       `json:"packed,omitempty"` // instead of Keys: what adsi.UnpackKeys reads
}

// KeyData is a key with its properties. Only the first key of an answer has what
// it inherits.
type KeyData struct {
	Path      metabase.Path `json:"path"`
	Class     string        `json:"class,omitempty"`
	Exists    bool          `json:"exists,omitempty"`
	Stored    []Property    `json:"stored,omitempty"`
	Inherited []Property    `json:"inherited,omitempty"`
}

// A Property is a property with a typed value. The value of a secure one goes to
// the service, and never comes from it.
type Property struct {
	ID       metabase.ID       `json:"id"`
	Attr     metabase.Attr     `json:"attr,omitempty"`
	UserType metabase.UserType `json:"user_type,omitempty"`
	Type     metabase.Type     `json:"type"`
	Number   uint32            `json:"number,omitempty"`
	Text     []string          `json:"text,omitempty"`
	Octets   []byte            `json:"octets,omitempty"`
}

// PropertyOf converts p, which a store could take.
func PropertyOf(p metabase.Property) Property {
	out := Property{ID: p.ID, Attr: p.Attr, UserType: p.UserType, Type: p.Value.Type()}
	switch v := p.Value; v.Type() {
	case metabase.DWordType:
		out.Number = v.DWord()
	case metabase.BinaryType:
		out.Octets = v.Bytes()
	case metabase.MultiSZType:
		out.Text = v.Strings()
	default:
		out.Text = []string{v.Str()}
	}
	return out
}

// Property converts p back.
func (p Property) Property() (metabase.Property, error) {
	out := metabase.Property{ID: p.ID, Attr: p.Attr, UserType: p.UserType}
	text := ""
	if len(p.Text) > 0 {
		text = p.Text[0]
	}
	switch p.Type {
	case metabase.DWordType:
		out.Value = metabase.DWord(p.Number)
	case metabase.StringType:
		out.Value = metabase.String(text)
	case metabase.ExpandSZType:
		out.Value = metabase.ExpandSZ(text)
	case metabase.BinaryType:
		out.Value = metabase.Binary(p.Octets)
	case metabase.MultiSZType:
		out.Value = metabase.MultiSZ(p.Text...)
	default:
		return out, errors.New("a value has no type")
	}
	return out, nil
}
