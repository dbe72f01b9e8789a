// SPDX-License-Identifier: Apache-2.0

package calls

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"restante/engine/mail"
	"restante/internal/kv"
)

// A sick DB refuses commits while it is broken.
type sick struct {
	kv.DB
	broken atomic.Bool
}

func (s *sick) Commit(ctx context.Context, ops ...kv.Op) error {
	if s.broken.Load() {
		return errors.New("broken")
	}
	return s.DB.Commit(ctx, ops...)
}

func one(d mail.Domain, account string, messages int) Call {
	return Call{Domain: d, Begin: time.Now(), End: time.Now(), Verb: "TURN", Account: account,
		Address: netip.MustParseAddr("192.0.2.1"), TLS: true, Messages: messages, Bytes: 100, Outcome: "done"}
}

// The history shows each call at once, also after a restart, one by one, and forgets the
// old ones. What a broken store refuses is stored when it works again.
func TestHistory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := &sick{DB: kv.NewMem()}
		ctx, cancel := context.WithCancel(t.Context())
		start := func() *Log {
			return New(db, func() time.Duration { return 48 * time.Hour }, slog.New(slog.DiscardHandler))
		}
		l := start()
		ended := make(chan bool)
		go func() { l.Run(ctx); close(ended) }()
		check := func(when string, f Filter, want ...string) {
			t.Helper()
			list, err := l.History(t.Context(), f)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, c := range list {
				got = append(got, fmt.Sprintf("%s %s %d", c.Domain, c.Account, c.Messages))
			}
			if fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("%s: the history is %q, want %q", when, got, want)
			}
		}
		db.broken.Store(true)
		l.Add(one("a.test", "ann", 1))
		time.Sleep(time.Minute)
		l.Add(one("b.test", "bob", 2))
		l.Add(one("a.test", "ann", 0)) // nothing waited: no release
		check("not stored", Filter{}, "b.test bob 2", "a.test ann 1")
		db.broken.Store(false)
		mark := time.Now().Add(time.Second)
		time.Sleep(2 * time.Hour)
		l.Add(one("a.test", "ann", 3))
		check("half stored", Filter{}, "a.test ann 3", "b.test bob 2", "a.test ann 1")
		cancel()
		<-ended
		l.Flush(t.Context())
		l = start()
		check("restarted", Filter{}, "a.test ann 3", "b.test bob 2", "a.test ann 1")
		refused := one("c.test", "cid", 0)
		refused.Refused, refused.Begin = 1, refused.Begin.Add(-3*time.Hour)
		l.Add(refused)
		check("all refused", Filter{Domain: "c.test"}, "c.test cid 0")
		check("one domain", Filter{Domain: "a.test"}, "a.test ann 3", "a.test ann 1")
		check("one account", Filter{Account: "BOB"}, "b.test bob 2")
		check("since", Filter{Since: mark}, "a.test ann 3")
		ctx, cancel = context.WithCancel(t.Context())
		defer cancel()
		go l.Run(ctx)
		time.Sleep(47*time.Hour + time.Minute)
		check("after two days", Filter{}, "a.test ann 3")
		cancel()
	})
}

// A wildcard has any number of names to call for. Those for which nothing ever waited
// are remembered up to a bound; a call that took mail always is.
func TestLastCallsAreBounded(t *testing.T) {
	db := kv.NewMem()
	l := New(db, func() time.Duration { return time.Hour }, slog.New(slog.DiscardHandler))
	count := func() (n int) {
		for range db.Scan(t.Context(), []byte(lastPrefix)) {
			n++
		}
		return n
	}
	for n := range maxLast + 5 {
		if l.Add(one(mail.Domain(fmt.Sprintf("n%d.test", n)), "ann", 0)); n%1000 == 0 {
			l.Flush(t.Context())
		}
	}
	l.Add(one("n1.test", "ann", 0)) // known already
	l.Add(one("mail.test", "ann", 1))
	l.Flush(t.Context())
	if n := count(); n != maxLast+1 || l.Last("mail.test").Messages != 1 || len(l.Last("n1.test").Times) != 2 {
		t.Errorf("%d domains are remembered, want %d", n, maxLast+1)
	}
	l.prune(t.Context())
	l.Add(one("late.test", "ann", 0))
	l.Flush(t.Context())
	if n := count(); n != maxLast+1 {
		t.Errorf("%d domains are remembered once they were counted, want %d", n, maxLast+1)
	}
}

func TestIntervals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(kv.NewMem(), func() time.Duration { return time.Hour }, slog.New(slog.DiscardHandler))
		for n, tt := range []struct {
			after time.Duration
			want  time.Duration
		}{
			{0, 0}, {6 * time.Hour, 0}, {6 * time.Hour, 6 * time.Hour}, {time.Minute, 6 * time.Hour}, {6 * time.Hour, 6 * time.Hour},
		} {
			time.Sleep(tt.after)
			l.Add(one("a.test", "ann", n))
			if n%2 == 0 {
				l.Flush(t.Context())
			}
			last := l.Last("a.test")
			if last.Messages != n || last.Interval() != tt.want {
				t.Errorf("after call %d: %d messages, each %s; want each %s", n, last.Messages, last.Interval(), tt.want)
			}
		}
		c := one("a.test", "", 9)
		c.Verb = Manual // the host has no part in it
		l.Add(c)
		if last := l.Last("a.test"); last.Messages != 9 || len(last.Times) != 5 {
			t.Errorf("after a release by hand: %+v", last)
		}
		for range 20 {
			l.Add(one("a.test", "ann", 1))
		}
		if last := l.Last("a.test"); len(last.Times) != maxTimes {
			t.Errorf("%d times are remembered", len(last.Times))
		}
		for last := range l.Lasts(t.Context()) {
			if last.Domain != "a.test" || len(last.Times) != maxTimes || !last.Time().Equal(last.Times[maxTimes-1]) {
				t.Errorf("the last calls have %+v", last)
			}
		}
		if at := (Last{}).Time(); !at.IsZero() {
			t.Errorf("no call was at %s", at)
		}
		if last := l.Last("b.test"); last.Verb != "" || last.Interval() != 0 {
			t.Errorf("of no call: %+v", last)
		}
	})
}

func TestTally(t *testing.T) {
	var y Tally
	delivered := mail.Outcome{Status: mail.Delivered}
	doubt := mail.Outcome{Reply: mail.Reply{Code: 451, Phase: mail.AfterDot}}
	for i, outcomes := range [][]mail.Outcome{{delivered, delivered}, {doubt}, {{Status: mail.Failed}}, {doubt, delivered}} {
		id := mail.MessageID(fmt.Sprint(i))
		y.Handed(mail.Item{Env: mail.Envelope{ID: id, Size: 10}})
		y.Settled(id, outcomes)
		y.Settled(id, outcomes) // the rest of its recipients
	}
	got := y.Of(Call{Verb: "TURN"}, 2, nil)
	if want := (Call{Verb: "TURN", Messages: 2, Bytes: 20, Refused: 1, InDoubt: 1, Left: 2, Outcome: "some stay"}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	if got := y.Of(Call{}, 0, errors.New("x")).Outcome; got != "broken off: x" {
		t.Errorf("outcome %q", got)
	}
	if got := y.Of(Call{}, 0, nil).Outcome; got != "done" {
		t.Errorf("outcome %q", got)
	}
	y.Deferred(mail.Reply{Code: 451, Text: "no route"})
	if got := y.Of(Call{}, 2, nil).Outcome; got != "451 no route" {
		t.Errorf("outcome %q", got)
	}
}
