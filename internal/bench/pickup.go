// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// measurePickup measures files per second from the move into the Pickup folder of
// the first one until the folder is empty. The second for which a file has to be
// quiet counts.
func measurePickup(ctx context.Context, o options, r *report) error {
	f := &figure{Name: fmt.Sprintf("pickup %d files of 1 KiB", o.held), Unit: "files/s", More: true}
	err := inTurns(o.rounds, f, []string{"restante"}, func(int) (float64, error) { return pickUp(ctx, o) })
	if err != nil {
		return err
	}
	return r.figure(f)
}

func pickUp(ctx context.Context, o options) (float64, error) {
	s, err := startRestante(ctx, o, o.restante)
	if err != nil {
		return 0, err
	}
	defer s.stop()
	from, to := filepath.Join(s.Data, "Mailroot", "Files"), filepath.Join(s.Data, "Mailroot", "Pickup")
	if err := os.Mkdir(from, 0o700); err != nil {
		return 0, err
	}
	text := bytes.TrimSuffix(message(1<<10, 0), []byte(".\r\n"))
	for i := range o.held {
		if err := os.WriteFile(filepath.Join(from, fmt.Sprintf("%06d.eml", i)), text, 0o600); err != nil {
			return 0, err
		}
	}
	begin := time.Now()
	for i := range o.held {
		name := fmt.Sprintf("%06d.eml", i)
		if err := os.Rename(filepath.Join(from, name), filepath.Join(to, name)); err != nil {
			return 0, err
		}
	}
	look := time.NewTicker(20 * time.Millisecond)
	defer look.Stop()
	for {
		left, err := os.ReadDir(to)
		if err != nil {
			return 0, err
		}
		if len(left) == 0 {
			return float64(o.held) / time.Since(begin).Seconds(), nil
		}
		select {
		case <-look.C:
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		}
	}
}
