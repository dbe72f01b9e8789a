// SPDX-License-Identifier: Apache-2.0

package pages

import (
	"testing"

	"restante/internal/deptest"
)

func TestLayers(t *testing.T) {
	deptest.Forbid(t, map[string]string{
		"/engine":         "the metabase knows nothing of mail",
		"/internal/disk":  "pages are written to a map, not to files",
		"/metabase/mbxml": "files are read and written above",
	})
}
