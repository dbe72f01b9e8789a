// SPDX-License-Identifier: Apache-2.0

// Package tree answers the calls about the tree as a tree: what is in it, what
// was, batches in words, and the files that it goes to and comes from. A batch
// is made whole or not at all, a dry run tells what it would do and to whom, and
// nobody is told of a key that he may not read.
//
// Of the running sites it knows how much mail waits for which domain.
package tree

import (
	"context"

	"restante/admin"
	"restante/admin/api"
	"restante/metabase"
)

// handlers are the part of an API with these calls.
type handlers struct{ *admin.API }

// Register registers the handlers.
func Register(on *admin.API) {
	on.AddPart(Register)
	d := handlers{on}
	admin.HandleStream(on, api.MbRead, d.read)
	admin.Handle(on, api.AsIf, d.asIf)
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

// made shows the caller what the revision changed that was made in his name
// after before. Where that is the same nothing was, and what the revision
// itself once changed is not told.
func (d handlers) made(ctx context.Context, who api.Caller, before, rev metabase.Rev) api.Applied {
	a := api.Applied{Rev: rev, Changes: []api.Change{}}
	if a.Made = rev > before; !a.Made {
		return a
	}
	r, err := d.Tree.Record(ctx, rev)
	if err != nil {
		return a // it is made; the history has dropped it already
	}
	if v, err := d.ViewRecord(ctx, who, r); err == nil {
		a.Changes = d.changes(v.Lines(r.Changes))
	}
	return a
}

// tried shows the caller what a batch would change, and what that touches.
func (d handlers) tried(who api.Caller, c metabase.Change) api.Applied {
	v := metabase.ChangeView{Who: who.Who, Now: c.Old, Before: c.Old, After: c.New}
	touches := d.touches(v, c)
	return api.Applied{Rev: c.Old.Rev(), DryRun: true, Changes: d.changes(v.Lines(c.Diff())), Touches: &touches}
}

// belowIt is why something is refused that would show what is below it.
const belowIt = "the right to read all that is below it is missing"

// whole asks for the right to read a key with all that is below it.
func (d handlers) whole(ctx context.Context, who api.Caller, v *metabase.View, p metabase.Path) error {
	at, hidden := v.Hidden(p)
	switch {
	case !hidden:
		return nil
	case at.Equal(p):
		return d.Deny(ctx, who, p, metabase.Read, p, "")
	}
	return d.Deny(ctx, who, at, metabase.Read, p, belowIt)
}
