// SPDX-License-Identifier: Apache-2.0

package mb

import (
	"context"
	"path/filepath"
	"strconv"

	"restante/internal/control"
	"restante/metabase"
	"restante/metabase/backup"
)

func (d drawer) backupDir() string { return filepath.Join(d.Place.Data, "backups") }

func (d drawer) aBackup(f backup.File) control.Backup {
	name := f.Name + ".md" + strconv.Itoa(f.Version)
	return control.Backup{Name: f.Name, Version: f.Version, Time: f.Time, Bytes: f.Size, File: filepath.Join(d.backupDir(), name)}
}

func (d drawer) backup(ctx context.Context, who control.Caller, q control.BackupRequest) (control.Backup, error) {
	// It holds every secret: only who may write them may make one.
	if err := d.Allow(ctx, who, metabase.Root, metabase.AllRights); err != nil {
		return control.Backup{}, err
	}
	f, err := backup.Save(d.Tree, d.backupDir(), q.Name, backup.Newest, q.Password)
	if err != nil {
		return control.Backup{}, err
	}
	return d.aBackup(f), nil
}

func (d drawer) backups(ctx context.Context, who control.Caller, _ struct{}) ([]control.Backup, error) {
	if err := d.Allow(ctx, who, metabase.Root, metabase.Read); err != nil {
		return nil, err
	}
	files, err := backup.List(d.backupDir())
	if err != nil {
		return nil, err
	}
	out := []control.Backup{}
	for _, f := range files {
		out = append(out, d.aBackup(f))
	}
	return out, nil
}

func (d drawer) restore(ctx context.Context, who control.Caller, q control.RestoreRequest) (control.Applied, error) {
	if err := d.Allow(ctx, who, metabase.Root, metabase.AllRights); err != nil {
		return control.Applied{}, err
	}
	r, _, err := backup.Open(d.backupDir(), q.Name, q.Version)
	if err != nil {
		return control.Applied{}, err
	}
	defer r.Close()
	if q.DryRun {
		c, err := backup.Try(ctx, d.Tree, r, q.Password, who.Batch())
		if err != nil {
			return control.Applied{}, err
		}
		return d.tried(who, c), nil
	}
	before := d.Tree.Snapshot().Rev()
	rev, err := backup.Restore(ctx, d.Tree, r, q.Password, who.Batch())
	if err != nil {
		return control.Applied{}, err
	}
	return d.made(ctx, who, before, rev), nil
}

func (d drawer) deleteBackup(ctx context.Context, who control.Caller, q control.DeleteRequest) (control.Backup, error) {
	if err := d.Allow(ctx, who, metabase.Root, metabase.AllRights); err != nil {
		return control.Backup{}, err
	}
	f, err := backup.Delete(d.backupDir(), q.Name, q.Version)
	if err != nil {
		return control.Backup{}, err
	}
	return d.aBackup(f), nil
}

func (d drawer) verify(ctx context.Context, who control.Caller, _ struct{}) (control.Verified, error) {
	if err := d.Allow(ctx, who, metabase.Root, metabase.Read); err != nil {
		return control.Verified{}, err
	}
	if err := d.Tree.Verify(ctx); err != nil {
		return control.Verified{}, err
	}
	snap := d.Tree.Snapshot()
	n := 0
	for range snap.Walk(metabase.Root) {
		n++
	}
	return control.Verified{Rev: snap.Rev(), Keys: n}, nil
}
