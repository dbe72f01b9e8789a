// SPDX-License-Identifier: Apache-2.0

package problem

import (
	"testing"

	"restante/internal/deptest"
)

func TestLayers(t *testing.T) {
	deptest.Forbid(t, map[string]string{
		"/engine":            "the metabase knows nothing of mail",
		"/internal/kv":       "nothing of it is stored",
		"/metabase/internal": "it names keys and properties only",
	})
}
