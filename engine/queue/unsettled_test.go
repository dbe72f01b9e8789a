// SPDX-License-Identifier: Apache-2.0

package queue

import (
	"context"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"restante/engine/mail"
)

// A message that its host has taken is taken, though that could not be stored when it
// answered: neither its expiry, nor what else would end it, tells the sender otherwise.
func TestUnsettledOutcomeOutlivesTheEnd(t *testing.T) {
	for name, end := range map[string]func(*fixture, mail.MessageID){
		"return":  func(*fixture, mail.MessageID) { time.Sleep(24 * time.Hour) },
		"archive": func(*fixture, mail.MessageID) { time.Sleep(24 * time.Hour) },
		"bounce": func(h *fixture, id mail.MessageID) {
			if _, err := h.q.Bounce(t.Context(), Filter{IDs: []mail.MessageID{id}}, false); err != nil {
				t.Error(err)
			}
		},
		"settled in parts": func(h *fixture, _ mail.MessageID) {},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newFixture(t)
				archived := 0
				h.dep.Archive = func(context.Context, mail.Envelope, io.Reader) error {
					h.mu.Lock()
					defer h.mu.Unlock()
					archived++
					return nil
				}
				h.dep.Router = RouterFunc(func(mail.Domain) RouteState {
					return RouteState{Held: true, End: map[string]End{"archive": Archive}[name]}
				})
				h.policy.Held = Times{Expire: 24 * time.Hour, DelayNotice: 48 * time.Hour}
				h.reopen()
				id := h.accept("s@s.test", "u@a.test", "v@a.test")
				l, err := h.q.Lease("a.test", "TURN")
				if err != nil {
					t.Fatal(err)
				}
				item, _ := l.Next()
				all := outcomes(item, yes, "mx")
				h.db.failCommits(true)
				parts := all
				if name == "settled in parts" {
					parts = all[:1]
				}
				if l.Settle(t.Context(), id, parts) == nil {
					t.Fatal("settled, though nothing could be stored")
				}
				h.db.failCommits(false)
				if len(parts) < len(all) {
					if err := l.Settle(t.Context(), id, all[len(parts):]); err != nil {
						t.Fatal(err)
					}
				}
				l.Close()
				stop := h.run()
				end(h, id)
				synctest.Wait()
				stop()
				if n, reports := h.q.Count("a.test"), h.countReports(); n != 0 || reports != 0 || archived != 0 {
					t.Errorf("left: %d, reports: %d, archived: %d; want none", n, reports, archived)
				}
			})
		})
	}
}

// What a queue does on its own, or for an administrator, and cannot store, is no answer of
// the host: its next call gets the message.
func TestHeldMailIsHandedOutWhereItsEndIsNotStored(t *testing.T) {
	for name, end := range map[string]func(*fixture){
		"notice of the delay": func(*fixture) { time.Sleep(12*time.Hour + time.Minute) },
		"return":              func(*fixture) { time.Sleep(24*time.Hour + time.Minute) },
		"bounce": func(h *fixture) {
			if _, err := h.q.Bounce(t.Context(), Filter{All: true}, false); err == nil {
				t.Error("bounced, though nothing could be stored")
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newFixture(t)
				h.held["a.test"] = true
				h.policy.Held = Times{Expire: 24 * time.Hour, DelayNotice: 12 * time.Hour}
				id := h.accept("s@s.test", "u@a.test DELAY")
				stop := h.run()
				h.db.failCommits(true)
				end(h)
				synctest.Wait()
				h.db.failCommits(false)
				l, err := h.q.Lease("a.test", "TURN")
				if err != nil {
					t.Fatal(err)
				}
				if item, ok := l.Next(); !ok || item.Env.ID != id {
					t.Errorf("Next = %v, %v; want the message", item.Env.ID, ok)
				}
				l.Close()
				stop()
			})
		})
	}
}
