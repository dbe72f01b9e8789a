// SPDX-License-Identifier: Apache-2.0

package boltkv

import (
	"testing"

	"restante/internal/deptest"
)

func TestLayers(t *testing.T) {
	deptest.Forbid(t, map[string]string{
		"/engine":   "the ordered map knows nothing of mail",
		"/metabase": "the ordered map knows nothing of what it keeps",
	})
}
