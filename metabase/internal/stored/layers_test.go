// SPDX-License-Identifier: Apache-2.0

package stored

import (
	"testing"

	"restante/internal/deptest"
)

func TestLayers(t *testing.T) {
	deptest.Forbid(t, map[string]string{
		"/engine":               "the metabase knows nothing of mail",
		"/metabase/acl":         "an access list is stored as any property",
		"/internal/kv/badgerkv": "a form does not depend on the map that holds it",
		"/internal/disk":        "records are written to a map, not to files",
	})
}
