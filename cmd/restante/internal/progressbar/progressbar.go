// SPDX-License-Identifier: Apache-2.0

// Package progressbar shows on a terminal that a command is at work, and how
// much of the work is done.
package progressbar

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

// Show draws a bar with the time that has passed, until done. Count gives the
// steps that are done and their total. As long as no total is known, and after
// the last step, a mark moves instead.
func Show(w io.Writer, label string, count func() (done, total int64), done <-chan struct{}) {
	begin := time.Now()
	select {
	case <-done:
		return
	case <-time.After(delay):
	}
	tick := time.NewTicker(step)
	defer tick.Stop()
	for n := 0; ; n++ {
		fmt.Fprintf(w, "\r%s %s %s\x1b[K", label, bar(n, count), time.Since(begin).Truncate(time.Second))
		select {
		case <-done:
			fmt.Fprint(w, "\r\x1b[K")
			return
		case <-tick.C:
		}
	}
}

func bar(n int, count func() (done, total int64)) string {
	if done, total := count(); done < total {
		full := int(width * done / total)
		return fmt.Sprintf("[%s%s] %d%%", strings.Repeat("=", full), strings.Repeat(" ", width-full), 100*done/total)
	}
	at := n % (2 * width)
	at = min(at, 2*width-1-at)
	return "[" + strings.Repeat(" ", at) + "=" + strings.Repeat(" ", width-1-at) + "]"
}
