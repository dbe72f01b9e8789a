// SPDX-License-Identifier: Apache-2.0

package testpeer_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"restante/admin/api"
	"restante/admin/rpc"
	"restante/internal/testpeer"
	"restante/metabase"
)

// A claim is a value that a writer stored, and what became of that as far as the
// writer knows.
type claim struct {
	path, value string
	rev         metabase.Rev // 0: the answer was lost
	pending     bool
	sent        bool // its confirmation was sent
	acked       bool // it needs none, or its confirmation was answered
}

// A tentative writer makes changes of which some wait to be confirmed, and confirms
// some of those.
type tentative struct {
	n      int
	rnd    *rand.Rand
	claims []*claim
}

const (
	tentativeTop = "SMTPSVC/1/Domain/"
	otherProp    = "70000" // of those who build on a key that is not confirmed
)

// put stores value at path, with lines before that, for a time or for good.
func (w *tentative) put(t *testing.T, c *rpc.Client, seconds float64, path, prop, value string, before ...string) *claim {
	one := &claim{path: path + "/" + prop, value: value, pending: seconds > 0}
	q, ctx := api.ApplyRequest{}, t.Context()
	if seconds > 0 {
		ctx = api.WithTerms(ctx, api.Terms{Confirm: &seconds})
	}
	for _, l := range append(before, fmt.Sprintf("set %s %s %s", path, prop, value)) {
		q.Lines = append(q.Lines, api.Line{Words: strings.Fields(l)})
	}
	a, _, err := api.MbApply.Call(ctx, c, q)
	if err != nil && slices.Contains([]api.Kind{api.KindRefused, api.KindNotFound}, api.AsError(err).Kind) {
		return nil
	}
	w.claims = append(w.claims, one)
	if err == nil {
		one.rev, one.acked = a.Rev, seconds == 0
	}
	return one
}

func (w *tentative) confirm(t *testing.T, c *rpc.Client, one *claim) {
	if one == nil || one.rev == 0 {
		return
	}
	_, _, err := api.MbConfirm.Call(t.Context(), c, api.ConfirmRequest{Rev: one.rev})
	one.sent = err == nil || api.AsError(err).Kind != api.KindNotFound
	one.acked = err == nil
}

// writeUntil writes until the service is gone or the time is over.
func (w *tentative) writeUntil(t *testing.T, s *testpeer.Service, stop <-chan struct{}) {
	c, err := rpc.Dial(t.Context(), s.Data, api.Caller{Origin: metabase.FromCLI})
	if err != nil {
		return
	}
	defer c.Close()
	for lost := false; !lost; {
		select {
		case <-stop:
			return
		default:
		}
		n := len(w.claims)
		value := fmt.Sprintf("w%dx%d", w.n, n)
		seconds := 0.05 + 2*w.rnd.Float64()
		var one *claim
		switch w.rnd.IntN(8) {
		case 0: // a key of its own, in which others may set something
			key := fmt.Sprintf("%sk%dx%d.example", tentativeTop, w.n, n)
			one = w.put(t, c, seconds, key, "RouteUserName", value, "add "+key+" IIsSmtpDomain")
		case 1: // something in the key of another
			key := fmt.Sprintf("%sk%dx%d.example", tentativeTop, w.rnd.IntN(20), n-w.rnd.IntN(3))
			one = w.put(t, c, 0, key, otherProp, value)
		case 2:
			one = w.put(t, c, 0, fmt.Sprintf("%ss%d.example", tentativeTop, w.rnd.IntN(5)), "RouteUserName", value)
		case 3:
			one = w.put(t, c, 0, fmt.Sprintf("%so%d.example", tentativeTop, w.n), "RouteUserName", value)
		case 4:
			one = w.put(t, c, seconds, fmt.Sprintf("%so%d.example", tentativeTop, w.n), "RouteUserName", value)
		default:
			one = w.put(t, c, seconds, fmt.Sprintf("%ss%d.example", tentativeTop, w.rnd.IntN(5)), "RouteUserName", value)
		}
		if one != nil && one.pending && w.rnd.IntN(4) == 0 {
			w.confirm(t, c, one)
		}
		lost = one != nil && one.rev == 0
	}
}

