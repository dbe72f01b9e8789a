// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"testing"

	"restante/internal/deptest"
)

func TestLayers(t *testing.T) {
	deptest.Forbid(t, map[string]string{
		"/metabase":        "a conversation knows no configuration tree",
		"/adsi-compat":     "a conversation knows no scripts",
		"/internal":        "a conversation stores nothing",
		"/engine/settings": "a site makes a Config of them",
		"/engine/session":  "the Session is behind an interface",
		"/engine/spool":    "bodies go to the Session",
		"/engine/queue":    "a conversation does not know what is queued",
		"/engine/release":  "a Handover is a func",
		"/engine/delivery": "delivery chooses the host, wire holds the conversation",
		"/engine/site":     "sites accept connections, wire serves them",
	})
}
