// SPDX-License-Identifier: Apache-2.0

// Package tree answers the calls about the tree as a tree: what is in it, what
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

// handlers are the part of an API with these calls.
type handlers struct{ *admin.API }

// Register registers the handlers.
func Register(on *admin.API) {
	d := handlers{on}
	admin.Handle(on, api.MbGet, d.get)
	admin.Handle(on, api.MbShow, d.show)
	admin.Handle(on, api.MbList, d.list)
	admin.Handle(on, api.MbFind, d.findStored)
	admin.Handle(on, api.MbSchema, d.explainSchema)
	admin.Handle(on, api.MbApply, d.apply)
	admin.Handle(on, api.MbConfirm, d.confirm)
	admin.Handle(on, api.MbLog, d.log)
	admin.Handle(on, api.MbDiff, d.diff)
	admin.Handle(on, api.MbRevert, d.revert)
	admin.HandleStream(on, api.MbWatch, d.watch)
	admin.Handle(on, api.MbExport, d.export)
	admin.Handle(on, api.MbImport, d.importXML)
	admin.Handle(on, api.MbBackup, d.backup)
	admin.Handle(on, api.MbBackups, d.backups)
	admin.Handle(on, api.MbDeleteBackup, d.deleteBackup)
	admin.Handle(on, api.MbRestore, d.restore)
	admin.Handle(on, api.MbVerify, d.verify)
}
