// SPDX-License-Identifier: Apache-2.0

// Package mb answers the calls about the tree as a tree: what is in it, what
// was, batches in words, and the files that it goes to and comes from. A batch
// is made whole or not at all, a dry run tells what it would do and to whom, and
// nobody is told of a key that he may not read.
//
// Of the running sites it knows how much mail waits for which domain.
package mb

import (
	"restante/internal/control"
	"restante/internal/desk"
)

// A drawer is the part of a Desk with these calls.
type drawer struct{ *desk.Desk }

// Calls puts the handlers on a Desk.
func Calls(on *desk.Desk) {
	d := drawer{on}
	desk.On(on, control.MbGet, d.get)
	desk.On(on, control.MbShow, d.show)
	desk.On(on, control.MbList, d.list)
	desk.On(on, control.MbFind, d.findStored)
	desk.On(on, control.MbSchema, d.explainSchema)
	desk.On(on, control.MbApply, d.apply)
	desk.On(on, control.MbConfirm, d.confirm)
	desk.On(on, control.MbLog, d.log)
	desk.On(on, control.MbDiff, d.diff)
	desk.On(on, control.MbRevert, d.revert)
	desk.OnFlow(on, control.MbWatch, d.watch)
	desk.On(on, control.MbExport, d.export)
	desk.On(on, control.MbImport, d.importXML)
	desk.On(on, control.MbBackup, d.backup)
	desk.On(on, control.MbBackups, d.backups)
	desk.On(on, control.MbDeleteBackup, d.deleteBackup)
	desk.On(on, control.MbRestore, d.restore)
	desk.On(on, control.MbVerify, d.verify)
}
