// SPDX-License-Identifier: Apache-2.0

package control

import (
	"context"
	"iter"
	"path/filepath"
	"time"

	"restante/metabase"
	"restante/metabase/backup"
)

// The calls about backups.
const (
	MbBackup  Method[BackupRequest, Backup]   = "mb/backup"
	MbBackups Method[struct{}, []Backup]      = "mb/backups"
	MbRestore Method[RestoreRequest, Applied] = "mb/restore"
	MbVerify  Method[struct{}, Verified]      = "mb/verify"
)

// A Keeper confirms, takes back, and gives and takes what a backup holds.
type Keeper interface {
	Confirm(ctx context.Context, rev metabase.Rev) (metabase.Rev, error)
	Revert(ctx context.Context, rev metabase.Rev, below metabase.Path, b metabase.Batch) (metabase.Rev, error)
	Records(sealed bool) (rev metabase.Rev, proof []byte, records iter.Seq[[]byte])
	Replace(proof []byte) (*metabase.Replace, error)
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

func (d *Desk) aBackup(f backup.File) Backup {
	name := f.Name + ".md" + itoa(f.Version)
	return Backup{f.Name, f.Version, f.Time, f.Size, filepath.Join(d.backupDir(), name)}
}

func (d *Desk) backup(ctx context.Context, who Caller, q BackupRequest) (Backup, error) {
	// It holds every secret: only who may write them may make one.
	if err := d.allow(ctx, who, metabase.Root, metabase.AllRights); err != nil {
		return Backup{}, err
	}
	f, err := backup.Save(d.tree, d.backupDir(), q.Name, backup.Newest, q.Password)
	if err != nil {
		return Backup{}, err
	}
	return d.aBackup(f), nil
}

func (d *Desk) backups(ctx context.Context, who Caller, _ struct{}) ([]Backup, error) {
	if err := d.allow(ctx, who, metabase.Root, metabase.Read); err != nil {
		return nil, err
	}
	files, err := backup.List(d.backupDir())
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
		q.Version = backup.Newest
	}
	r, _, err := backup.Open(d.backupDir(), q.Name, q.Version)
	if err != nil {
		return Applied{}, err
	}
	defer r.Close()
	if q.DryRun {
		c, err := backup.Try(ctx, d.tree, r, q.Password, who.batch())
		if err != nil {
			return Applied{}, err
		}
		touches := d.touches(c)
		return Applied{Rev: c.Old.Rev(), DryRun: true, Changes: d.changes(c.Diff()), Touches: &touches}, nil
	}
	rev, err := backup.Restore(ctx, d.tree, r, q.Password, who.batch())
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
