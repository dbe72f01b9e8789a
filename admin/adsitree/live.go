// SPDX-License-Identifier: Apache-2.0

package adsitree

import (
	"context"
	"errors"

	"restante/admin/api"
	adsi "restante/adsi-compat"
)

// Backup implements adsi.Backups.
func (t *Tree) Backup(ctx context.Context, name, password string) error {
	if err := t.OwnChange(); err != nil || t.dryRun {
		return err
	}
	_, _, err := api.MbBackup.Call(ctx, t.conn, api.BackupRequest{Name: name, Password: password})
	return err
}

// Backups implements adsi.Backups.
func (t *Tree) Backups(ctx context.Context) (out []adsi.Backup, err error) {
	list, _, err := api.MbBackups.Call(ctx, t.conn, struct{}{})
	for _, b := range list {
		out = append(out, adsi.Backup{Name: b.Name, Version: b.Version, Time: b.Time})
	}
	return out, err
}

var errNotTried = errors.New("a dry run cannot try it in a script: use mb restore --dry-run or mb import --dry-run")

// mayReplace says why a Restore or an Import may not be made now.
func (t *Tree) mayReplace() error {
	if t.dryRun {
		return errNotTried
	}
	return t.OwnChange()
}

// Restore implements adsi.Backups.
func (t *Tree) Restore(ctx context.Context, name string, version int, password string) error {
	if err := t.mayReplace(); err != nil {
		return err
	}
	_, _, err := api.MbRestore.Call(ctx, t, api.RestoreRequest{Name: name, Version: version, Password: password})
	return err
}

// DeleteBackup implements adsi.Backups.
func (t *Tree) DeleteBackup(ctx context.Context, name string, version int) error {
	if err := t.OwnChange(); err != nil || t.dryRun {
		return err
	}
	_, _, err := api.MbDeleteBackup.Call(ctx, t.conn, api.DeleteRequest{Name: name, Version: version})
	return err
}

// Export implements adsi.Files.
func (t *Tree) Export(ctx context.Context, path string, inherited, nodeOnly bool) ([]byte, error) {
	x, _, err := api.MbExport.Call(ctx, t, api.ExportRequest{Path: path, Inherited: inherited, NodeOnly: nodeOnly})
	return x.XML, err
}

// Import implements adsi.Files.
func (t *Tree) Import(ctx context.Context, xml []byte, at string, merge, nodeOnly bool) error {
	if err := t.mayReplace(); err != nil {
		return err
	}
	_, _, err := api.MbImport.Call(ctx, t, api.ImportRequest{XML: xml, At: at, Merge: merge, NodeOnly: nodeOnly, Brief: true})
	return err
}

// Sessions implements adsi.Live.
func (t *Tree) Sessions(ctx context.Context, site int) (out []adsi.Session, err error) {
	list, _, err := api.Sessions.Call(ctx, t.conn, api.SiteRequest{Site: site})
	for _, s := range list {
		out = append(out, adsi.Session{
			ID: string(s.ID), User: s.Account, Address: s.Remote.String(), Hello: s.Hello,
			Activity: s.Activity, TLS: s.TLS, Since: s.Since,
		})
	}
	return out, marked(err)
}

// EndSession implements adsi.Live.
func (t *Tree) EndSession(ctx context.Context, site int, id string) error {
	if err := t.OwnChange(); err != nil || t.dryRun {
		return err
	}
	_, _, err := api.EndSession.Call(ctx, t.conn, api.EndRequest{Site: site, ID: id, All: id == ""})
	return marked(err)
}

// Waiting implements adsi.Live.
func (t *Tree) Waiting(ctx context.Context, site int) (queued, held int, err error) {
	s, _, err := api.SiteShow.Call(ctx, t.conn, api.SiteRequest{Site: site})
	if err == nil && s.QueueClosed {
		err = errors.New("its queue is not open, and what waits is not known: start the site")
	}
	return s.Messages, s.Held, marked(err)
}
