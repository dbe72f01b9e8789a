// SPDX-License-Identifier: Apache-2.0

package api

import (
	"time"

	"restante/metabase"
	"restante/metabase/mbxml"
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
	Words   []string      `json:"words"`
	Partial bool          `json:"partial,omitempty"` // of the deepest existing key of the path
	Stored  bool          `json:"stored,omitempty"`  // only the value stored there, to the octet
	Default bool          `json:"default,omitempty"` // only the schema's default
	Rev     *metabase.Rev `json:"rev,omitempty"`     // as of this revision, 0 for the empty tree; nil: the newest
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

// The calls about MetaBase.xml.
const (
	MbExport Method[ExportRequest, Exported] = "mb/export"
	MbImport Method[ImportRequest, Imported] = "mb/import"
)

// An ExportRequest asks for the keys at and below a path.
type ExportRequest struct {
	Path      string `json:"path"`
	Inherited bool   `json:"inherited,omitempty"` // also the properties that the topmost key inherits
	NodeOnly  bool   `json:"node_only,omitempty"` // without the keys below it
}

// Exported is the file. It travels as octets, because JSON text would replace
// what is not UTF-8.
type Exported struct {
	XML     []byte       `json:"xml"`
	Rev     metabase.Rev `json:"rev"`
	Secrets int          `json:"secrets"` // secure values that were left empty
}

// An ImportRequest carries a MetaBase.xml, one of ours or of IIS.
type ImportRequest struct {
	XML      []byte `json:"xml"`
	At       string `json:"at,omitempty"`
	Merge    bool   `json:"merge,omitempty"`
	NodeOnly bool   `json:"node_only,omitempty"` // the topmost key alone
	DryRun   bool   `json:"dry_run,omitempty"`
	Fragment bool   `json:"fragment,omitempty"` // the file may be elements of keys with nothing around them
	Brief    bool   `json:"brief,omitempty"`    // leave out the list of changes, which may be as long as the file
}

// MaxRequest bounds one request, in octets: an import carries its whole file.
const MaxRequest = 512 << 20

// MaxImport bounds a file that an import carries, in octets: base64 makes four
// of each three.
const MaxImport = MaxRequest/4*3 - 1<<20

// Imported is the result of an import or of its dry run.
type Imported struct {
	Applied
	Report *mbxml.Report `json:"report"`
}

// The calls about backups.
const (
	MbBackup       Method[BackupRequest, Backup]   = "mb/backup"
	MbBackups      Method[struct{}, []Backup]      = "mb/backups"
	MbDeleteBackup Method[DeleteRequest, Backup]   = "mb/backups/delete"
	MbRestore      Method[RestoreRequest, Applied] = "mb/restore"
	MbVerify       Method[struct{}, Verified]      = "mb/verify"
)

// A BackupRequest names a backup. With a password any machine can restore it.
type BackupRequest struct {
	Name     string `json:"name"`
	Password string `json:"password,omitempty"`
}

// A Backup describes one version of a backup.
type Backup struct {
	Name    string    `json:"name"`
	Version int       `json:"version"`
	Time    time.Time `json:"time"`
	Bytes   int64     `json:"bytes"`
	File    string    `json:"file"`

	Pending []PendingPart `json:"pending,omitempty"` // of one just made: what in it is not confirmed
}

// A PendingPart is a key, or a property of it, that a revision changed which is not
// confirmed.
type PendingPart struct {
	Rev      metabase.Rev  `json:"rev"`
	Until    time.Time     `json:"until"`
	Path     metabase.Path `json:"path"`
	Property string        `json:"property,omitempty"`
}

// A DeleteRequest names a backup, with version -1 the newest of that name.
type DeleteRequest struct {
	Name    string `json:"name"`
	Version int    `json:"version"`
}

// A RestoreRequest names a backup, with version -1 the newest of that name.
type RestoreRequest struct {
	Name     string `json:"name"`
	Version  int    `json:"version"`
	Password string `json:"password,omitempty"`
	DryRun   bool   `json:"dry_run,omitempty"`
}

// Verified is the result of a verification without errors.
type Verified struct {
	Rev  metabase.Rev `json:"rev"`
	Keys int          `json:"keys"`
}
