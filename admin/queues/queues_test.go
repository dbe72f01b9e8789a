// SPDX-License-Identifier: Apache-2.0

package queues

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"restante/internal/deptest"
)

func TestLayers(t *testing.T) {
	deptest.Forbid(t, map[string]string{
		"/admin/tree":     "handlers of different subjects are independent",
		"/admin/sites":    "handlers of different subjects are independent",
		"/engine/wire":    "the API asks sites and speaks no SMTP",
		"/engine/session": "the API asks sites",
		"/adsi-compat":    "scripts run in the process of the command",
		"/cmd":            "imports go down only",
		"urfave":          "only cmd reads arguments",
		"badger":          "only internal/kv/badgerkv knows what the store is made of",
	})
}

func TestSiteFolders(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"2", "10", "0", "-1", "03", "mail"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "4"), nil, 0o600); err != nil { // a file is no site's folder
		t.Fatal(err)
	}
	got := siteFolders(dir)
	slices.Sort(got)
	if !slices.Equal(got, []int{2, 10}) {
		t.Errorf("siteFolders = %v", got)
	}
	if got := siteFolders(filepath.Join(dir, "none")); len(got) != 0 {
		t.Errorf("siteFolders without a folder = %v", got)
	}
}
