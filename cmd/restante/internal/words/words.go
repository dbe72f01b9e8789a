// SPDX-License-Identifier: Apache-2.0

// Package words words numbers, times and lists as the answers of commands have
// them.
package words

import (
	"fmt"
	"strings"
	"time"
)

// Time prints a time with its zone; "-" for none.
func Time(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.Local().Format("2006-01-02 15:04:05 -0700")
}

// Size prints a number of octets in the largest unit that it fills.
func Size(n int64) string {
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

// Dash returns s, or "-" for an empty one.
func Dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// YesNo words a switch.
func YesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// Plural is "1 message", "2 messages".
func Plural(n int, word string) string {
	if n == 1 {
		return "1 " + word
	}
	return fmt.Sprintf("%d %ss", n, word)
}

// OneLine formats a value on one line, with the strings of a list quoted as a
// shell would need them.
func OneLine(value any, texts []string) string {
	switch list, ok := value.([]any); {
	case !ok:
		return strings.Join(texts, " ")
	case len(list) == 0:
		return ""
	}
	return Quoted(texts)
}

// Quoted joins strings, with quotes around those that contain blanks.
func Quoted(list []string) string {
	out := make([]string, len(list))
	for i, s := range list {
		if out[i] = s; s == "" || strings.ContainsAny(s, " \t'\"") {
			out[i] = "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
		}
	}
	return strings.Join(out, " ")
}

// Properties is "1 property", "2 properties".
func Properties(n int) string {
	if n == 1 {
		return "1 property"
	}
	return fmt.Sprintf("%d properties", n)
}
