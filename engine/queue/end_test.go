// SPDX-License-Identifier: Apache-2.0

package queue

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"restante/engine/mail"
	"restante/internal/disk"
)

// At the end of its hold, mail is returned, becomes a file that can be imported, or
// waits on. Only the first is told to its sender, and none is lost where the archive
// cannot be written.
func TestEndOfTheHold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "archive")
		h := newFixture(t)
		var mu sync.Mutex
		var broken bool
		h.dep.Archive = func(_ context.Context, env mail.Envelope, text io.Reader) error {
			mu.Lock()
			defer mu.Unlock()
			if broken {
				return errors.New("no archive")
			}
			to, err := disk.MakeFolder(nil, dir, 0o700)
			if err != nil {
				return err
			}
			defer to.Close()
			return WriteExport(to, env, text)
		}
		ends := map[mail.Domain]End{"return.test": Return, "archive.test": Archive, "keep.test": Keep, "other.test": Archive}
		h.dep.Router = RouterFunc(func(d mail.Domain) RouteState {
			end, held := ends[d]
			return RouteState{Held: held, End: end}
		})
		h.policy.Held = Times{Expire: 24 * time.Hour, DelayNotice: 12 * time.Hour}
		h.reopen()
		h.setAnswer(always(yes, "mx"))
		broken = true
		for _, d := range []string{"return", "archive", "keep"} {
			h.accept("s@a.test", "u@"+d+".test DELAY,FAILURE")
		}
		both := h.accept("s@a.test", "u@archive.test", "u@other.test", "v@archive.test")
		asked := envelope(t, "s@a.test", "u@archive.test")
		asked.By = mail.Deadline{At: time.Now().Add(time.Hour), Return: true}
		if err := h.try(asked); err != nil {
			t.Fatal(err)
		}
		stop := h.run()
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		if n := h.countReports(); n != 1 {
			t.Fatalf("%d reports after the deadline that a sender has set, want 1", n)
		}
		time.Sleep(20 * time.Hour)
		synctest.Wait()
		if n := h.countReports(); n != 4 {
			t.Fatalf("%d reports, want also one of each delay", n)
		}
		time.Sleep(10 * time.Hour)
		synctest.Wait()
		if n := h.countReports(); n != 5 || h.reportedFirst(4).To.Address.Domain != "return.test" {
			t.Errorf("%d reports, want also that of the returned message", n)
		}
		if n := h.q.Count("archive.test"); n != 2 {
			t.Errorf("%d messages wait where the archive cannot be written, want 2", n)
		}
		mu.Lock()
		broken = false
		mu.Unlock()
		time.Sleep(time.Hour)
		synctest.Wait()
		stop()
		if n, kept := h.q.Counts().Messages, h.q.Count("keep.test"); n != 1 || kept != 1 {
			t.Errorf("%d messages are left, and %d are kept; want 1", n, kept)
		}
		for m := range h.q.Messages(t.Context(), "keep.test") {
			if !m.Expires.IsZero() {
				t.Errorf("the kept message expires at %s", m.Expires)
			}
		}
		files, err := os.ReadDir(dir)
		if err != nil || len(files) != 6 {
			t.Fatalf("the archive has %v, %v; want 3 messages", files, err)
		}

		// Each can be imported, in any state of the queue.
		for d := range ends {
			ends[d] = Keep
		}
		sum, err := h.q.Import(t.Context(), dir)
		if err != nil || sum.Messages != 3 {
			t.Fatalf("Import = %+v, %v", sum, err)
		}
		for d, want := range map[mail.Domain]int{"archive.test": 2, "other.test": 1} {
			if n := h.q.Count(d); n != want {
				t.Errorf("%d messages for %s come back, want %d", n, d, want)
			}
		}
		if _, err := h.q.Show(both); !errors.Is(err, ErrNotFound) {
			t.Errorf("the message of several domains has its old ID: %v", err)
		}
		if n := h.countReports(); n != 5 {
			t.Errorf("%d reports at the end", n)
		}
	})
}
