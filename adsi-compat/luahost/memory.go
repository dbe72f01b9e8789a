// SPDX-License-Identifier: Apache-2.0

package luahost

import (
	"context"
	"fmt"
	"runtime/metrics"
	"time"
)

// MaxMemory is the Script.Memory of a script that names none.
const MaxMemory = 512 << 20

// watchMemory returns a context that also ends when the process's memory has grown
// by more than growth. Garbage that is not yet collected counts, too. The
// caller must call end.
func watchMemory(ctx context.Context, growth uint64) (_ context.Context, end func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(sample)
	most := sample[0].Value.Uint64() + growth
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			if metrics.Read(sample); sample[0].Value.Uint64() > most {
				cancel(fmt.Errorf("more than %d MiB of memory were taken", growth>>20))
			}
		}
	}()
	return ctx, func() { cancel(nil); <-done }
}
