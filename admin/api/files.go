// SPDX-License-Identifier: Apache-2.0

package api

import (
	"time"

	"restante/metabase"
	"restante/metabase/mbxml"
)

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
	Brief    bool   `json:"brief,omitempty"` // leave out the list of changes, which may be as long as the file
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
