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
		"/engine/settings": "whoever accepts makes a Config of them",
		"/engine/session":  "the Session is behind an interface",
		"/engine/spool":    "bodies go to the Session",
		"/engine/queue":    "what becomes of mail is not the wire's business",
		"/engine/release":  "a Handover is a func",
		"/engine/delivery": "who to call is not the wire's business",
		"/engine/site":     "sites accept, the wire talks",
	})
}
