// SPDX-License-Identifier: Apache-2.0

package progressbar

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"restante/internal/deptest"
)

func TestLayers(t *testing.T) {
	deptest.Forbid(t, map[string]string{"restante/": "progress is shown of anything"})
}

func TestShow(t *testing.T) {
	tests := []struct {
		took        time.Duration
		done, total int64
		want        string // the last thing drawn, "" for nothing at all
	}{
		{delay - time.Millisecond, 1, 2, ""},
		{delay + time.Millisecond, 0, 0, "mb backup [=                       ] 1s"},
		{3*time.Second + step/2, 0, 0, "mb backup [          =             ] 3s"},
		{3*time.Second + step/2, 0, 8, "mb backup [                        ] 0% 3s"},
		{3*time.Second + step/2, 5, 8, "mb backup [===============         ] 62% 3s"},
		{3*time.Second + step/2, 1<<40 - 1, 1 << 40, "mb backup [======================= ] 99% 3s"},
		{3*time.Second + step/2, 8, 8, "mb backup [          =             ] 3s"}, // what follows is not counted
	}
	for _, tt := range tests {
		synctest.Test(t, func(t *testing.T) {
			var out strings.Builder
			count := func() (int64, int64) { return tt.done, tt.total }
			done, gone := make(chan struct{}), make(chan struct{})
			go func() { defer close(gone); Show(&out, "mb backup", count, done) }()
			time.Sleep(tt.took)
			close(done)
			<-gone
			drawn := strings.Split(out.String(), "\x1b[K")
			if tt.want == "" {
				if out.Len() > 0 {
					t.Errorf("after %s: %q", tt.took, out.String())
				}
				return
			}
			if last := drawn[len(drawn)-3]; last != "\r"+tt.want || drawn[len(drawn)-2] != "\r" {
				t.Errorf("after %s: %q, then %q; want %q, then a cleared line", tt.took, last, drawn[len(drawn)-2], tt.want)
			}
		})
	}
}
