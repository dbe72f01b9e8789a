// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"strings"
	"text/tabwriter"
	"time"
)

// fields returns a function that prints one field of a description.
func fields(w *tabwriter.Writer) func(name string, value any) {
	return func(name string, value any) { fmt.Fprintf(w, "%s\t%v\n", name, value) }
}

// formatTime prints a time with its zone; "-" for none.
func formatTime(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.Local().Format("2006-01-02 15:04:05 -0700")
}

// formatSize prints a number of octets in the largest unit that it fills.
func formatSize(n int64) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB"}
	f := float64(n)
	i := 0
	for ; f >= 1024 && i < len(units)-1; i++ {
		f /= 1024
	}
	if i == 0 {
		return fmt.Sprintf("%d B", n)
	}
	return fmt.Sprintf("%.1f %s", f, units[i])
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// plural is "1 message", "2 messages".
func plural(n int, word string) string {
	if n == 1 {
		return "1 " + word
	}
	return fmt.Sprintf("%d %ss", n, word)
}

// oneLine formats a value on one line, with the strings of a list quoted as a
// shell would need them.
func oneLine(value any, texts []string) string {
	switch list, ok := value.([]any); {
	case !ok:
		return strings.Join(texts, " ")
	case len(list) == 0:
		return ""
	}
	return quoted(texts)
}

// quoted joins strings, with quotes around those that contain blanks.
func quoted(list []string) string {
	out := make([]string, len(list))
	for i, s := range list {
		if out[i] = s; s == "" || strings.ContainsAny(s, " \t'\"") {
			out[i] = "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
		}
	}
	return strings.Join(out, " ")
}
