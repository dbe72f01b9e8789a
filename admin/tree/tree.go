// SPDX-License-Identifier: Apache-2.0

// Package mb answers the calls about the tree as a tree: what is in it, what
// was, batches in words, and the files that it goes to and comes from. A batch
// is made whole or not at all, a dry run tells what it would do and to whom, and
// nobody is told of a key that he may not read.
//
// Of the running sites it knows how much mail waits for which domain.
package tree

import (
	"restante/admin"
	"restante/admin/api"
)

// A drawer is the part of a Desk with these calls.
type drawer struct{ *admin.Desk }

// Calls puts the handlers on a Desk.
func Calls(on *admin.Desk) {
	d := drawer{on}
	admin.On(on, api.MbGet, d.get)
	admin.On(on, api.MbShow, d.show)
	admin.On(on, api.MbList, d.list)
	admin.On(on, api.MbFind, d.findStored)
	admin.On(on, api.MbSchema, d.explainSchema)
	admin.On(on, api.MbApply, d.apply)
	admin.On(on, api.MbConfirm, d.confirm)
	admin.On(on, api.MbLog, d.log)
	admin.On(on, api.MbDiff, d.diff)
	admin.On(on, api.MbRevert, d.revert)
	admin.OnFlow(on, api.MbWatch, d.watch)
	admin.On(on, api.MbExport, d.export)
	admin.On(on, api.MbImport, d.importXML)
	admin.On(on, api.MbBackup, d.backup)
	admin.On(on, api.MbBackups, d.backups)
	admin.On(on, api.MbDeleteBackup, d.deleteBackup)
	admin.On(on, api.MbRestore, d.restore)
	admin.On(on, api.MbVerify, d.verify)
}
