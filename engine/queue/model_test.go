// SPDX-License-Identifier: Apache-2.0

package queue

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"restante/engine/mail"
)

// A model of a queue: for each message, the recipients that are still open.
// Reports enter it as they are made; failed recipients without one wait in Reports.
type model struct {
	h      *fixture
	rnd    *rand.Rand
	open   map[mail.MessageID]map[mail.Address]mail.Domain // where each waits
	frozen map[mail.MessageID]bool
	from   map[mail.MessageID]mail.Address
	untold map[mail.MessageID]map[mail.Address]bool
	told   int // reports that are in the model
}

func (m *model) step(t *testing.T) {
	domains := []mail.Domain{"a.test", "b.test", "c.test", Badmail}
	switch m.rnd.IntN(12) {
	case 0, 1, 2, 3:
		var to []string
		for range 1 + m.rnd.IntN(4) {
			s := fmt.Sprintf("u%d@%s", m.rnd.IntN(3), domains[m.rnd.IntN(3)])
			if !slices.Contains(to, s) { // an outcome is found by its address
				to = append(to, s)
			}
		}
		from := []string{"", "s@s.test", "s@a.test"}[m.rnd.IntN(3)]
		m.enter(m.h.accept(from, to...), address(t, from), to...)
	case 4, 5, 6, 7:
		m.lease(t, domains[m.rnd.IntN(4)])
	case 8:
		m.act(t, "freeze", m.h.q.Freeze, func(id mail.MessageID) { m.frozen[id] = true })
	case 9:
		m.act(t, "thaw", m.h.q.Thaw, func(id mail.MessageID) { delete(m.frozen, id) })
	case 10:
		switch m.rnd.IntN(4) {
		case 0:
			m.act(t, "delete", m.h.q.Delete, m.drop)
		case 1:
			if err := m.h.q.flushReports(t.Context()); err != nil {
				t.Fatal(err)
			}
			m.reports()
		default:
			m.act(t, "retry", m.h.q.Retry, func(mail.MessageID) {})
		}
	case 11:
		m.h.reopen()
	}
}

func (m *model) enter(id mail.MessageID, from mail.Address, to ...string) {
	m.open[id], m.from[id] = map[mail.Address]mail.Domain{}, from
	for _, s := range to {
		a, _ := mail.ParseAddress(s)
		m.open[id][a] = a.Domain
	}
}

func (m *model) drop(id mail.MessageID) {
	delete(m.open, id)
	delete(m.frozen, id)
	delete(m.untold, id)
}

// reports takes in what the queue has made since.
func (m *model) reports() {
	for _, r := range m.h.reports[m.told:] {
		m.enter(r.ID, mail.Address{}, r.About.From.String())
		for _, s := range r.Recipients {
			delete(m.untold[r.About.ID], s.To.Address)
		}
		if len(m.untold[r.About.ID]) == 0 {
			delete(m.untold, r.About.ID)
		}
	}
	m.told = len(m.h.reports)
}

// lease has some messages of d settled at random, and breaks off at random.
func (m *model) lease(t *testing.T, d mail.Domain) {
	l, err := m.h.q.Lease(d, "model")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	seen := map[mail.MessageID]bool{}
	for m.rnd.IntN(8) > 0 {
		item, ok := l.Next()
		if !ok {
			break
		}
		id := item.Env.ID
		if seen[id] || m.frozen[id] {
			t.Fatalf("%s: seen %v, frozen %v", id, seen[id], m.frozen[id])
		}
		seen[id] = true
		var out []mail.Outcome
		for _, to := range item.To {
			if m.open[id][to.Address] != d {
				t.Fatalf("%s: %s is handed out of %s and waits in %q", id, to.Address, d, m.open[id][to.Address])
			}
			if m.rnd.IntN(6) == 0 {
				continue // no word about this one
			}
			o := mail.OutcomeOf(to.Address, []mail.Reply{yes, yes, later, no}[m.rnd.IntN(4)], "mx")
			out = append(out, o)
		}
		if m.rnd.IntN(6) == 0 {
			continue // the line breaks before a word
		}
		if err := l.Settle(t.Context(), id, out); err != nil {
			t.Fatal(err)
		}
		m.settled(id, d, out)
	}
}

func (m *model) settled(id mail.MessageID, d mail.Domain, out []mail.Outcome) {
	for _, o := range out {
		switch {
		case o.Status == mail.Failed && m.from[id].IsNull() && d != Badmail:
			m.open[id][o.To] = Badmail
		case o.Status == mail.Failed && d != Badmail:
			delete(m.open[id], o.To)
			if m.untold[id] == nil {
				m.untold[id] = map[mail.Address]bool{}
			}
			m.untold[id][o.To] = true
		case o.Status != mail.Deferred:
			delete(m.open[id], o.To)
		}
	}
	m.reports()
	if len(m.open[id]) == 0 && len(m.untold[id]) == 0 {
		m.drop(id)
	}
}

