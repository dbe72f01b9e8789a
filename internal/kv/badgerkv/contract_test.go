// SPDX-License-Identifier: Apache-2.0

package badgerkv_test

import (
	"testing"

	"restante/internal/kv"
	"restante/internal/kv/badgerkv"
	"restante/internal/kv/kvtest"
)

func TestContract(t *testing.T) {
	kvtest.Run(t, func(t *testing.T) kv.DB {
		db, err := badgerkv.Open(t.TempDir(), badgerkv.Options{})
		if err != nil {
			t.Fatal(err)
		}
		return db
	})
}