// TestKillDuringPendingChanges has 20 writers make changes on the same keys, of which
// most wait to be confirmed, and ends the service with SIGKILL meanwhile. When all
// times are over, nothing is in force that nobody confirmed, nothing confirmed is
// lost, and the history has the end of each change.
func TestKillDuringPendingChanges(t *testing.T) {
	t.Parallel()
	kills, least := testpeer.Rounds(1, 1, 20), testpeer.Rounds(300, 500, 1500)
	seed := rand.Uint64()
	t.Logf("seed %d, %d kills", seed, kills)
	rnd := rand.New(rand.NewPCG(seed, 0))
	s := startService(t)
	writers := make([]*tentative, 20)
	var lines []string
	for i := range writers {
		writers[i] = &tentative{n: i, rnd: rand.New(rand.NewPCG(seed, uint64(1+i)))}
		lines = append(lines, fmt.Sprintf("add %so%d.example IIsSmtpDomain", tentativeTop, i))
	}
	for i := range 5 {
		lines = append(lines, fmt.Sprintf("add %ss%d.example IIsSmtpDomain", tentativeTop, i))
	}
	runCommand(t, s, strings.Join(lines, "\n"), "mb", "apply")
	for range kills {
		stop := make(chan struct{})
		var all sync.WaitGroup
		for _, w := range writers {
			all.Go(func() { w.writeUntil(t, s, stop) })
		}
		<-time.After(time.Duration(least+rnd.IntN(2*least)) * time.Millisecond) // the random moment
		s.Kill()
		close(stop)
		all.Wait()
		if err := s.Start(t.Context()); err != nil {
			t.Fatalf("after a kill: %v", err)
		}
		runCommand(t, s, "", "mb", "verify")
	}
	c := dialTree(t, s)
	for {
		st, _, err := api.Status.Call(t.Context(), c, struct{}{})
		if err != nil {
			t.Fatal(err)
		}
		if len(st.Pending) == 0 {
			break
		}
		<-time.After(100 * time.Millisecond) // until the times are over
	}
	runCommand(t, s, "", "mb", "verify")
	checkTentative(t, c, writers)
}

func checkTentative(t *testing.T, c *rpc.Client, writers []*tentative) {
	t.Helper()
	byPlace := map[string][]*claim{}
	var pending, confirmed, kept int
	for _, w := range writers {
		for _, one := range w.claims {
			byPlace[one.path] = append(byPlace[one.path], one)
			if one.pending {
				pending++
			}
			if one.acked && one.pending {
				confirmed++
			}
		}
	}
	for place, claims := range byPlace {
		path, prop := place[:strings.LastIndex(place, "/")], place[strings.LastIndex(place, "/")+1:]
		it, _, err := api.MbGet.Call(t.Context(), c, api.GetRequest{Words: []string{path, prop}, Stored: true})
		if err != nil && api.AsError(err).Kind != api.KindNotFound {
			t.Fatal(err)
		}
		stored := strings.Join(it.Text, "")
		i := slices.IndexFunc(claims, func(one *claim) bool { return one.value == stored })
		switch {
		case err == nil && stored != "" && (i < 0 || claims[i].pending && !claims[i].sent):
			t.Errorf("%s is %s, which nobody confirmed", place, stored)
		case err == nil && stored != "":
			kept++
		}
		// What is in force is not older than the newest that is confirmed.
		for _, one := range claims {
			if one.acked && (err != nil || stored == "" || claims[max(i, 0)].rev != 0 && claims[max(i, 0)].rev < one.rev) {
				t.Errorf("%s is %q, revision %d confirmed %s (%v)", place, stored, one.rev, one.value, err)
				break
			}
		}
	}
	log, _, err := api.MbLog.Call(t.Context(), c, api.LogRequest{Path: "/"})
	if err != nil {
		t.Fatal(err)
	}
	ended := map[metabase.Rev]bool{}
	oldest := metabase.Rev(1)
	for _, e := range log {
		ended[e.Reverts], oldest = true, e.Rev
	}
	for _, w := range writers {
		for _, one := range w.claims {
			if one.pending && one.rev > oldest && !one.sent && !ended[one.rev] {
				t.Errorf("the history does not say what became of revision %d", one.rev)
			}
		}
	}
	t.Logf("%d pending changes, %d confirmed, %d places hold a value, %d revisions", pending, confirmed, kept, len(log))
	if pending == 0 || confirmed == 0 || kept == 0 {
		t.Error("too little was done to prove anything")
	}
}
