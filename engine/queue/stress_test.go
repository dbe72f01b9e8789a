// SPDX-License-Identifier: Apache-2.0

package queue

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"restante/engine/mail"
)

// For two days senders send, hosts fail now and then, holds come and go,
// callers call and an administrator acts, all at once. When all is quiet
// again, every message has come to each of its recipients exactly once.
func TestEverythingAtOnce(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	synctest.Test(t, func(t *testing.T) {
		h := newFixture(t)
		h.policy = Policy{Expire: 1000 * time.Hour, DelayNotice: 1000 * time.Hour, Conversations: 5, PerDestination: 3}
		s := &stress{fixture: h, rnd: rand.New(rand.NewPCG(seed, 0)), owed: map[string]int{}, wild: true}
		h.setAnswer(func(l *Lease) { s.converse(l) })
		stop := h.run()
		var wg sync.WaitGroup
		for _, do := range []func(){s.send, s.send, s.send, s.call, s.hold, s.administer} {
			wg.Go(func() {
				for range 60 {
					time.Sleep(s.pause(time.Hour))
					do()
				}
			})
		}
		wg.Wait()
		s.calm()
		time.Sleep(20 * time.Hour) // more than the longest step
		synctest.Wait()
		h.check()
		if c := h.q.Counts(); c.Messages != 0 {
			t.Errorf("left: %+v, %+v", c, h.q.Destinations())
		}
		stop()
		h.mu.Lock()
		defer h.mu.Unlock()
		for what, n := range s.owed {
			if n != 0 {
				t.Errorf("%s: owed %d more", what, n)
			}
		}
		if len(s.owed) == 0 || len(h.reports) != 0 {
			t.Errorf("%d were sent, %d reports", len(s.owed), len(h.reports))
		}
	})
}

type stress struct {
	*fixture
	rnd  *rand.Rand     // guarded by mu, as is the rest
	owed map[string]int // by message and recipient
	wild bool
}

var stressDomains = []mail.Domain{"a.test", "b.test", "c.test"}

func (s *stress) dice(n int) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.rnd.IntN(n)
}

func (s *stress) pause(most time.Duration) time.Duration { return time.Duration(s.dice(int(most))) }

func (s *stress) send() {
	to := []string{"x@a.test", "x@b.test", "y@b.test", "x@c.test"}[:1+s.dice(4)]
	env := envelope(s.t, "s@s.test", to...)
	s.mu.Lock()
	for _, a := range to {
		s.owed[string(env.ID)+" "+a]++
	}
	s.mu.Unlock()
	if err := s.try(env); err != nil {
		s.t.Error(err)
	}
}

// converse hands over what l gives, with all that may go wrong.
func (s *stress) converse(l *Lease) {
	for item, ok := l.Next(); ok; item, ok = l.Next() {
		time.Sleep(s.pause(time.Minute))
		s.mu.Lock()
		wild := s.wild
		s.mu.Unlock()
		if wild {
			switch s.dice(10) {
			case 0:
				return // the line breaks
			case 1:
				if err := l.Defer(context.Background(), later, "mx"); err != nil {
					s.t.Error(err)
				}
				return
			}
		}
		var out []mail.Outcome
		for _, to := range item.To {
			r := yes
			if wild && s.dice(3) == 0 {
				r = later
			}
			out = append(out, mail.OutcomeOf(to.Address, r, "mx"))
		}
		s.mu.Lock()
		for _, o := range out {
			if o.Status == mail.Delivered {
				s.owed[string(item.Env.ID)+" "+o.To.String()]--
			}
		}
		s.mu.Unlock()
		if err := l.Settle(context.Background(), item.Env.ID, out); err != nil {
			s.t.Error(err)
		}
	}
}

func (s *stress) call() {
	d := stressDomains[s.dice(3)]
	if s.dice(3) == 0 {
		s.q.Trigger(d)
		return
	}
	l, err := s.q.Lease(d, "TURN")
	if err != nil {
		if !errors.As(err, new(ErrBusy)) {
			s.t.Error(err)
		}
		return
	}
	defer l.Close()
	s.converse(l)
}

func (s *stress) hold() {
	d, held := stressDomains[s.dice(3)], s.dice(2) == 0
	s.mu.Lock()
	s.held[d] = held
	s.mu.Unlock()
	s.q.Recheck()
}

func (s *stress) administer() {
	f := Filter{Domain: stressDomains[s.dice(3)]}
	do := []func(context.Context, Filter, bool) (Tally, error){s.q.Freeze, s.q.Thaw, s.q.Retry}[s.dice(3)]
	if _, err := do(context.Background(), f, false); err != nil {
		s.t.Error(err)
	}
}

// calm lets go of everything.
func (s *stress) calm() {
	s.mu.Lock()
	s.wild = false
	clear(s.held)
	s.mu.Unlock()
	s.q.Recheck()
	if _, err := s.q.Thaw(context.Background(), Filter{All: true}, false); err != nil {
		s.t.Error(err)
	}
}
