// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// measureAccept measures messages per second that got their 250, by sessions
// and size. A session is kept and waits for each reply, as an ordinary sender
// without PIPELINING does. All mail is held, so that no delivery runs beside.
func measureAccept(ctx context.Context, o options, r *report) error {
	for _, size := range []int{1 << 10, 100 << 10} {
		for _, sessions := range []int{1, 10, 50, 100} {
			f := &figure{Name: fmt.Sprintf("accept %d KiB, %d sessions", size>>10, sessions), Unit: "messages/s", More: true}
			if err := acceptInTurns(ctx, o, f, contenders(o), sessions, size); err != nil {
				return err
			}
			if err := r.figure(f); err != nil {
				return err
			}
		}
	}
	f := &figure{Name: "accept 1 KiB, 50 sessions, with a log file of all fields", Unit: "messages/s", More: true}
	if err := acceptInTurns(ctx, o, f, logContenders(o), 50, 1<<10); err != nil {
		return err
	}
	return r.figure(f)
}

// logContenders are restante with the log file and without.
func logContenders(o options) []contender {
	off := restanteContender("no log file", o.restante)
	on := off
	on.name = "restante"
	on.start = func(ctx context.Context, o options) (instance, error) {
		s, err := startRestante(ctx, o, o.restante)
		for _, set := range [][]string{{"LogExtFileFlags", "0x3fffff"}, {"LogType", "on"}} {
			if err == nil {
				_, err = s.Run(ctx, "", append([]string{"mb", "set", "SMTPSVC"}, set...)...)
			}
		}
		return s, err
	}
	return []contender{on, off}
}

// acceptInTurns starts every contender, and loads one at a time.
func acceptInTurns(ctx context.Context, o options, f *figure, all []contender, sessions, size int) error {
	addrs := make([]string, len(all))
	for i, c := range all {
		s, err := c.start(ctx, o)
		if err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
		defer s.stop()
		addrs[i] = s.addr()
	}
	return inTurns(o.rounds, f, names(all), func(i int) (float64, error) {
		return load(ctx, addrs[i], sessions, size, o.window, 0)
	})
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
