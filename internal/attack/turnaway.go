// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// A host that is over its limit of connections tries again a thousand times a second.
// A sender on another address, with that many messages a second, keeps at least the
// share of its messages.
const (
	triesPerSecond    = 1000
	messagesPerSecond = 20
	keptShare         = 0.9
	longestTries      = time.Minute
)

// turnAway measures the sender alone and then beside the other host.
func turnAway(ctx context.Context, a *attack) error {
	most := min(longestTries, time.Until(a.until)*4/5)
	alone, err := a.steady(ctx, most/4)
	if err != nil {
		return err
	}
	var callers sync.WaitGroup
	var turned, served atomic.Int64
	trying, stop := context.WithCancel(ctx)
	callers.Go(func() {
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for trying.Err() == nil {
			for range triesPerSecond / 100 {
				callers.Go(func() {
					if c, err := a.dial("127.98.0.2"); err == nil {
						served.Add(1)
						_ = c.Close()
					} else {
						turned.Add(1)
					}
				})
			}
			select {
			case <-tick.C:
			case <-trying.Done():
			}
		}
	})
	begin := time.Now()
	beside, err := a.steady(ctx, most)
	took := time.Since(begin).Seconds()
	stop()
	callers.Wait()
	fmt.Printf("  %.0f connections a second turned away for %.0f s, %d served before; a sender on another address: %.1f messages a second, alone %.1f\n",
		float64(turned.Load())/took, took, served.Load(), beside, alone)
	if err == nil && beside < keptShare*alone {
		a.fail("a sender has %.1f messages a second beside a host that is turned away, and %.1f alone", beside, alone)
	}
	return err
}

// steady sends over one connection for a time, and gives the rate.
func (a *attack) steady(ctx context.Context, long time.Duration) (perSecond float64, err error) {
	c, err := a.dial("127.99.0.2")
	if err != nil {
		return 0, err
	}
	defer c.Quit()
	_ = c.SetDeadline(time.Now().Add(long + time.Minute))
	rnd, begin, sent := a.random(), time.Now(), 0
	tick := time.NewTicker(time.Second / messagesPerSecond)
	defer tick.Stop()
	for time.Since(begin) < long {
		if a.send(c, rnd, "held.test") {
			sent++
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		}
	}
	return float64(sent) / time.Since(begin).Seconds(), nil
}
