// SPDX-License-Identifier: Apache-2.0

package main

import (
	"io"
	"strings"
	"testing"

	"restante/admin/api"
	"restante/cmd/restante/internal/cmdline"
	"restante/cmd/restante/internal/words"
)

func TestReorder(t *testing.T) {
	tests := []struct{ in, want, path string }{
		{"", "", ""},
		{"mb get P Q", "mb get -- P Q", "mb get"},
		{"mb get P Q --from --rev 3", "mb get --from --rev 3 -- P Q", "mb get"},
		{"mb get --rev=3 P", "mb get --rev=3 -- P", "mb get"},
		{"--json mb get P", "--json mb get -- P", "mb get"},
		{"mb get P --json --data /x", "--json --data /x mb get -- P", "mb get"},
		{"mb set P Q -1", "mb set -- P Q -1", "mb set"},            // a number, not an option
		{"mb set P Q -- --from", "mb set -- P Q --from", "mb set"}, // a value that looks like an option
		{"mb set P Q mb get", "mb set -- P Q mb get", "mb set"},    // values that are called like commands
		{"run c.lua --json -x", "run -- c.lua --json -x", "run"},   // the script's own
		{"run --timeout 3s - a", "run --timeout 3s -- - a", "run"}, // - is an argument
		{"mb rm -r P", "mb rm -r -- P", "mb rm"},                   // a short name
		{"nosuch thing", "-- nosuch thing", ""},
		{"mb --yes", "--yes mb", "mb"},
		{"mb set P Q help", "mb set -- P Q help", "mb set"}, // a value
		{"mb get P --quiet", "--quiet mb get -- P", "mb get"},
		{"site end-session 1 --all", "site end-session --all -- 1", "site end-session"},
	}
	app := (&cli{}).app()
	for _, tt := range tests {
		l, err := cmdline.Reorder(app, strings.Fields(tt.in))
		if got := strings.Join(l.Args, " "); got != tt.want || strings.Join(l.Path, " ") != tt.path || err != nil {
			t.Errorf("Reorder(%q) = %q, path %q, %v; want %q, path %q", tt.in, got, l.Path, err, tt.want, tt.path)
		}
	}
	for _, in := range []string{"mb get --nosuch", "--nosuch", "mb get P --rev", "--data"} {
		if _, err := cmdline.Reorder(app, strings.Fields(in)); err == nil {
			t.Errorf("Reorder(%q) has no error", in)
		}
	}
	if l, err := cmdline.Reorder(app, []string{"mb", "get", "-h"}); err != nil || !l.Help {
		t.Errorf("-h does not ask for help: %v, %v", l, err)
	}
}

func TestSize(t *testing.T) {
	for in, want := range map[int64]string{0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 5 << 20: "5.0 MiB", 1 << 50: "1024.0 TiB"} {
		if got := words.Size(in); got != want {
			t.Errorf("formatSize(%d) = %q, want %q", in, got, want)
		}
	}
}

// TestWrongFlag gives options values of another type: the error names the option, the
// value, and what the option takes.
func TestWrongFlag(t *testing.T) {
	for args, want := range map[string]string{
		"mb set P Q 1 --confirm 5":       `--confirm "5": it takes a number with a unit, such as 90s, 5m or 1h30m`,
		"mb apply --if-rev abc":          `--if-rev "abc": it takes a whole number from 0, such as 12`,
		"mb apply --if-rev=-1":           `--if-rev "-1": it takes a whole number from 0, such as 12`,
		"mb log --count x":               `--count "x": it takes a whole number, such as 12`,
		"mb log -n x":                    `--count "x": it takes a whole number, such as 12`,
		"mb get P Q --rev 1.5":           `--rev "1.5": it takes a whole number from 0, such as 12`,
		"run --timeout 5 -":              `--timeout "5": it takes a number with a unit, such as 90s, 5m or 1h30m`,
		"queue delete --older-than week": `--older-than "week": it takes a number with a unit, such as 90s, 5m or 1h30m`,
	} {
		err := (&cli{out: io.Discard, err: io.Discard}).run(t.Context(), append([]string{"--data", t.TempDir()}, strings.Fields(args)...))
		if e := api.AsError(err); err == nil || e.Kind != api.KindUsage || e.Text != want {
			t.Errorf("%s: %v, want %s", args, err, want)
		}
	}
}
