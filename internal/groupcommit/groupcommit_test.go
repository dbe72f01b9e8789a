// SPDX-License-Identifier: Apache-2.0

package groupcommit

import (
	"context"
	"errors"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"weak"
)

var (
	errShut   = errors.New("shut")
	errBroken = errors.New("broken")
	errGaveUp = errors.New("gave up")
	errAnswer = errors.New("an answer")
)

type job struct {
	Request
	n     int
	taken atomic.Bool
}

func all(*job) bool { return true }

// A fixture is a queue with callers, for use inside a bubble.
type fixture struct {
	t     *testing.T
	queue *Queue[*job]
}

func newFixture(t *testing.T) *fixture { return &fixture{t, New[*job](errShut)} }

// submit starts a caller in a goroutine of its own and returns where its// answer comes by.
func (h *fixture) submit(ctx context.Context, n int) chan error {
	got := make(chan error, 1)
	go func() { got <- h.queue.Do(ctx, &job{n: n}) }()
	synctest.Wait()
	return got
}

func (h *fixture) want(who string, got chan error, want error) {
	h.t.Helper()
	synctest.Wait()
	select {
	case err := <-got:
		if err != want {
			h.t.Errorf("%s: Do = %v, want %v", who, err, want)
		}
	default:
		h.t.Errorf("%s still waits", who)
	}
}

func (h *fixture) waits(who string, got chan error) {
	h.t.Helper()
	synctest.Wait()
	select {
	case err := <-got:
		h.t.Errorf("%s: Do = %v, and should wait", who, err)
	default:
	}
}

func (h *fixture) take(fits func(*job) bool, want ...int) []*job {
	h.t.Helper()
	batch := h.queue.NextBatch(fits)
	var got []int
	for _, j := range batch {
		got = append(got, j.n)
	}
	if !slices.Equal(got, want) {
		h.t.Fatalf("NextBatch = %v, want %v", got, want)
	}
	return batch
}

func TestNextBatchTakesInOrderAsFarAsItFits(t *testing.T) {
	upTo := func(limit int) func(*job) bool {
		sum := 0
		return func(j *job) bool { sum += j.n; return sum <= limit }
	}
	tests := []struct {
		name    string
		limit   int
		submit  []int
		batches [][]int
	}{
		{"one", 10, []int{3}, [][]int{{3}}},
		{"all", 10, []int{3, 1, 6}, [][]int{{3, 1, 6}}},
		{"two batches", 10, []int{3, 6, 2, 1}, [][]int{{3, 6}, {2, 1}}},
		{"no request overtakes", 10, []int{9, 2, 1}, [][]int{{9}, {2, 1}}},
		{"too large for any goes alone", 10, []int{1, 50, 1, 1}, [][]int{{1}, {50}, {1, 1}}},
		{"nothing fits", 0, []int{1, 2}, [][]int{{1}, {2}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newFixture(t)
				var callers []chan error
				for i, n := range tt.submit {
					callers = append(callers, h.submit(t.Context(), n))
					if got := h.queue.Len(); got != i+1 {
						t.Errorf("Len = %d, want %d", got, i+1)
					}
				}
				for _, want := range tt.batches {
					Answer(h.take(upTo(tt.limit), want...), errAnswer)
				}
				for _, got := range callers {
					h.want("a caller", got, errAnswer)
				}
				if h.queue.Len() != 0 {
					t.Errorf("Len = %d at the end", h.queue.Len())
				}
			})
		})
	}
}

func TestNextBatchWaitsForARequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newFixture(t)
		batch := make(chan []*job, 1)
		go func() { batch <- h.queue.NextBatch(all) }()
		synctest.Wait()
		if len(batch) != 0 {
			t.Fatal("NextBatch returned, and the queue was empty")
		}
		got := h.submit(t.Context(), 1)
		Answer(<-batch, nil)
		h.want("the caller", got, nil)
	})
}

func TestGiveUpWhileQueued(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newFixture(t)
		ctx, leave := context.WithCancelCause(t.Context())
		first, second, third := h.submit(t.Context(), 1), h.submit(ctx, 2), h.submit(t.Context(), 3)
		leave(errGaveUp)
		h.want("the one that gave up", second, errGaveUp)
		if n := h.queue.Len(); n != 2 {
			t.Errorf("Len = %d after one of three left", n)
		}
		h.want("one that had given up before", h.submit(ctx, 4), errGaveUp)
		Answer(h.take(all, 1, 3), nil)
		h.want("the first", first, nil)
		h.want("the third", third, nil)
	})
}

// A request may hold a megabyte, and the queue may never be empty.
func TestAnsweredRequestsAreNotHeldOnTo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newFixture(t)
		ctx, leave := context.WithCancel(t.Context())
		var gone []weak.Pointer[job]
		var answers []chan error
		for n, ctx := range []context.Context{t.Context(), t.Context(), ctx} {
			answers = append(answers, h.submit(ctx, n))
			gone = append(gone, weak.Make(h.queue.waiting[n]))
		}
		last := h.submit(t.Context(), 3)
		leave()
		h.want("the one that left", answers[2], context.Canceled)
		Answer(h.take(func(j *job) bool { return j.n <= 1 }, 0, 1), nil)
		h.want("the first", answers[0], nil)
		h.want("the second", answers[1], nil)
		runtime.GC()
		for n, p := range gone {
			if p.Value() != nil {
				t.Errorf("caller %d is held on to", n)
			}
		}
		Answer(h.take(all, 3), nil)
		h.want("the last", last, nil)
	})
}

