// SPDX-License-Identifier: Apache-2.0

package unconfirmed

import (
	"testing"

	"restante/internal/deptest"
)

func TestLayers(t *testing.T) {
	deptest.Forbid(t, map[string]string{
		"/engine":                    "the metabase knows nothing of mail",
		"/internal/kv/badgerkv":      "the list does not depend on the map that holds it",
		"/metabase/acl":              "rights are asked for above",
		"/metabase/internal/history": "what a revision is besides its parts is not asked",
	})
}
