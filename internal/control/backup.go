// SPDX-License-Identifier: Apache-2.0

package control

import (
	"context"
	"io"
	"path/filepath"
	"time"

	"restante/metabase"
)

// The calls about backups.
const (
	MbBackup  Method[BackupRequest, Backup]   = "mb/backup"
	MbBackups Method[struct{}, []Backup]      = "mb/backups"
	MbRestore Method[RestoreRequest, Applied] = "mb/restore"
	MbVerify  Method[struct{}, Verified]      = "mb/verify"
)

// A Keeper confirms, takes back, and makes and reads backups.
type Keeper interface {
	Confirm(ctx context.Context, rev metabase.Rev) (metabase.Rev, error)
	Revert(ctx context.Context, rev metabase.Rev, below metabase.Path, b metabase.Batch) (metabase.Rev, error)
	SaveBackup(dir, name string, version int, password string) (metabase.BackupFile, error)
	Restore(ctx context.Context, r io.Reader, password string, b metabase.Batch) (metabase.Rev, error)
	TryRestore(ctx context.Context, r io.Reader, password string, b metabase.Batch) (metabase.Change, error)
	Verify(ctx context.Context) error
}

// A BackupRequest names a backup. With a password any machine can restore it.
type BackupRequest struct {
	Name     string `json:"name"`
	Password string `json:"password,omitempty"`
}

// A Backup is one that there is.
type Backup struct {
	Name    string    `json:"name"`
	Version int       `json:"version"`
	Time    time.Time `json:"time"`
	Bytes   int64     `json:"bytes"`
	File    string    `json:"file"`
}

// A RestoreRequest names a backup, with version -1 the newest of that name.
type RestoreRequest struct {
	Name     string `json:"name"`
	Version  int    `json:"version"`
	Password string `json:"password,omitempty"`
	DryRun   bool   `json:"dry_run,omitempty"`
}

// Verified says that the store is whole.
type Verified struct {
	Rev  metabase.Rev `json:"rev"`
	Keys int          `json:"keys"`
}

func (d *Desk) backupDir() string { return filepath.Join(d.place.Data, "backups") }

func (d *Desk) aBackup(f metabase.BackupFile) Backup {
	name := f.Name + ".md" + itoa(f.Version)
	return Backup{f.Name, f.Version, f.Time, f.Size, filepath.Join(d.backupDir(), name)}
}

func (d *Desk) backup(ctx context.Context, who Caller, q BackupRequest) (Backup, error) {
	// It holds every secret: only who may write them may make one.
	if err := d.allow(ctx, who, metabase.Root, metabase.AllRights); err != nil {
		return Backup{}, err
	}
	f, err := d.tree.SaveBackup(d.backupDir(), q.Name, metabase.NewestVersion, q.Password)
	if err != nil {
		return Backup{}, err
	}
	return d.aBackup(f), nil
}

func (d *Desk) backups(ctx context.Context, who Caller, _ struct{}) ([]Backup, error) {
	if err := d.allow(ctx, who, metabase.Root, metabase.Read); err != nil {
		return nil, err
	}
	files, err := metabase.Backups(d.backupDir())
	if err != nil {
		return nil, err
	}
	out := []Backup{}
	for _, f := range files {
		out = append(out, d.aBackup(f))
	}
	return out, nil
}

func (d *Desk) restore(ctx context.Context, who Caller, q RestoreRequest) (Applied, error) {
	if err := d.allow(ctx, who, metabase.Root, metabase.AllRights); err != nil {
		return Applied{}, err
	}
	if q.Version < 0 {
		q.Version = metabase.NewestVersion
	}
	r, _, err := metabase.OpenBackup(d.backupDir(), q.Name, q.Version)
	if err != nil {
		return Applied{}, err
	}
	defer r.Close()
	if q.DryRun {
		c, err := d.tree.TryRestore(ctx, r, q.Password, who.batch())
		if err != nil {
			return Applied{}, err
		}
		touches := d.touches(c)
		return Applied{Rev: c.Old.Rev(), DryRun: true, Changes: d.changes(c.Diff()), Touches: &touches}, nil
	}
	rev, err := d.tree.Restore(ctx, r, q.Password, who.batch())
	if err != nil {
		return Applied{}, err
	}
	a := Applied{Rev: rev, Changes: []Change{}}
	if rec, err := d.tree.Record(ctx, rev); err == nil {
		a.Changes = d.changes(rec.Changes)
	}
	return a, nil
}

func (d *Desk) verify(ctx context.Context, who Caller, _ struct{}) (Verified, error) {
	if err := d.allow(ctx, who, metabase.Root, metabase.Read); err != nil {
		return Verified{}, err
	}
	if err := d.tree.Verify(ctx); err != nil {
		return Verified{}, err
	}
	snap := d.tree.Snapshot()
	n := 0
	for range snap.Walk(metabase.Root) {
		n++
	}
	return Verified{snap.Rev(), n}, nil
}
