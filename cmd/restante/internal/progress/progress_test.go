// SPDX-License-Identifier: Apache-2.0

package progress

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
		took time.Duration
		want string // the last thing drawn, "" for nothing at all
	}{
		{delay - time.Millisecond, ""},
		{delay + time.Millisecond, "mb backup [=                       ] 1s"},
		{3*time.Second + step/2, "mb backup [          =             ] 3s"},
	}
	for _, tt := range tests {
		synctest.Test(t, func(t *testing.T) {
			var out strings.Builder
			done, gone := make(chan struct{}), make(chan struct{})
			go func() { defer close(gone); Show(&out, "mb backup", done) }()
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
