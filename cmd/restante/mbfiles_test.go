// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestArgumentsAreText refuses what would be replaced on its way.
func TestArgumentsAreText(t *testing.T) {
	for _, args := range [][]string{
		{"mb", "set", "SMTPSVC/1", "ServerComment", "caf\xe9"},
		{"--comment", "\xff", "status"},
		{"domain", "create", "1", "\xc3\x28.example", "--hold"},
	} {
		var out, errs strings.Builder
		if code := run(append([]string{"--data", t.TempDir()}, args...), strings.NewReader(""), &out, &errs); code != 2 ||
			!strings.Contains(errs.String(), "is not valid UTF-8") || out.Len() > 0 {
			t.Errorf("%q: exit code %d, %s", args, code, errs.String())
		}
	}
}

func TestBounded(t *testing.T) {
	file := filepath.Join(t.TempDir(), "four")
	if err := os.WriteFile(file, []byte("four"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := &cli{in: strings.NewReader("four")}
	tests := []struct {
		name string
		most int64
		want string
	}{
		{file, 4, "four"}, {file, 3, ""}, {"-", 4, "four"}, {"/dev/zero", 3, ""},
	}
	for _, tt := range tests {
		if _, err := os.Stat(tt.name); err != nil && tt.name != "-" {
			continue // no such device here
		}
		got, err := c.readBounded(tt.name, tt.most)
		if string(got) != tt.want || (err == nil) != (tt.want != "") {
			t.Errorf("bounded(%s, %d) = %q, %v", tt.name, tt.most, got, err)
		}
	}
	c.in = strings.NewReader("four")
	if got, err := c.readBounded("-", 3); err == nil {
		t.Errorf("more than it may: %q", got)
	}
}
