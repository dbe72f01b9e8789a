// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"

	"restante/engine/settings"
	"restante/engine/trace"
)

// TestTraceLimits has TraceDays and TraceBytes hold for a trace at once.
func TestTraceLimits(t *testing.T) {
	h := newHarness(t)
	h.traceDir = filepath.Join(h.dir, "trace")
	h.run()
	life := h.Trace()
	add := func(count int) {
		for n := range count {
			life.Add(trace.Event{Name: "x", Keys: []string{fmt.Sprint(n)}, Attrs: []slog.Attr{slog.String("text", strings.Repeat("x", 1000))}})
		}
		life.Flush()
	}
	add(3000)
	if st := life.Status(); st.Events != 3000 || st.Bytes < 3000000 {
		t.Fatalf("by default: %+v", st)
	}
	h.apply(h.set("/LM/SMTPSVC", "TraceBytes", "1048576"))
	add(2000)
	if st := life.Status(); st.Bytes > 1048576 || st.Events == 0 || st.Err != nil {
		t.Errorf("TraceBytes 1048576: %+v", st)
	}
	h.apply(h.set("/LM/SMTPSVC", "TraceDays", "0"))
	add(10)
	if st := life.Status(); st.Events != 0 || st.Bytes != 0 || st.Err != nil {
		t.Errorf("TraceDays 0: %+v", st)
	}
	if got := traceLimits(h.store.Snapshot()).Age; got != 0 || settings.TraceLimits(h.store.Snapshot()).TraceBytes != 1048576 {
		t.Errorf("limits of the tree: %v", got)
	}
}
