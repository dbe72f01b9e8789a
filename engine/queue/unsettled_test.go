// SPDX-License-Identifier: Apache-2.0

package queue

import (
	"errors"
	"slices"
	"testing"

	"restante/engine/mail"
)

// A recipient whose outcome could not be stored is not handed out again: the
// outcome is stored first, also by the queue that is opened next. A recipient
// that had none is handed out.
func TestOutcomeThatWasNotStored(t *testing.T) {
	for _, tt := range []struct {
		name    string
		replies []mail.Reply // of the first recipients of two
		again   []string     // handed out once more
		left    int          // messages at the end
	}{
		{"delivered", []mail.Reply{yes, yes}, nil, 0},
		{"refused", []mail.Reply{no, no}, nil, 1}, // the report
		{"one of two", []mail.Reply{yes}, []string{"y@away.test"}, 1},
		{"deferred", []mail.Reply{later, later}, nil, 1},
	} {
		for _, reopened := range []bool{false, true} {
			t.Run(tt.name, func(t *testing.T) {
				h := newFixture(t)
				id := h.accept("a@b.test", "x@away.test", "y@away.test")
				l, err := h.q.Lease("away.test", "one")
				if err != nil {
					t.Fatal(err)
				}
				item, ok := l.Next()
				if !ok || item.Env.ID != id {
					t.Fatalf("Next = %v, %v", item, ok)
				}
				var out []mail.Outcome
				for i, r := range tt.replies {
					out = append(out, mail.OutcomeOf(item.To[i].Address, r, "mx.away.test"))
				}
				for range 2 { // the second time, the next lease fails to store it
					h.db.failCommits(true)
					if err := l.Settle(t.Context(), id, out); err != nil && !errors.Is(err, errFault) && !errors.Is(err, ErrNotLeased) {
						t.Fatalf("Settle = %v", err)
					}
					l.Close()
					if reopened {
						h.dep.Unsettled = h.q.Unsettled()
						h.db.failCommits(false)
						h.reopen()
						h.db.failCommits(true)
					}
					if l, err = h.q.Lease("away.test", "two"); err != nil {
						t.Fatal(err)
					}
					if got, ok := l.Next(); ok {
						t.Fatalf("handed out again while nothing is stored: %v", got)
					}
				}
				h.db.failCommits(false)
				l.Close()
				if l, err = h.q.Lease("away.test", "three"); err != nil {
					t.Fatal(err)
				}
				var again []string
				for item, ok := l.Next(); ok; item, ok = l.Next() {
					for _, to := range item.To {
						again = append(again, to.Address.String())
					}
				}
				l.Close()
				if !slices.Equal(again, tt.again) || h.q.Counts().Messages != tt.left || len(h.q.Unsettled()) != 0 {
					t.Errorf("again %v, want %v; %d messages, want %d; %v", again, tt.again, h.q.Counts().Messages, tt.left, h.q.Unsettled())
				}
				h.check()
			})
		}
	}
}
