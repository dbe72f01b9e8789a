// SPDX-License-Identifier: Apache-2.0

package queue

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"restante/engine/mail"
)

// An attempt that neither settles nor defers is followed by a pause, also for mail that
// has expired and was never tried.
func TestExpiredMailIsNotTriedWithoutPause(t *testing.T) {
	for name, answer := range map[string]func(*fixture, *Lease){
		"nothing is settled": func(_ *fixture, l *Lease) { l.Next() },
		"the outcome is not stored": func(h *fixture, l *Lease) {
			h.db.failCommits(true)
			always(yes, "mx")(l)
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newFixture(t)
				var attempts atomic.Int64
				h.setAnswer(func(l *Lease) {
					answer(h, l)
					if attempts.Add(1) > 10 {
						time.Sleep(time.Minute) // the test ends
					}
				})
				env := envelope(t, "s@s.test", "u@a.test")
				env.By = mail.Deadline{At: time.Now().Add(time.Minute), Return: true}
				if err := h.try(env); err != nil {
					t.Fatal(err)
				}
				time.Sleep(2 * time.Minute)
				defer h.run()()
				time.Sleep(time.Hour + time.Minute)
				synctest.Wait()
				if n := attempts.Load(); n != 5 {
					t.Errorf("%d attempts in an hour, want 5", n)
				}
				h.db.failCommits(false)
			})
		})
	}
}
