// SPDX-License-Identifier: Apache-2.0

package spool

import (
	"testing"

	"restante/internal/deptest"
)

func TestLayers(t *testing.T) {
	deptest.Forbid(t, map[string]string{
		"/metabase":     "the SMTP packages know nothing of paths",
		"badger":        "only internal/kv/badgerkv opens Badger",
		"/engine/queue": "the spool does not know when a message is due",
		"/engine/wire":  "the spool does not know where a message comes from",
	})
}
