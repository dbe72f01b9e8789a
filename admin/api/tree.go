// SPDX-License-Identifier: Apache-2.0

package api

import (
	"time"

	"restante/metabase"
)

// The calls that read the tree.
const (
	MbGet    Method[GetRequest, Item]          = "mb/get"
	MbShow   Method[ShowRequest, []Item]       = "mb/show"
	MbList   Method[ListRequest, []Key]        = "mb/ls"
	MbFind   Method[FindRequest, []Item]       = "mb/find"
	MbSchema Method[SchemaRequest, []Sentence] = "mb/schema"
)

// A GetRequest asks for one property: PATH PROP, or PATH/PROP in one word.
type GetRequest struct {
	Words   []string     `json:"words"`
	Partial bool         `json:"partial,omitempty"` // of the deepest key on the way that there is
	Stored  bool         `json:"stored,omitempty"`  // only what is stored there, to the octet
	Default bool         `json:"default,omitempty"` // only the schema's
	Rev     metabase.Rev `json:"rev,omitempty"`     // as of then; 0: now
}

// An Item is a property with its value, and where that comes from.
type Item struct {
	Path       metabase.Path     `json:"path"` // the key that was asked
	Property   string            `json:"property"`
	ID         metabase.ID       `json:"id"`
	Type       string            `json:"type"`
	Value      any               `json:"value"`
	Text       []string          `json:"text"` // the value as people read it, line by line
	Level      string            `json:"level"`
	From       metabase.Path     `json:"from,omitempty"` // the key that has it
	Attributes string            `json:"attributes"`     // of what is stored; of a default, those that it would get
	UserType   metabase.UserType `json:"user_type"`
	Locked     bool              `json:"locked,omitempty"`
	Made       *Made             `json:"made,omitempty"` // who put it there, where that is known
}

// The levels of an Item.
const (
	LevelStored    = "stored"
	LevelInherited = "inherited"
	LevelDefault   = "default"
)

// Made says which revision something comes from.
type Made struct {
	Rev     metabase.Rev       `json:"rev"`
	Time    time.Time          `json:"time,omitzero"`
	Actor   metabase.Principal `json:"actor,omitempty"`
	Origin  metabase.Origin    `json:"origin,omitempty"`
	Comment string             `json:"comment,omitempty"`
}

// A ShowRequest asks for the properties of a key.
type ShowRequest struct {
	Path string `json:"path"`
	All  bool   `json:"all,omitempty"` // what is inherited and the defaults, too
}

// A ListRequest asks for the keys below one, or with Deep for all of them.
type ListRequest struct {
	Path string `json:"path"`
	Deep bool   `json:"deep,omitempty"`
	Data bool   `json:"data,omitempty"` // with DataSet, which takes time where there are many
}

// A Key is a key of the tree.
type Key struct {
	Name       string        `json:"name"`
	Path       metabase.Path `json:"path"`
	Class      string        `json:"class"`
	Children   int           `json:"children"`
	Modified   time.Time     `json:"modified,omitzero"`
	LastChange time.Time     `json:"last_change,omitzero"`      // is Modified
	DataSet    uint64        `json:"data_set,string,omitempty"` // the same for keys with the same data; a string, because numbers in JSON are not so exact
}

// A FindRequest asks where a property is stored, at and below a path.
type FindRequest struct {
	Property    string `json:"property"`
	Path        string `json:"path"`
	Inheritable bool   `json:"inheritable,omitempty"` // only where keys below inherit it
}

// A SchemaRequest asks what a class or a property is; "" for a list of all.
type SchemaRequest struct {
	Name string `json:"name"`
}

// A Sentence explains a class or a property.
type Sentence struct {
	Name        string            `json:"name"`
	Kind        string            `json:"kind"` // class or property
	ID          metabase.ID       `json:"id,omitempty"`
	Type        string            `json:"type,omitempty"`
	Unit        string            `json:"unit,omitempty"`
	Default     any               `json:"default,omitempty"` // as a value is given by mb get; absent where there is none
	DefaultText []string          `json:"default_text,omitempty"`
	Min         *int64            `json:"min,omitempty"` // absent where every number is allowed
	Max         *int64            `json:"max,omitempty"`
	OrZero      bool              `json:"or_zero,omitempty"` // 0 is allowed, too
	Attributes  string            `json:"attributes,omitempty"`
	UserType    metabase.UserType `json:"user_type,omitempty"`
	Values      []NamedValue      `json:"values,omitempty"`
	Classes     []string          `json:"classes,omitempty"`
	Mandatory   []string          `json:"mandatory,omitempty"`
	Optional    []string          `json:"optional,omitempty"`
	Contains    []string          `json:"contains,omitempty"`
	Meaning     string            `json:"meaning,omitempty"`
	Text        string            `json:"text,omitempty"` // all of it, for people
}

// A NamedValue is a bit of a flag property or a value of an enumeration.
type NamedValue struct {
	Name    string `json:"name"`
	Value   int64  `json:"value"`
	Meaning string `json:"meaning"`
}
