// SPDX-License-Identifier: Apache-2.0

package spool

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"restante/engine/mail"
	"restante/internal/disk"
	"restante/internal/kv"
	"restante/internal/kv/badgerkv"
)

// BenchmarkCommit prints durable messages per second, and beside it what one
// writer reaches who syncs one file per message.
func BenchmarkCommit(b *testing.B) {
	for _, size := range []int{1 << 10, 100 << 10, 5 << 20} {
		b.Run(fmt.Sprintf("%dKiB/fsync-each", size>>10), func(b *testing.B) { fsyncEach(b, size) })
		for _, writers := range []int{1, 10, 32, 50} {
			b.Run(fmt.Sprintf("%dKiB/writers-%d", size>>10, writers), func(b *testing.B) { commits(b, size, writers) })
		}
	}
}

// benchDir is below the folder that RESTANTE_BENCH names, since the usual
// place for such files may not be a disk.
func benchDir(b *testing.B) string {
	dir, err := os.MkdirTemp(os.Getenv("RESTANTE_BENCH"), "spool")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func commits(b *testing.B, size, writers int) {
	dir := benchDir(b)
	db, err := badgerkv.Open(filepath.Join(dir, "index"), badgerkv.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	s, err := Open(b.Context(), filepath.Join(dir, "bodies"), db, Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	body := text(size, 1)
	var left atomic.Int64
	left.Store(int64(b.N))
	var all sync.WaitGroup
	b.ResetTimer()
	for range writers {
		all.Go(func() {
			var done []mail.MessageID
			for left.Add(-1) >= 0 {
				env := envelope()
				if err := write(s, env, body, kv.Put([]byte("q/"+env.ID), []byte("due"))); err != nil {
					b.Error(err)
					return
				}
				// What is taken in also goes again, a hundred at a time.
				if done = append(done, env.ID); len(done)*size > 16<<20/writers {
					if err := s.Remove(b.Context(), done); err != nil {
						b.Error(err)
					}
					done = done[:0]
				}
			}
		})
	}
	all.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msgs/s")
}

func fsyncEach(b *testing.B, size int) {
	dir, body := benchDir(b), text(size, 1)
	for i := range b.N {
		f, err := os.Create(filepath.Join(dir, fmt.Sprint(i)))
		if err != nil {
			b.Fatal(err)
		}
		if _, err = f.Write(body); err == nil {
			err = f.Sync()
		}
		if f.Close(); err == nil {
			err = disk.SyncDir(dir)
		}
		if err != nil {
			b.Fatal(err)
		}
		if i >= 20 { // keep the disk from filling up
			os.Remove(filepath.Join(dir, fmt.Sprint(i-20)))
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msgs/s")
}

// BenchmarkStart opens a spool with 100,000 messages and reads every envelope.
func BenchmarkStart(b *testing.B) {
	dir := benchDir(b)
	db, err := badgerkv.Open(filepath.Join(dir, "index"), badgerkv.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	s, err := Open(b.Context(), filepath.Join(dir, "bodies"), db, Options{})
	if err != nil {
		b.Fatal(err)
	}
	const messages, writers = 100_000, 50
	var all sync.WaitGroup
	for range writers {
		all.Go(func() {
			for range messages / writers {
				if err := write(s, envelope(), text(1024, 1)); err != nil {
					b.Error(err)
				}
			}
		})
	}
	all.Wait()
	s.Close()
	for b.Loop() {
		s, err := Open(b.Context(), filepath.Join(dir, "bodies"), db, Options{})
		if err != nil {
			b.Fatal(err)
		}
		n := 0
		for _, err := range s.Scan(b.Context()) {
			if err != nil {
				b.Fatal(err)
			}
			n++
		}
		if s.Close(); n != messages {
			b.Fatalf("%d envelopes", n)
		}
	}
}