func (m *model) act(t *testing.T, name string, do func(context.Context, Filter, bool) (Tally, error), then func(mail.MessageID)) {
	ids := slices.Sorted(maps.Keys(m.open))
	if len(ids) == 0 {
		return
	}
	id := ids[m.rnd.IntN(len(ids))]
	for _, dry := range []bool{true, false} {
		got, err := do(t.Context(), Filter{IDs: []mail.MessageID{id}}, dry)
		unchanged := name == "retry" && got.Messages == 0 && got.Held+got.Frozen > 0
		if err != nil || got.Messages != 1 && !unchanged || got.Busy != 0 {
			t.Fatalf("%s %s, dry %v: %+v, %v", name, id, dry, got, err)
		}
	}
	then(id)
}

func (m *model) compare(t *testing.T) {
	t.Helper()
	got, untold := map[mail.MessageID]map[mail.Address]mail.Domain{}, map[mail.MessageID]map[mail.Address]bool{}
	for _, d := range m.h.q.Destinations() {
		for msg, err := range m.h.q.Messages(t.Context(), d.Domain) {
			if err != nil {
				t.Fatal(err)
			}
			if d.Domain == Reports {
				untold[msg.ID] = map[mail.Address]bool{}
				for _, to := range msg.To {
					untold[msg.ID][to.Address] = true
				}
				continue
			}
			if (msg.State == Frozen) != m.frozen[msg.ID] {
				t.Fatalf("%s is %s, model frozen %v", msg.ID, msg.State, m.frozen[msg.ID])
			}
			if got[msg.ID] == nil {
				got[msg.ID] = map[mail.Address]mail.Domain{}
			}
			for _, to := range msg.To {
				got[msg.ID][to.Address] = d.Domain
			}
		}
	}
	if !maps.EqualFunc(got, m.open, maps.Equal) {
		t.Fatalf("queue %v, model %v", got, m.open)
	}
	if !maps.EqualFunc(untold, m.untold, maps.Equal) {
		t.Fatalf("reports of the queue %v, of the model %v", untold, m.untold)
	}
	if n := m.h.store.Messages(); n != len(m.open) {
		t.Fatalf("%d bodies, %d messages", n, len(m.open))
	}
	m.h.check()
}

func TestModel(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	h := newFixture(t)
	for _, d := range []mail.Domain{"a.test", "b.test", "c.test", Badmail} {
		h.held[d] = true
	}
	m := &model{h: h, rnd: rand.New(rand.NewPCG(seed, 0)), open: map[mail.MessageID]map[mail.Address]mail.Domain{},
		frozen: map[mail.MessageID]bool{}, from: map[mail.MessageID]mail.Address{}, untold: map[mail.MessageID]map[mail.Address]bool{}}
	steps := 2000
	if testing.Short() {
		steps = 300
	}
	for i := range steps {
		m.step(t)
		if i%10 == 0 || i == steps-1 {
			m.compare(t)
		}
	}
}

// Every call of the store fails in turn, until a run gets through unbroken;
// after each, a new start finds all that was promised.
func TestEveryStepFails(t *testing.T) {
	for n := 0; ; n++ {
		if faultRun(t, n) {
			t.Logf("%d steps", n)
			return
		}
	}
}

// faultRun takes three messages in and hands them over while call n fails;
// closed is true when no call did.
func faultRun(t *testing.T, n int) (done bool) {
	h := newFixture(t)
	h.held["b.test"], h.held["c.test"] = true, true
	h.db.calls, h.db.failAt = 0, n
	owed := map[mail.MessageID]map[string]bool{} // what was promised and not yet taken
	must := func(err error) bool {
		if err != nil && !errors.Is(err, errFault) {
			t.Fatalf("step %d: %v", n, err)
		}
		return err == nil
	}
	for _, to := range [][]string{{"s@held.test", "ok@b.test"}, {"s@held.test", "ok@b.test", "later@b.test", "ok@c.test"},
		{"s@held.test", "no@b.test", "ok@c.test"}, {"s@held.test", "no@b.test"}, {"", "no@b.test", "later@b.test", "no@c.test"}} {
		env := envelope(t, to[0], to[1:]...)
		if !must(h.try(env)) {
			continue
		}
		owed[env.ID] = map[string]bool{}
		for _, s := range to[1:] {
			owed[env.ID][s] = true
		}
	}
	h.held["held.test"] = true
	// What the sender must be told of, and has not been reported.
	unreported := 0
	for _, d := range []mail.Domain{"b.test", "c.test"} {
		l, err := h.q.Lease(d, "test")
		if err != nil {
			t.Fatal(err)
		}
		for item, ok := l.Next(); ok; item, ok = l.Next() {
			var out []mail.Outcome
			for _, to := range item.To {
				if !owed[item.Env.ID][to.Address.String()] {
					t.Fatalf("step %d: %s gets %s again", n, to.Address, item.Env.ID)
				}
				out = append(out, mail.OutcomeOf(to.Address, map[string]mail.Reply{"ok": yes, "later": later, "no": no}[to.Address.Local], "mx"))
			}
			if must(l.Settle(t.Context(), item.Env.ID, out)) {
				for _, o := range out {
					if o.Status == mail.Failed && item.Env.From.IsNull() {
						continue // it stays in Badmail
					}
					if o.Status == mail.Failed {
						unreported++
					}
					if o.Status != mail.Deferred {
						delete(owed[item.Env.ID], o.To.String())
					}
				}
			}
		}
		l.Close()
	}
	must(errors.Join(actAll(t, h)...))
	if h.db.calls <= n {
		done = true
	}
	h.db.failAt = -1
	h.check()
	h.reopen()
	h.check()
	verifyOwed(t, h, n, owed, unreported)
	return done
}

