// SPDX-License-Identifier: Apache-2.0

package terminal

import (
	"testing"

	"restante/internal/deptest"
)

func TestLayers(t *testing.T) {
	deptest.Forbid(t, map[string]string{"restante/": "a terminal is used for anything"})
}

func TestColorize(t *testing.T) {
	for in, want := range map[string]string{
		"+ /LM/X 1":                         green + "+ /LM/X 1" + reset,
		"- /LM/X 1":                         red + "- /LM/X 1" + reset,
		`2  "North"  :25  started`:          `2  "North"  :25  ` + green + "started" + reset,
		"1  held.example  held  3  235":     "1  held.example  " + yellow + "held" + reset + "  3  235",
		`site 1  "A" stopped at revision 2`: `site 1  "A" ` + red + "stopped" + reset + " at revision 2",
		"the host has started":              "the host has started", // no cell
	} {
		if got := Colorize(in); got != want {
			t.Errorf("Colorize(%q) = %q, want %q", in, got, want)
		}
	}
}
