// SPDX-License-Identifier: Apache-2.0

package acme

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"restante/internal/deptest"
)

func TestLayers(t *testing.T) {
	deptest.Forbid(t, map[string]string{
		"/engine":   "certificates are ordered for any caller",
		"/metabase": "what is ordered is told",
	})
}

// TestRun: nothing is ordered unless it is asked for; a failure is tried again, ever later,
// and shown with the time of that; other settings are tried at once; certificates are
// looked at every six hours.
func TestRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var set atomic.Pointer[Settings]
		var mu sync.Mutex // guards what follows
		var at []time.Duration
		var names []string
		var changes, ready int
		begun, fails := time.Now(), errors.New("no such name")
		fail := func(err error) {
			mu.Lock()
			defer mu.Unlock()
			fails = err
		}
		count := func(n *int) func() {
			return func() {
				mu.Lock()
				defer mu.Unlock()
				*n++
			}
		}
		o := New(set.Load, slog.New(slog.DiscardHandler), count(&changes), count(&ready))
		o.order = func(_ context.Context, s Settings) (bool, error) {
			mu.Lock()
			defer mu.Unlock()
			at, names = append(at, time.Since(begun).Round(time.Minute)), append(names, s.Names)
			return fails == nil && len(at) == 11, fails
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			o.Run(ctx)
		}()
		seen := func() (tries []time.Duration, last string, changed, made int) {
			mu.Lock()
			defer mu.Unlock()
			return slices.Clone(at), strings.Join(names[max(len(names)-1, 0):], ""), changes, ready
		}
		apply := func(s *Settings) {
			set.Store(s)
			o.Wake()
			synctest.Wait()
		}
		apply(nil)
		time.Sleep(100 * time.Hour)
		if tries, _, _, _ := seen(); len(tries) > 0 || o.Err() != nil {
			t.Fatalf("without settings: %v, %v", tries, o.Err())
		}
		mu.Lock()
		begun = time.Now()
		mu.Unlock()
		apply(&Settings{Names: "a.test"})
		apply(&Settings{Names: "a.test"}) // the same
		if err := o.Err(); err == nil || err.Error() != "order a certificate: no such name; next try at "+begun.Add(5*time.Minute).UTC().Format(time.RFC3339) {
			t.Errorf("shown as %v", err)
		}
		time.Sleep(20 * time.Hour)
		synctest.Wait()
		want := "[0s 5m0s 15m0s 35m0s 1h15m0s 2h35m0s 5h15m0s 10h35m0s 16h35m0s]"
		if tries, _, _, _ := seen(); fmt.Sprint(tries) != want {
			t.Errorf("tried at %v, want %s", tries, want)
		}
		apply(&Settings{Names: "b.test"})
		if tries, last, _, _ := seen(); len(tries) != 10 || last != "b.test" {
			t.Errorf("other settings are tried at %v", tries)
		}
		fail(nil)
		time.Sleep(5*time.Minute + time.Second)
		synctest.Wait()
		if tries, _, _, made := seen(); len(tries) != 11 || made != 1 || o.Err() != nil {
			t.Errorf("ordered at %v, %d ready, %v", tries, made, o.Err())
		}
		time.Sleep(6 * time.Hour)
		synctest.Wait()
		if tries, _, changed, made := seen(); len(tries) != 12 || made != 1 || changed != 11 {
			t.Errorf("looked at %v, %d ready, %d changes", tries, made, changed)
		}
		fail(errors.New("gone"))
		time.Sleep(6 * time.Hour)
		synctest.Wait()
		if o.Err() == nil {
			t.Error("a failed renewal is not shown")
		}
		apply(nil)
		if o.Err() != nil {
			t.Errorf("not asked for any more: %v", o.Err())
		}
		cancel()
		<-done
	})
}