func actAll(t *testing.T, h *fixture) []error {
	_, one := h.q.Freeze(t.Context(), Filter{All: true}, false)
	_, two := h.q.Thaw(t.Context(), Filter{All: true}, false)
	_, three := h.q.Retry(t.Context(), Filter{All: true}, false)
	return []error{one, two, three}
}

func verifyOwed(t *testing.T, h *fixture, n int, owed map[mail.MessageID]map[string]bool, unreported int) {
	t.Helper()
	if err := h.q.flushReports(t.Context()); err != nil {
		t.Fatal(err)
	}
	reports := 0
	for _, d := range h.q.Destinations() {
		for m, err := range h.q.Messages(t.Context(), d.Domain) {
			if err != nil {
				t.Fatal(err)
			}
			if d.Domain == "held.test" {
				reports++
			}
			for _, to := range m.To {
				delete(owed[m.ID], to.Address.String())
			}
		}
	}
	for id, to := range owed {
		if len(to) > 0 {
			t.Errorf("step %d: %s is lost for %v", n, id, to)
		}
	}
	if reports < unreported {
		t.Errorf("step %d: %d reports, want %d", n, reports, unreported)
	}
	if got := h.store.Messages(); got != h.q.Counts().Messages {
		t.Errorf("step %d: %d bodies of %d messages", n, got, h.q.Counts().Messages)
	}
}

// Many callers take what many senders bring; each message is had exactly once.
func TestConcurrentHoldersShareNothing(t *testing.T) {
	h := newFixture(t)
	h.held["b.test"] = true
	const senders, each, callers = 4, 50, 4
	var mu sync.Mutex
	had := map[mail.MessageID]int{}
	var sending, calling sync.WaitGroup
	for range senders {
		sending.Go(func() {
			for range each {
				if err := h.try(envelope(t, "a@a.test", "x@b.test", "y@b.test")); err != nil {
					t.Error(err)
				}
			}
		})
	}
	deadline := time.Now().Add(time.Minute)
	for range callers {
		calling.Go(func() {
			for time.Now().Before(deadline) {
				mu.Lock()
				n := len(had)
				mu.Unlock()
				if n == senders*each {
					return
				}
				l, err := h.q.Lease("b.test", "caller")
				if err != nil {
					continue
				}
				for item, ok := l.Next(); ok; item, ok = l.Next() {
					if err := l.Settle(context.Background(), item.Env.ID, outcomes(item, yes, "mx")); err != nil {
						t.Error(err)
					}
					mu.Lock()
					had[item.Env.ID]++
					mu.Unlock()
				}
				l.Close()
			}
		})
	}
	sending.Wait()
	calling.Wait()
	if len(had) != senders*each {
		t.Errorf("%d messages were had, want %d", len(had), senders*each)
	}
	for id, n := range had {
		if n != 1 {
			t.Errorf("%s was had %d times", id, n)
		}
	}
	h.check()
}

// The destinations of one message are settled at the same time: the message
// goes with the last, and not before.
func TestConcurrentSettlesOfOneMessage(t *testing.T) {
	h := newFixture(t)
	domains := []mail.Domain{"a.test", "b.test", "c.test", "d.test"}
	var to []string
	for _, d := range domains {
		h.held[d] = true
		to = append(to, "x@"+string(d))
	}
	h.held["s.test"] = true
	for range 50 {
		h.accept("s@s.test", to...)
	}
	var wg sync.WaitGroup
	for i, d := range domains {
		wg.Go(func() {
			l, err := h.q.Lease(d, "caller")
			if err != nil {
				t.Error(err)
				return
			}
			defer l.Close()
			always([]mail.Reply{yes, no}[i%2], "mx")(l)
		})
	}
	wg.Wait()
	if c := h.q.Counts(); c.Messages != 50 || h.store.Messages() != 50 {
		t.Errorf("left %+v, %d bodies, want a report for each message", c, h.store.Messages())
	}
	h.check()
	h.reopen()
	h.check()
}
