// SPDX-License-Identifier: Apache-2.0

package metabase

import (
	"testing"

	"restante/internal/deptest"
)

func TestLayers(t *testing.T) {
	deptest.Forbid(t, map[string]string{
		"/engine":          "the metabase knows nothing of mail",
		"/metabase/schema": "what a property may hold is asked of checks",
		"/metabase/mbxml":  "files are read and written above",
		"/metabase/backup": "backups are made above, of what Records gives",
		"filippo.io/age":   "only package backup writes age files",
		"/adsi-compat":     "imports go down only",
		"badger":           "only internal/kv/badgerkv opens Badger",
		"go-smtp":          "only engine/wire speaks SMTP",
	})
}
