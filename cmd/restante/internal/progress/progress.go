// SPDX-License-Identifier: Apache-2.0

// Package progress shows on a terminal that a command is at work.
package progress

import (
	"fmt"
	"io"
	"strings"
	"time"
)

const (
	delay = time.Second
	step  = 200 * time.Millisecond
	width = 24
)

// Show draws a bar with the time that has passed, until done. How much
// is left is not known here: the mark only moves.
func Show(w io.Writer, label string, done <-chan struct{}) {
	begin := time.Now()
	select {
	case <-done:
		return
	case <-time.After(delay):
	}
	tick := time.NewTicker(step)
	defer tick.Stop()
	for n := 0; ; n++ {
		at := n % (2 * width)
		at = min(at, 2*width-1-at)
		bar := strings.Repeat(" ", at) + "=" + strings.Repeat(" ", width-1-at)
		fmt.Fprintf(w, "\r%s [%s] %s\x1b[K", label, bar, time.Since(begin).Truncate(time.Second))
		select {
		case <-done:
			fmt.Fprint(w, "\r\x1b[K")
			return
		case <-tick.C:
		}
	}
}
