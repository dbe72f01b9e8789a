// SPDX-License-Identifier: Apache-2.0

package datadir

import (
	"testing"

	"restante/internal/deptest"
)

func TestLayers(t *testing.T) {
	deptest.Forbid(t, map[string]string{
		"/adsi-compat":  "scripts run over the calls, not over the store",
		"/engine/queue": "of queued mail it knows the check alone",
	})
}
