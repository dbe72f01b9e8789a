// SPDX-License-Identifier: Apache-2.0

package foreign

import (
	"testing"

	"restante/internal/deptest"
)

func TestFloor(t *testing.T) {
	deptest.Forbid(t, map[string]string{
		"/internal":     "a file is made to fit, whoever asks",
		"/engine/wire":  "the file is of settings",
		"/engine/site":  "the file is of settings",
		"/engine/queue": "the file is of settings",
		"/cmd":          "imports go down only",
	})
}