func TestGiveUpOnceTaken(t *testing.T) {
	for _, answer := range []error{nil, errAnswer} {
		synctest.Test(t, func(t *testing.T) {
			h := newFixture(t)
			ctx, leave := context.WithCancelCause(t.Context())
			got := h.submit(ctx, 1)
			batch := h.take(all, 1)
			leave(errGaveUp)
			h.waits("the one that was taken", got)
			Answer(batch, answer)
			h.want("the one that was taken", got, answer)
		})
	}
}

func TestRequestMayBeQueuedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, j := newFixture(t), &job{n: 1}
		for _, want := range []error{errAnswer, nil} {
			got := make(chan error, 1)
			go func() { got <- h.queue.Do(t.Context(), j) }()
			synctest.Wait()
			Answer(h.take(all, 1), want)
			h.want("the caller", got, want)
		}
	})
}

func TestCloseAnswersQueuedRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newFixture(t)
		first, second := h.submit(t.Context(), 1), h.submit(t.Context(), 2)
		h.queue.Close()
		h.queue.Close()
		h.waits("the first", first)
		h.want("one that came too late", h.submit(t.Context(), 3), errShut)
		one := func(*job) bool { return false }
		Answer(h.take(one, 1), nil)
		Answer(h.take(one, 2), errAnswer)
		h.want("the first", first, nil)
		h.want("the second", second, errAnswer)
		h.take(all)
		h.take(all) // and again
	})
}

func TestCloseEndsNextBatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newFixture(t)
		batch := make(chan []*job, 1)
		go func() { batch <- h.queue.NextBatch(all) }()
		synctest.Wait()
		h.queue.Close()
		if got := <-batch; len(got) != 0 {
			t.Errorf("NextBatch = %v", got)
		}
	})
}

func TestDoInlineTakesThePlaceOfAnIdleWriter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newFixture(t)
		release := make(chan error)
		work := func(batch []*job) { Answer(batch, <-release) }
		first := make(chan error, 1)
		go func() { first <- h.queue.DoInline(t.Context(), &job{n: 1}, work) }()
		synctest.Wait()
		// While it works, nobody else does.
		second := make(chan error, 1)
		go func() {
			second <- h.queue.DoInline(t.Context(), &job{n: 2}, func([]*job) { t.Error("two batches at once") })
		}()
		taken := make(chan []*job, 1)
		go func() { taken <- h.queue.NextBatch(all) }()
		h.waits("the first", first)
		h.waits("the second", second)
		if len(taken) != 0 {
			t.Error("the writer takes while a batch is being worked on")
		}
		release <- errAnswer
		h.want("the first", first, errAnswer)
		batch := <-taken
		if len(batch) != 1 || batch[0].n != 2 {
			t.Errorf("the writer takes %v", batch)
		}
		// The writer is at work until it takes again.
		third := make(chan error, 1)
		go func() { third <- h.queue.DoInline(t.Context(), &job{n: 3}, work) }()
		h.waits("the third", third)
		Answer(batch, nil)
		h.want("the second", second, nil)
		Answer(h.take(all, 3), nil)
		h.want("the third", third, nil)
		h.queue.Close()
		h.take(all)
	})
}

func TestDoInlineOfAClosedQueue(t *testing.T) {
	never := func([]*job) { t.Error("is served") }
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errGaveUp)
	q := New[*job](errShut)
	if err := q.DoInline(ctx, &job{}, never); err != errGaveUp {
		t.Errorf("DoInline of one who has left = %v", err)
	}
	q.Close()
	if err := q.DoInline(t.Context(), &job{}, never); err != errShut {
		t.Errorf("DoInline when closed = %v", err)
	}
	q.Break(errBroken)
	if err := q.DoInline(t.Context(), &job{}, never); err != errBroken {
		t.Errorf("DoInline when broken = %v", err)
	}
}

func TestBreak(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newFixture(t)
		if err := h.queue.Broken(); err != nil {
			t.Errorf("Broken = %v before", err)
		}
		taken, waiting := h.submit(t.Context(), 1), h.submit(t.Context(), 2)
		batch := h.take(func(*job) bool { return false }, 1)
		if err := h.queue.Break(errBroken); err != errBroken {
			t.Errorf("Break = %v", err)
		}
		h.want("the one that waited", waiting, errBroken)
		h.waits("the one that was taken", taken)
		Answer(batch, errAnswer)
		h.want("the one that was taken", taken, errAnswer)

		if err := h.queue.Break(errAnswer); err != errBroken {
			t.Errorf("second Break = %v", err)
		}
		if err := h.queue.Broken(); err != errBroken {
			t.Errorf("Broken = %v", err)
		}
		h.want("one that came later", h.submit(t.Context(), 3), errBroken)
		h.queue.Close()
		h.take(all)
		h.want("one that came last", h.submit(t.Context(), 4), errBroken)
	})
}

