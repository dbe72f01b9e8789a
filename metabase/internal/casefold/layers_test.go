// SPDX-License-Identifier: Apache-2.0

package casefold

import (
	"testing"

	"restante/internal/deptest"
)

func TestLayers(t *testing.T) {
	deptest.Forbid(t, map[string]string{
		"/engine":          "names know nothing of the keys that bear them",
		"/internal":        "it asks nothing of a store or a disk",
		"/metabase/schema": "names know nothing of the keys that bear them",
		"/metabase/mbxml":  "names know nothing of the keys that bear them",
		"/adsi-compat":     "imports go down only",
	})
}
