// SPDX-License-Identifier: Apache-2.0

package metabase

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"restante/internal/kv"
	"restante/internal/kv/badgerkv"
	"restante/metabase/internal/stored"
)

const many = 100_000

// manyDomains is a tree with 100,000 keys below /LM/SMTPSVC/1/Domain.
func manyDomains(b testing.TB, db kv.DB) *Store {
	s := open(b, db, Options{})
	site(b, s)
	ops := []Op{Set{"/LM", num(7, 1)}, Set{"/LM/SMTPSVC", num(36998, 2)}}
	for i := range many {
		p := domain(i)
		ops = append(ops, AddKey{p, "IIsSmtpDomain"}, Set{p, num(36997, 514)}, Set{p, text(36996, "account"+fmt.Sprint(i))})
	}
	apply(b, s, ops...)
	return s
}

func domain(i int) Path { return Path(fmt.Sprintf("/LM/SMTPSVC/1/Domain/customer%d.example", i)) }

func BenchmarkEffective(b *testing.B) {
	db := kv.NewMem()
	manyDomains(b, db).Close()
	snap := open(b, db, Options{}).Snapshot()
	paths := make([]Path, many)
	for i := range paths {
		paths[i] = domain(i)
	}
	bare := map[string]uint32{}
	for _, p := range paths {
		bare[string(p)] = 2
	}
	b.Run("a bare map at random", func(b *testing.B) {
		for i := range b.N {
			if bare[string(paths[uint64(i)*0x9e3779b97f4a7c15>>40%many])] != 2 {
				b.Fatal(i)
			}
		}
	})
	for name, next := range map[string]func(i int) Path{
		"one domain":         func(int) Path { return paths[77] },
		"domains in order":   func(i int) Path { return paths[i%many] },
		"domains at random":  func(i int) Path { return paths[uint64(i)*0x9e3779b97f4a7c15>>40%many] },
		"a thousand domains": func(i int) Path { return paths[uint64(i)*0x9e3779b97f4a7c15>>40%1000] },
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for i := range b.N {
				p, from, ok := snap.Effective(next(i), 36998)
				if !ok || p.Value.DWord() != 2 || from != "/LM/SMTPSVC" {
					b.Fatal(p, from, ok)
				}
			}
		})
	}
}

// TestEffectiveAllocates holds the promise that a read allocates nothing.
func TestEffectiveAllocates(t *testing.T) {
	s := open(t, kv.NewMem(), Options{})
	site(t, s)
	apply(t, s, Set{"/LM", num(7, 1)})
	s.SetVolatile("/LM/SMTPSVC", num(8, 1))
	snap := s.Snapshot()
	if n := testing.AllocsPerRun(100, func() {
		snap.Effective("/lm/smtpsvc/1/domain", 7)
		snap.Effective("/lm/smtpsvc/1/domain", 8)
		snap.Stored("/lm/smtpsvc/1/domain", 7)
		snap.Has("/LM/SMTPSVC/1")
		snap.Class("/LM/SMTPSVC/1")
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// BenchmarkCommit makes durable commits by turns as Apply does and bare, each
// bare one writing a key and a record of the same size, and tells how the two
// compare: a ratio of 1 is the bare loop's speed.
func BenchmarkCommit(b *testing.B) {
	const chunk = 500
	for _, writers := range []int{1, 32} {
		b.Run(fmt.Sprintf("%d writers", writers), func(b *testing.B) {
			db := durable(b)
			s := open(b, durable(b), Options{})
			site(b, s)
			var ops []Op
			for i := range 1000 {
				ops = append(ops, AddKey{domain(i), "IIsSmtpDomain"})
			}
			apply(b, s, ops...)
			value := make([]byte, 100)
			bare := func(n uint64) error {
				key := binary.BigEndian.AppendUint64([]byte("r"), n)
				return db.Commit(b.Context(), kv.Put(domainKey(n), value), kv.Put(key, value))
			}
			ours := func(n uint64) error {
				_, err := s.Apply(b.Context(), Batch{Actor: boss, Ops: []Op{Set{domain(int(n % 1000)), num(36997, uint32(n))}}})
				return err
			}
			var ratios, bares, applies []float64
			from := uint64(0)
			b.ResetTimer()
			for range max(b.N, 5) {
				x := inParallel(b, writers, from, chunk, bare)
				y := inParallel(b, writers, from, chunk, ours)
				from += chunk
				bares, applies, ratios = append(bares, x), append(applies, y), append(ratios, y/x)
			}
			b.ReportMetric(median(bares), "bare/s")
			b.ReportMetric(median(applies), "apply/s")
			b.ReportMetric(median(ratios), "ratio")
		})
	}
}

func median(list []float64) float64 {
	slices.Sort(list)
	return list[len(list)/2]
}

func domainKey(n uint64) []byte { return stored.NodeKey(domain(int(n % 1000))) }

func durable(b *testing.B) kv.DB {
	db, err := badgerkv.Open(b.TempDir(), badgerkv.Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { db.Close() })
	return db
}

// inParallel spreads count calls of f over writers and gives calls per second.
func inParallel(b *testing.B, writers int, from, count uint64, f func(n uint64) error) float64 {
	var next atomic.Uint64
	var wg sync.WaitGroup
	start := time.Now()
	for range writers {
		wg.Go(func() {
			for n := next.Add(1); n <= count; n = next.Add(1) {
				if err := f(from + n); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	return float64(count) / time.Since(start).Seconds()
}

// BenchmarkOneOfMany changes one key beside 100,000.
func BenchmarkOneOfMany(b *testing.B) {
	s := manyDomains(b, kv.NewMem())
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		if _, err := s.Apply(context.Background(), Batch{Ops: []Op{Set{domain(i % many), num(36997, uint32(i))}}}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkOpen(b *testing.B) {
	dir := b.TempDir()
	db, err := badgerkv.Open(dir, badgerkv.Options{})
	if err != nil {
		b.Fatal(err)
	}
	s := manyDomains(b, db)
	s.Close()
	db.Close()
	s = nil
	b.ResetTimer()
	for range b.N {
		db, err := badgerkv.Open(dir, badgerkv.Options{})
		if err != nil {
			b.Fatal(err)
		}
		s, err := Open(b.Context(), db, testKey, Options{})
		if err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		if n := s.Snapshot().node("/LM/SMTPSVC/1/Domain").Kids.Len(); n != many {
			b.Fatal(n)
		}
		s.Close()
		db.Close()
		b.StartTimer()
	}
}

// BenchmarkMemory counts the octets that a domain key with three properties
// takes in memory.
func BenchmarkMemory(b *testing.B) {
	db := kv.NewMem()
	manyDomains(b, db).Close()
	for range b.N {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		s, err := Open(b.Context(), db, testKey, Options{})
		if err != nil {
			b.Fatal(err)
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/many, "B/key")
		if s.Snapshot().Has(domain(rand.IntN(many))) {
			s.Close()
		}
	}
}
