// SPDX-License-Identifier: Apache-2.0

package calls

import (
	"context"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"restante/engine/release/link"
	"restante/internal/kv"
)

// What a link has used today survives a crash, but for the last second, also while more of
// it comes all the time; the next day begins anew.
func TestUsed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := kv.NewMem()
		ctx, cancel := context.WithCancel(t.Context())
		start := func() *Log {
			l := New(db, func() time.Duration { return 48 * time.Hour }, slog.New(slog.DiscardHandler))
			go l.Run(ctx)
			return l
		}
		l := start()
		for range 30 {
			l.Use("account ann", link.Budget{Bytes: 10, Time: time.Second})
			time.Sleep(100 * time.Millisecond)
		}
		if got, want := l.Used("account ann"), (link.Budget{Bytes: 300, Time: 30 * time.Second}); got != want {
			t.Errorf("used %v, want %v", got, want)
		}
		cancel() // without a Flush, as in a crash
		synctest.Wait()
		ctx, cancel = context.WithCancel(t.Context())
		defer cancel()
		l = start()
		if got := l.Used("account ann").Bytes; got < 200 || got > 300 {
			t.Errorf("after a crash %d octets are used", got)
		}
		if got := l.Used("domain a.test"); got != (link.Budget{}) {
			t.Errorf("another link has used %v", got)
		}
		l.Use("account ann", link.Budget{Bytes: 1})
		time.Sleep(24 * time.Hour)
		if got := l.Used("account ann"); got != (link.Budget{}) {
			t.Errorf("the next day has %v", got)
		}
		time.Sleep(2 * pruneGap)
		for p, err := range db.Scan(t.Context(), []byte(usedPrefix)) {
			t.Errorf("%s is stored still, %v", p.Key, err)
		}
	})
}
