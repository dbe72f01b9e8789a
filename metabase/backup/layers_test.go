// SPDX-License-Identifier: Apache-2.0

package backup

import (
	"testing"

	"restante/internal/deptest"
)

func TestLayers(t *testing.T) {
	deptest.Forbid(t, map[string]string{
		"/engine":            "a backup knows nothing of mail",
		"/metabase/schema":   "what keys mean is not asked; the store's checks are",
		"/metabase/mbxml":    "the two kinds of files know nothing of each other",
		"/metabase/internal": "what a record looks like is the metabase's business",
		"/internal/kv":       "only the store uses its map",
		"/adsi-compat":       "imports go down only",
	})
}
