// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"time"

	"restante/internal/testpeer"
)

// measureMemory measures the time from exec to the ready line and the resident
// memory, empty and with many messages held. Each side is started once.
func measureMemory(ctx context.Context, o options, r *report) error {
	var figures []*figure
	for _, held := range []int{0, o.full} {
		figures = append(figures,
			&figure{Name: fmt.Sprintf("exec to ready, %d messages held", held), Unit: "ms"},
			&figure{Name: fmt.Sprintf("resident, %d messages held", held), Unit: "MiB"})
	}
	binaries := [][2]string{{"restante", o.restante}}
	if o.against != "" {
		binaries = append(binaries, [2]string{"against", o.against})
	}
	for _, b := range binaries {
		if err := fillAndRestart(ctx, o, b[0], b[1], figures); err != nil {
			return fmt.Errorf("%s: %w", b[0], err)
		}
	}
	for _, f := range figures {
		if err := r.figure(f); err != nil {
			return err
		}
	}
	return nil
}

// fillAndRestart adds the values of one binary to the figures.
func fillAndRestart(ctx context.Context, o options, name, binary string, figures []*figure) error {
	s, err := startRestante(ctx, o, binary)
	if err != nil {
		return err
	}
	defer s.stop()
	for i, held := range []int{0, o.full} {
		if held > 0 {
			const sessions = 50
			if _, err := load(ctx, s.Addr(1), sessions, 1<<10, 0, int64(held-sessions)); err != nil {
				return err
			}
		}
		if err := restart(ctx, s.Service); err != nil {
			return err
		}
		mib, err := s.resident()
		if err != nil {
			return err
		}
		figures[2*i].add(name, float64(s.Ready.Milliseconds()))
		figures[2*i+1].add(name, mib)
	}
	return nil
}

// restart starts the service once more on what it has, and waits until it has
// given back the memory that only a start needs.
func restart(ctx context.Context, s *testpeer.Service) error {
	if err := s.Halt(); err != nil {
		return err
	}
	if err := s.Start(ctx); err != nil {
		return err
	}
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(5 * time.Second):
		return nil
	}
}
