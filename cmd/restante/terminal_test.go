// SPDX-License-Identifier: Apache-2.0

package main

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestColorize(t *testing.T) {
	for in, want := range map[string]string{
		"+ /LM/X 1":                         green + "+ /LM/X 1" + reset,
		"- /LM/X 1":                         red + "- /LM/X 1" + reset,
		`2  "North"  :25  started`:          `2  "North"  :25  ` + green + "started" + reset,
		"1  held.example  held  3  235":     "1  held.example  " + yellow + "held" + reset + "  3  235",
		`site 1  "A" stopped at revision 2`: `site 1  "A" ` + red + "stopped" + reset + " at revision 2",
		"the host has started":              "the host has started", // no cell
	} {
		if got := colorize(in); got != want {
			t.Errorf("colorize(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestShowProgress(t *testing.T) {
	tests := []struct {
		took time.Duration
		want string // the last thing drawn, "" for nothing at all
	}{
		{progressDelay - time.Millisecond, ""},
		{progressDelay + time.Millisecond, "mb backup [=                       ] 1s"},
		{3*time.Second + progressStep/2, "mb backup [          =             ] 3s"},
	}
	for _, tt := range tests {
		synctest.Test(t, func(t *testing.T) {
			var out strings.Builder
			done, gone := make(chan struct{}), make(chan struct{})
			go func() { defer close(gone); showProgress(&out, "mb backup", done) }()
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
