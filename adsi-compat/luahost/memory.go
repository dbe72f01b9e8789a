// SPDX-License-Identifier: Apache-2.0

package luahost

import (
	"context"
	"fmt"
	"runtime"
	"runtime/metrics"
	"time"
)

// MaxMemory is the Script.Memory of a script that names none.
const MaxMemory = 512 << 20

// watchMemory returns a context that also ends when what the process holds in memory
// has grown by more than growth. Garbage is collected before it counts, unless there is
// twice as much more. The caller must call end.
func watchMemory(ctx context.Context, growth uint64) (_ context.Context, end func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	taken := func() uint64 {
		metrics.Read(sample)
		return sample[0].Value.Uint64()
	}
	most := taken() + growth
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for over := 0; ; {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			switch now := taken(); {
			case now <= most:
				over = 0
			case now <= most+2*growth && over < 4: // what was made while others are collected is garbage, too
				over++
				runtime.GC()
			default:
				cancel(fmt.Errorf("more than %d MiB of memory were taken", growth>>20))
			}
		}
	}()
	return ctx, func() { cancel(nil); <-done }
}
