// SPDX-License-Identifier: Apache-2.0

package history

import (
	"testing"

	"restante/internal/deptest"
)

func TestLayers(t *testing.T) {
	deptest.Forbid(t, map[string]string{
		"/engine":         "the metabase knows nothing of mail",
		"/internal/kv":    "a record does not know the map that holds it",
		"/metabase/mbxml": "files are read and written above",
	})
}
