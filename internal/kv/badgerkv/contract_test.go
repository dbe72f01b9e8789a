// SPDX-License-Identifier: Apache-2.0

package badgerkv_test

import (
	"testing"

	"restante/internal/kv"
	"restante/internal/kv/badgerkv"
	"restante/internal/kv/kvtest"
)

func TestFolders(t *testing.T) {
	kvtest.RunFolders(t, func(dir string, readOnly bool) (kv.DB, error) {
		return badgerkv.Open(dir, badgerkv.Options{ReadOnly: readOnly})
	})
}

func TestContract(t *testing.T) {
	kvtest.Run(t, func(t *testing.T) kv.DB {
		db, err := badgerkv.Open(t.TempDir(), badgerkv.Options{})
		if err != nil {
			t.Fatal(err)
		}
		return db
	})
}
