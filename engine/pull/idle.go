// SPDX-License-Identifier: Apache-2.0

package pull

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"
)

// Waits between two failed calls: the first, and the longest.
const (
	firstWait   = 5 * time.Second
	longestWait = 15 * time.Minute
)

// Idle calls again and again until ctx ends or the holder refuses for good: every
// interval, and after a failure in growing waits that differ by chance, so that many
// hosts do not call at once. Report is told of each call, and how long the wait is.
func Idle(ctx context.Context, o Options, interval time.Duration, report func(res Result, err error, wait time.Duration)) error {
	failed := time.Duration(0)
	for {
		res, err := Call(ctx, o)
		switch {
		case ctx.Err() != nil:
			report(res, err, 0)
			return nil
		case errors.Is(err, ErrRefused):
			return err
		case err != nil || res.Broken != nil:
			failed = min(max(firstWait, 2*failed), longestWait)
		default:
			failed = 0
		}
		wait := interval
		if failed > 0 {
			wait = failed*3/4 + rand.N(failed/2)
		}
		report(res, err, wait)
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C:
		}
	}
}
