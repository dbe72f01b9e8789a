// SPDX-License-Identifier: Apache-2.0

package queue

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"restante/engine/mail"
)

// A held destination tells when its newest message came, and its newest urgent one, also
// after a restart; each arrival of held mail is told.
func TestDestination(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newFixture(t)
		h.held["held.test"] = true
		var told []mail.Domain
		h.dep.Held = func(d mail.Domain) { told = append(told, d) }
		h.reopen()
		begun := time.Now()
		accept := func(priority int8, to ...string) {
			t.Helper()
			env := envelope(t, "s@a.test", to...)
			env.Priority = priority
			if err := h.try(env); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Hour)
		}
		accept(0, "u@held.test")
		accept(3, "u@held.test", "u@free.test")
		accept(-3, "u@held.test")
		for range 2 {
			d := h.q.Destination("held.test")
			if d.State != Held || d.Messages != 3 || d.Oldest.Sub(begun).Truncate(time.Minute) != 0 ||
				d.Newest.Sub(begun).Truncate(time.Minute) != 2*time.Hour || d.Urgent.Sub(begun).Truncate(time.Minute) != time.Hour {
				t.Errorf("%+v, begun %s", d, begun)
			}
			h.reopen()
		}
		if d := h.q.Destination("none.test"); d.Domain != "none.test" || d.Messages != 0 {
			t.Errorf("of none: %+v", d)
		}
		if want := []mail.Domain{"held.test", "held.test", "held.test"}; !slices.Equal(told, want) {
			t.Errorf("told of %q, want %q", told, want)
		}
	})
}
