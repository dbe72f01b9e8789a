// SPDX-License-Identifier: Apache-2.0

package key

import (
	"testing"

	"restante/internal/deptest"
)

func TestLayers(t *testing.T) {
	deptest.Forbid(t, map[string]string{
		"/engine":        "the metabase knows nothing of mail",
		"/metabase/item": "a path does not depend on what its key holds",
		"/internal/kv":   "names are not stored here",
		"/internal/disk": "names are not stored here",
	})
}
