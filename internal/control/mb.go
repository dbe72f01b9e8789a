// SPDX-License-Identifier: Apache-2.0

package control

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
	Stored  bool         `json:"stored,omitempty"`  // only what is stored there
	Default bool         `json:"default,omitempty"` // only the schema's
	Rev     metabase.Rev `json:"rev,omitempty"`     // as of then; 0: now
}

// An Item is a property with its value, and where that comes from.
type Item struct {
	Path     metabase.Path `json:"path"` // the key that was asked
	Property string        `json:"property"`
	ID       metabase.ID   `json:"id"`
	Type     string        `json:"type"`
	Value    any           `json:"value"`
	Text     []string      `json:"text"` // the value as people read it, line by line
	Level    string        `json:"level"`
	From     metabase.Path `json:"from,omitempty"` // the key that has it
	Locked   bool          `json:"locked,omitempty"`
	Made     *Made         `json:"made,omitempty"` // who put it there, where that is known
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
}

// A Key is a key of the tree.
type Key struct {
	Name     string        `json:"name"`
	Path     metabase.Path `json:"path"`
	Class    string        `json:"class"`
	Children int           `json:"children"`
	Modified time.Time     `json:"modified,omitzero"`
}

// A FindRequest asks where a property is stored, at and below a path.
type FindRequest struct {
	Property string `json:"property"`
	Path     string `json:"path"`
}

// A SchemaRequest asks what a class or a property is; "" for a list of all.
type SchemaRequest struct {
	Name string `json:"name"`
}

// A Sentence explains a class or a property.
type Sentence struct {
	Name      string      `json:"name"`
	Kind      string      `json:"kind"` // class or property
	ID        metabase.ID `json:"id,omitempty"`
	Type      string      `json:"type,omitempty"`
	Unit      string      `json:"unit,omitempty"`
	Default   string      `json:"default,omitempty"`
	Classes   []string    `json:"classes,omitempty"`
	Mandatory []string    `json:"mandatory,omitempty"`
	Optional  []string    `json:"optional,omitempty"`
	Contains  []string    `json:"contains,omitempty"`
	Meaning   string      `json:"meaning,omitempty"`
	Text      string      `json:"text,omitempty"` // all of it, for people
}
