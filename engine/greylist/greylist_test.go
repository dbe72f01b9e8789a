// SPDX-License-Identifier: Apache-2.0

package greylist

import (
	"net/netip"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"restante/engine/mail"
	"restante/internal/deptest"
)

func TestLayers(t *testing.T) {
	deptest.Forbid(t, map[string]string{
		"/engine/session": "the session asks",
		"/metabase":       "a list knows no settings",
		"/internal":       "nothing is stored",
	})
}

func from(client, sender string) Triplet {
	return Triplet{1, netip.MustParseAddr(client), mail.Address{Local: sender, Domain: "sender.test"}, mail.Address{Local: "x", Domain: "hub.test"}}
}

func TestWait(t *testing.T) {
	const delay = 5 * time.Minute
	a := from("192.0.2.1", "a")
	otherSite := a
	otherSite.Site = 2
	capitals := from("192.0.2.1", "A")
	capitals.To.Local = "X"
	synctest.Test(t, func(t *testing.T) {
		var l List
		for _, step := range []struct {
			what  string
			after time.Duration // since the step before
			t     Triplet
			ask   bool // without a record
			want  time.Duration
		}{
			{"a question leaves nothing", 0, a, true, delay},
			{"the first time", delay, a, false, delay},
			{"too early", time.Minute, a, false, 4 * time.Minute},
			{"a neighbour", time.Minute, from("::ffff:192.0.2.200", "a"), false, 3 * time.Minute},
			{"in capitals", 0, capitals, false, 3 * time.Minute},
			{"another network", 0, from("192.0.3.1", "a"), false, delay},
			{"another sender", 0, from("192.0.2.1", "b"), false, delay},
			{"another site", 0, otherSite, false, delay},
			{"a question after the wait", 3 * time.Minute, a, true, 0},
			{"in time", 0, a, false, 0},
			{"known", 0, a, false, 0},
			{"known for long", 30 * 24 * time.Hour, a, false, 0},
			{"and from then on", 30 * 24 * time.Hour, a, false, 0},
			{"who never came back", 0, from("192.0.2.1", "b"), false, delay},
			{"forgotten", 37 * 24 * time.Hour, a, false, delay},
			{"after the window", 49 * time.Hour, a, false, delay},
			{"a network of IPv6", 0, from("2001:db8::1", "a"), false, delay},
			{"in it", delay, from("2001:db8::2:1", "a"), false, 0},
			{"not in it", 0, from("2001:db8:0:1::1", "a"), false, delay},
			{"no address", 0, Triplet{}, false, delay},
		} {
			time.Sleep(step.after) // of the bubble
			if got := l.Wait(step.t, delay, !step.ask); got != step.want {
				t.Errorf("%s: %s, want %s", step.what, got, step.want)
			}
		}
	})
}

// A flood of new triplets leaves those that are known.
func TestFlood(t *testing.T) {
	var l List
	a := from("192.0.2.1", "a")
	l.Wait(a, 0, true)
	if l.Wait(a, 0, true) != 0 {
		t.Fatal("not known")
	}
	for i := range most + 1000 {
		l.Wait(from("192.0.2.1", strconv.Itoa(i)), time.Hour, true)
	}
	if n := len(l.waiting.at); n != most || l.waiting.order.Len() != most {
		t.Errorf("%d triplets wait, want %d", n, most)
	}
	if l.Wait(a, time.Hour, true) != 0 {
		t.Error("the known triplet is forgotten")
	}
}
