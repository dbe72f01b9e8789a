// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"context"
	"fmt"

	"restante/engine/queue"
	"restante/engine/site"
	"restante/engine/spool"
	"restante/internal/kv"
)

// spoolStore is a spool as a queue's Store.
type spoolStore struct{ *spool.Spool }

func (s spoolStore) Create(ctx context.Context) (queue.Draft, error) {
	w, err := s.Spool.Create(ctx)
	if err != nil {
		return nil, err
	}
	return w, nil
}

// openStorage opens the spool of site n in folder, named as in the tree, and
// records that the site has a queue there.
func (e *Engine) openStorage(ctx context.Context, n int, folder string) (site.Storage, error) {
	data := e.opts.DataDir
	if err := recordFolder(ctx, e.opts.IndexDB, data, n, folder); err != nil {
		return site.Storage{}, err
	}
	index := queueIndex(e.opts.IndexDB, data, n, folder)
	s, err := spool.Open(ctx, absPath(data, folder), index, spool.Options{
		Log:   e.opts.Log.With("site", n),
		Owner: fmt.Sprintf("site %d of %s as %s", n, data, indexName(data, folder)),
	})
	if err != nil {
		return site.Storage{}, err
	}
	return site.Storage{Messages: spoolStore{s}, DB: index, Maintain: s.Run, Close: s.Close}, nil
}

// recordFolder records that site n has a queue in folder.
func recordFolder(ctx context.Context, db kv.DB, data string, n int, folder string) error {
	key := []byte(folderPrefix(n) + indexName(data, folder))
	if _, ok, err := db.Get(key); ok || err != nil {
		return err
	}
	return db.Commit(ctx, kv.Put(key, nil))
}
