// SPDX-License-Identifier: Apache-2.0

package tree

import (
	"context"
	"fmt"
	"iter"
	"path/filepath"
	"strconv"
	"time"

	"restante/admin"
	"restante/admin/api"
	"restante/internal/progress"
	"restante/metabase"
	"restante/metabase/backup"
	"restante/metabase/schema"
)

func (d handlers) backupDir() string { return filepath.Join(d.Env.Data, "backups") }

func (d handlers) aBackup(f backup.File) api.Backup {
	name := f.Name + ".md" + strconv.Itoa(f.Version)
	return api.Backup{Name: f.Name, Version: f.Version, Time: f.Time, Bytes: f.Size, File: filepath.Join(d.backupDir(), name)}
}

func (d handlers) backup(ctx context.Context, who api.Caller, q api.BackupRequest) (api.Backup, error) {
	// It holds every secret: only who may write them may make one.
	if err := d.Allow(ctx, who, metabase.Root, metabase.AllRights); err != nil {
		return api.Backup{}, err
	}
	f, err := backup.Save(counted{d.Tree, progress.From(ctx)}, d.backupDir(), q.Name, backup.Newest, backup.Options{Password: q.Password})
	if err != nil {
		return api.Backup{}, err
	}
	out := d.aBackup(f)
	out.Pending = d.pendingOf(ctx, f.Pending, "is not confirmed")
	return out, nil
}

// pendingOf gives what of a backup was not confirmed, and notes it.
func (d handlers) pendingOf(ctx context.Context, list []metabase.PendingPart, text string) (out []api.PendingPart) {
	const most = 20 // notes
	for i, p := range list {
		one := api.PendingPart{Rev: p.Rev, Until: p.Until, Path: p.Path}
		subject := string(p.Path)
		if p.ID != 0 {
			one.Property = p.ID.String()
			if prop, ok := d.Schema.ByID(p.ID); ok {
				one.Property = prop.Label()
			}
			subject = string(p.Path.Join(one.Property))
		}
		out = append(out, one)
		switch {
		case i < most:
			api.Note(ctx, subject, fmt.Sprintf("%s: revision %d, to be confirmed by %s", text, p.Rev, p.Until.UTC().Format(time.RFC3339)))
		case i == most:
			api.Note(ctx, "backup", fmt.Sprintf("%d more parts: %s", len(list)-most, text))
		}
	}
	return out
}

func (d handlers) backups(ctx context.Context, who api.Caller, _ struct{}) ([]api.Backup, error) {
	if err := d.Allow(ctx, who, metabase.Root, metabase.Read); err != nil {
		return nil, err
	}
	files, err := backup.List(d.backupDir())
	if err != nil {
		return nil, err
	}
	out := []api.Backup{}
	for _, f := range files {
		out = append(out, d.aBackup(f))
	}
	return out, nil
}

// restore keeps the schema: it belongs to the version that runs, also if an earlier
// one made the backup.
func (d handlers) restore(ctx context.Context, who api.Caller, q api.RestoreRequest) (api.Applied, error) {
	if err := d.Allow(ctx, who, metabase.Root, metabase.AllRights); err != nil {
		return api.Applied{}, err
	}
	file, about, err := backup.Open(d.backupDir(), q.Name, q.Version)
	if err != nil {
		return api.Applied{}, err
	}
	defer file.Close()
	r := progress.From(ctx).Reader(file, int(about.Size))
	if q.DryRun {
		c, info, err := backup.Try(ctx, d.Tree, r, q.Password, who.Batch(), schema.SchemaPath)
		if err != nil {
			return api.Applied{}, err
		}
		d.pendingOf(ctx, info.Pending, "was not confirmed in the backup")
		return d.tried(who, c), nil
	}
	before := d.Tree.Snapshot().Rev()
	rev, info, err := backup.Restore(ctx, d.As(who), r, q.Password, who.Batch(), schema.SchemaPath)
	if err == nil || admin.IsStored(err) {
		d.pendingOf(ctx, info.Pending, "was not confirmed in the backup")
	}
	return d.made(ctx, who, before, rev), err
}

func (d handlers) deleteBackup(ctx context.Context, who api.Caller, q api.DeleteRequest) (api.Backup, error) {
	if err := d.Allow(ctx, who, metabase.Root, metabase.AllRights); err != nil {
		return api.Backup{}, err
	}
	f, err := backup.Delete(d.backupDir(), q.Name, q.Version)
	if err != nil {
		return api.Backup{}, err
	}
	return d.aBackup(f), nil
}

func (d handlers) verify(ctx context.Context, who api.Caller, _ struct{}) (api.Verified, error) {
	if err := d.Allow(ctx, who, metabase.Root, metabase.Read); err != nil {
		return api.Verified{}, err
	}
	if err := d.Tree.Verify(ctx); err != nil {
		return api.Verified{}, err
	}
	snap := d.Tree.Snapshot()
	return api.Verified{Rev: snap.Rev(), Keys: keys(snap, metabase.Root)}, nil
}

// keys returns the number of keys at and below p.
func keys(snap metabase.Snapshot, p metabase.Path) (n int) {
	for range snap.Walk(p) {
		n++
	}
	return n
}

// counted counts the keys that are read of a tree for a backup.
type counted struct {
	admin.Tree
	count *progress.Meter
}

func (t counted) Records(sealed bool) (metabase.Rev, []byte, iter.Seq[[]byte]) {
	rev, proof, records := t.Tree.Records(sealed)
	t.count.ExpectCounted(func() int { return keys(t.Snapshot(), metabase.Root) })
	return rev, proof, func(yield func([]byte) bool) {
		for r := range records {
			if !yield(r) {
				return
			}
			t.count.Add(1)
		}
	}
}
