// SPDX-License-Identifier: Apache-2.0

package acl

import (
	"testing"

	"restante/internal/deptest"
)

func TestLayers(t *testing.T) {
	deptest.Forbid(t, map[string]string{
		"/engine":            "the metabase knows nothing of mail",
		"/internal":          "a list is decided without a store or a disk",
		"/metabase/internal": "which list holds for a key is decided above",
	})
}
