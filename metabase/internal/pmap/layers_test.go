// SPDX-License-Identifier: Apache-2.0

package pmap

import (
	"testing"

	"restante/internal/deptest"
)

func TestLayers(t *testing.T) {
	deptest.Forbid(t, map[string]string{
		"/engine":          "a map knows nothing of what it holds",
		"/internal":        "it asks nothing of a store or a disk",
		"/metabase/schema": "a map knows nothing of what it holds",
		"/metabase/mbxml":  "a map knows nothing of what it holds",
		"/adsi-compat":     "imports go down only",
	})
}
