// SPDX-License-Identifier: Apache-2.0

package queue_test

import (
	"testing"

	"restante/engine/queue"
	"restante/engine/queue/queuetest"
	"restante/engine/spool"
	"restante/internal/kv"
)

func TestMemStore(t *testing.T) {
	queuetest.Run(t, func(_ *testing.T, db kv.DB) queue.Store { return queue.NewMemStore(db) })
}

func TestSpoolStore(t *testing.T) {
	dirs := map[kv.DB]string{}
	open := map[kv.DB]*spool.Spool{}
	queuetest.Run(t, func(t *testing.T, db kv.DB) queue.Store {
		if s := open[db]; s != nil {
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		} else {
			dirs[db] = t.TempDir()
		}
		s, err := spool.Open(t.Context(), dirs[db], db, spool.Options{SegmentSize: 256 << 10})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close() })
		open[db] = s
		return queue.NewSpoolStore(s)
	})
}
