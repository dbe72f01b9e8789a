// SPDX-License-Identifier: Apache-2.0

package deptest

import (
	"os"
	"path/filepath"
	"testing"
)

func TestMatches(t *testing.T) {
	tests := []struct {
		path, key string
		want      bool
	}{
		{"restante/engine", "/engine", true},
		{"restante/engine/wire", "/engine", true},
		{"restante/engines", "/engine", false},
		{"github.com/emersion/go-smtp", "go-smtp", true},
		{"other/engine", "/engine", false},
	}
	for _, tt := range tests {
		if got := matches(tt.path, tt.key); got != tt.want {
			t.Errorf("matches(%q, %q) = %v", tt.path, tt.key, got)
		}
	}
}

func TestCheckSeesAForbiddenImport(t *testing.T) {
	dir := t.TempDir()
	files := map[string]string{
		"a.go":         "package a\nimport _ \"restante/engine/wire\"\n",
		"b_windows.go": "package a\nimport _ \"only/windows\"\n",
		"a_test.go":    "package a\nimport _ \"only/tests\"\n",
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	reasons := map[string]string{"/engine": "why", "only/windows": "why", "only/tests": "why"}
	for goos, want := range map[string]int{"linux": 1, "windows": 2} {
		if got := check(t, dir, goos, reasons); len(got) != want {
			t.Errorf("%s: %q, want %d problems", goos, got, want)
		}
	}
}
