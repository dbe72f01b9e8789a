// SPDX-License-Identifier: Apache-2.0

package tree

import (
	"testing"

	"restante/internal/deptest"
)

func TestLayers(t *testing.T) {
	deptest.Forbid(t, map[string]string{
		"/engine":                   "the metabase knows nothing of mail",
		"/internal":                 "a tree is in memory only",
		"/metabase/acl":             "a tree asks for no rights",
		"/metabase/internal/stored": "a tree does not know how it is stored",
	})
}
