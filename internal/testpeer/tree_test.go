// SPDX-License-Identifier: Apache-2.0

package testpeer_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"restante/admin/api"
	"restante/admin/rpc"
	"restante/internal/testpeer"
	"restante/metabase"
)

// dialTree connects to the socket of the service, as a command does.
func dialTree(t *testing.T, s *testpeer.Service) *rpc.Client {
	t.Helper()
	c, err := rpc.Dial(t.Context(), s.Data, api.Caller{Origin: metabase.FromCLI, Comment: "load"})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// batch makes a change of lines, at revision rev or with 0 at any.
func batch(t *testing.T, c *rpc.Client, rev metabase.Rev, lines ...string) error {
	q, ctx := api.ApplyRequest{}, t.Context()
	if rev != 0 {
		ctx = api.WithTerms(ctx, api.Terms{IfRev: &rev})
	}
	for _, l := range lines {
		q.Lines = append(q.Lines, api.Line{Words: strings.Fields(l)})
	}
	_, _, err := api.MbApply.Call(ctx, c, q)
	return err
}

// number reads a property that holds a number in a text such as h12.example.
func number(t *testing.T, c *rpc.Client, path, prop string) (int, error) {
	it, _, err := api.MbGet.Call(t.Context(), c, api.GetRequest{Words: []string{path, prop}})
	if err != nil {
		return 0, err
	}
	text := strings.TrimSuffix(strings.TrimPrefix(strings.Join(it.Text, ""), "h"), ".example")
	return strconv.Atoi(text)
}

// increment adds one to the counter of all writers, and retries when another batch
// came first. The revision is read before the value, so that IfRev notices every
// batch in between.
func increment(t *testing.T, c *rpc.Client) error {
	for {
		st, _, err := api.Status.Call(t.Context(), c, struct{}{})
		if err != nil {
			return err
		}
		n, err := number(t, c, sharedKey, "RouteUserName")
		if err != nil {
			return err
		}
		err = batch(t, c, st.Revision, fmt.Sprintf("set %s RouteUserName %d", sharedKey, n+1))
		if refused := (*api.Error)(nil); !errors.As(err, &refused) || refused.Kind != api.KindRefused {
			return err
		}
	}
}

const sharedKey = "SMTPSVC/1/Domain/shared.test"

// A writer makes batches that set two properties to the same number, and some keys.
type writer struct {
	n                     int
	sentBatch, ackedBatch int // number of the batch that was sent last, that was acknowledged last
	ackedIncrements       int // increments that were acknowledged
	sentIncrements        int // that were sent
}

func (w *writer) key() string { return fmt.Sprintf("SMTPSVC/1/Domain/w%d.test", w.n) }

// sub is the key that batch k makes, for one k of five.
func (w *writer) sub(k int) string { return fmt.Sprintf("SMTPSVC/1/Domain/k%d.w%d.test", k, w.n) }

func (w *writer) batch(k int) []string {
	lines := []string{
		fmt.Sprintf("set %s RouteUserName %d", w.key(), k),
		fmt.Sprintf("set %s RouteActionString h%d.example", w.key(), k),
	}
	if k%5 == 0 {
		lines = append(lines, "add "+w.sub(k), fmt.Sprintf("set %s RouteUserName %d", w.sub(k), k))
	}
	return lines
}

// writeUntilKilled makes batches until the service is gone.
func (w *writer) writeUntilKilled(t *testing.T, s *testpeer.Service) {
	c, err := rpc.Dial(t.Context(), s.Data, api.Caller{Origin: metabase.FromCLI})
	if err != nil {
		return
	}
	defer c.Close()
	for {
		w.sentBatch++
		if err := batch(t, c, 0, w.batch(w.sentBatch)...); err != nil {
			if e := (*api.Error)(nil); errors.As(err, &e) && e.Kind == api.KindRefused {
				t.Errorf("writer %d: %v", w.n, err)
			}
			return
		}
		w.ackedBatch = w.sentBatch
		if w.sentBatch%7 == 0 {
			w.sentIncrements++
			if increment(t, c) != nil {
				return
			}
			w.ackedIncrements++
		}
	}
}

// check expects every acknowledged batch, and every batch whole or not at all.
func (w *writer) check(t *testing.T, c *rpc.Client) {
	t.Helper()
	a, err1 := number(t, c, w.key(), "RouteUserName")
	b, err2 := number(t, c, w.key(), "RouteActionString")
	if err1 != nil || err2 != nil || a != b || a < w.ackedBatch || a > w.sentBatch {
		t.Fatalf("writer %d: %d (%v) and %d (%v) are stored; acknowledged is %d, sent %d", w.n, a, err1, b, err2, w.ackedBatch, w.sentBatch)
	}
	for k := 5; k <= w.sentBatch; k += 5 {
		got, err := number(t, c, w.sub(k), "RouteUserName")
		if k <= a && (err != nil || got != k) {
			t.Fatalf("writer %d: %s of a batch that was kept: %d, %v", w.n, w.sub(k), got, err)
		}
		if k > a && err == nil {
			t.Fatalf("writer %d: %s stands there, the rest of its batch does not", w.n, w.sub(k))
		}
	}
	w.sentBatch, w.ackedBatch = a, a
}

// TestKillDuringBatches ends the service with SIGKILL while writers change the tree
// over its socket, in many rounds. Acknowledged batches are there, no batch is half,
// no increment is lost, and the store verifies.
func TestKillDuringBatches(t *testing.T) {
	t.Parallel()
	rounds := testpeer.Rounds(2, 8, 200)
	seed := rand.Uint64()
	t.Logf("seed %d, %d rounds", seed, rounds)
	rnd := rand.New(rand.NewPCG(seed, 0))

	s := startService(t)
	runCommand(t, s, "add "+sharedKey+" IIsSmtpDomain\nset "+sharedKey+" RouteUserName 0\n", "mb", "apply")
	writers := make([]*writer, 6)
	for i := range writers {
		writers[i] = &writer{n: i}
		c := dialTree(t, s)
		if err := batch(t, c, 0, append([]string{"add " + writers[i].key()}, writers[i].batch(0)[:2]...)...); err != nil {
			t.Fatal(err)
		}
		c.Close()
	}
	for round := range rounds {
		var all sync.WaitGroup
		for _, w := range writers {
			all.Go(func() { w.writeUntilKilled(t, s) })
		}
		<-time.After(time.Duration(20+rnd.IntN(400)) * time.Millisecond) // the random moment
		s.Kill()
		all.Wait()
		if round%2 == 1 { // without the service the command opens the store itself
			runCommand(t, s, "", "mb", "verify")
		}
		if err := s.Start(t.Context()); err != nil {
			t.Fatalf("after a kill: %v", err)
		}
		runCommand(t, s, "", "mb", "verify")
		c := dialTree(t, s)
		for _, w := range writers {
			w.check(t, c)
		}
		checkCounter(t, c, writers)
		c.Close()
	}
	total := 0
	for _, w := range writers {
		total += w.ackedBatch
	}
	t.Logf("%d batches and their keys kept", total)
	if total == 0 {
		t.Error("no batch was acknowledged: the test proves nothing")
	}
}

func checkCounter(t *testing.T, c *rpc.Client, writers []*writer) {
	t.Helper()
	least, most := 0, 0
	for _, w := range writers {
		least, most = least+w.ackedIncrements, most+w.sentIncrements
	}
	if n, err := number(t, c, sharedKey, "RouteUserName"); err != nil || n < least || n > most {
		t.Fatalf("the counter is at %d (%v): %d increments were acknowledged, %d sent", n, err, least, most)
	}
}

// A hundred writers change keys of their own, and then one shared counter: every
// batch succeeds, and no increment is lost.
func TestConcurrentWritersLoseNoIncrement(t *testing.T) {
	t.Parallel()
	s := startService(t)
	runCommand(t, s, "add "+sharedKey+" IIsSmtpDomain\nset "+sharedKey+" RouteUserName 0\n", "mb", "apply")
	many := testpeer.Rounds(20, 40, 100)
	var all sync.WaitGroup
	for i := range many {
		all.Go(func() {
			c, err := rpc.Dial(t.Context(), s.Data, api.Caller{Origin: metabase.FromCLI})
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			w := &writer{n: i}
			if err := batch(t, c, 0, "add "+w.key()); err != nil {
				t.Errorf("writer %d: %v", i, err)
			}
			for k := 1; k <= 10; k++ {
				if err := batch(t, c, 0, w.batch(k)...); err != nil {
					t.Errorf("writer %d: batch %d: %v", i, k, err)
				}
			}
			if err := increment(t, c); err != nil {
				t.Errorf("writer %d: %v", i, err)
			}
		})
	}
	all.Wait()
	c := dialTree(t, s)
	defer c.Close()
	for i := range many {
		(&writer{n: i, sentBatch: 10, ackedBatch: 10}).check(t, c)
	}
	if n, err := number(t, c, sharedKey, "RouteUserName"); err != nil || n != many {
		t.Errorf("%d increments, the counter is at %d (%v)", many, n, err)
	}
	runCommand(t, s, "", "mb", "verify")
}

// A watcher that does not read delays no writer. Once it reads again, it is told the
// last change.
func TestStuckWatcherDelaysNoWriter(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("makes 150 large changes")
	}
	s := startService(t)
	stuck, c := dialTree(t, s), dialTree(t, s)
	defer stuck.Close()
	defer c.Close()
	begun, read := make(chan struct{}), make(chan struct{})
	var last api.Entry
	var all sync.WaitGroup
	many := testpeer.Rounds(0, 150, 400)
	all.Go(func() {
		n := 0
		for e, err := range api.MbWatch.Open(t.Context(), stuck, api.WatchRequest{Path: "SMTPSVC/1"}) {
			if err != nil {
				t.Errorf("after %d revisions: %v", n, err)
				return
			}
			if n++; n == 1 {
				close(begun)
				<-read // far more comes than the socket holds
			}
			if last = e; strings.HasPrefix(last.Changes[0].NewText[0], fmt.Sprint(many, " ")) {
				return
			}
		}
	})
	comment := func(n int) {
		t.Helper()
		q := api.ApplyRequest{Lines: []api.Line{{Words: []string{"set", "SMTPSVC/1", "ServerComment", fmt.Sprint(n, " ", strings.Repeat("x", 4000))}}}}
		if _, _, err := api.MbApply.Call(t.Context(), c, q); err != nil {
			t.Fatal(err)
		}
	}
	for n := 0; ; n++ { // until the watcher is there to be told
		comment(0)
		set(t, s, "ServerComment", fmt.Sprint("first ", n))
		select {
		case <-begun:
		case <-time.After(100 * time.Millisecond):
			continue
		}
		break
	}
	begin := time.Now()
	for n := range many {
		comment(n + 1)
	}
	t.Logf("%d changes beside a stuck watcher in %v", many, time.Since(begin))
	close(read)
	all.Wait()
	t.Logf("told of the last after %v", time.Since(begin))
	if got := runCommand(t, s, "", "mb", "get", "SMTPSVC/1", "ServerComment"); len(last.Changes) == 0 || strings.TrimSpace(got) != last.Changes[0].NewText[0] {
		t.Errorf("the last that the watcher was told is not what holds: %.50q", got)
	}
}
