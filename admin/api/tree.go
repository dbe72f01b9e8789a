// SPDX-License-Identifier: Apache-2.0

package api

import (
	"time"

	"restante/metabase"
)

// The calls that read the tree.
const (
	MbGet    Method[GetRequest, Item]             = "mb/get"
	MbShow   Method[ShowRequest, []Item]          = "mb/show"
	MbList   Method[ListRequest, []Key]           = "mb/ls"
	MbFind   Method[FindRequest, []Item]          = "mb/find"
	MbSchema Method[SchemaRequest, []Description] = "mb/schema"
)

// A GetRequest asks for one property: PATH PROP, or PATH/PROP in one word.
type GetRequest struct {
	Words   []string     `json:"words"`
	Partial bool         `json:"partial,omitempty"` // of the deepest existing key of the path
	Stored  bool         `json:"stored,omitempty"`  // only the value stored there, to the octet
	Default bool         `json:"default,omitempty"` // only the schema's default
	Rev     metabase.Rev `json:"rev,omitempty"`     // as of this revision; 0: the newest
}

// An Item is a property with its value and the key that it comes from.
type Item struct {
	Path       metabase.Path     `json:"path"` // the key in question
	Property   string            `json:"property"`
	ID         metabase.ID       `json:"id"`
	Type       string            `json:"type"`
	Value      any               `json:"value"`
	Text       []string          `json:"text"` // the value as it is printed, line by line
	Level      string            `json:"level"`
	From       metabase.Path     `json:"from,omitempty"` // the key that stores it
	Attributes string            `json:"attributes"`     // stored ones; of a default, those of the schema
	UserType   metabase.UserType `json:"user_type"`
	Locked     bool              `json:"locked,omitempty"`
	Made       *Provenance       `json:"made,omitempty"` // the revision that stored it, where known
}

// The levels of an Item.
const (
	LevelStored    = "stored"
	LevelInherited = "inherited"
	LevelDefault   = "default"
)

// Provenance is the revision that something comes from.
type Provenance struct {
	Rev     metabase.Rev       `json:"rev"`
	Time    time.Time          `json:"time,omitzero"`
	Actor   metabase.Principal `json:"actor,omitempty"`
	Origin  metabase.Origin    `json:"origin,omitempty"`
	Comment string             `json:"comment,omitempty"`
}

// A ShowRequest asks for the properties of a key.
type ShowRequest struct {
	Path string `json:"path"`
	All  bool   `json:"all,omitempty"` // also inherited and default values
}

// A ListRequest asks for the child keys of a key or, with Deep, for all keys
// below it.
type ListRequest struct {
	Path string `json:"path"`
	Deep bool   `json:"deep,omitempty"`
	Data bool   `json:"data,omitempty"` // with DataSet, which is slow for many keys
}

// A Key is a key of the tree.
type Key struct {
	Name       string        `json:"name"`
	Path       metabase.Path `json:"path"`
	Class      string        `json:"class"`
	Children   int           `json:"children"`
	Modified   time.Time     `json:"modified,omitzero"`
	LastChange time.Time     `json:"last_change,omitzero"`      // is Modified
	DataSet    uint64        `json:"data_set,string,omitempty"` // equal for keys with equal data; a string, because JSON numbers are not exact
}

// A FindRequest asks for the keys at and below a path that store a property.
type FindRequest struct {
	Property    string `json:"property"`
	Path        string `json:"path"`
	Inheritable bool   `json:"inheritable,omitempty"` // only keys that pass it on
}

// A SchemaRequest names a class or a property; "" means all.
type SchemaRequest struct {
	Name string `json:"name"`
}

// A Description explains a class or a property.
type Description struct {
	Name        string            `json:"name"`
	Kind        string            `json:"kind"` // class or property
	ID          metabase.ID       `json:"id,omitempty"`
	Type        string            `json:"type,omitempty"`
	Unit        string            `json:"unit,omitempty"`
	Default     any               `json:"default,omitempty"` // in the form of mb get; absent where there is none
	DefaultText []string          `json:"default_text,omitempty"`
	Min         *int64            `json:"min,omitempty"` // absent where there is no bound
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
	Text        string            `json:"text,omitempty"` // the whole description, as printed
}

// A NamedValue is a bit of a flag property or a value of an enumeration.
type NamedValue struct {
	Name    string `json:"name"`
	Value   int64  `json:"value"`
	Meaning string `json:"meaning"`
}
