// SPDX-License-Identifier: Apache-2.0

package item

import (
	"testing"

	"restante/internal/deptest"
)

func TestLayers(t *testing.T) {
	deptest.Forbid(t, map[string]string{
		"/engine":                 "the metabase knows nothing of mail",
		"/metabase/acl":           "access lists are read from properties, not by them",
		"/metabase/internal/tree": "a property does not know its key",
		"/internal/kv":            "the store is above",
		"/internal/seal":          "what is sealed is decided above",
	})
}
