// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"time"
)

// measureMemory prints the time from exec to the ready line and the resident
// memory, empty and with many messages held.
func measureMemory(ctx context.Context, o options) error {
	s, err := startRestante(ctx, o)
	if err != nil {
		return err
	}
	defer s.stop()
	fmt.Printf("%10s %12s %14s\n", "held", "start (ms)", "resident (MiB)")
	if err := s.restart(ctx, 0); err != nil {
		return err
	}
	if _, err := load(ctx, s.Addr(1), 50, 1<<10, 0, int64(o.full-50)); err != nil {
		return err
	}
	return s.restart(ctx, o.full)
}

// restart starts the service once more on what it has, and prints its line.
func (s service) restart(ctx context.Context, held int) error {
	if err := s.Halt(); err != nil {
		return err
	}
	if err := s.Start(ctx); err != nil {
		return err
	}
	select { // what the start needed and can be given back is given back by then
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(5 * time.Second):
	}
	mib, err := s.resident()
	if err != nil {
		return err
	}
	fmt.Printf("%10d %12d %14.0f\n", held, s.Ready.Milliseconds(), mib)
	return nil
}
