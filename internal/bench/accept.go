// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"restante/internal/testpeer"
)

// measureAccept prints messages per second taken in durably, by sessions and
// size. Each session is kept and waits for each reply, as an ordinary sender
// without PIPELINING does. The two servers take turns, and what they took is
// held, so that no delivery runs beside.
func measureAccept(ctx context.Context, o options) error {
	fmt.Printf("accepted durably, messages per second (median of %d paired runs of %v; kept sessions, no pipelining)\n", o.rounds, o.window)
	fmt.Printf("%8s %9s %10s %9s %7s\n", "size", "sessions", "restante", "postfix", "ratio")
	for _, size := range []int{1 << 10, 100 << 10} {
		for _, sessions := range []int{1, 10, 50, 100} {
			var ours, theirs []float64
			for range o.rounds {
				rate, err := acceptRestante(ctx, o, sessions, size)
				if err != nil {
					return err
				}
				ours = append(ours, rate)
				if testpeer.PostfixMissing() != nil {
					continue
				}
				if rate, err = acceptPostfix(ctx, o, sessions, size); err != nil {
					return err
				}
				theirs = append(theirs, rate)
			}
			a, b := median(ours), median(theirs)
			fmt.Printf("%8d %9d %10.0f %9.0f %7s\n", size, sessions, a, b, ratio(a, b))
		}
	}
	return nil
}

func acceptRestante(ctx context.Context, o options, sessions, size int) (float64, error) {
	s, err := startRestante(ctx, o)
	if err != nil {
		return 0, err
	}
	defer s.stop()
	return load(ctx, s.Addr(1), sessions, size, o.window, 0)
}

func acceptPostfix(ctx context.Context, o options, sessions, size int) (float64, error) {
	p, err := startPostfix(ctx, o, "127.0.0.1:9")
	if err != nil {
		return 0, err
	}
	defer p.stop()
	return load(ctx, p.Addr, sessions, size, o.window, 0)
}

// load sends over sessions connections for window, or, with limit, until that
// many are taken in, and gives the rate of those that got their 250.
func load(ctx context.Context, addr string, sessions, size int, window time.Duration, limit int64) (float64, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var ready, done sync.WaitGroup
	var taken, begun atomic.Int64
	start := make(chan struct{})
	var end time.Time
	ready.Add(sessions)
	for i := range sessions {
		done.Go(func() {
			c, err := dial(addr)
			if err != nil {
				ready.Done()
				cancel(err)
				return
			}
			defer c.Quit()
			warm := c.send(size, i) // the first message of a session is not counted
			ready.Done()
			if warm != nil {
				cancel(warm)
				return
			}
			<-start
			for ctx.Err() == nil {
				if limit > 0 && begun.Add(1) > limit || limit == 0 && !time.Now().Before(end) {
					return
				}
				if err := c.send(size, i); err != nil {
					cancel(err)
					return
				}
				taken.Add(1)
			}
		})
	}
	ready.Wait()
	begin := time.Now()
	end = begin.Add(window)
	close(start)
	done.Wait()
	if err := context.Cause(ctx); err != nil {
		return 0, err
	}
	return float64(taken.Load()) / time.Since(begin).Seconds(), nil
}