// Callers submit, give up and are answered all at once. A request that is answered
// with success was taken; one that gave up or was refused was not. None waits for
// ever.
func TestEveryAnswerIsTrue(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	for _, end := range []string{"close", "break"} {
		queue := New[*job](errShut)
		var writer, callers sync.WaitGroup
		var batches, served int
		writer.Go(func() {
			left := 8
			fits := func(*job) bool { left--; return left >= 0 }
			for batch := queue.NextBatch(fits); len(batch) > 0; batch = queue.NextBatch(fits) {
				for _, j := range batch {
					if j.taken.Swap(true) {
						t.Error("taken twice")
					}
				}
				batches, served, left = batches+1, served+len(batch), 8
				runtime.Gosched() // others come, and some leave
				Answer(batch, nil)
			}
		})
		var told [4]atomic.Int64 // done, gave up, shut, broken
		for c := range 32 {
			callers.Go(func() {
				rnd := rand.New(rand.NewPCG(seed, uint64(c)))
				for n := range 200 {
					ctx, leave := context.WithCancelCause(t.Context())
					if rnd.IntN(2) == 0 {
						go leave(errGaveUp)
					}
					if c == 0 && n == 150 {
						if end == "close" {
							queue.Close()
						} else {
							_ = queue.Break(errBroken)
						}
					}
					j := &job{n: n}
					err := queue.Do(ctx, j)
					leave(nil)
					i := slices.Index([]error{nil, errGaveUp, errShut, errBroken}, err)
					if i < 0 || j.taken.Load() != (err == nil) {
						t.Errorf("Do = %v, and taken: %v", err, j.taken.Load())
						return
					}
					told[i].Add(1)
				}
			})
		}
		callers.Wait()
		queue.Close()
		writer.Wait()
		t.Logf("%s: %d done in %d batches, %d gave up, %d refused", end, served, batches, told[1].Load(), told[2].Load()+told[3].Load())
		if refused := told[2].Load() + told[3].Load(); int64(served) != told[0].Load() || served == 0 || refused == 0 {
			t.Errorf("%s: %d taken, %d done, %d refused", end, served, told[0].Load(), refused)
		}
	}
}

func TestNextAddsToTheBatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newFixture(t)
		release := make(chan struct{})
		var got []int
		first := make(chan error, 1)
		work := func(batch []*job) {
			<-release
			small := func(j *job) bool { return j.n < 10 }
			for j, ok := h.queue.Next(small); ok; j, ok = h.queue.Next(small) {
				batch = append(batch, j)
			}
			for _, j := range batch {
				got = append(got, j.n)
			}
			Answer(batch, errAnswer)
		}
		go func() { first <- h.queue.DoInline(t.Context(), &job{n: 1}, work) }()
		synctest.Wait()
		second, third, large, last := h.submit(t.Context(), 2), h.submit(t.Context(), 3), h.submit(t.Context(), 10), h.submit(t.Context(), 4)
		close(release)
		h.want("the first", first, errAnswer)
		h.want("the second", second, errAnswer)
		h.want("the third", third, errAnswer)
		h.waits("the large one", large)
		h.waits("the one behind it", last)
		if !slices.Equal(got, []int{1, 2, 3}) {
			t.Errorf("the batch is %v", got)
		}
		batch := h.take(func(*job) bool { return false }, 10)
		if j, ok := h.queue.Next(all); !ok || j.n != 4 {
			t.Errorf("Next of the writer = %v, %v", j, ok)
		} else {
			batch = append(batch, j)
		}
		Answer(batch, nil)
		h.want("the large one", large, nil)
		h.want("the one behind it", last, nil)
	})
}

// A caller that is about to submit is waited for under load, and only then. The
// scheduler may run something else when Next yields, so under load one found
// request of many tries is enough.
func TestNextYieldsUnderLoad(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1)) // the caller runs when Next yields
	for _, recent := range []int{1, 8} {
		found := 0
		for range 100 {
			if nextFinds(t, recent) {
				found++
			}
		}
		if (found > 0) != (recent > 1) {
			t.Errorf("after batches of %d, Next finds a request %d times of 100", recent, found)
		}
	}
}

// nextFinds tells if Next, called after batches of the size recent, finds the
// request of a caller that was started just before.
func nextFinds(t *testing.T, recent int) bool {
	q := New[*job](errShut)
	done, found := make(chan error, 1), false
	work := func(batch []*job) {
		q.recent = recent
		go func() { done <- q.Do(t.Context(), &job{n: 2}) }()
		var j *job
		if j, found = q.Next(all); found {
			batch = append(batch, j)
		}
		Answer(batch, nil)
	}
	if err := q.DoInline(t.Context(), &job{n: 1}, work); err != nil {
		t.Error(err)
	}
	if !found {
		Answer(q.NextBatch(all), nil)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	return found
}
