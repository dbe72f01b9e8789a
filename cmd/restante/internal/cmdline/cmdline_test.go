// SPDX-License-Identifier: Apache-2.0

package cmdline

import (
	"testing"

	"restante/internal/deptest"
)

func TestLayers(t *testing.T) {
	deptest.Forbid(t, map[string]string{
		"/admin/tree": "a command line is sorted before a call is made of it",
		"/engine":     "a command line is sorted before a call is made of it",
		"/metabase":   "a command line is sorted before a call is made of it",
	})
}
