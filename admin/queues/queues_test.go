// SPDX-License-Identifier: Apache-2.0

package queues

import (
	"testing"

	"restante/internal/deptest"
)

func TestLayers(t *testing.T) {
	deptest.Forbid(t, map[string]string{
		"/admin/tree":     "handlers of different subjects are independent",
		"/admin/sites":    "handlers of different subjects are independent",
		"/engine/wire":    "the API asks sites and speaks no SMTP",
		"/engine/session": "the API asks sites",
		"/adsi-compat":    "scripts are brought by cmd",
		"/cmd":            "imports go down only",
		"urfave":          "only cmd reads arguments",
		"badger":          "only internal/kv/badgerkv knows what the store is made of",
	})
}
